"""The control window shows what the desk and the stage say, and what is done in it reaches the desk."""

from __future__ import annotations

import pytest
from fake_stage import NAMES, SCENES, FakeStage
from PySide6.QtCore import QPoint, Qt
from PySide6.QtWidgets import QApplication

from engine.control.registry import REGISTRY
from gui.commands import Commands
from gui.control import QUIET_AFTER_S, REFRESH_MS, ControlWindow
from gui.widgets import MEL_COLUMNS, reading


class Output:
    """Remembers what the keys asked of the output window."""

    def __init__(self) -> None:
        self.asked: list[str] = []

    def __getattr__(self, name: str):
        return lambda: self.asked.append(name)


@pytest.fixture(scope="session")
def qapp_args() -> list[str]:
    return ["cymatic", "-platform", "offscreen"]


@pytest.fixture
def stage() -> FakeStage:
    return FakeStage(36, 64, play=False)


@pytest.fixture
def output() -> Output:
    return Output()


@pytest.fixture
def window(qtbot, stage, output):
    window = ControlWindow(stage, lambda: None, lambda: 34.2)
    window.commands = Commands(stage, output, show_help=window.toggle_help, quit_run=window.closed.emit)
    qtbot.addWidget(window, before_close_func=ControlWindow.finish)
    window._timer.stop()  # the test says when
    window.show()
    qtbot.waitExposed(window)
    return window


def test_every_control_of_the_registry_can_be_reached(window):
    assert set(window.faders) == {control.name for control in REGISTRY if control.kind == "float"}
    assert set(window.toggles) == {control.name for control in REGISTRY if control.kind == "bool"}
    assert set(window.buttons) == {control.name for control in REGISTRY if control.kind == "trigger"}
    assert set(window.texts) == {control.name for control in REGISTRY if control.kind == "text"}
    choices = {control.name for control in REGISTRY if control.kind == "choice"}
    assert choices == {*window.choices, "preset/go"}, "which are the pads"


def test_faders_show_what_the_desk_says(window, stage):
    stage.desk.set("sound/gain", -6, origin="osc")
    stage.desk.set("fade", 7.5, origin="osc")
    window.refresh()
    assert window.faders["sound/gain"].shown == -6
    assert window.faders["fade"].shown == 7.5
    assert window.faders["fade"].value() == 500  # the square curve: a quarter of the seconds at half the travel
    assert stage.desk.counters.get("received/window", 0) == 0  # showing is not moving


