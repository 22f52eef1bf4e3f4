"""The board: makes the widget of every control and keeps widgets and desk in step.

A panel asks for the widgets it wants by the names of their controls; what no panel has asked for, `left` tells, so that
a new row of the registry is never without a widget. While `learning`, a click on a widget does not move its control but
points at it.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from PySide6.QtCore import QEvent, QObject, Qt, Signal
from PySide6.QtGui import QMouseEvent
from PySide6.QtWidgets import QLineEdit, QWidget
from shiboken6 import isValid

from engine.control.registry import TEXT_LIMIT, Control, Value
from engine.errors import ControlError
from gui.commands import ORIGIN
from gui.fader import Fader, label
from gui.widgets import Button, Choice

if TYPE_CHECKING:
    from engine.view import StageView


TALL = 35
"""Height of a bar among others, where there is room."""
REFUSED_S = 5.0
"""How long it is said that an edit was refused."""


class Board(QObject):
    """Widgets by control. Qt thread. The panels own the widgets."""

    pointed = Signal(str, object)
    """While learning: a control was clicked, and which option of it (a name, or None)."""

    def __init__(self, stage: StageView) -> None:
        super().__init__()
        self._desk = stage.desk
        self.controls = {control.name: control for control in stage.desk.controls}
        self.faders: dict[str, Fader] = {}
        self.toggles: dict[str, Button] = {}
        self.buttons: dict[str, Button] = {}
        self.choices: dict[str, Choice] = {}
        self.texts: dict[str, QLineEdit] = {}
        self.elsewhere: set[str] = set()
        """Controls whose widget a panel makes itself."""
        self.learning = False
        self._refused, self._refused_at = "", 0.0
        self._learned: list[QWidget] = []

    # making

    def fader(self, name: str, words: str | None = None, tall: float = 28) -> Fader:
        """A bar for a float."""
        fader = self.faders[name] = Fader(self.controls[name], words, tall)
        fader.moved.connect(self.edit)
        self.watch(fader, name)
        return fader

    def toggle(self, name: str, words: str | None = None, role: str = "") -> Button:
        """A button that stays pressed, for a bool."""
        control = self.controls[name]
        button = self.toggles[name] = Button(words or label(control), role, _tip(control))
        button.setCheckable(True)
        button.setAccessibleName(name)
        button.clicked.connect(lambda on: self.edit(name, on))
        self.watch(button, name)
        return button

    def trigger(self, name: str, words: str | None = None, role: str = "quiet") -> Button:
        """A button that fires."""
        control = self.controls[name]
        button = self.buttons[name] = Button(words or label(control), role, _tip(control))
        button.setAccessibleName(name)
        button.clicked.connect(lambda: self.edit(name, True))
        self.watch(button, name)
        return button

    def choice(self, name: str, words: str = "") -> Choice:
        """Buttons or a list, for a choice; `words` stand before each name of a list."""
        choice = self.choices[name] = Choice(name, _tip(self.controls[name]), words)
        choice.chosen.connect(lambda option: self.edit(name, option))
        self._show_choice(name, choice)
        return choice

    def line(self, name: str) -> QLineEdit:
        """A field for a text: Return sends it, and until then what is typed stays as it is."""
        line = self.texts[name] = QLineEdit()
        line.setMaxLength(TEXT_LIMIT)
        line.setFocusPolicy(Qt.FocusPolicy.StrongFocus)
        line.setAccessibleName(name)
        line.setToolTip(_tip(self.controls[name]))
        line.returnPressed.connect(lambda: self._send(name, line))
        self.watch(line, name)
        return line

    def widget(self, name: str, group: str = "") -> QWidget:
        """The plain widget of any control."""
        control = self.controls[name]
        words = label(control, group)
        if control.kind == "float":
            return self.fader(name, words, TALL)
        if control.kind == "bool":
            return self.toggle(name, words)
        if control.kind == "trigger":
            return self.trigger(name, words)
        return self.choice(name, words) if control.kind == "choice" else self.line(name)

    def left(self) -> list[Control]:
        """The controls that nobody has asked for yet, in the order of the registry."""
        made = {*self.faders, *self.toggles, *self.buttons, *self.choices, *self.texts, *self.elsewhere}
        return [control for name, control in self.controls.items() if name not in made]

    # keeping in step

    def refresh(self, values: Mapping[str, Any]) -> None:
        """Shows the desk as it is now; `values` is its snapshot."""
        for name, fader in self.faders.items():
            fader.show_value(float(values[name]))
        for name, button in self.toggles.items():
            if button.isChecked() != bool(values[name]):
                button.setChecked(bool(values[name]))
        for name, line in self.texts.items():
            if not (line.hasFocus() or line.isModified()) and line.text() != values[name]:
                line.setText(str(values[name]))
        for name, choice in self.choices.items():
            self._show_choice(name, choice)

    def _show_choice(self, name: str, choice: Choice) -> None:
        if choice.show_value(self._desk.options(name), str(self._desk.get(name))):
            for option, button in choice.buttons.items():
                self.watch(button, name, option)
            if choice.box is not None:
                self.watch(choice.box, name)

    def value(self, name: str) -> Value:
        """Where a control stands."""
        return self._desk.get(name)

    def edit(self, name: str, value: object) -> None:
        """The performer moved a control."""
        try:
            self._desk.set(name, value, origin=ORIGIN)
            self._refused = ""
        except ControlError as error:
            self._refused, self._refused_at = str(error), time.perf_counter()

    @property
    def refused(self) -> str:
        """Why the desk took the last edit not; "" when it did, and when that was some seconds ago."""
        return self._refused if time.perf_counter() - self._refused_at < REFUSED_S else ""

    def _send(self, name: str, line: QLineEdit) -> None:
        if line.text() != self._desk.get(name):
            self.edit(name, line.text())
        line.setModified(line.text() != self._desk.get(name))

    # learning

    def watch(self, widget: QWidget, name: str, option: str | None = None) -> None:
        """While learning, a click on this widget points at a control, or at one option of it."""
        widget.setProperty("control", name)
        widget.setProperty("option", option)
        widget.installEventFilter(self)

    def learn(self, on: bool) -> None:
        """Begins or ends learning."""
        self.learning = on
        if not on:
            self._mark([])

    def _mark(self, widgets: list[QWidget]) -> None:
        before = [widget for widget in self._learned if isValid(widget)]
        for widget, learned in [*((w, False) for w in before), *((w, True) for w in widgets)]:
            widget.setProperty("learned", learned)
            widget.style().polish(widget)
            widget.update()
        self._learned = widgets

    def eventFilter(self, watched: QObject, event: QEvent) -> bool:
        name = watched.property("control")
        clicks = (QEvent.Type.MouseButtonPress, QEvent.Type.MouseButtonRelease, QEvent.Type.MouseButtonDblClick)
        if not self.learning or event.type() not in clicks or name is None:
            return False
        if event.type() == QEvent.Type.MouseButtonPress and isinstance(event, QMouseEvent):
            if isinstance(watched, QWidget):
                self._mark([watched])
            self.pointed.emit(name, watched.property("option"))
        return True


def _tip(control: Control) -> str:
    return f"{control.description}\n{control.address()}"
