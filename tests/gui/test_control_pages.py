"""Pages, learning, memory of the control window, and what it leaves behind."""

from __future__ import annotations

import json
import sys

import mido
from fake_stage import NAMES
from PySide6.QtCore import Qt, QTimer
from PySide6.QtGui import QGuiApplication
from PySide6.QtWidgets import QLabel, QMenu
from window_parts import (  # noqa: F401
    active_timers,
    close_window,
    control_window,
    made_up_stage,
    open_window,
    output_that_remembers,
)
from window_watch import alive, left_behind, settle

from gui.control import ControlWindow
from gui.diagnostics import DiagnosticsPage, facts
from gui.inputs import Inputs
from gui.memory import PROMPTS, Memory

# Pages


def test_f1_lists_every_key_and_escape_puts_the_page_away(window, output, qtbot):
    qtbot.keyClick(window, Qt.Key.Key_F1)
    page = window._pages["help"]
    assert page.isVisible()
    assert page.geometry() == window.rect()
    assert window.rect().contains(page.sheet.geometry()), "the whole page is on the window"
    words = {label.text() for label in page.findChildren(QLabel)}
    assert {command.keys for command in window.commands.rows} <= words
    qtbot.keyClick(window, Qt.Key.Key_Escape)
    assert not page.isVisible()
    assert output.asked == []
    qtbot.keyClick(window, Qt.Key.Key_Escape)
    assert output.asked == ["leave_fullscreen"]


FINDINGS = [
    {"part": "sound", "state": "ok", "found": "2 inputs", "advice": ""},
    {"part": "osc port", "state": "missing", "found": "taken by this show", "advice": ""},
    {"part": "midi", "state": "missing", "found": "without mido", "advice": "pip install 'cymatic[midi]'"},
]


def doctor_says(text: str) -> tuple[str, ...]:
    return (sys.executable, "-c", f"print({text!r})")


def page_words(page: DiagnosticsPage) -> list[str]:
    grid = page.findings
    return [grid.itemAt(at).widget().text() for at in range(grid.count()) if grid.itemAt(at).widget() is not None]


def test_diagnostics_show_what_the_doctor_finds(window, stage, qtbot):
    page = DiagnosticsPage(window, stage, doctor_says(json.dumps(FINDINGS)))
    page.open()
    assert "looking" in page.waiting.text()
    qtbot.waitUntil(lambda: not page.errand.running, timeout=30_000)
    words = page_words(page)
    assert "2 inputs" in words
    assert "→ pip install 'cymatic[midi]'" in words
    assert "taken by this show" not in words
    assert not page.waiting.isVisible()


def test_a_doctor_that_says_nothing_is_one_line(window, stage, qtbot):
    page = DiagnosticsPage(window, stage, doctor_says("no JSON"))
    page.open()
    qtbot.waitUntil(lambda: not page.errand.running, timeout=30_000)
    assert "told nothing" in page.waiting.text()
    missing = DiagnosticsPage(window, stage, ("/no/such/program",))
    missing.open()
    qtbot.waitUntil(lambda: not missing.errand.running, timeout=30_000)
    assert "cannot be started" in missing.waiting.text()


def test_the_real_doctor_is_understood(window, stage, qtbot):
    from gui.diagnostics import DOCTOR

    page = DiagnosticsPage(window, stage, DOCTOR)
    page.open()
    qtbot.waitUntil(lambda: not page.errand.running, timeout=120_000)
    assert not page.waiting.isVisible(), page.waiting.text()
    assert {"machine", "sound", "bundle", "presets"} <= set(page_words(page))


def test_a_window_that_closes_takes_its_doctor_with_it(window, stage, qtbot):
    qtbot.keyClick(window, Qt.Key.Key_I)
    page = window._pages["diagnostics"]
    assert page.errand.running  # the real one, which takes seconds
    window.finish()
    assert not page.errand.running


def test_clocks_that_are_off_are_shown_where_messages_are(window, stage):
    for number in range(9):
        stage.desk.compare_clock(f"10.0.0.{number}", -0.1 * number)
    window.activity.refresh()
    for words in (window.activity.inputs.toolTip(), facts(stage)["controls"]):
        assert "clock of 10.0.0.8 −0.80 s" in words
        assert "10.0.0.1" not in words, "those that are furthest off"


