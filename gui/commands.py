"""Every key of the show, once: both windows obey this table and F1 prints it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
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
    """One row: the keys as a person reads them, what they do, and what runs for each (with Ctrl?, key)."""

    keys: str
    does: str
    runs: dict[tuple[bool, int], Callable[[], object]]


class Commands:
    """What the keys do, for one stage and its output window. `show_help` and `quit_run` come from the application."""

    def __init__(
        self, stage: StageView, output: OutputWindow, *, show_help: Callable[[], None], quit_run: Callable[[], None]
    ) -> None:
        self._stage = stage
        key = Qt.Key
        digits = {(False, key(key.Key_0 + int(digit))): partial(self._preset, i) for i, digit in enumerate(PRESET_KEYS)}
        self.rows = (
            Command("B", "Blackout", {(False, key.Key_B): partial(self._toggle, "blackout")}),
            Command("Space", "Freeze the picture", {(False, key.Key_Space): partial(self._toggle, "freeze")}),
            Command("T", "Test card", {(False, key.Key_T): partial(self._toggle, "testcard")}),
            Command("F", "Full screen", {(False, key.Key_F): output.toggle_fullscreen}),
            Command("Esc", "Leave full screen", {(False, key.Key_Escape): output.leave_fullscreen}),
            Command("D", "Output to the next display", {(False, key.Key_D): output.next_display}),
            Command("S", "Fit, fill, stretch or 1:1", {(False, key.Key_S): output.next_sizing}),
            Command("1 … 9, 0", "Preset 1 to 10", digits),
            Command("N", "Next preset", {(False, key.Key_N): partial(self.fire, "preset/next")}),
            Command("P", "Previous preset", {(False, key.Key_P): partial(self.fire, "preset/prev")}),
            Command("M", "MIDI: learn a knob or pad", {(False, key.Key_M): partial(self.fire, "midi/learn")}),
            Command("Ctrl 0", "Every control to its default", {(True, key.Key_0): partial(self.fire, "panic")}),
            Command("F1", "This page", {(False, key.Key_F1): show_help}),
            Command("Ctrl Q", "End the show", {(True, key.Key_Q): quit_run}),
        )
        self._runs = {code: run for row in self.rows for code, run in row.runs.items()}

    def press(self, event: QKeyEvent) -> bool:
        """Does what the key asks for; False when it means nothing here. A held key counts once."""
        extra = Qt.KeyboardModifier.KeypadModifier | Qt.KeyboardModifier.ShiftModifier  # some layouts shift for digits
        modifiers = event.modifiers() & ~extra
        ctrl = modifiers == Qt.KeyboardModifier.ControlModifier
        run = self._runs.get((ctrl, event.key())) if ctrl or modifiers == Qt.KeyboardModifier.NoModifier else None
        if run is not None and not event.isAutoRepeat():
            run()
        return run is not None

    def fire(self, name: str) -> None:
        """Fires a trigger."""
        self._stage.desk.set(name, True, origin=ORIGIN)

    def _preset(self, position: int) -> None:
        names = self._stage.preset_names()
        if position < len(names):
            self._stage.desk.set("preset/go", names[position], origin=ORIGIN)

    def _toggle(self, name: str) -> None:
        self._stage.desk.set(name, not self._stage.desk.get(name), origin=ORIGIN)
