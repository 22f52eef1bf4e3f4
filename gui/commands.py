"""Every key of the show, once: both windows obey this table and F1 prints it."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING, Protocol

from PySide6.QtCore import Qt
from PySide6.QtGui import QKeyEvent

from gui.pads import under_the_fingers

if TYPE_CHECKING:
    from engine.view import StageView
    from gui.output import OutputWindow

ORIGIN = "window"
"""How the desk counts what these windows move."""

PAD_KEYS = (*"1234567890", *(f"Alt {digit}" for digit in "123456"))
"""What stands on the pads of a bank."""
AGAIN_S = 3.0
"""The end of the show must be asked for a second time within this."""
MASTER_STEP = 0.05
CROSSFADE_STEP = 0.05

_PLAIN, _CTRL, _ALT = (
    Qt.KeyboardModifier.NoModifier,
    Qt.KeyboardModifier.ControlModifier,
    Qt.KeyboardModifier.AltModifier,
)
Press = tuple[Qt.KeyboardModifier, int]


class Pages(Protocol):
    """What the control window does for a key."""

    def toggle_help(self) -> None: ...
    def toggle_diagnostics(self) -> None: ...
    def toggle_learn(self) -> None: ...
    def type_words(self) -> None: ...
    def send_prepared(self, at: int) -> None: ...
    def ask(self, words: str, seconds: float) -> None:
        """Says this for so long, before all else there is to say."""

    def leave(self) -> bool:
        """Puts away what lies on top; False when nothing does."""


@dataclass(frozen=True, slots=True)
class Command:
    """One row: its section, the keys as a person reads them, what they do, and what runs for each."""

    section: str
    keys: str
    does: str
    runs: Mapping[Press, Callable[[], object]]
    repeats: bool = field(default=False)
    """Whether a held key counts again and again."""


class Commands:
    """What the keys do, for one stage, its output window and its control window. `quit_run` ends the show."""

    def __init__(self, stage: StageView, output: OutputWindow, pages: Pages, *, quit_run: Callable[[], None]) -> None:
        self._stage, self._output, self._pages, self._quit_run = stage, output, pages, quit_run
        self._end_asked_at = -AGAIN_S
        key = Qt.Key

        def one(code: Qt.Key, run: Callable[[], object], modifier: Qt.KeyboardModifier = _PLAIN) -> dict:
            return {(modifier, code): run}

        def fires(code: Qt.Key, name: str, modifier: Qt.KeyboardModifier = _PLAIN) -> dict:
            return one(code, partial(self.fire, name), modifier)

        digits = {(_PLAIN, key.Key_0 + int(PAD_KEYS[at])): partial(self._preset, at) for at in range(10)}
        more = {(_ALT, key.Key_1 + at): partial(self._preset, 10 + at) for at in range(6)}
        prompts = {(_CTRL, key.Key_1 + at): partial(pages.send_prepared, at) for at in range(9)}
        master = {
            (_PLAIN, key.Key_Plus): partial(self._step, "master", MASTER_STEP),
            (_PLAIN, key.Key_Equal): partial(self._step, "master", MASTER_STEP),
            (_PLAIN, key.Key_Minus): partial(self._step, "master", -MASTER_STEP),
        }
        cross = {
            (_PLAIN, key.Key_Left): partial(self._step, "crossfader", -CROSSFADE_STEP),
            (_PLAIN, key.Key_Right): partial(self._step, "crossfader", CROSSFADE_STEP),
        }
        ends = {
            (_PLAIN, key.Key_Home): partial(self._set, "crossfader", 0.0),
            (_PLAIN, key.Key_End): partial(self._set, "crossfader", 1.0),
        }
        banks = {
            (_PLAIN, key.Key_PageUp): partial(self._bank, -1),
            (_PLAIN, key.Key_PageDown): partial(self._bank, 1),
        }
        nudges = {
            **fires(key.Key_Comma, "tempo/nudge/earlier"),
            **fires(key.Key_Period, "tempo/nudge/later"),
        }
        self.rows = (
            Command("Stage", "B", "Blackout", one(key.Key_B, partial(self._toggle, "blackout"))),
            Command("Stage", "Space", "Freeze the picture", one(key.Key_Space, partial(self._toggle, "freeze"))),
            Command("Stage", "T", "Test card", one(key.Key_T, partial(self._toggle, "testcard"))),
            Command("Stage", "+  −", "Master up and down", master, repeats=True),
            Command("Stage", "Ctrl Backspace", "Panic: a sane picture", fires(key.Key_Backspace, "panic", _CTRL)),
            Command("Output", "F", "Full screen", one(key.Key_F, output.toggle_fullscreen)),
            Command("Output", "D", "To the next display", one(key.Key_D, output.next_display)),
            Command("Output", "S", "Fit, fill, stretch or 1:1", one(key.Key_S, output.next_sizing)),
            Command("Output", "Esc", "Put away what lies on top; leave full screen", one(key.Key_Escape, self._leave)),
            Command("Tempo", "A", "Tap", fires(key.Key_A, "tempo/tap")),
            Command("Tempo", "R", "A bar begins now", fires(key.Key_R, "tempo/resync")),
            Command("Tempo", ",  .", "Nudge the beat earlier, later", nudges, repeats=True),
            Command("Recording", "V", "Record a film; end it", one(key.Key_V, partial(self._toggle, "record"))),
            Command("Recording", "C", "Still picture", fires(key.Key_C, "still")),
            Command("Presets", "1 … 9, 0", "Pads 1 to 10", digits),
            Command("Presets", "Alt 1 … 6", "Pads 11 to 16", more),
            Command("Presets", "PgUp  PgDn", "The bank before, the next bank", banks),
            Command("Presets", "P  N", "Previous, next preset", {
                **fires(key.Key_P, "preset/prev"), **fires(key.Key_N, "preset/next"),
            }),
            Command("Presets", "U", "Undo the newest call", fires(key.Key_U, "preset/undo")),
            Command("Presets", "K", "Lock the presets", one(key.Key_K, partial(self._toggle, "preset/lock"))),
            Command("Presets", "←  →", "Crossfader", cross, repeats=True),
            Command("Presets", "Home  End", "Crossfader to the place before, to the preset", ends),
            Command("Words", "W", "Type words; ↑ ↓ what was typed before", one(key.Key_W, pages.type_words)),
            Command("Words", "Ctrl 1 … 9", "Prepared prompts", prompts),
            Command("Learn", "L", "Click a control: its address, which C copies, and its knob",
                    one(key.Key_L, pages.toggle_learn)),
            Command("Learn", "M", "MIDI: bind what is touched next", fires(key.Key_M, "midi/learn")),
            Command("Pages", "I", "Diagnostics", one(key.Key_I, pages.toggle_diagnostics)),
            Command("Pages", "F1", "This page", one(key.Key_F1, pages.toggle_help)),
            Command("Pages", "Ctrl Q", "End the show, when pressed twice", one(key.Key_Q, self.end, _CTRL)),
        )  # fmt: skip
        self._runs = {press: (run, row.repeats) for row in self.rows for press, run in row.runs.items()}

    def press(self, event: QKeyEvent) -> bool:
        """Does what the key asks for; False when it means nothing here. A held key counts once, but for faders."""
        extra = Qt.KeyboardModifier.KeypadModifier | Qt.KeyboardModifier.ShiftModifier  # some layouts shift for digits
        run, repeats = self._runs.get((event.modifiers() & ~extra, event.key()), (None, False))
        if run is not None and (repeats or not event.isAutoRepeat()):
            run()
        return run is not None

    def fire(self, name: str) -> None:
        """Fires a trigger."""
        self._stage.desk.set(name, True, origin=ORIGIN)

    def end(self) -> None:
        """Ends the show when it is asked to for the second time, by the key or by closing a window: in a live set no
        slip of a hand does."""
        now = time.perf_counter()
        if now - self._end_asked_at < AGAIN_S:
            self._quit_run()
            return
        self._end_asked_at = now
        words = f"Press Ctrl Q or close a window again within {AGAIN_S:g} s to end the show"
        self._pages.ask(words, AGAIN_S)

    def _set(self, name: str, value: object) -> None:
        self._stage.desk.set(name, value, origin=ORIGIN)

    def _step(self, name: str, by: float) -> None:
        self._set(name, min(max(float(self._stage.desk.get(name)) + by, 0.0), 1.0))

    def _preset(self, position: int) -> None:
        names = under_the_fingers(self._stage)
        if position < len(names):
            self._set("preset/go", names[position])
        else:  # what lies in the next bank is not on the pads: a slip must not call what nobody sees
            self._stage.tell(f"there is no preset on pad {position + 1}")

    def _bank(self, by: int) -> None:
        banks = self._stage.desk.options("preset/bank")
        here = self._stage.desk.get("preset/bank")
        if banks:
            self._set("preset/bank", banks[(banks.index(here) + by) % len(banks) if here in banks else 0])

    def _leave(self) -> None:
        if not self._pages.leave():
            self._output.leave_fullscreen()

    def _toggle(self, name: str) -> None:
        self._set(name, not self._stage.desk.get(name))
