"""A fader: one float control of the registry as a bar that is its own name, scale and figure.

All on the Qt thread.
"""

from __future__ import annotations

from PySide6.QtCore import QPointF, QRectF, QSize, Qt, Signal
from PySide6.QtGui import QKeyEvent, QMouseEvent, QPainter, QPainterPath, QPaintEvent, QPen, QWheelEvent
from PySide6.QtWidgets import QSizePolicy, QSlider

from engine.control.registry import Control
from gui import style


class Fader(QSlider):
    """One float control: name on the left, figure on the right, the bar beneath both.

    A click or drag sets the value; Shift drags ten times finer; a double click or Delete puts the default back; the
    wheel and the arrow keys step by 1/100 of the travel. `moved` carries the new value in the control's unit. `name`
    stands in the place of the control's own; `tall` in that of the usual height.
    """

    moved = Signal(str, float)
    STEPS = 1000
    INSET = 9  # of the words, at 1280×800

    def __init__(self, control: Control, name: str | None = None, tall: float = 28) -> None:
        super().__init__(Qt.Orientation.Horizontal)
        self.control = control
        self.name = label(control) if name is None else name
        self._tall = tall
        self.setRange(0, self.STEPS)
        self.setSingleStep(self.STEPS // 100)
        self.setPageStep(self.STEPS // 10)
        self.setSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Preferred)
        self.setMinimumHeight(style.px(22))
        self.setMaximumHeight(style.px(tall))
        self.setFocusPolicy(Qt.FocusPolicy.TabFocus)
        self.setCursor(Qt.CursorShape.PointingHandCursor)
        self.setAccessibleName(control.name)
        self.setToolTip(f"{control.description}\n{control.address()}")
        self._value = float(control.default)
        self._drag: tuple[float, float] | None = None  # fraction and x where the drag began, for fine moves
        self._show()
        self.valueChanged.connect(lambda step: self._move(step / self.STEPS))

    @property
    def shown(self) -> float:
        """The value that stands on the bar, in the control's unit."""
        return self._value

    def sizeHint(self) -> QSize:
        return QSize(style.px(130), style.px(self._tall))

    def minimumSizeHint(self) -> QSize:
        return QSize(style.px(60), style.px(22))

    def show_value(self, value: float) -> None:
        """Shows what the desk says, without moving anything on the desk."""
        if value != self._value:
            self._value = value
            self._show()

    def _show(self) -> None:
        self.blockSignals(True)
        self.setValue(round(self.control.fraction(self._value) * self.STEPS))
        self.blockSignals(False)
        self.update()

    def _move(self, fraction: float) -> None:
        self._value = self.control.at(fraction)
        self._show()
        self.moved.emit(self.control.name, self._value)

    def _reset(self) -> None:
        self._value = float(self.control.default)
        self._show()
        self.moved.emit(self.control.name, self._value)

    def mousePressEvent(self, event: QMouseEvent) -> None:
        if event.button() != Qt.MouseButton.LeftButton:
            event.ignore()
            return
        self.setSliderDown(True)
        self._drag = self.control.fraction(self._value), event.position().x()
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
        x, width = event.position().x(), max(self.width() - 1, 1)
        if event.modifiers() & Qt.KeyboardModifier.ShiftModifier and self._drag is not None:
            began, from_x = self._drag
            fraction = began + 0.1 * (x - from_x) / width
        else:
            fraction = x / width
        self._move(min(max(fraction, 0.0), 1.0))

    def wheelEvent(self, event: QWheelEvent) -> None:
        self._move(min(max(self.control.fraction(self._value) + event.angleDelta().y() / 120 / 100, 0.0), 1.0))
        event.accept()

    def keyPressEvent(self, event: QKeyEvent) -> None:
        if event.modifiers() & Qt.KeyboardModifier.ControlModifier:
            event.ignore()  # these are the show's
        elif event.key() in (Qt.Key.Key_Delete, Qt.Key.Key_Backspace):
            self._reset()
        elif event.key() in (Qt.Key.Key_Home, Qt.Key.Key_End, Qt.Key.Key_PageUp, Qt.Key.Key_PageDown):
            event.ignore()  # these are the show's
        else:
            super().keyPressEvent(event)

    def paintEvent(self, event: QPaintEvent) -> None:
        painter = QPainter(self)
        painter.setRenderHint(QPainter.RenderHint.Antialiasing)
        control, radius = self.control, style.px(5)
        room = QRectF(self.rect()).adjusted(0.5, 0.5, -0.5, -0.5)
        at = room.left() + room.width() * control.fraction(self._value)
        rest = room.left() + room.width() * control.fraction(float(control.default))
        moved, lit = abs(at - rest) > 1.0, self.hasFocus() or self.underMouse()

        painter.setPen(Qt.PenStyle.NoPen)
        painter.setBrush(style.color(style.HOVER if lit else style.RAISED))
        painter.drawRoundedRect(room, radius, radius)
        both_ways = control.minimum < 0 < control.maximum
        start = room.left() + (room.width() * control.fraction(0.0) if both_ways else 0.0)
        # The scale runs along the foot of the bar, so that it never lies under the words; a tint tells it from afar.
        shape = QPainterPath()
        shape.addRoundedRect(room, radius, radius)
        painter.setClipPath(shape)
        foot = style.px(3)
        filled = QRectF(min(start, at), room.top(), abs(at - start), room.height())
        painter.fillRect(filled, style.color(style.ACCENT, 0.20) if moved else style.color(style.TEXT, 0.05))
        painter.fillRect(QRectF(room.left(), room.bottom() - foot, room.width(), foot), style.color(style.LINE))
        filled.setTop(room.bottom() - foot)
        painter.fillRect(filled, style.color(style.ACCENT if moved else style.FAINT))
        painter.fillRect(QRectF(rest - 0.75, room.bottom() - foot, 1.5, foot), style.color(style.MUTED))
        edge = min(max(at, room.left() + 1), room.right() - 1)
        tip = QRectF(edge - style.px(1.5), room.bottom() - 3 * foot, style.px(3), 3 * foot)
        painter.fillRect(tip, style.color(style.TEXT if lit or moved else style.MUTED))
        painter.setClipping(False)
        self._write(painter, room.adjusted(0, 0, 0, -foot), lit or moved)
        outline = style.COOL if self.property("learned") else style.MUTED if self.hasFocus() else ""
        if outline:
            painter.setBrush(Qt.BrushStyle.NoBrush)
            painter.setPen(QPen(style.color(outline), 2 if outline == style.COOL else 1))
            painter.drawRoundedRect(room, radius, radius)
        painter.end()

    def _write(self, painter: QPainter, room: QRectF, lit: bool) -> None:
        """Name and figure, a factor without its sign; where both do not fit, the end of the name goes."""
        inset = style.px(self.INSET)
        words = room.adjusted(inset, 0, -inset, 0)
        painter.setFont(style.face(style.SMALL + 1))
        measure = painter.fontMetrics()
        figure = reading(self.control, self._value).removesuffix(" ×")
        painter.setPen(style.color(style.TEXT))
        painter.drawText(words, Qt.AlignmentFlag.AlignVCenter | Qt.AlignmentFlag.AlignRight, figure)
        left = words.adjusted(0, 0, -measure.horizontalAdvance(figure) - inset / 2, 0)
        name = measure.elidedText(self.name, Qt.TextElideMode.ElideRight, int(left.width()) + 1)
        painter.setPen(style.color(style.TEXT if lit else style.MUTED))
        painter.drawText(left, Qt.AlignmentFlag.AlignVCenter, name)

    def place_of(self, fraction: float) -> QPointF:
        """The point of the bar that stands for 0..1 of its travel."""
        return QPointF(fraction * max(self.width() - 1, 1), self.height() / 2)


def label(control: Control, group: str = "") -> str:
    """The name of a control as words: "sound/weight" reads "Sound weight", in a group called "sound" just "Weight"."""
    name = control.name.removeprefix(group + "/") if group else control.name
    return name.replace("/", " ").replace("_", " ").capitalize()


def reading(control: Control, value: float) -> str:
    """The value as a performer reads it: percent for a plain 0..1 or 0..1.5, else a figure with its unit."""
    if control.unit == "bpm" and value == 0:
        return "auto"
    if control.step:
        return f"{value:.0f}"
    if not control.unit:
        return f"{100 * value:.0f} %".replace("-", "−")
    if control.minimum < 0:
        return f"{value:+.1f} {control.unit}".replace("-", "−")
    return f"{value:.2f} {control.unit}" if control.maximum < 10 else f"{value:.1f} {control.unit}"
