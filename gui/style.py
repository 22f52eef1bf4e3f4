"""One place for colours, type and spacing of both windows: near black, one accent, large figures.

The colours are chosen for a dark room: the background gives no glow, the accent is warm so that the eye stays adapted,
and red appears only where something is wrong. Sizes are those of a window of 1280×800; the control window sets a
density for a larger one, and whatever is built after that is larger by it.
"""

from __future__ import annotations

import functools
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PySide6.QtCore import QPointF, QRectF, Qt
from PySide6.QtGui import QColor, QFont, QFontDatabase, QIcon, QPainter, QPalette, QPen, QPixmap
from PySide6.QtWidgets import QApplication

BACKGROUND = "#070809"
PANEL = "#101214"
RAISED = "#1a1d20"
HOVER = "#23272b"
LINE = "#2a2e33"
CHOSEN = "#434a52"
FAINT = "#737a82"
MUTED = "#a3a9b0"
TEXT = "#f1eee9"
ACCENT = "#f2a24a"
COOL = "#74b8cb"
GOOD = "#62bd88"
ALARM = "#f4585c"

GAP = 8  # between panels
PAD = 12  # inside a panel

TINY, SMALL, BODY, LARGE, HUGE = 11, 12, 14, 18, 28  # text heights

FONTS = Path(__file__).parent / "fonts"
_FAMILIES = ("Inter", "SF Pro Text", "Segoe UI", "Helvetica Neue", "Cantarell", "Noto Sans", "DejaVu Sans")

_density = 1.0


def density() -> float:
    """How much larger than at 1280×800 the control window is built."""
    return _density


def set_density(value: float) -> None:
    """Sets it, and dresses the application anew. The owner builds its widgets again."""
    global _density
    _density = value
    app = QApplication.instance()
    if isinstance(app, QApplication):
        app.setStyleSheet(stylesheet())


def px(size: float) -> int:
    """A size at 1280×800 in pixels of this density."""
    return max(1, round(size * _density)) if size > 0 else 0


