"""The instruments of the control window: each draws one thing it is told and keeps no state of the show.

Only the fader talks back, through its signal. All on the Qt thread.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pyqtgraph as pg
from numpy.typing import NDArray
from PySide6.QtCore import QPointF, QRectF, QSize, Qt, Signal
from PySide6.QtGui import QKeyEvent, QMouseEvent, QPainter, QPaintEvent, QResizeEvent, QWheelEvent
from PySide6.QtWidgets import QPushButton, QSizePolicy, QSlider, QVBoxLayout, QWidget

from engine.control.registry import Control
from gui import style
from gui.surface import as_image, placement

QUIET_DB, FLOOR_DB = -50.0, -60.0
"""Under `QUIET_DB` for a while the sound is too quiet to read; the meter begins at `FLOOR_DB`, dBFS."""

MEL_COLUMNS = 160  # 16 s at the ten columns a second in which the engine tells its status


class Fader(QSlider):
    """One float control of the registry on one row: name, track, value.

    A click or drag on the track sets the value; Shift drags ten times finer; a double click or Delete puts the default
    back; the wheel and the arrow keys step by 1/100 of the travel. `moved` carries the new value in the control's unit.
    """

    moved = Signal(str, float)
    STEPS = 1000
    NAME_WIDTH, VALUE_WIDTH = 124, 82

    def __init__(self, control: Control) -> None:
        super().__init__(Qt.Orientation.Horizontal)
        self.control = control
        self.setRange(0, self.STEPS)
        self.setSingleStep(self.STEPS // 100)
        self.setPageStep(self.STEPS // 10)
        self.setMinimumHeight(27)
        self.setMaximumHeight(44)
        self.setFocusPolicy(Qt.FocusPolicy.TabFocus)
        self.setCursor(Qt.CursorShape.PointingHandCursor)
        self.setAccessibleName(control.name)
        self.setToolTip(f"{control.description}\n{control.address()}")
        self._value = float(control.default)
        self._drag: tuple[float, float] | None = None  # fraction and x where the drag began, for fine moves
        self.show_value(self._value)
        self.valueChanged.connect(lambda step: self._move(step / self.STEPS))

    @property
    def shown(self) -> float:
        """The value that stands on the row, in the control's unit."""
        return self._value

    def show_value(self, value: float) -> None:
        """Shows what the desk says, without moving anything on the desk."""
        if value != self._value or not self.isSliderDown():
            self._value = value
            self.blockSignals(True)
            self.setValue(round(self.control.fraction(value) * self.STEPS))
            self.blockSignals(False)
            self.update()

    def _move(self, fraction: float) -> None:
        self._value = self.control.at(fraction)
        self.update()
        self.moved.emit(self.control.name, self._value)

    def _reset(self) -> None:
        self._value = float(self.control.default)
        self.moved.emit(self.control.name, self._value)

    def _track(self) -> QRectF:
        left, right = self.NAME_WIDTH, self.width() - self.VALUE_WIDTH
        return QRectF(left, self.height() / 2 - 2, max(right - left, 1), 4)

    def mousePressEvent(self, event: QMouseEvent) -> None:
        if event.button() != Qt.MouseButton.LeftButton:
            event.ignore()
            return
        self.setSliderDown(True)
        self._drag = self.control.fraction(self._value), event.position().x()
        track = self._track()
        if track.left() - 8 <= event.position().x() <= track.right() + 8:
            self._follow(event)

    def mouseMoveEvent(self, event: QMouseEvent) -> None:
        if self._drag is not None:
            self._follow(event)

    def mouseReleaseEvent(self, event: QMouseEvent) -> None:
        self._drag = None
        self.setSliderDown(False)

    def mouseDoubleClickEvent(self, event: QMouseEvent) -> None:
        self._reset()

    def _follow(self, event: QMouseEvent) -> None:
        track, x = self._track(), event.position().x()
        if event.modifiers() & Qt.KeyboardModifier.ShiftModifier and self._drag is not None:
            began, from_x = self._drag
            fraction = began + 0.1 * (x - from_x) / track.width()
        else:
            fraction = (x - track.left()) / track.width()
        self._move(min(max(fraction, 0.0), 1.0))

    def wheelEvent(self, event: QWheelEvent) -> None:
        self._move(min(max(self.control.fraction(self._value) + event.angleDelta().y() / 120 / 100, 0.0), 1.0))
        event.accept()

    def keyPressEvent(self, event: QKeyEvent) -> None:
        if event.key() in (Qt.Key.Key_Delete, Qt.Key.Key_Backspace):
            self._reset()
        else:
            super().keyPressEvent(event)

    def paintEvent(self, event: QPaintEvent) -> None:
        painter = QPainter(self)
        painter.setRenderHint(QPainter.RenderHint.Antialiasing)
        track, control = self._track(), self.control
        at = track.left() + track.width() * control.fraction(self._value)
        rest = track.left() + track.width() * control.fraction(float(control.default))
        moved = abs(at - rest) > 0.5
        lit = self.hasFocus() or self.underMouse()

        painter.setFont(style.font(style.BODY))
        painter.setPen(style.color(style.TEXT if lit else style.MUTED))
        painter.drawText(QRectF(0, 0, self.NAME_WIDTH, self.height()), Qt.AlignmentFlag.AlignVCenter, label(control))
        painter.setPen(Qt.PenStyle.NoPen)
        painter.setBrush(style.color(style.LINE))
        painter.drawRoundedRect(track, 2, 2)
        painter.setBrush(style.color(style.ACCENT if moved else style.FAINT))  # what was touched stands out
        both_ways = control.minimum < 0 < control.maximum
        start = track.left() + (track.width() * control.fraction(0.0) if both_ways else 0.0)
        painter.drawRoundedRect(QRectF(min(start, at), track.top(), abs(at - start), track.height()), 2, 2)
        painter.setBrush(style.color(style.FAINT))
        painter.drawRect(QRectF(rest - 0.5, track.bottom() + 4, 1, 4))
        painter.setBrush(style.color(style.TEXT))
        painter.drawEllipse(QPointF(at, track.center().y()), 7 if lit else 6, 7 if lit else 6)
        painter.setPen(style.color(style.TEXT if moved or lit else style.MUTED))
        room = QRectF(self.width() - self.VALUE_WIDTH, 0, self.VALUE_WIDTH, self.height())
        flags = Qt.AlignmentFlag.AlignVCenter | Qt.AlignmentFlag.AlignRight
        painter.drawText(room, flags, reading(control, self._value))
        painter.end()