def test_facts_of_a_show(stage):
    assert facts(stage)["engine"].startswith("loading")
    stage.status = {
        **stage.invent_status(0.0),
        "runtime": {
            "encoder": {"name": "openvino", "precision": "f32"},
            "generator": {"name": "openvino", "precision": "f32"},
        },
    }
    told = facts(stage)
    assert told["runtime"] == "openvino f32: encoder, generator"
    assert "Scarlett" in told["sound"]
    assert told["memory"] == "engine 412 MiB"


# Inputs


def test_inputs_are_listed_and_chosen(window, stage, qtbot):
    stage.status = stage.invent_status(0.0)
    inputs = Inputs(stage, doctor_says(json.dumps([["Scarlett 2i2 USB", 2], ["Built-in", 1]])))
    menus = []
    inputs.menu_of = lambda found, wrong: menus.append((found, wrong)) or QMenu(inputs)
    inputs.look()
    qtbot.waitUntil(inputs.isEnabled, timeout=30_000)
    assert menus == [([("Scarlett 2i2 USB", 2), ("Built-in", 1)], "")]
    del inputs.menu_of
    actions = {action.text(): action for action in inputs.menu_of(menus[0][0]).actions()}
    assert [text for text, action in actions.items() if action.isChecked()] == ["Scarlett 2i2 USB   2 ch"]
    actions["Built-in   1 ch"].trigger()
    actions["The built-in demo"].trigger()
    assert stage.fired == [("listen", "Built-in"), ("listen", "demo")]
    inputs.deleteLater()


def test_a_channel_is_chosen_from_the_list_and_by_others(window, stage, qtbot):
    channels = window.hears.channels
    assert not channels.isVisible(), "nothing is heard yet"
    stage.status = stage.invent_status(0.0)
    window.refresh()
    assert [channels.itemText(row) for row in range(channels.count())] == ["All 2 ch", "Channel 1", "Channel 2"]
    assert channels.isVisible()
    channels.activated.emit(2)
    assert stage.desk.get("sound/channel") == 2.0
    stage.desk.set("panic", True, "test")
    assert stage.desk.get("sound/channel") == 2.0, "which microphone is heard is no matter of the picture"
    for value, words in ((1, "Channel 1"), (0, "All 2 ch"), (5, "No ch 5: all")):
        stage.desk.set("sound/channel", value, "test")
        window.refresh()
        assert channels.currentText() == words
    stage.status = {**stage.status, "audio": {**stage.status["audio"], "channels": 1}}
    stage.desk.set("sound/channel", 0, "test")
    window.refresh()
    assert not channels.isVisible()
    assert window.hears.rate.text() == "48 kHz · 1 ch"


def test_of_a_device_with_many_channels_one_is_chosen_with_it(window, stage):
    status = stage.invent_status(0.0)
    stage.status = {**status, "audio": {**status["audio"], "device": "Stage box"}}
    stage.desk.set("sound/channel", 12, "test")
    menu = window.hears.inputs.menu_of([("Stage box", 18), ("Virtual", 100)])
    named, virtual = [action for action in menu.actions() if action.menu()]
    assert named.text() == "Stage box   18 ch"
    assert len(virtual.menu().actions()) == 65, "no more than the control knows"
    actions = named.menu().actions()
    assert len(actions) == 19
    assert [action.text() for action in actions if action.isChecked()] == ["Channel 12"]
    actions[0].trigger()
    actions[12].trigger()
    assert stage.fired == [("listen", "Stage box"), ("listen", "Stage box", 12)]
    menu.deleteLater()


def test_no_input_is_a_line_in_the_menu(window, stage):
    [line, _, demo] = window.hears.inputs.menu_of([], "engine.errors.AudioError: no microphone found").actions()
    assert line.text() == "no microphone found"
    assert not line.isEnabled()
    assert demo.isEnabled()


def test_a_window_that_closes_ends_the_look_for_inputs(window, qtbot):
    qtbot.mouseClick(window.hears.inputs, Qt.MouseButton.LeftButton)
    assert window.hears.inputs.errand.running
    window.finish()
    assert not window.hears.inputs.errand.running


# Learning


