"""Pads, words, keys, pages and learning: what is done in the control window besides moving bars."""

from __future__ import annotations

import json
import sys

import mido
import pytest
from fake_stage import NAMES, FakeStage
from PySide6.QtCore import Qt, QTimer
from PySide6.QtGui import QColor, QGuiApplication, QImage
from PySide6.QtWidgets import QApplication
from window_parts import Output, active_timers, alive, close_window, left_behind, open_window, settle, watched

from gui.commands import PAD_KEYS
from gui.control import ControlWindow
from gui.diagnostics import DiagnosticsPage, facts
from gui.memory import PROMPTS, Memory
from gui.pads import Pad
from presets import prompts, thumbnails

nothing_of_a_window_is_left = pytest.fixture(autouse=True)(watched)


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
def window(qapp, stage, output):
    window = open_window(stage, output)
    yield window
    close_window(window)


# Pads


def shown(window: ControlWindow) -> list[str]:
    return [pad.name for pad in window.pads.pads if pad.name]


def lit(window: ControlWindow) -> list[str]:
    return [pad.name for pad in window.pads.pads if pad.isChecked()]


def test_a_pad_calls_its_preset_and_lights_when_the_stage_plays_it(window, stage, qtbot):
    assert shown(window) == list(NAMES[:6])
    qtbot.mouseClick(window.pads.pads[4], Qt.MouseButton.LeftButton)
    window.refresh()
    assert lit(window) == [NAMES[1]]  # not before the stage obeys
    stage.tick()
    window.refresh()
    assert stage.fired == [("preset/go", NAMES[4])]
    assert lit(window) == [NAMES[4]]


def test_a_bank_lays_its_presets_on_the_pads(window, stage, qtbot):
    qtbot.mouseClick(window.pads.bank.buttons["second"], Qt.MouseButton.LeftButton)
    window.refresh()
    assert shown(window) == list(NAMES[6:])
    empty = window.pads.pads[5]
    assert not empty.isEnabled()
    qtbot.mouseClick(empty, Qt.MouseButton.LeftButton)
    stage.tick()
    assert stage.fired == [("preset/bank", "second")]


def test_sixteen_pads_are_all_there(window, stage):
    many = tuple(f"preset-{number}" for number in range(16))
    stage.banks = lambda: [("first", many)]
    window.refresh()
    QApplication.processEvents()
    assert shown(window) == list(many)
    assert all(pad.isVisible() and pad.height() > 30 for pad in window.pads.pads)
    assert [pad._key for pad in window.pads.pads] == list(PAD_KEYS)


def test_a_pad_shows_the_picture_of_its_preset_and_is_quiet_without(qapp, monkeypatch, tmp_path):
    path = tmp_path / "x.jpg"
    picture = QImage(160, 90, QImage.Format.Format_RGB32)
    picture.fill(QColor(0, 200, 0))
    assert picture.save(str(path), "JPG")
    monkeypatch.setattr("gui.pads.find", lambda name: path if name == "with" else None)
    greens = {}
    for name in ("with", "without"):
        pad = Pad("1")
        pad.resize(140, 60)
        pad.show_preset(name)
        colour = pad.grab().toImage().pixelColor(70, 20)
        greens[name] = colour.green() - colour.red()
    assert greens["with"] > 60
    assert abs(greens["without"]) < 10


def test_shipped_presets_have_their_small_pictures():
    from presets.store import SHIPPED, PresetStore

    names = PresetStore([SHIPPED]).names()
    paths = [thumbnails.find(name, [SHIPPED]) for name in names]
    assert [name for name, path in zip(names, paths, strict=True) if path is None] == []
    assert sum(path.stat().st_size for path in paths) < 150_000
    for path in paths:
        assert QImage(str(path)).size().toTuple() == (thumbnails.WIDTH, thumbnails.HEIGHT)


def test_a_preset_of_ones_own_hides_the_shipped_picture(tmp_path):
    shipped, own = tmp_path / "shipped", tmp_path / "own"
    for folder in (shipped, own):
        folder.mkdir()
    (shipped / "ember.json").touch()
    picture = thumbnails.place(shipped, "ember")
    picture.parent.mkdir()
    picture.touch()
    assert thumbnails.find("ember", [shipped, own]) == picture
    (own / "ember.json").touch()
    assert thumbnails.find("ember", [shipped, own]) is None
    assert thumbnails.find("../ember", [shipped]) is None


# Words


