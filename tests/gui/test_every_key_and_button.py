"""Every key and every button of the control window is pressed once, and does what it says and nothing else."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import pytest
from fake_stage import FakeStage
from PySide6.QtCore import Qt
from PySide6.QtGui import QGuiApplication
from PySide6.QtWidgets import QAbstractButton, QApplication, QMenu
from window_parts import Output, close_window, made_up_stage, open_window, output_that_remembers  # noqa: F401

from gui.control import ControlWindow
from gui.diagnostics import DiagnosticsPage

NOTHING_FOUND = (sys.executable, "-c", "print([])")
SIXTEEN = tuple(f"preset-{number}" for number in range(16))
START = {"master": 0.5, "crossfader": 0.5}
"""Where both ways are open; all else stands at its default."""
END = "Press Ctrl Q or close a window again within 3 s to end the show"
Effect = dict[str, Any]


class QuickDiagnostics(DiagnosticsPage):
    """Whose doctor takes no seconds; `asked` is how often."""

    def __init__(self, parent: ControlWindow, stage: FakeStage) -> None:
        super().__init__(parent, stage, NOTHING_FOUND)
        self.asked = 0

    def examine(self) -> None:
        self.asked += 1
        super().examine()


class Performer:
    """Sits before the window, sees all its buttons and has sixteen presets on the pads."""

    def __init__(self, window: ControlWindow, stage: FakeStage, output: Output, qtbot) -> None:
        self.window, self.stage, self.output, self.qtbot = window, stage, output, qtbot
        window.hears.inputs._command = NOTHING_FOUND
        window.toggle_help()
        window.toggle_diagnostics()
        self.help, self.diagnostics = window._pages["help"], window._pages["diagnostics"]
        self._start = {control.name: stage.desk.get(control.name) for control in stage.desk.controls} | START

    def world(self) -> Effect:
        """All that a key or a button may change, as it is now."""
        self.stage.tick()
        self.window.refresh()
        window, line, popup = self.window, self.window.paints.prompt.line, QApplication.activePopupWidget()
        return {
            **{control.name: self.stage.desk.get(control.name) for control in self.stage.desk.controls},
            "fired": tuple(self.stage.fired),
            "asked of the output": tuple(self.output.asked),
            "lit": tuple(pad.name for pad in window.pads.pads if pad.isChecked()),
            "page": tuple(name for name, page in window._pages.items() if page.isVisible()),
            "learning": window.learn_strip.isVisible() and window.headline.learn.isChecked(),
            "line": line.text(),
            "typing": line.hasFocus(),
            "menu": popup.actions()[0].text() if isinstance(popup, QMenu) else "",
            "doctor": self.diagnostics.asked,
            "clipboard": QGuiApplication.clipboard().text(),
            "said": window.message.text(),
        }

    def begin(self) -> None:
        """As at the start of a show."""
        self.qtbot.waitUntil(lambda: self.diagnostics.again.isEnabled() and self.window.hears.inputs.isEnabled())
        while (popup := QApplication.activePopupWidget()) is not None:
            popup.close()
        while self.window.leave():
            pass
        self.window.setFocus()
        self.window._asked_until = 0.0
        for name, value in self._start.items():
            self.stage.desk.show(name, value)
        self.stage.preset = ""
        QGuiApplication.clipboard().clear()
        self.diagnostics.asked = 0
        self.world()
        self.stage.fired.clear()
        self.output.asked.clear()

    def does(self, act: Callable[[], object], effect: Effect, what: str) -> None:
        """Acts, and waits for exactly this effect: what is otherwise than before, as it is then."""
        before = self.world()

        def seen() -> None:
            changed = {name: value for name, value in self.world().items() if value != before[name]}
            assert changed == effect, what

        act()
        self.qtbot.waitUntil(seen, timeout=20_000)


@pytest.fixture
def performer(qapp, stage: FakeStage, output: Output, qtbot, monkeypatch) -> Iterator[Performer]:
    stage.banks = lambda: [("first", SIXTEEN), ("second", ("preset-16",))]
    stage.desk.set_options("preset/go", (*SIXTEEN, "preset-16"))
    monkeypatch.setattr("gui.control.DiagnosticsPage", QuickDiagnostics)
    window = open_window(stage, output, size=(3840, 1080))  # so wide that there is room for all prompts
    yield Performer(window, stage, output, qtbot)
    close_window(window)


def fires(name: str) -> Effect:
    return {"fired": ((name, True),)}


def chooses(name: str, option: str) -> Effect:
    return {"fired": ((name, option),), name: option}


def calls(preset: str) -> Effect:
    return chooses("preset/go", preset) | {"lit": (preset,)}


def asks(what: str) -> Effect:
    return {"asked of the output": (what,)}


def sends(words: str) -> Effect:
    return {"text": words, "line": words}


PANIC = fires("panic") | {"master": 1.0, "crossfader": 1.0}
DIAGNOSTICS = {"page": ("diagnostics",), "doctor": 1}


def effects_of_keys(prompts: tuple[str, ...]) -> dict[tuple[Qt.KeyboardModifier, int], Effect]:
    """What each key is for."""
    key, none = Qt.Key, Qt.KeyboardModifier.NoModifier
    ctrl, alt = Qt.KeyboardModifier.ControlModifier, Qt.KeyboardModifier.AltModifier
    plain = {
        key.Key_B: {"blackout": True},
        key.Key_Space: {"freeze": True},
        key.Key_T: {"testcard": True},
        key.Key_Plus: {"master": pytest.approx(0.55)},
        key.Key_Equal: {"master": pytest.approx(0.55)},
        key.Key_Minus: {"master": pytest.approx(0.45)},
        key.Key_F: asks("toggle_fullscreen"),
        key.Key_D: asks("next_display"),
        key.Key_S: asks("next_sizing"),
        key.Key_Escape: asks("leave_fullscreen"),
        key.Key_A: fires("tempo/tap"),
        key.Key_R: fires("tempo/resync"),
        key.Key_Comma: fires("tempo/nudge/earlier"),
        key.Key_Period: fires("tempo/nudge/later"),
        key.Key_V: {"record": True},
        key.Key_C: fires("still"),
        key.Key_PageUp: chooses("preset/bank", "second"),
        key.Key_PageDown: chooses("preset/bank", "second"),
        key.Key_P: fires("preset/prev"),
        key.Key_N: fires("preset/next"),
        key.Key_U: fires("preset/undo"),
        key.Key_K: {"preset/lock": True},
        key.Key_Left: {"crossfader": pytest.approx(0.45)},
        key.Key_Right: {"crossfader": pytest.approx(0.55)},
        key.Key_Home: {"crossfader": 0.0},
        key.Key_End: {"crossfader": 1.0},
        key.Key_W: {"typing": True},
        key.Key_L: {"learning": True},
        key.Key_M: fires("midi/learn"),
        key.Key_I: DIAGNOSTICS,
        key.Key_F1: {"page": ("help",)},
    }
    return {
        **{(none, code): effect for code, effect in plain.items()},
        **{(none, key.Key_1 + at): calls(SIXTEEN[at]) for at in range(9)},
        (none, key.Key_0): calls(SIXTEEN[9]),
        **{(alt, key.Key_1 + at): calls(SIXTEEN[10 + at]) for at in range(6)},
        **{(ctrl, key.Key_1 + at): sends(prompts[at]) for at in range(9)},
        (ctrl, key.Key_Backspace): PANIC,
        (ctrl, key.Key_Q): {"said": END},
    }


def test_every_key_does_what_it_says(performer: Performer):
    window = performer.window
    effects = effects_of_keys(window.paints.prompt.prepared)
    rows = {press: row for row in window.commands.rows for press in row.runs}
    assert set(rows) == set(effects)
    for (modifier, key), row in rows.items():
        performer.begin()
        press = partial(performer.qtbot.keyClick, window, Qt.Key(key), modifier)
        performer.does(press, effects[modifier, key], f"{row.keys}: {row.does}")


def effect_of_a_control(performer: Performer, button: QAbstractButton) -> Effect:
    """What the button of a control of the registry is for."""
    name, option = button.property("control"), button.property("option")
    kind = performer.window.board.controls[name].kind
    if name == "panic":
        return PANIC
    if kind == "trigger":
        return fires(name)
    if kind == "bool":
        return {name: not performer.stage.desk.get(name)}
    if name == "preset/go":
        return calls(option)
    chosen = chooses(name, option)
    return chosen if performer.stage.desk.get(name) != option else {"fired": chosen["fired"]}


def other_buttons(performer: Performer) -> dict[QAbstractButton, tuple[Callable[[], object], Effect]]:
    """All the others: what comes before, and what they are for."""
    window = performer.window
    head, strip, prompt = window.headline, window.learn_strip, window.paints.prompt

    def nothing() -> None:
        pass

    def learn() -> None:
        window.toggle_learn()
        strip.point("look/hue", None)

    def look() -> None:
        window.toggle_diagnostics()
        performer.qtbot.waitUntil(performer.diagnostics.again.isEnabled)

    return {
        head.learn: (nothing, {"learning": True}),
        head.diagnose: (nothing, DIAGNOSTICS),
        head.help: (nothing, {"page": ("help",)}),
        strip.copy_button: (learn, {"clipboard": "/cymatic/look/hue"}),
        strip.done: (learn, {"learning": False}),
        performer.help.close_button: (window.toggle_help, {"page": ()}),
        performer.diagnostics.close_button: (look, {"page": ()}),
        performer.diagnostics.again: (look, {"doctor": 2}),
        window.hears.inputs: (nothing, {"menu": "No input was found"}),
        prompt.menu_button: (nothing, {"menu": "Prepared"}),
        prompt.clear_button: (lambda: prompt.send("sea"), sends("")),
        **{chip: (nothing, sends(words)) for chip, words in zip(prompt.chips, prompt.prepared, strict=True)},
    }


def test_every_button_does_what_it_says(performer: Performer):
    others = other_buttons(performer)
    buttons = performer.window.findChildren(QAbstractButton)
    assert [button.text() for button in buttons if button.property("control") is None and button not in others] == []
    for button in buttons:
        performer.begin()
        before, effect = others.get(button) or (lambda: None, effect_of_a_control(performer, button))
        before()
        assert button.isVisible(), button.text()
        click = partial(performer.qtbot.mouseClick, button, Qt.MouseButton.LeftButton)
        performer.does(click, effect, f"{button.text()} {button.accessibleName()}")