def label(control: Control) -> str:
    """The name of a control as words: "sound/weight" reads "Sound weight"."""
    return control.name.replace("/", " ").replace("_", " ").capitalize()


def reading(control: Control, value: float) -> str:
    """The value as a performer reads it: percent for a plain 0..1 or 0..1.5, else a figure with its unit."""
    if control.step:
        return f"{value:.0f}"
    if not control.unit:
        return f"{100 * value:.0f} %"
    if control.minimum < 0:
        return f"{value:+.1f} {control.unit}".replace("-", "−")
    return f"{value:.2f} {control.unit}" if control.maximum < 10 else f"{value:.1f} {control.unit}"


class Pad(QPushButton):
    """A preset: its key and its name, shortened where there is no room; lit while it plays."""

    def __init__(self, key: str, name: str) -> None:
        super().__init__()
        self._words = f"{key}   {name}" if key else name
        self.setCheckable(True)
        self.setFocusPolicy(Qt.FocusPolicy.NoFocus)
        self.setSizePolicy(QSizePolicy.Policy.Ignored, QSizePolicy.Policy.Fixed)
        self.setToolTip(name)
        self.setAccessibleName(name)

    def resizeEvent(self, event: QResizeEvent) -> None:
        self.setText(self.fontMetrics().elidedText(self._words, Qt.TextElideMode.ElideRight, self.width() - 26))
        super().resizeEvent(event)


