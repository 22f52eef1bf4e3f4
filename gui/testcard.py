"""Cards that stand in for the picture: a test card that lines up a projector, a loading card before the first frame.

Both are drawn at the size of the window, so that one line is one pixel of the wall. The application must exist.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from PySide6.QtCore import QLineF, QPointF, QRectF, Qt
from PySide6.QtGui import QBrush, QColor, QFontMetricsF, QImage, QPainter, QPen

from gui import style

BAR_PERIOD_S = 4.0
"""Time the moving bar takes from edge to edge: an uneven run shows a dropped or doubled picture."""

_BARS = ("#c0c0c0", "#c0c000", "#00c0c0", "#00c000", "#c000c0", "#c00000", "#0000c0")  # 75 % bars in their usual order
_CELLS = 9  # grid cells from top to bottom, square
_MINIMUM = 64  # below this nothing on the card could be read


def draw_test_card(width: int, height: int, name: str, rate_hz: float) -> NDArray[np.uint8]:
    """The still part of the test card, uint8 RGBA [height, width, 4].

    Square grid, circle (an ellipse tells of a wrong aspect), border of one pixel, 75 % colour bars, grey steps, in each
    corner a chequer of single pixels (even where pixels are shown one to one, beating where a projector scales them),
    and in words the display's name, size and refresh rate.
    """
    image = QImage(max(width, _MINIMUM), max(height, _MINIMUM), QImage.Format.Format_RGBA8888)
    image.fill(QColor("#101214"))
    painter = QPainter(image)
    across, down = image.width(), image.height()
    cell = down / _CELLS
    middle = QPointF(across / 2, down / 2)

    painter.setPen(QPen(QColor("#4a5056"), 1))
    columns = int(across / 2 / cell) + 1
    for step in range(-columns, columns):
        x = round(middle.x() + (step + 0.5) * cell) + 0.5
        painter.drawLine(QLineF(x, 0, x, down))
    for step in range(_CELLS + 1):
        y = min(round(step * cell), down - 1) + 0.5
        painter.drawLine(QLineF(0, y, across, y))

    painter.setRenderHint(QPainter.RenderHint.Antialiasing)
    painter.setPen(QPen(QColor("#e8e8e8"), max(1.5, down / 500)))
    radius = min(across, down) / 2 - cell / 2
    painter.drawEllipse(middle, radius, radius)
    painter.setRenderHint(QPainter.RenderHint.Antialiasing, on=False)

    chequer = QBrush(QColor("#ffffff"), Qt.BrushStyle.Dense4Pattern)
    for x in (round(cell / 2), round(across - 1.5 * cell)):
        for y in (round(cell / 2), round(down - 1.5 * cell)):
            room = QRectF(x, y, round(cell), round(cell))
            painter.fillRect(room, QColor("#000000"))
            painter.fillRect(room, chequer)

    wide = min(across * 0.62, cell * 9)
    left = middle.x() - wide / 2
    _strip(painter, QRectF(left, cell * 2, wide, cell * 2), [QColor(name) for name in _BARS])
    _strip(painter, QRectF(left, cell * 6, wide, cell), [QColor.fromRgbF(v, v, v) for v in np.linspace(0.0, 1.0, 11)])

    painter.fillRect(QRectF(left, cell * 4, wide, cell * 2), QColor("#08090a"))
    painter.setPen(QColor("#ffffff"))
    size = max(10, round(cell * 0.62))
    while size > 10 and QFontMetricsF(style.font(size, bold=True)).horizontalAdvance(name) > 0.94 * wide:
        size -= 1
    painter.setFont(style.font(size, bold=True))
    painter.drawText(QRectF(left, cell * 4.12, wide, cell), Qt.AlignmentFlag.AlignCenter, name)
    painter.setPen(QColor("#b8bcc0"))
    painter.setFont(style.font(max(9, round(cell * 0.4))))
    rate = f"   {rate_hz:.4g} Hz" if rate_hz > 0 else ""
    room = QRectF(left, cell * 4.98, wide, cell * 0.8)
    painter.drawText(room, Qt.AlignmentFlag.AlignCenter, f"{width} × {height}{rate}")

    painter.setPen(QPen(QColor("#ffffff"), 1))
    painter.drawRect(QRectF(0.5, 0.5, across - 1, down - 1))
    painter.end()
    return _pixels(image)


def moving_bar(seconds: float) -> tuple[float, float, float, float]:
    """The moving part at a time: (x, y, width, height) as parts of the window."""
    phase = seconds / BAR_PERIOD_S % 1.0
    width = 0.006
    return phase * (1.0 - width), 7.25 / _CELLS, width, 0.5 / _CELLS


def draw_loading_card(width: int, height: int, line: str) -> NDArray[np.uint8]:
    """A dark card with one quiet line, uint8 RGBA [height, width, 4]."""
    image = QImage(max(width, _MINIMUM), max(height, _MINIMUM), QImage.Format.Format_RGBA8888)
    image.fill(QColor(style.BACKGROUND))
    painter = QPainter(image)
    painter.setRenderHint(QPainter.RenderHint.Antialiasing)
    across, down = image.width(), image.height()
    unit = max(down / 40, 11)
    middle = QPointF(across / 2, down / 2 - 3.2 * unit)
    painter.setBrush(style.color(style.ACCENT))
    painter.setPen(Qt.PenStyle.NoPen)
    painter.drawEllipse(middle, unit * 0.22, unit * 0.22)
    painter.setBrush(Qt.BrushStyle.NoBrush)
    for ring, alpha in ((0.7, 0.8), (1.2, 0.4), (1.7, 0.18)):
        painter.setPen(QPen(style.color(style.ACCENT, alpha), unit * 0.1))
        painter.drawEllipse(middle, unit * ring, unit * ring)
    painter.setPen(style.color(style.MUTED))
    painter.setFont(style.font(round(unit)))
    room = QRectF(across * 0.05, down / 2 - unit * 0.5, across * 0.9, unit * 4)
    flags = int(Qt.AlignmentFlag.AlignHCenter | Qt.AlignmentFlag.AlignTop | Qt.TextFlag.TextWordWrap)
    painter.drawText(room, flags, line)
    painter.end()
    return _pixels(image)


def _strip(painter: QPainter, room: QRectF, shades: list[QColor]) -> None:
    """Fills a rectangle with equal columns that touch each other exactly."""
    edges = [round(room.left() + room.width() * i / len(shades)) for i in range(len(shades) + 1)]
    for shade, start, end in zip(shades, edges, edges[1:], strict=False):
        painter.fillRect(QRectF(start, round(room.top()), end - start, round(room.height())), shade)


def _pixels(image: QImage) -> NDArray[np.uint8]:
    """The pixels of an RGBA8888 image as an array of their own."""
    rows = np.frombuffer(image.constBits(), np.uint8).reshape(image.height(), image.bytesPerLine())
    return rows[:, : image.width() * 4].reshape(image.height(), image.width(), 4).copy()