def stylesheet() -> str:
    """The sheet of the whole application at this density."""
    small, tiny = px(SMALL), px(TINY)
    return f"""
* {{ outline: none; }}
QWidget {{ background: {BACKGROUND}; color: {TEXT}; }}
QLabel {{ background: transparent; }}
QFrame#panel {{ background: {PANEL}; border-radius: {px(7)}px; }}
QFrame#panel QWidget {{ background: transparent; }}
QLabel[role="title"] {{ color: {FAINT}; }}
QLabel[role="figure"] {{ color: {TEXT}; }}
QLabel[role="muted"] {{ color: {MUTED}; }}
QLabel[role="faint"] {{ color: {FAINT}; }}
QLabel[role="accent"] {{ color: {ACCENT}; }}
QLabel[role="cool"] {{ color: {COOL}; }}
QLabel[role="good"] {{ color: {GOOD}; }}
QLabel[role="error"] {{ color: {ALARM}; }}
QPushButton {{
    background: {RAISED}; color: {TEXT}; border: 1px solid {RAISED}; border-radius: {px(5)}px;
    padding: 0 {px(9)}px; min-height: {px(26)}px; font-size: {small}px;
}}
QFrame#panel QPushButton {{ background: {RAISED}; }}
QPushButton:hover, QFrame#panel QPushButton:hover {{ background: {HOVER}; border-color: {HOVER}; }}
QPushButton:focus {{ border-color: {MUTED}; }}
QPushButton:pressed, QFrame#panel QPushButton:pressed {{ background: {LINE}; }}
QPushButton:disabled, QFrame#panel QPushButton:disabled {{ color: {FAINT}; }}
QPushButton:checked, QFrame#panel QPushButton:checked {{
    background: {ACCENT}; border-color: {ACCENT}; color: {BACKGROUND};
}}
QPushButton[learned="true"] {{ border: 2px solid {COOL}; }}
QPushButton[role="stage"] {{ min-height: {px(44)}px; font-size: {px(BODY)}px; }}
QPushButton[role="alarm"] {{ min-height: {px(44)}px; font-size: {px(BODY)}px; }}
QFrame#panel QPushButton[role="alarm"]:checked, QPushButton[role="alarm"]:checked {{
    background: {ALARM}; border-color: {ALARM}; color: {BACKGROUND};
}}
QFrame#panel QPushButton[role="guard"] {{ color: {MUTED}; text-align: left; border-color: {LINE}; }}
QFrame#panel QPushButton[role="guard"]:checked {{ background: {RAISED}; color: {GOOD}; border-color: {RAISED}; }}
QFrame#panel QPushButton[role="record"]:checked {{
    background: {ALARM}; border-color: {ALARM}; color: {BACKGROUND};
}}
QPushButton[role="quiet"] {{ color: {MUTED}; }}
QFrame#panel QPushButton[role="plain"], QPushButton[role="plain"] {{
    background: transparent; border-color: {LINE}; color: {MUTED};
}}
QPushButton[role="plain"]:hover {{ color: {TEXT}; border-color: {FAINT}; }}
QPushButton[role="plain"]:checked {{ background: {COOL}; border-color: {COOL}; color: {BACKGROUND}; }}
QFrame#panel QPushButton[role="segment"] {{
    color: {MUTED}; border-radius: 0; padding: 0 {px(8)}px; margin: 0; border-color: {RAISED};
}}
QFrame#panel QPushButton[role="segment"]:hover {{ color: {TEXT}; }}
QFrame#panel QPushButton[role="segment"]:checked {{
    background: {CHOSEN}; border-color: {CHOSEN}; color: {TEXT};
}}
QFrame#panel QPushButton[end="left"] {{
    border-top-left-radius: {px(5)}px; border-bottom-left-radius: {px(5)}px;
}}
QFrame#panel QPushButton[end="right"] {{
    border-top-right-radius: {px(5)}px; border-bottom-right-radius: {px(5)}px;
}}
QFrame#panel QPushButton[end="both"] {{ border-radius: {px(5)}px; }}
QFrame#page {{ background: {PANEL}; border: 1px solid {LINE}; border-radius: {px(10)}px; }}
QFrame#page QWidget {{ background: transparent; }}
QFrame#page QPushButton {{ background: {RAISED}; }}
QFrame#learn {{ background: #16303a; border-radius: {px(7)}px; }}
QFrame#learn QWidget {{ background: transparent; }}
QFrame#learn QPushButton {{ background: #234653; border-color: #234653; }}
QScrollArea {{ border: none; }}
QScrollBar:vertical {{ background: transparent; width: {px(8)}px; margin: 0; }}
QScrollBar::handle:vertical {{ background: {LINE}; border-radius: {px(4)}px; min-height: {px(24)}px; }}
QScrollBar::add-line, QScrollBar::sub-line {{ height: 0; }}
QScrollBar::add-page, QScrollBar::sub-page {{ background: transparent; }}
QFrame#panel QLineEdit, QLineEdit {{
    background: {BACKGROUND}; border: 1px solid {LINE}; border-radius: {px(5)}px; padding: {px(5)}px {px(9)}px;
    font-size: {px(BODY)}px; selection-background-color: {ACCENT}; selection-color: {BACKGROUND};
}}
QLineEdit:focus {{ border-color: {ACCENT}; }}
QFrame#panel QComboBox {{
    background: {RAISED}; border: 1px solid {RAISED}; border-radius: {px(5)}px; padding: 0 {px(9)}px;
    min-height: {px(26)}px; font-size: {small}px;
}}
QFrame#panel QComboBox[role="small"] {{ min-height: 0; padding: 0 {px(7)}px; }}
QComboBox::drop-down {{ border: none; width: {px(18)}px; }}
QComboBox QAbstractItemView, QMenu {{
    background: {RAISED}; border: 1px solid {LINE}; selection-background-color: {ACCENT};
    selection-color: {BACKGROUND}; font-size: {px(BODY)}px;
}}
QMenu {{ padding: {px(5)}px 0; }}
QMenu::item {{ padding: {px(6)}px {px(18)}px; background: transparent; }}
QMenu::item:selected {{ background: {ACCENT}; color: {BACKGROUND}; }}
QMenu::item:disabled {{ color: {FAINT}; font-size: {tiny}px; }}
QMenu::separator {{ height: 1px; background: {LINE}; margin: {px(4)}px {px(10)}px; }}
QToolTip {{ background: {RAISED}; color: {TEXT}; border: 1px solid {LINE}; padding: {px(6)}px; font-size: {small}px; }}
"""