class LevelMeter(QWidget):
    """Loudness in dBFS with a scale, a peak that stays for a moment, and marks for too loud and too quiet."""

    FALL_DB = 0.7  # how far the peak mark falls each time it is shown

    def __init__(self) -> None:
        super().__init__()
        self.setFixedHeight(50)
        self.db, self.peak_db = FLOOR_DB, FLOOR_DB
        self.clip = False

    def show_level(self, rms_db: float, *, clip: bool) -> None:
        """Shows a loudness in dBFS; `clip` lights the end of the scale."""
        self.db = min(max(rms_db, FLOOR_DB), 0.0) if np.isfinite(rms_db) else FLOOR_DB
        self.peak_db = max(self.db, self.peak_db - self.FALL_DB)
        self.clip = clip
        self.update()

    def _x(self, db: float) -> float:
        return (self.width() - 14) * (1 - db / FLOOR_DB)

    def paintEvent(self, event: QPaintEvent) -> None:
        painter = QPainter(self)
        bar = QRectF(0, 4, self.width() - 14, 16)
        painter.fillRect(bar, style.color(style.LINE))
        painter.fillRect(QRectF(0, 4, self._x(self.db), 16), style.color(style.ACCENT))
        if self.peak_db > FLOOR_DB:
            painter.fillRect(QRectF(self._x(self.peak_db) - 1, 4, 2, 16), style.color(style.TEXT))
        painter.fillRect(QRectF(self.width() - 10, 4, 10, 16), style.color(style.ALARM if self.clip else style.LINE))
        painter.setFont(style.font(style.SMALL - 1))
        painter.setPen(style.color(style.FAINT))
        for db in (-60, -40, -20, 0):
            x = self._x(db)
            painter.fillRect(QRectF(min(x, bar.right() - 1), 23, 1, 4), style.color(style.FAINT))
            flags = Qt.AlignmentFlag.AlignTop | (
                Qt.AlignmentFlag.AlignLeft if db == -60 else Qt.AlignmentFlag.AlignHCenter
            )
            left = 0.0 if db == -60 else x - 20
            painter.drawText(QRectF(left, 29, 40, 18), flags, f"{db}".replace("-", "−"))
        painter.end()


class Light(QWidget):
    """A lamp with a brightness of 0..1."""

    def __init__(self) -> None:
        super().__init__()
        self.setFixedSize(26, 26)
        self.value = 0.0

    def show_value(self, value: float) -> None:
        """Lights the lamp; 0 is off."""
        self.value = min(max(value, 0.0), 1.0) if np.isfinite(value) else 0.0
        self.update()

    def paintEvent(self, event: QPaintEvent) -> None:
        painter = QPainter(self)
        painter.setRenderHint(QPainter.RenderHint.Antialiasing)
        painter.setPen(Qt.PenStyle.NoPen)
        centre = QPointF(self.width() / 2, self.height() / 2)
        painter.setBrush(style.color(style.ACCENT, 0.25 * self.value))
        painter.drawEllipse(centre, 13, 13)
        painter.setBrush(style.color(style.LINE))
        painter.drawEllipse(centre, 8, 8)
        painter.setBrush(style.color(style.ACCENT, self.value))
        painter.drawEllipse(centre, 8, 8)
        painter.end()


class MelPicture(QWidget):
    """What the encoder hears, newest on the right: one column of mel bands for every status that came."""

    def __init__(self) -> None:
        super().__init__()
        self.setSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Expanding)
        self.columns: NDArray[np.float32] | None = None
        self._image = pg.ImageItem(axisOrder="row-major")
        self._image.setLookupTable(style.heat_table())
        self._box = pg.ViewBox(enableMouse=False, enableMenu=False, defaultPadding=0.0)
        self._box.setBackgroundColor(style.PANEL)
        self._box.addItem(self._image)
        view = pg.GraphicsView(background=style.PANEL)
        view.setCentralItem(self._box)
        view.setFocusPolicy(Qt.FocusPolicy.NoFocus)
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.addWidget(view)

    def push(self, mel: Sequence[float]) -> None:
        """Moves the picture on by one column of bands, lowest first, each −2..2."""
        column = np.asarray(mel, np.float32)
        if column.ndim != 1 or column.size == 0 or not np.isfinite(column).all():
            return
        if self.columns is None or self.columns.shape[0] != column.size:
            self.columns = np.full((column.size, MEL_COLUMNS), -2.0, np.float32)
        self.columns[:, :-1] = self.columns[:, 1:]
        self.columns[:, -1] = column
        self._image.setImage(self.columns, autoLevels=False, levels=(-1.0, 1.5))
        self._box.setRange(xRange=(0, MEL_COLUMNS), yRange=(0, column.size), padding=0, disableAutoRange=True)


