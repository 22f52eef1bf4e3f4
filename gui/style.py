"""One place for colours, type and spacing of both windows: near black, one accent, large figures.

The colours are chosen for a dark room: the background gives no glow, the accent is warm so that the eye stays adapted,
and red appears only where something is wrong.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from PySide6.QtCore import QPointF, QRectF, Qt
from PySide6.QtGui import QColor, QFont, QFontDatabase, QIcon, QPainter, QPalette, QPen, QPixmap
from PySide6.QtWidgets import QApplication

BACKGROUND = "#0a0b0c"
PANEL = "#111315"
RAISED = "#1a1d20"
LINE = "#24282c"
FAINT = "#565c63"
MUTED = "#8c9299"
TEXT = "#e9e6e0"
ACCENT = "#f0a04b"
ALARM = "#f2555a"

GAP = 20  # between panels, pixels
PAD = 16  # inside a panel

SMALL, BODY, LARGE, HUGE = 13, 15, 20, 30  # text heights in pixels

_FAMILIES = ("Inter", "SF Pro Text", "Segoe UI", "Helvetica Neue", "Cantarell", "Noto Sans", "DejaVu Sans")

STYLESHEET = f"""
QWidget {{ background: {BACKGROUND}; color: {TEXT}; }}
QLabel {{ background: transparent; }}
QFrame#panel {{ background: {PANEL}; border-radius: 6px; }}
QFrame#panel QWidget {{ background: {PANEL}; }}
QLabel[role="title"] {{ color: {MUTED}; }}
QLabel[role="figure"] {{ color: {TEXT}; }}
QLabel[role="muted"] {{ color: {MUTED}; }}
QLabel[role="faint"] {{ color: {FAINT}; }}
QLabel[role="error"] {{ color: {ALARM}; }}
QFrame#panel QPushButton {{
    background: {RAISED}; color: {TEXT}; border: 1px solid {RAISED}; border-radius: 4px; padding: 0 12px;
    min-height: 44px;
}}
QFrame#panel QPushButton:hover {{ border-color: {FAINT}; }}
QFrame#panel QPushButton:pressed {{ background: {LINE}; }}
QFrame#panel QPushButton:checked {{ background: {ACCENT}; border-color: {ACCENT}; color: {BACKGROUND}; }}
QFrame#panel QPushButton[role="stage"] {{ min-height: 56px; }}
QFrame#panel QPushButton[role="alarm"] {{ min-height: 56px; }}
QFrame#panel QPushButton[role="alarm"]:checked {{ background: {ALARM}; border-color: {ALARM}; color: {BACKGROUND}; }}
QFrame#panel QPushButton[role="quiet"] {{
    background: transparent; border-color: {LINE}; color: {MUTED}; min-height: 22px; max-height: 22px; padding: 0 10px;
}}
QFrame#panel QPushButton[role="quiet"]:hover {{ color: {TEXT}; border-color: {FAINT}; }}
QFrame#help {{ background: {PANEL}; border: 1px solid {LINE}; border-radius: 8px; }}
QFrame#help QLabel {{ background: transparent; }}
QScrollArea {{ border: none; }}
QScrollBar:vertical {{ background: transparent; width: 8px; margin: 0; }}
QScrollBar::handle:vertical {{ background: {LINE}; border-radius: 4px; min-height: 24px; }}
QScrollBar::add-line, QScrollBar::sub-line {{ height: 0; }}
QScrollBar::add-page, QScrollBar::sub-page {{ background: transparent; }}
QLineEdit {{ background: {BACKGROUND}; border: 1px solid {LINE}; border-radius: 6px; padding: 5px 9px; }}
QToolTip {{ background: {RAISED}; color: {TEXT}; border: 1px solid {LINE}; padding: 6px; }}
"""


def font(pixels: int = BODY, *, bold: bool = False) -> QFont:
    """The house typeface at a height in pixels, with figures of equal width so that numbers do not dance."""
    installed = set(QFontDatabase.families())
    face = QFont(next((name for name in _FAMILIES if name in installed), QFont().family()))
    face.setPixelSize(pixels)
    face.setWeight(QFont.Weight.DemiBold if bold else QFont.Weight.Normal)
    if hasattr(face, "setFeature"):  # Qt 6.7
        face.setFeature(QFont.Tag("tnum"), 1)
    return face


def color(name: str, alpha: float = 1.0) -> QColor:
    """A colour of this palette with an opacity of 0..1."""
    shade = QColor(name)
    shade.setAlphaF(alpha)
    return shade


def heat_table() -> NDArray[np.uint8]:
    """Colours [256, 3] of the mel picture: panel, through the accent, to warm white."""
    stops = np.array([0.0, 0.35, 0.75, 1.0])
    shades = [QColor(name) for name in (PANEL, "#5c3a1c", ACCENT, "#fff3e0")]
    at = np.linspace(0.0, 1.0, 256)
    channels = np.array([(shade.red(), shade.green(), shade.blue()) for shade in shades]).T
    return np.stack([np.interp(at, stops, channel) for channel in channels], axis=1).astype(np.uint8)


def icon() -> QIcon:
    """The mark of the program: a drop of sound and its rings."""
    pixmap = QPixmap(128, 128)
    pixmap.fill(Qt.GlobalColor.transparent)
    painter = QPainter(pixmap)
    painter.setRenderHint(QPainter.RenderHint.Antialiasing)
    painter.setPen(Qt.PenStyle.NoPen)
    painter.setBrush(color(BACKGROUND))
    painter.drawRoundedRect(QRectF(0, 0, 128, 128), 26, 26)
    painter.setBrush(color(ACCENT))
    painter.drawEllipse(QPointF(64, 64), 9, 9)
    painter.setBrush(Qt.BrushStyle.NoBrush)
    for radius, alpha in ((22, 0.9), (36, 0.55), (50, 0.25)):
        painter.setPen(QPen(color(ACCENT, alpha), 5))
        painter.drawEllipse(QPointF(64, 64), radius, radius)
    painter.end()
    return QIcon(pixmap)


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
        (QPalette.ColorRole.Highlight, ACCENT),
        (QPalette.ColorRole.HighlightedText, BACKGROUND),
    ):
        palette.setColor(role, QColor(name))
    app.setPalette(palette)
    app.setFont(font())
    app.setStyleSheet(STYLESHEET)
    app.setWindowIcon(icon())