@functools.cache
def _family() -> str:
    for path in sorted(FONTS.glob("*.otf")):
        QFontDatabase.addApplicationFont(str(path))
    installed = set(QFontDatabase.families())
    return next((name for name in _FAMILIES if name in installed), QFont().family())


@functools.cache
def font(pixels: int = BODY, *, bold: bool = False) -> QFont:
    """The house typeface at a height in pixels, with figures of equal width so that numbers do not dance."""
    face = QFont(_family())
    face.setPixelSize(pixels)
    face.setWeight(QFont.Weight.DemiBold if bold else QFont.Weight.Normal)
    if hasattr(face, "setFeature"):  # Qt 6.7
        face.setFeature(QFont.Tag("tnum"), 1)
    return face


def face(size: float, *, bold: bool = False) -> QFont:
    """The same for the control window, whose sizes grow with its density."""
    return font(px(size), bold=bold)


def color(name: str, alpha: float = 1.0) -> QColor:
    """A colour of this palette with an opacity of 0..1."""
    shade = QColor(name)
    shade.setAlphaF(alpha)
    return shade


def heat_table() -> NDArray[np.uint8]:
    """Colours [256, 3] of the mel picture: near black, through the accent, to warm white."""
    stops = np.array([0.0, 0.3, 0.7, 1.0])
    shades = [QColor(name) for name in ("#0a0b0c", "#5c3a1c", ACCENT, "#fff3e0")]
    at = np.linspace(0.0, 1.0, 256)
    channels = np.array([(shade.red(), shade.green(), shade.blue()) for shade in shades]).T
    return np.stack([np.interp(at, stops, channel) for channel in channels], axis=1).astype(np.uint8)


def mark(size: int, ratio: float = 1.0) -> QPixmap:
    """The mark of the program: a drop of sound and its rings; `ratio` pixels of the display to one of the window."""
    pixmap = QPixmap(round(size * ratio), round(size * ratio))
    pixmap.setDevicePixelRatio(ratio)
    pixmap.fill(Qt.GlobalColor.transparent)
    painter = QPainter(pixmap)
    painter.setRenderHint(QPainter.RenderHint.Antialiasing)
    painter.scale(size / 128, size / 128)
    painter.setPen(Qt.PenStyle.NoPen)
    painter.setBrush(color(BACKGROUND))
    painter.drawRoundedRect(QRectF(0, 0, 128, 128), 26, 26)
    painter.setBrush(color(ACCENT))
    painter.drawEllipse(QPointF(64, 64), 10, 10)
    painter.setBrush(Qt.BrushStyle.NoBrush)
    for radius, alpha in ((24, 0.95), (38, 0.6), (52, 0.3)):
        painter.setPen(QPen(color(ACCENT, alpha), 6))
        painter.drawEllipse(QPointF(64, 64), radius, radius)
    painter.end()
    return pixmap


def apply(app: QApplication) -> None:
    """Dresses the whole application; call it once, before the first widget."""
    app.setStyle("Fusion")
    palette = QPalette()
    for role, name in (
        (QPalette.ColorRole.Window, BACKGROUND),
        (QPalette.ColorRole.Base, PANEL),
        (QPalette.ColorRole.Button, RAISED),
        (QPalette.ColorRole.WindowText, TEXT),
        (QPalette.ColorRole.Text, TEXT),
        (QPalette.ColorRole.ButtonText, TEXT),
        (QPalette.ColorRole.PlaceholderText, FAINT),
        (QPalette.ColorRole.Highlight, ACCENT),
        (QPalette.ColorRole.HighlightedText, BACKGROUND),
    ):
        palette.setColor(role, QColor(name))
    app.setPalette(palette)
    app.setFont(font())
    app.setStyleSheet(stylesheet())
    app.setWindowIcon(QIcon(mark(128)))