class SceneBars(QWidget):
    """How much each scene is in what is heard: one row a scene, the strongest lit."""

    ROW = 26

    def __init__(self, rows: int = 9) -> None:
        super().__init__()
        self.names: tuple[str, ...] = ()
        self.values = np.zeros(rows)
        self.setFixedHeight(self.ROW * rows)

    def show_values(self, values: Sequence[float], names: Sequence[str]) -> None:
        """Shows readings of 0..1, one for each name."""
        fresh = np.clip(np.nan_to_num(np.asarray(values, float)), 0.0, 1.0)
        if fresh.shape == self.values.shape:
            self.values = self.values + 0.35 * (fresh - self.values)  # calm to look at: a third of the way each time
        else:
            self.values = fresh
            self.setFixedHeight(self.ROW * max(len(fresh), 1))
        self.names = tuple(names)
        self.update()

    def paintEvent(self, event: QPaintEvent) -> None:
        painter = QPainter(self)
        painter.setFont(style.font(style.BODY))
        name_width = 176
        strongest = int(np.argmax(self.values)) if self.values.any() else -1
        for row, value in enumerate(self.values):
            top = row * self.ROW
            name = self.names[row] if row < len(self.names) else ""
            lit = row == strongest
            painter.setPen(style.color(style.TEXT if lit else style.MUTED))
            painter.drawText(QRectF(0, top, name_width, self.ROW), Qt.AlignmentFlag.AlignVCenter, name)
            room = QRectF(name_width, top + self.ROW / 2 - 3, self.width() - name_width, 6)
            painter.fillRect(room, style.color(style.LINE))
            painter.fillRect(
                QRectF(room.left(), room.top(), room.width() * value, room.height()),
                style.color(style.ACCENT if lit else style.FAINT),
            )
        painter.end()


class Preview(QWidget):
    """The newest frame, small, and a word across it when the audience sees something else."""

    def __init__(self, image_size: tuple[int, int]) -> None:
        super().__init__()
        self._aspect = image_size[1] / image_size[0]
        self._rgba: NDArray[np.uint8] | None = None
        self._word, self._level = "", 1.0
        policy = QSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Preferred)
        policy.setHeightForWidth(True)
        self.setSizePolicy(policy)

    def hasHeightForWidth(self) -> bool:
        return True

    def heightForWidth(self, width: int) -> int:
        return round(width / self._aspect)

    def sizeHint(self) -> QSize:
        return QSize(460, self.heightForWidth(460))

    def show_frame(self, rgba: NDArray[np.uint8] | None, word: str, level: float) -> None:
        """`rgba` uint8 [H, W, 4] or None before the first; `word` says why the audience sees something else."""
        if rgba is not self._rgba or word != self._word or level != self._level:
            self._rgba, self._word, self._level = rgba, word, level
            self.update()

    def paintEvent(self, event: QPaintEvent) -> None:
        painter = QPainter(self)
        painter.setRenderHint(QPainter.RenderHint.SmoothPixmapTransform)
        room = self.rect()
        painter.fillRect(room, Qt.GlobalColor.black)
        if self._rgba is not None:
            height, width = self._rgba.shape[:2]
            painter.setOpacity(self._level)
            where = placement((width, height), (room.width(), room.height()), "fit")
            painter.drawImage(QRectF(*where), as_image(self._rgba))
            painter.setOpacity(1.0)
        if self._word:
            strip = QRectF(0, room.height() / 2 - 24, room.width(), 48)
            painter.fillRect(strip, style.color(style.BACKGROUND, 0.8))
            painter.setFont(style.font(style.LARGE, bold=True))
            painter.setPen(style.color(style.TEXT))
            painter.drawText(strip, Qt.AlignmentFlag.AlignCenter, self._word)
        painter.end()