def test_a_click_on_the_track_moves_the_control(window, stage, qtbot):
    fader = window.faders["reactivity"]
    track = fader._track()
    at = QPoint(round(track.left() + 0.75 * track.width()), fader.height() // 2)
    qtbot.mouseClick(fader, Qt.MouseButton.LeftButton, pos=at)
    assert stage.desk.get("reactivity") == pytest.approx(0.75, abs=0.01)
    qtbot.mouseDClick(fader, Qt.MouseButton.LeftButton, pos=at)
    assert stage.desk.get("reactivity") == 0.5


def test_a_click_on_the_name_moves_nothing(window, stage, qtbot):
    qtbot.mouseClick(window.faders["reactivity"], Qt.MouseButton.LeftButton, pos=QPoint(20, 10))
    assert stage.desk.get("reactivity") == 0.5


def test_arrow_keys_step_a_fader(window, stage, qtbot):
    fader = window.faders["sound/weight"]
    qtbot.keyClick(fader, Qt.Key.Key_Left)
    assert stage.desk.get("sound/weight") == pytest.approx(0.99)
    qtbot.keyClick(fader, Qt.Key.Key_Delete)
    assert stage.desk.get("sound/weight") == 1.0


def test_toggles_go_both_ways(window, stage, qtbot):
    qtbot.mouseClick(window.toggles["blackout"], Qt.MouseButton.LeftButton)
    assert stage.desk.get("blackout") is True
    stage.desk.set("blackout", False, origin="osc")
    stage.desk.set("freeze", True, origin="osc")
    window.refresh()
    assert not window.toggles["blackout"].isChecked()
    assert window.toggles["freeze"].isChecked()


def test_words_reach_the_desk_when_they_are_finished(window, stage, qtbot):
    line = window.texts["text"]
    line.setFocus()
    qtbot.keyClicks(line, "bent trees")
    window.refresh()
    assert line.text() == "bent trees", "the desk does not type over the performer"
    assert stage.desk.get("text") == ""
    assert stage.desk.get("blackout") is False, "a letter is no key of the show"
    qtbot.keyClick(line, Qt.Key.Key_Return)
    assert stage.desk.get("text") == "bent trees"
    stage.desk.set("text", "sea", origin="osc")
    window.refresh()
    assert line.text() == "sea"


def test_a_choice_is_made_and_shown(window, stage):
    box = window.choices["quantise"]
    assert [box.itemData(row) for row in range(box.count())] == ["off", "beat", "bar"]
    box.activated.emit(2)
    assert stage.desk.get("quantise") == "bar"
    stage.desk.set("quantise", 2, origin="osc")
    stage.desk.set_options("preset/bank", ("nature", "club"))
    window.refresh()
    bank = window.choices["preset/bank"]
    assert [bank.itemData(row) for row in range(bank.count())] == ["nature", "club"]
    assert box.currentText() == "Quantise beat"


def test_a_pad_calls_its_preset_and_lights_when_the_stage_plays_it(window, stage, qtbot):
    assert list(window.pads) == list(NAMES)
    qtbot.mouseClick(window.pads[NAMES[4]], Qt.MouseButton.LeftButton)
    window.refresh()
    assert [name for name, pad in window.pads.items() if pad.isChecked()] == [NAMES[1]]  # not before the stage obeys
    stage.tick()
    window.refresh()
    assert stage.fired == [("preset/go", NAMES[4])]
    assert [name for name, pad in window.pads.items() if pad.isChecked()] == [NAMES[4]]


@pytest.mark.parametrize(
    ("key", "modifier", "fired"),
    [
        (Qt.Key.Key_3, Qt.KeyboardModifier.NoModifier, ("preset/go", NAMES[2])),
        (Qt.Key.Key_N, Qt.KeyboardModifier.NoModifier, ("preset/next", True)),
        (Qt.Key.Key_P, Qt.KeyboardModifier.NoModifier, ("preset/prev", True)),
        (Qt.Key.Key_0, Qt.KeyboardModifier.ControlModifier, ("panic", True)),
    ],
)
def test_keys_that_fire(window, stage, qtbot, key, modifier, fired):
    qtbot.keyClick(window, key, modifier)
    stage.tick()
    assert stage.fired == [fired]


@pytest.mark.parametrize(
    ("key", "name"), [(Qt.Key.Key_B, "blackout"), (Qt.Key.Key_Space, "freeze"), (Qt.Key.Key_T, "testcard")]
)
def test_keys_that_toggle(window, stage, qtbot, key, name):
    qtbot.keyClick(window, key)
    assert stage.desk.get(name) is True
    qtbot.keyClick(window.faders["master"], key)  # also while a fader has the focus
    assert stage.desk.get(name) is False


def test_keys_for_the_output_and_those_that_mean_nothing(window, stage, output, qtbot):
    before = stage.desk.snapshot()
    for key in (Qt.Key.Key_F, Qt.Key.Key_S, Qt.Key.Key_Escape, Qt.Key.Key_Y, Qt.Key.Key_9, Qt.Key.Key_0):
        qtbot.keyClick(window, key)
    qtbot.keyClick(window, Qt.Key.Key_B, Qt.KeyboardModifier.AltModifier)
    stage.tick()
    assert output.asked == ["toggle_fullscreen", "next_sizing", "leave_fullscreen"]
    assert stage.fired == []  # there is no ninth preset
    assert stage.desk.snapshot() == before


def test_f1_lists_the_keys_and_escape_puts_them_away(window, qtbot):
    qtbot.keyClick(window, Qt.Key.Key_F1)
    assert window._help.isVisible()
    assert window._help.geometry() == window.rect()
    qtbot.keyClick(window, Qt.Key.Key_Escape)
    assert not window._help.isVisible()


def test_what_is_heard_is_shown(window, stage):
    stage.status = stage.invent_status(0.0)
    window.refresh()
    window.refresh()  # the same status twice is one column
    assert window.device.text() == "Scarlett 2i2 USB"
    assert window.rate.text() == "48 kHz"
    assert window.meter.db == pytest.approx(stage.status["rms_db"])
    assert window.onset.value == pytest.approx(1.0)
    assert window.scenes.names == SCENES
    columns = window.mel.columns
    assert columns.shape == (128, MEL_COLUMNS)
    assert columns[:, -1] == pytest.approx(stage.status["mel"])
    assert (columns[:, :-1] == -2).all()


def test_clipping_and_too_quiet_are_said(window, stage):
    stage.status = {**stage.invent_status(0.0), "clip": True}
    window.refresh()
    assert "Clipping" in window.advice.text()
    stage.status = {**stage.invent_status(0.0), "rms_db": -70.0}
    window.refresh()
    assert window.advice.text() == "−60 dB"  # a short pause is no fault
    for _ in range(round(1000 * QUIET_AFTER_S / REFRESH_MS) + 1):
        window.refresh()
    assert window.advice.text() == "Too quiet to read"


def test_numbers_that_are_none_do_no_harm(window, stage):
    nan = float("nan")
    stage.status = {
        **stage.invent_status(0.0),
        "rms_db": nan,
        "onset": nan,
        "scenes": [nan] * 9,
        "mel": [nan] * 128,
        "clip": None,
    }
    window.refresh()
    QApplication.processEvents()
    assert window.onset.value == 0.0
    assert window.mel.columns is None
    assert not window.scenes.values.any()


def test_the_newest_line_and_the_error_of_the_engine(window, stage):
    stage.errors.extend(["first", "preset Ember:\nunreadable"])
    window.refresh()
    assert window.message.text() == "preset Ember: unreadable"
    assert window.message.property("role") == "muted"
    stage.status = {**stage.invent_status(0.0), "error": "microphone gone"}
    window.refresh()
    assert window.message.text() == "microphone gone"
    assert window.message.property("role") == "error"


def test_a_refused_edit_is_shown_and_forgotten_with_the_next(window, stage):
    window._edit("preset/go", "No such preset")
    window.refresh()
    assert "No such preset" in window.message.toolTip()
    window._edit("master", 0.5)
    window.refresh()
    assert window.message.text() == ""


def test_readings():
    by_name = {control.name: control for control in REGISTRY}
    assert reading(by_name["master"], 0.5) == "50 %"
    assert reading(by_name["sound/gain"], -6.0) == "−6.0 dB"
    assert reading(by_name["speed"], 1.25) == "1.25 ×"
    assert reading(by_name["fade"], 12.0) == "12.0 s"
    assert reading(by_name["seed"], 12.0) == "12"
