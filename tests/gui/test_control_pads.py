"""Pads, words and keys of the control window."""

from __future__ import annotations

import pytest
from fake_stage import NAMES
from PySide6.QtCore import QEvent, Qt
from PySide6.QtGui import QColor, QImage, QKeyEvent
from PySide6.QtWidgets import QApplication
from window_parts import control_window, made_up_stage, output_that_remembers  # noqa: F401

from gui.commands import PAD_KEYS
from gui.control import ControlWindow
from gui.pads import Pad
from presets import prompts, thumbnails

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


def test_a_preset_that_is_called_by_osc_lights_its_pad(window, stage):
    for value, name in ((3, NAMES[2]), (NAMES[5], NAMES[5])):
        stage.desk.set("preset/go", value, origin="osc:10.0.0.3:9000")
        stage.tick()
        window.refresh()
        assert lit(window) == [name]


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


def test_half_typed_words_are_sent_by_return_alone(window, stage, qtbot):
    line = window.paints.prompt.line
    qtbot.keyClick(window, Qt.Key.Key_W)
    qtbot.keyClicks(line, "half a th")
    qtbot.mouseClick(window.paints.preview, Qt.MouseButton.LeftButton)
    assert window.hasFocus()
    window.refresh()
    assert (stage.desk.get("text"), line.text()) == ("", "half a th")
    qtbot.keyClick(window, Qt.Key.Key_W)
    line.end(False)
    qtbot.keyClicks(line, "ought")
    qtbot.keyClick(line, Qt.Key.Key_Return)
    assert stage.desk.get("text") == "half a thought"
    stage.desk.set("text", "sea", origin="osc")
    window.refresh()
    assert line.text() == "sea", "sent words give way to those that hold"
    qtbot.keyClicks(line, " and")
    window.resize(1920, 1080)  # the window is built anew around the field
    QApplication.processEvents()
    assert window.paints.prompt.line is not line
    assert stage.desk.get("text") == "sea"


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
    (Qt.Key.Key_Backspace, Qt.KeyboardModifier.ControlModifier, ("panic", True)),
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
    stage.banks = lambda: [("first", many)]
    qtbot.keyClick(window, Qt.Key.Key_0)
    qtbot.keyClick(window, Qt.Key.Key_6, Qt.KeyboardModifier.AltModifier)
    stage.tick()
    assert stage.fired == [("preset/go", "preset-9"), ("preset/go", "preset-15")]


def test_keys_beyond_the_shown_bank_call_nothing_and_say_so(window, stage, qtbot):
    for key, modifier, pad in (
        (Qt.Key.Key_7, Qt.KeyboardModifier.NoModifier, 7),  # there is a seventh preset, in the second bank
        (Qt.Key.Key_0, Qt.KeyboardModifier.NoModifier, 10),
        (Qt.Key.Key_1, Qt.KeyboardModifier.AltModifier, 11),
    ):
        qtbot.keyClick(window, key, modifier)
        stage.tick()
        window.refresh()
        assert stage.fired == []
        assert window.message.text() == f"there is no preset on pad {pad}"
    stage.desk.show("preset/bank", "second")
    qtbot.keyClick(window, Qt.Key.Key_2)
    stage.tick()
    assert stage.fired == [("preset/go", NAMES[7])]


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
        qtbot.keyClick(window.board.choices["look/mirror"].box, key)  # or a list
        assert stage.desk.get(name) is False


def test_panic_is_heard_on_a_bar_and_not_beside_the_prompts_nor_in_the_words(window, stage, qtbot):
    fader, line = window.board.faders["sound/gain"], window.paints.prompt.line
    stage.desk.set("sound/gain", 6.0, "test")
    stage.desk.set("blackout", True, "test")
    window.refresh()
    qtbot.keyClick(window, Qt.Key.Key_0, Qt.KeyboardModifier.ControlModifier)
    qtbot.keyClicks(line, "bent trees")
    qtbot.keyClick(line, Qt.Key.Key_Backspace, Qt.KeyboardModifier.ControlModifier)
    assert (line.text(), stage.desk.get("blackout")) == ("bent ", True)
    qtbot.keyClick(fader, Qt.Key.Key_Backspace, Qt.KeyboardModifier.ControlModifier)
    assert stage.desk.get("blackout") is False
    assert stage.desk.get("sound/gain") == 6.0, "the bar itself does not obey"


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


@pytest.fixture
def ended(window) -> list[bool]:
    """True for every time the show was ended."""
    ends = []
    window.closed.connect(lambda: ends.append(True))
    return ends


def test_the_show_ends_when_it_is_asked_to_twice(window, stage, ended, qtbot):
    stage.status = {**stage.invent_status(0.0), "error": "microphone gone"}
    window.toggle_learn()
    qtbot.keyClick(window, Qt.Key.Key_F1)
    qtbot.keyClick(window, Qt.Key.Key_Q, Qt.KeyboardModifier.ControlModifier)
    held = QKeyEvent(QEvent.Type.KeyPress, Qt.Key.Key_Q, Qt.KeyboardModifier.ControlModifier, "", True)
    QApplication.sendEvent(window, held)
    assert ended == []
    assert window.message.text() == "Press Ctrl Q or close a window again within 3 s to end the show"
    assert window.message.isVisible()
    assert not window._pages["help"].isVisible(), "nothing lies over the question"
    qtbot.keyClick(window, Qt.Key.Key_Q, Qt.KeyboardModifier.ControlModifier)
    assert ended == [True]


def test_a_question_that_nobody_answers_is_taken_back(window, stage, ended, qtbot, monkeypatch):
    monkeypatch.setattr("gui.commands.AGAIN_S", 0.0)
    stage.tell("a line")
    for _ in range(3):
        qtbot.keyClick(window, Qt.Key.Key_Q, Qt.KeyboardModifier.ControlModifier)
        window.refresh()
        assert window.message.text() == "a line"
    assert ended == []


def test_every_button_can_be_reached_by_tab_or_has_a_key(window):
    widgets = [*window.board.faders.values(), *window.board.toggles.values(), *window.board.buttons.values()]
    assert all(widget.focusPolicy() & Qt.FocusPolicy.TabFocus for widget in widgets)