def test_prepared_prompts_are_sent_by_button_key_and_menu(window, stage, qtbot):
    prompt = window.paints.prompt
    qtbot.mouseClick(prompt.chips[1], Qt.MouseButton.LeftButton)
    assert stage.desk.get("text") == prompt.prepared[1]
    assert prompt.line.text() == prompt.prepared[1]
    qtbot.keyClick(window, Qt.Key.Key_3, Qt.KeyboardModifier.ControlModifier)
    assert stage.desk.get("text") == prompt.prepared[2]
    actions = {action.text(): action for action in prompt.menu().actions()}
    assert list(prompt.prepared) == [text for text in actions if text in prompt.prepared]
    actions[prompt.prepared[5]].trigger()
    assert stage.desk.get("text") == prompt.prepared[5]
    qtbot.mouseClick(prompt.clear_button, Qt.MouseButton.LeftButton)
    assert stage.desk.get("text") == ""


def test_what_was_typed_comes_back_with_the_arrows_and_escape_undoes(window, stage, qtbot):
    line = window.paints.prompt.line
    for words in ("bent trees", "sea"):
        qtbot.keyClick(window, Qt.Key.Key_W)
        assert line.hasFocus()
        qtbot.keyClicks(line, words)
        qtbot.keyClick(line, Qt.Key.Key_Return)
        assert window.hasFocus(), "the keys are the show's again"
    line.setFocus()
    seen = []
    for key in (Qt.Key.Key_Up, Qt.Key.Key_Up, Qt.Key.Key_Up, Qt.Key.Key_Down, Qt.Key.Key_Down):
        qtbot.keyClick(line, key)
        seen.append(line.text())
    assert seen == ["sea", "bent trees", "bent trees", "sea", ""]
    qtbot.keyClicks(line, "half a th")
    qtbot.keyClick(line, Qt.Key.Key_Escape)
    assert line.text() == "sea" == stage.desk.get("text")


def test_prompts_of_ones_own(tmp_path):
    path = tmp_path / "prompts.txt"
    assert prompts.prepared(path) == prompts.PREPARED
    path.write_text("# for the second set\n\n  snow \nlava\n" + "x" * 300 + "\n", encoding="utf-8")
    assert prompts.prepared(path) == ("snow", "lava")
    path.write_bytes(b"\n")
    assert prompts.prepared(path) == prompts.PREPARED


# Keys


FIRES = [
    (Qt.Key.Key_3, Qt.KeyboardModifier.NoModifier, ("preset/go", NAMES[2])),
    (Qt.Key.Key_N, Qt.KeyboardModifier.NoModifier, ("preset/next", True)),
    (Qt.Key.Key_P, Qt.KeyboardModifier.NoModifier, ("preset/prev", True)),
    (Qt.Key.Key_U, Qt.KeyboardModifier.NoModifier, ("preset/undo", True)),
    (Qt.Key.Key_A, Qt.KeyboardModifier.NoModifier, ("tempo/tap", True)),
    (Qt.Key.Key_R, Qt.KeyboardModifier.NoModifier, ("tempo/resync", True)),
    (Qt.Key.Key_Comma, Qt.KeyboardModifier.NoModifier, ("tempo/nudge/earlier", True)),
    (Qt.Key.Key_Period, Qt.KeyboardModifier.NoModifier, ("tempo/nudge/later", True)),
    (Qt.Key.Key_M, Qt.KeyboardModifier.NoModifier, ("midi/learn", True)),
    (Qt.Key.Key_PageDown, Qt.KeyboardModifier.NoModifier, ("preset/bank", "second")),
    (Qt.Key.Key_PageDown, Qt.KeyboardModifier.NoModifier, ("preset/bank", "first")),
    (Qt.Key.Key_PageUp, Qt.KeyboardModifier.NoModifier, ("preset/bank", "second")),
    (Qt.Key.Key_0, Qt.KeyboardModifier.ControlModifier, ("panic", True)),
]


def test_keys_that_fire(window, stage, qtbot):
    for key, modifier, fired in FIRES:
        qtbot.keyClick(window, key, modifier)
        stage.tick()
        assert stage.fired == [fired]
        stage.fired.clear()


def test_pads_beyond_the_tenth_have_alt(window, stage, qtbot):
    many = [f"preset-{number}" for number in range(16)]
    stage.desk.set_options("preset/go", many)
    stage.preset_names = lambda: many
    qtbot.keyClick(window, Qt.Key.Key_0)
    qtbot.keyClick(window, Qt.Key.Key_6, Qt.KeyboardModifier.AltModifier)
    stage.tick()
    assert stage.fired == [("preset/go", "preset-9"), ("preset/go", "preset-15")]


