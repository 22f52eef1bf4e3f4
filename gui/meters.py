"""What draws sound: level, lamps, the beat of a bar, the mel picture. Each shows what it is told. Qt thread."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from PySide6.QtCore import QPointF, QRectF, QSize, Qt
from PySide6.QtGui import QImage, QPainter, QPaintEvent
from PySide6.QtWidgets import QSizePolicy, QWidget

from gui import style

QUIET_DB, FLOOR_DB = -50.0, -60.0
"""Under `QUIET_DB` for a while the sound is too quiet to read; the meter begins at `FLOOR_DB`, dBFS."""
HOT_DB = -6.0

MEL_COLUMNS = 160  # 16 s at the ten columns a second in which the engine tells its status
MEL_RANGE = (-1.0, 1.5)


class LevelMeter(QWidget):
    """Loudness in dBFS with a scale, a peak that stays for a moment, and marks for too loud and too quiet."""

    FALL_DB = 0.7  # how far the peak mark falls each time it is shown
    MARKS = (-60, -50, -40, -30, -20, -10, 0)

    def __init__(self) -> None:
        super().__init__()
        self.setSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Fixed)
        self.db, self.peak_db = FLOOR_DB, FLOOR_DB
        self.clip = False

    def sizeHint(self) -> QSize:
        return QSize(style.px(200), style.px(34))

    def show_level(self, rms_db: float, *, clip: bool) -> None:
        """Shows a loudness in dBFS; `clip` lights the end of the scale."""
        db = min(max(rms_db, FLOOR_DB), 0.0) if np.isfinite(rms_db) else FLOOR_DB
        peak_db = max(db, self.peak_db - self.FALL_DB)
        if (db, peak_db, clip) != (self.db, self.peak_db, self.clip):
            self.db, self.peak_db, self.clip = db, peak_db, clip
            self.update()

    def paintEvent(self, event: QPaintEvent) -> None:
        painter = QPainter(self)
        lamp, thick = style.px(12), style.px(16)
        width = self.width() - lamp - style.px(3)

        def x(db: float) -> float:
            return width * (1 - db / FLOOR_DB)

        painter.fillRect(QRectF(0, 0, width, thick), style.color(style.RAISED))
        painter.fillRect(QRectF(0, 0, x(QUIET_DB), thick), style.color(style.BACKGROUND))
        for low, high, shade in (
            (FLOOR_DB, QUIET_DB, style.FAINT),
            (QUIET_DB, HOT_DB, style.GOOD),
            (HOT_DB, 0.0, style.ACCENT),
        ):
            if self.db > low:
                painter.fillRect(QRectF(x(low), 0, x(min(self.db, high)) - x(low), thick), style.color(shade))
        if self.peak_db > FLOOR_DB:
            painter.fillRect(QRectF(x(self.peak_db) - 2, 0, 2, thick), style.color(style.TEXT))
        shade = style.ALARM if self.clip else style.RAISED
        painter.fillRect(QRectF(self.width() - lamp, 0, lamp, thick), style.color(shade))
        painter.setFont(style.face(style.TINY))
        painter.setPen(style.color(style.FAINT))
        for db in self.MARKS:
            side = Qt.AlignmentFlag.AlignLeft if db == self.MARKS[0] else Qt.AlignmentFlag.AlignHCenter
            left = 0.0 if db == self.MARKS[0] else x(db) - 20
            room = QRectF(left, thick + style.px(2), 40, style.px(15))
            painter.drawText(room, side | Qt.AlignmentFlag.AlignTop, f"{db}".replace("-", "−"))
        painter.end()


class Light(QWidget):
    """A lamp with a brightness of 0..1."""

    def __init__(self, shade: str = style.ACCENT) -> None:
        super().__init__()
        self._shade = shade
        self.setFixedSize(style.px(20), style.px(20))
        self.value = 0.0

    def show_value(self, value: float) -> None:
        """Lights the lamp; 0 is off."""
        fresh = min(max(value, 0.0), 1.0) if np.isfinite(value) else 0.0
        if fresh != self.value:
            self.value = fresh
            self.update()

    def paintEvent(self, event: QPaintEvent) -> None:
        painter = QPainter(self)
        painter.setRenderHint(QPainter.RenderHint.Antialiasing)
        painter.setPen(Qt.PenStyle.NoPen)
        centre = QPointF(self.width() / 2, self.height() / 2)
        for radius, alpha in ((9.5, 0.25 * self.value), (6.0, 1.0)):
            painter.setBrush(style.color(self._shade, alpha) if alpha < 1 else style.color(style.LINE))
            painter.drawEllipse(centre, style.px(radius), style.px(radius))
        painter.setBrush(style.color(self._shade, self.value))
        painter.drawEllipse(centre, style.px(6), style.px(6))
        painter.end()


class BarOfBeats(QWidget):
    """The four beats of a bar; the one that is now is lit, and fades until the next."""

    FADE = 0.86  # of its brightness, each time it is shown

    def __init__(self, beats: int = 4) -> None:
        super().__init__()
        self._beats = beats
        self.beat, self.value = 0, 0.0
        self.setFixedSize(style.px(16) * beats, style.px(20))

    def show_beat(self, beat: int) -> None:
        """The beat that is now, 1 for the first of the bar; 0 without one."""
        if beat != self.beat:
            self.beat, self.value = beat, 1.0
        elif self.value < 0.02 and beat:
            return
        else:
            self.value *= self.FADE
        self.update()

    def paintEvent(self, event: QPaintEvent) -> None:
        painter = QPainter(self)
        painter.setRenderHint(QPainter.RenderHint.Antialiasing)
        painter.setPen(Qt.PenStyle.NoPen)
        step = self.width() / self._beats
        for number in range(1, self._beats + 1):
            room = QRectF((number - 1) * step, self.height() / 2 - style.px(4.5), step - style.px(4), style.px(9))
            painter.setBrush(style.color(style.LINE))
            painter.drawRoundedRect(room, 2, 2)
            if number == self.beat:
                painter.setBrush(style.color(style.ACCENT if number == 1 else style.TEXT, 0.25 + 0.75 * self.value))
                painter.drawRoundedRect(room, 2, 2)
        painter.end()


class MelPicture(QWidget):
    """What the encoder hears, newest on the right: one column of mel bands for every status that came."""

    SCALE = ((40, "40"), (200, "200"), (1000, "1k"), (4000, "4k"), (16000, "16k"))

    def __init__(self) -> None:
        super().__init__()
        self.setSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Expanding)
        self.setMinimumHeight(60)
        self.columns: NDArray[np.float32] | None = None
        self._pixels: NDArray[np.uint8] | None = None
        self._table = style.heat_table()

    def push(self, mel: Sequence[float]) -> None:
        """Moves the picture on by one column of bands, lowest first, each −2..2."""
        column = np.asarray(mel, np.float32)
        if column.ndim != 1 or column.size == 0 or not np.isfinite(column).all():
            return
        if self.columns is None or self._pixels is None or self.columns.shape[0] != column.size:
            self.columns = np.full((column.size, MEL_COLUMNS), -2.0, np.float32)
            self._pixels = np.empty((column.size, MEL_COLUMNS, 3), np.uint8)
            self._pixels[:] = self._table[0]
        low, high = MEL_RANGE
        heat = np.clip((column - low) / (high - low) * 255, 0, 255).astype(np.uint8)
        for table, newest in ((self.columns, column), (self._pixels, self._table[heat][::-1])):
            table[:, :-1] = table[:, 1:]
            table[:, -1] = newest
        self.update()

    def paintEvent(self, event: QPaintEvent) -> None:
        painter = QPainter(self)
        painter.setRenderHint(QPainter.RenderHint.SmoothPixmapTransform)
        room = QRectF(self.rect())
        painter.fillRect(room, style.color("#0a0b0c"))
        if self._pixels is not None:
            height, width = self._pixels.shape[:2]
            image = QImage(self._pixels.data, width, height, 3 * width, QImage.Format.Format_RGB888)
            painter.drawImage(room, image)
        painter.setFont(style.face(style.TINY))
        painter.setPen(style.color(style.TEXT, 0.45))
        bottom, top = _htk(self.SCALE[0][0]), _htk(self.SCALE[-1][0])
        for hertz, words in self.SCALE[1:-1]:
            y = room.height() * (1 - (_htk(hertz) - bottom) / (top - bottom))
            painter.drawText(QRectF(style.px(4), y - 8, 60, 16), Qt.AlignmentFlag.AlignVCenter, words)
        painter.end()


def _htk(hertz: float) -> float:
    """The mel scale of the picture's rows, HTK's."""
    return float(2595.0 * np.log10(1.0 + hertz / 700.0))
