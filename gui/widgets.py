"""The small parts of the control window: panels, texts, buttons, a choice as buttons or as a list.

They show what they are told and keep no state of the show. All on the Qt thread.
"""

from __future__ import annotations

from collections.abc import Sequence

from PySide6.QtCore import QPointF, Qt, Signal
from PySide6.QtGui import QKeyEvent, QPainter, QPaintEvent, QPen, QWheelEvent
from PySide6.QtWidgets import QComboBox, QFrame, QHBoxLayout, QLabel, QPushButton, QSizePolicy, QVBoxLayout, QWidget

from gui import style

SEGMENTS = 5
"""A choice of more options than this is a list."""
SEGMENT_LETTERS = 20
"""The same for the length of all its names together."""


class Button(QPushButton):
    """A button that Return presses and Space does not: Space is the show's, and freezes the picture."""

    def __init__(self, words: str, role: str = "", tip: str = "") -> None:
        super().__init__(words)
        self.setFocusPolicy(Qt.FocusPolicy.TabFocus)
        self.setFont(style.face(style.SMALL))
        self.setProperty("role", role)
        if tip:
            self.setToolTip(tip)

    def keyPressEvent(self, event: QKeyEvent) -> None:
        if event.key() in (Qt.Key.Key_Return, Qt.Key.Key_Enter):
            self.click()
        else:
            event.ignore()


class List(QComboBox):
    """A list of names that shows by a mark that there are more.

    Return opens it and arrows step; every other key is the show's, and a wheel that passes over it changes nothing.
    """

    def __init__(self) -> None:
        super().__init__()
        self.setFocusPolicy(Qt.FocusPolicy.TabFocus)
        self.setSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Expanding)

    def keyPressEvent(self, event: QKeyEvent) -> None:
        if event.key() in (Qt.Key.Key_Return, Qt.Key.Key_Enter):
            self.showPopup()
        elif event.key() in (Qt.Key.Key_Up, Qt.Key.Key_Down):
            super().keyPressEvent(event)
        else:
            event.ignore()

    def wheelEvent(self, event: QWheelEvent) -> None:
        event.ignore()

    def paintEvent(self, event: QPaintEvent) -> None:
        super().paintEvent(event)
        painter = QPainter(self)
        painter.setRenderHint(QPainter.RenderHint.Antialiasing)
        painter.setPen(QPen(style.color(style.MUTED), style.px(1.5)))
        at, reach = QPointF(self.width() - style.px(14), self.height() / 2), style.px(3.5)
        left, foot, right = QPointF(-reach, -reach / 2), QPointF(0, reach / 2), QPointF(reach, -reach / 2)
        painter.drawPolyline([at + left, at + foot, at + right])
        painter.end()


class Choice(QWidget):
    """One of several names: a row of buttons for a few, a list for many, which `words` then introduce.

    `chosen` carries the name.
    """

    chosen = Signal(str)

    def __init__(self, name: str, tip: str = "", words: str = "") -> None:
        super().__init__()
        self.options: tuple[str, ...] = ()
        self.value = ""
        self._tip, self._words = tip, words
        self.buttons: dict[str, Button] = {}
        self.box: List | None = None
        self.setAccessibleName(name)
        self._layout = QHBoxLayout(self)
        self._layout.setContentsMargins(0, 0, 0, 0)
        self._layout.setSpacing(1)

    def show_value(self, options: Sequence[str], value: str) -> bool:
        """Shows the options and which of them holds; True when the options are others than before."""
        fresh = tuple(options) != self.options
        if fresh:
            self.options = tuple(options)
            self._build()
        if fresh or value != self.value:
            self.value = value
            for option, button in self.buttons.items():
                button.setChecked(option == value)
            if self.box is not None:
                self.box.setCurrentIndex(self.box.findData(value))
        return fresh

    def _build(self) -> None:
        while (item := self._layout.takeAt(0)) is not None:
            if (widget := item.widget()) is not None:
                widget.hide()
                widget.deleteLater()
        self.buttons, self.box = {}, None
        if len(self.options) <= SEGMENTS and sum(map(len, self.options)) <= SEGMENT_LETTERS:
            for at, option in enumerate(self.options):
                button = self.buttons[option] = Button(option, "segment", self._tip)
                ends = {(True, True): "both", (True, False): "left", (False, True): "right"}
                button.setProperty("end", ends.get((at == 0, at == len(self.options) - 1), ""))
                button.setCheckable(True)
                button.clicked.connect(lambda _, option=option: self._choose(option))
                self._layout.addWidget(button)
        else:
            self.box = List()
            self.box.setToolTip(self._tip)
            for option in self.options:
                self.box.addItem(f"{self._words}  {option}" if self._words else option, option)
            self.box.activated.connect(lambda row: self._choose(self.options[row]))
            self._layout.addWidget(self.box)

    def _choose(self, option: str) -> None:
        for name, button in self.buttons.items():  # the desk says which, at the next look
            button.setChecked(name == self.value)
        self.chosen.emit(option)


def panel(title: str, *beside: QWidget) -> tuple[QFrame, QVBoxLayout]:
    """A panel with its title and, at the right of it, whatever else belongs to its head."""
    frame = QFrame()
    frame.setObjectName("panel")
    layout = QVBoxLayout(frame)
    layout.setContentsMargins(style.px(style.PAD), style.px(9), style.px(style.PAD), style.px(style.PAD))
    layout.setSpacing(style.px(7))
    if title or beside:
        head = QHBoxLayout()
        head.setSpacing(style.px(6))
        head.addWidget(heading(title))
        head.addStretch(1)
        for widget in beside:
            head.addWidget(widget)
        layout.addLayout(head)
    return frame, layout


def row(*widgets: QWidget, gap: float = 6) -> QHBoxLayout:
    """Widgets side by side, each as wide as the other where it may be."""
    line = QHBoxLayout()
    line.setSpacing(style.px(gap))
    for widget in widgets:
        line.addWidget(widget)
    return line


def heading(words: str) -> QLabel:
    """The title of a panel or a group."""
    return text(words.upper(), style.TINY, "title", bold=True)


def text(words: str, size: float = style.BODY, role: str = "figure", *, bold: bool = False) -> QLabel:
    """A line of text; `role` gives its colour."""
    line = QLabel(words)
    line.setFont(style.face(size, bold=bold))
    line.setTextFormat(Qt.TextFormat.PlainText)
    line.setProperty("role", role)
    return line


def elastic(line: QLabel) -> QLabel:
    """A text that takes the room there is and is shortened to it."""
    line.setSizePolicy(QSizePolicy.Policy.Ignored, QSizePolicy.Policy.Preferred)
    return line


def say(line: QLabel, words: object, role: str) -> None:
    """Changes what a text says, on one line, and in which colour; shortened where the text is elastic."""
    whole = " ".join(str(words).split())
    room = line.width() if line.sizePolicy().horizontalPolicy() == QSizePolicy.Policy.Ignored else 10_000
    short = line.fontMetrics().elidedText(whole, Qt.TextElideMode.ElideRight, room)
    if line.text() != short:
        line.setText(short)
        line.setToolTip(whole if short != whole else "")
    if line.property("role") != role:
        line.setProperty("role", role)
        line.style().polish(line)