TOGGLES = {
    Qt.Key.Key_B: "blackout",
    Qt.Key.Key_Space: "freeze",
    Qt.Key.Key_T: "testcard",
    Qt.Key.Key_K: "preset/lock",
}


def test_keys_that_toggle(window, stage, qtbot):
    for key, name in TOGGLES.items():
        qtbot.keyClick(window, key)
        assert stage.desk.get(name) is True
        qtbot.keyClick(window.board.faders["master"], key)  # also while a bar has the focus
        assert stage.desk.get(name) is False
        qtbot.keyClick(window.board.toggles["freeze"], key)  # or a button
        assert stage.desk.get(name) is True


def test_keys_that_move(window, stage, qtbot):
    qtbot.keyClick(window, Qt.Key.Key_Minus)
    assert stage.desk.get("master") == pytest.approx(0.95)
    qtbot.keyClick(window, Qt.Key.Key_Plus)
    assert stage.desk.get("master") == 1.0
    qtbot.keyClick(window, Qt.Key.Key_Left)
    assert stage.desk.get("crossfader") == pytest.approx(0.95)
    qtbot.keyClick(window.board.faders["master"], Qt.Key.Key_Home)  # Home is the show's wherever the focus is
    assert stage.desk.get("crossfader") == 0.0
    qtbot.keyClick(window, Qt.Key.Key_End)
    assert stage.desk.get("crossfader") == 1.0


def test_keys_for_the_output_and_those_that_mean_nothing(window, stage, output, qtbot):
    before = stage.desk.snapshot()
    for key in (Qt.Key.Key_F, Qt.Key.Key_D, Qt.Key.Key_S, Qt.Key.Key_Escape, Qt.Key.Key_Y, Qt.Key.Key_9):
        qtbot.keyClick(window, key)
    qtbot.keyClick(window, Qt.Key.Key_B, Qt.KeyboardModifier.AltModifier)
    stage.tick()
    assert output.asked == ["toggle_fullscreen", "next_display", "next_sizing", "leave_fullscreen"]
    assert stage.fired == []  # there is no ninth preset
    assert stage.desk.snapshot() == before


def test_every_button_can_be_reached_by_tab_or_has_a_key(window):
    widgets = [*window.board.faders.values(), *window.board.toggles.values(), *window.board.buttons.values()]
    assert all(widget.focusPolicy() & Qt.FocusPolicy.TabFocus for widget in widgets)


# Pages


def test_f1_lists_every_key_and_escape_puts_the_page_away(window, output, qtbot):
    qtbot.keyClick(window, Qt.Key.Key_F1)
    page = window._pages["help"]
    assert page.isVisible()
    assert page.geometry() == window.rect()
    assert window.rect().contains(page.sheet.geometry()), "the whole page is on the window"
    from PySide6.QtWidgets import QLabel

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
    qtbot.waitUntil(lambda: page.again.isEnabled(), timeout=30_000)
    words = page_words(page)
    assert "2 inputs" in words
    assert "→ pip install 'cymatic[midi]'" in words
    assert "taken by this show" not in words
    assert not page.waiting.isVisible()


def test_a_doctor_that_says_nothing_is_one_line(window, stage, qtbot):
    page = DiagnosticsPage(window, stage, doctor_says("no JSON"))
    page.open()
    qtbot.waitUntil(lambda: page.again.isEnabled(), timeout=30_000)
    assert "told nothing" in page.waiting.text()
    missing = DiagnosticsPage(window, stage, ("/no/such/program",))
    missing.open()
    qtbot.waitUntil(lambda: missing.again.isEnabled(), timeout=30_000)
    assert "cannot be started" in missing.waiting.text()


def test_the_real_doctor_is_understood(window, stage, qtbot):
    from gui.diagnostics import DOCTOR

    page = DiagnosticsPage(window, stage, DOCTOR)
    page.open()
    qtbot.waitUntil(lambda: page.again.isEnabled(), timeout=120_000)
    assert not page.waiting.isVisible(), page.waiting.text()
    assert {"machine", "sound", "bundle", "presets"} <= set(page_words(page))


def test_a_window_that_closes_takes_its_doctor_with_it(window, stage, qtbot):
    qtbot.keyClick(window, Qt.Key.Key_I)
    page = window._pages["diagnostics"]
    assert page._process is not None  # the real one, which takes seconds
    window.finish()
    assert page._process is None


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