def test_a_click_shows_the_address_and_moves_nothing(window, stage, qtbot):
    before = stage.desk.snapshot()
    qtbot.keyClick(window, Qt.Key.Key_L)
    assert window.learn_strip.isVisible()
    widgets = {**window.board.faders, **window.board.toggles, **window.board.buttons, **window.board.texts}
    for name, widget in widgets.items():
        qtbot.mouseClick(widget, Qt.MouseButton.LeftButton)
        assert window.learn_strip.address.text() == f"/cymatic/{name}"
    qtbot.mouseClick(window.pads.pads[2], Qt.MouseButton.LeftButton)
    assert window.learn_strip.address.text() == f"/cymatic/preset/go/{NAMES[2]}"
    qtbot.mouseClick(window.pads.bank.buttons["second"], Qt.MouseButton.LeftButton)
    assert window.learn_strip.address.text() == "/cymatic/preset/bank/second"
    stage.tick()
    assert stage.desk.snapshot() == before
    assert stage.fired == []
    qtbot.keyClick(window, Qt.Key.Key_Escape)
    assert not window.learn_strip.isVisible()
    qtbot.mouseClick(window.board.toggles["blackout"], Qt.MouseButton.LeftButton)
    assert stage.desk.get("blackout") is True


def test_an_address_can_be_copied(window, qtbot):
    window.toggle_learn()
    qtbot.mouseClick(window.board.faders["sound/gain"], Qt.MouseButton.LeftButton)
    qtbot.keyClick(window, Qt.Key.Key_C)
    assert QGuiApplication.clipboard().text() == "/cymatic/sound/gain"


class Port:
    name = "nanoKONTROL2"

    def close(self) -> None:
        pass


def test_a_knob_is_bound_to_what_was_clicked(window, stage, qtbot):
    stage.midi.ports = (Port(),)
    window.toggle_learn()
    qtbot.mouseClick(window.board.faders["reactivity"], Qt.MouseButton.LeftButton)
    assert "knob" in window.learn_strip.knob.text()
    stage.midi.hear(mido.Message("control_change", control=21, value=64))
    stage.midi.tick()
    window.refresh()
    assert window.learn_strip.knob.text().startswith("controller 21 on channel 1")
    window.toggle_learn()
    stage.midi.hear(mido.Message("control_change", control=21, value=127))
    stage.midi.hear(mido.Message("control_change", control=21, value=0))
    stage.midi.tick()
    assert stage.desk.get("reactivity") == 0.0
    window.refresh()
    assert window.board.faders["reactivity"].shown == 0.0
    assert "MIDI" in window.activity.messages.rows[0][0].origin.upper()
    assert "nanoKONTROL2" in window.activity.inputs.text() + window.activity.inputs.toolTip()


def test_messages_from_outside_are_listed_and_counted(window, stage):
    for value in range(5):
        stage.desk.set("speed", value, origin="osc:10.0.0.3:9000")
    stage.desk.set("master", 0.5, origin="window")
    window.refresh()
    [(newest, count)] = window.activity.messages.rows
    assert (newest.name, newest.value, count) == ("speed", 4.0, 5)


# What is remembered, what is left


def test_place_and_words_are_remembered(qapp, stage, output, tmp_path, qtbot):
    path = tmp_path / "window.ini"
    window = open_window(stage, output, Memory(path), size=(1200, 760))
    window.paints.prompt.send("bent trees")
    close_window(window)
    again = ControlWindow(stage, lambda: None, memory=Memory(path))
    assert again.size().toTuple() == (1200, 760)
    assert again._memory.prompts == ["bent trees"]
    close_window(again)


def test_a_memory_that_cannot_be_read_is_none(qapp, stage, tmp_path):
    path = tmp_path / "window.ini"
    path.write_bytes(b"[control]\nplace=@Rect(1 2 three)\n[x\nprompts=" + b"," * 500)
    memory = Memory(path)
    window = ControlWindow(stage, lambda: None, memory=memory)
    assert window.size().toTuple() == (1280, 800)
    close_window(window)
    for number in range(2 * PROMPTS):
        memory.add_prompt(f"words {number % (PROMPTS + 5)}")
    assert len(memory.prompts) == PROMPTS
    assert len(set(memory.prompts)) == PROMPTS


def test_a_window_leaves_no_thread_timer_or_widget(qapp, stage, output):
    before = alive()
    window = ControlWindow(stage, lambda: None)
    assert active_timers(window)
    window.show()
    window.resize(1920, 1080)  # built a second time
    settle()
    assert left_behind(before), "the watch sees a window that lives"
    close_window(window)
    assert left_behind(before) == []


def test_the_watch_sees_what_is_left(qapp):
    import threading

    before = alive()
    timer, stop = QTimer(), threading.Event()
    timer.start(1000)
    thread = threading.Thread(target=stop.wait)
    thread.start()
    assert left_behind(before) == ["QTimer", "thread"]
    timer.stop()
    stop.set()
    thread.join()
    assert left_behind(before) == []
