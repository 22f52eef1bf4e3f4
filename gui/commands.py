"""Every key of the show, once: both windows obey this table and F1 prints it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from PySide6.QtCore import Qt
from PySide6.QtGui import QKeyEvent

if TYPE_CHECKING:
    from engine.view import StageView
    from gui.output import OutputWindow

ORIGIN = "window"
"""How the desk counts what these windows move."""

PRESET_KEYS = "1234567890"


@dataclass(frozen=True, slots=True)
class Command:
    """One row: the keys as a person reads them, what they do, and the codes that call it."""

    keys: str
    does: str
    codes: tuple[int, ...]
    run: Callable[[], object]


class Commands:
    """What the keys do, for one stage and its output window. `show_help` and `quit` come from the application."""

    def __init__(
        self, stage: StageView, output: OutputWindow, *, show_help: Callable[[], None], quit_run: Callable[[], None]
    ) -> None:
        self._stage = stage
        key = Qt.Key
        self.rows = (
            Command("B", "Blackout", (key.Key_B,), lambda: self._toggle("blackout")),
            Command("Space", "Freeze the picture", (key.Key_Space,), lambda: self._toggle("freeze")),
            Command("T", "Test card", (key.Key_T,), lambda: self._toggle("testcard")),
            Command("F", "Full screen", (key.Key_F,), output.toggle_fullscreen),
            Command("Esc", "Leave full screen", (key.Key_Escape,), output.leave_fullscreen),
            Command("S", "Fit, fill or stretch", (key.Key_S,), output.next_sizing),
            Command("1 … 9, 0", "Preset 1 to 10", (), lambda: None),
            Command("N", "Next preset", (key.Key_N,), lambda: self.fire("preset/next")),
            Command("P", "Previous preset", (key.Key_P,), lambda: self.fire("preset/prev")),
            Command("Ctrl 0", "Every control to its default", (), lambda: None),
            Command("F1", "This page", (key.Key_F1,), show_help),
            Command("Ctrl Q", "End the show", (), quit_run),
        )
        self._by_code = {code: row.run for row in self.rows for code in row.codes}
        self._with_ctrl = {key.Key_0: lambda: self.fire("panic"), key.Key_Q: quit_run}

    def press(self, event: QKeyEvent) -> bool:
        """Does what the key asks for; False when it means nothing here. A held key counts once."""
        if event.isAutoRepeat():
            return True
        modifiers = event.modifiers() & ~Qt.KeyboardModifier.KeypadModifier
        if modifiers == Qt.KeyboardModifier.ControlModifier:
            run = self._with_ctrl.get(event.key())
        elif modifiers in (Qt.KeyboardModifier.NoModifier, Qt.KeyboardModifier.ShiftModifier):
            run = self._by_code.get(event.key())
            if run is None and event.text() and event.text() in PRESET_KEYS:
                run = lambda: self._preset(PRESET_KEYS.index(event.text()))  # noqa: E731
        else:
            run = None
        if run is not None:
            run()
        return run is not None

    def fire(self, name: str) -> None:
        """Fires a trigger."""
        self._stage.desk.set(name, True, origin=ORIGIN)

    def go(self, preset: str) -> None:
        """Goes to a preset by name."""
        self._stage.desk.set("preset/go", preset, origin=ORIGIN)

    def _preset(self, position: int) -> None:
        names = self._stage.preset_names()
        if position < len(names):
            self.go(names[position])

    def _toggle(self, name: str) -> None:
        self._stage.desk.set(name, not self._stage.desk.get(name), origin=ORIGIN)
