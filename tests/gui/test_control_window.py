"""The control window shows what the desk and the stage say, and what is done in it reaches the desk."""

from __future__ import annotations

import pytest
from fake_stage import SCENES
from PySide6.QtCore import QPoint, Qt
from PySide6.QtWidgets import QApplication
from window_parts import (  # noqa: F401
    close_window,
    control_window,
    made_up_stage,
    open_window,
    output_that_remembers,
)

from engine.control.registry import REGISTRY
from gui import hears, paints
from gui.control import density_for
from gui.fader import reading
from gui.meters import MEL_COLUMNS
from gui.mixer import group_of


def at(fader, fraction: float) -> QPoint:
    return fader.place_of(fraction).toPoint()


# Every control, both ways


def test_every_control_of_the_registry_has_its_widget(window):
    board = window.board
    kinds = {
        "float": board.faders,
        "bool": board.toggles,
        "trigger": board.buttons,
        "choice": board.choices,
        "text": board.texts,
    }
    for kind, widgets in kinds.items():
        wanted = set(named(kind))
        assert set(widgets) == wanted
        assert [name for name, widget in widgets.items() if not widget.isVisible()] == []


def named(kind: str) -> list[str]:
    own = ("preset/go", "sound/channel")  # which are the pads, and a list beside the input
    return [control.name for control in REGISTRY if control.kind == kind and control.name not in own]


def test_every_bar_moves_its_control_and_shows_it(window, stage, qtbot):
    for name in named("float"):
        fader, control = window.board.faders[name], window.board.controls[name]
        for fraction in (0.25, 0.75):
            qtbot.mouseClick(fader, Qt.MouseButton.LeftButton, pos=at(fader, fraction))
            off = 2 * (control.maximum - control.minimum) * (1.5 / fader.width() + 1 / fader.STEPS)
            assert stage.desk.get(name) == pytest.approx(control.at(fraction), abs=off), name
            assert stage.desk.mover(name) == "window", name
        qtbot.mouseDClick(fader, Qt.MouseButton.LeftButton, pos=at(fader, 0.5))
        assert stage.desk.get(name) == control.default, name
        told = control.at(0.6)
        stage.desk.set(name, told, origin="osc")
        window.refresh()
        assert fader.shown == told, name
        assert control.at(fader.value() / fader.STEPS) == pytest.approx(told, rel=0.01), name
        assert stage.desk.mover(name) == "osc", "showing is not moving"


def test_every_switch_goes_both_ways(window, stage, qtbot):
    for name in named("bool"):
        button, before = window.board.toggles[name], stage.desk.get(name)
        qtbot.mouseClick(button, Qt.MouseButton.LeftButton)
        assert stage.desk.get(name) is not before, name
        stage.desk.set(name, before, origin="osc")
        window.refresh()
        assert button.isChecked() is before, name
        qtbot.keyClick(button, Qt.Key.Key_Return)
        assert stage.desk.get(name) is not before, name


def test_every_button_fires_once(window, stage, qtbot):
    for name in named("trigger"):
        qtbot.mouseClick(window.board.buttons[name], Qt.MouseButton.LeftButton)
        stage.tick()
        assert stage.fired == [(name, True)]
        stage.fired.clear()


def test_every_choice_is_made_and_shown(window, stage, qtbot):
    for name in named("choice"):
        choice, options = window.board.choices[name], stage.desk.options(name)
        assert choice.options == options
        assert len(options) > 1
        if choice.box is None:
            qtbot.mouseClick(choice.buttons[options[-1]], Qt.MouseButton.LeftButton)
        else:
            choice.box.activated.emit(len(options) - 1)
        assert stage.desk.get(name) == options[-1]
        stage.desk.set(name, 1, origin="osc")
        window.refresh()
        assert choice.value == options[0]
        if choice.box is None:
            assert [option for option, button in choice.buttons.items() if button.isChecked()] == [options[0]]
        else:
            assert choice.box.currentData() == options[0]


def test_a_choice_follows_its_options_and_many_become_a_list(window, stage):
    many = tuple(f"bank {number}" for number in range(9))
    stage.desk.set_options("preset/bank", many)
    window.refresh()
    choice = window.board.choices["preset/bank"]
    assert choice.options == many
    assert choice.box is not None
    choice.box.activated.emit(4)
    assert stage.desk.get("preset/bank") == "bank 4"


def test_words_reach_the_desk_when_they_are_finished(window, stage, qtbot):
    line = window.board.texts["text"]
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


def test_a_control_that_no_panel_knows_stands_in_its_group(window):
    taken = {name for names in window.controls.groups.values() for name in names}
    assert {"gain/coarse", "look/hue", "reactivity"} <= taken
    assert "master" not in taken
    by_name = {control.name: control for control in REGISTRY}
    assert [group_of(by_name[name]) for name in ("look/hue", "noise", "sound/weight", "flash/limit")] == [
        "Look",
        "Picture",
        "Mix",
        "Room",
    ]


# Bars in particular


def test_shift_drags_finely(window, stage, qtbot):
    fader = window.board.faders["reactivity"]
    start, end = at(fader, 0.5), at(fader, 0.9)
    qtbot.mousePress(fader, Qt.MouseButton.LeftButton, Qt.KeyboardModifier.ShiftModifier, start)
    before = stage.desk.get("reactivity")
    for point in (QPoint((start.x() + end.x()) // 2, start.y()), end):
        event = mouse_move(fader, point, Qt.KeyboardModifier.ShiftModifier)
        QApplication.sendEvent(fader, event)
    qtbot.mouseRelease(fader, Qt.MouseButton.LeftButton, Qt.KeyboardModifier.ShiftModifier, end)
    assert stage.desk.get("reactivity") - before == pytest.approx(0.04, abs=0.01)


def mouse_move(widget, point: QPoint, modifiers):
    from PySide6.QtCore import QEvent, QPointF
    from PySide6.QtGui import QMouseEvent

    left = Qt.MouseButton.LeftButton
    return QMouseEvent(QEvent.Type.MouseMove, QPointF(point), QPointF(widget.mapToGlobal(point)), left, left, modifiers)


def test_arrow_keys_step_a_bar(window, stage, qtbot):
    fader = window.board.faders["sound/weight"]
    qtbot.keyClick(fader, Qt.Key.Key_Left)
    assert stage.desk.get("sound/weight") == pytest.approx(0.99)
    qtbot.keyClick(fader, Qt.Key.Key_Delete)
    assert stage.desk.get("sound/weight") == 1.0


def test_readings():
    by_name = {control.name: control for control in REGISTRY}
    assert reading(by_name["master"], 0.5) == "50 %"
    assert reading(by_name["sound/gain"], -6.0) == "−6.0 dB"
    assert reading(by_name["speed"], 1.25) == "1.25 ×"
    assert reading(by_name["fade"], 12.0) == "12.0 s"
    assert reading(by_name["seed"], 12.0) == "12"
    assert reading(by_name["tempo/bpm"], 0.0) == "auto"
    assert reading(by_name["tempo/bpm"], 128.0) == "128.0 bpm"


# What is heard, painted and told


def test_what_is_heard_is_shown(window, stage):
    stage.status = stage.invent_status(0.0)
    window.refresh()
    window.refresh()  # the same status twice is one column
    assert window.hears.device.text() == "Scarlett 2i2 USB"
    assert window.hears.rate.text() == "48 kHz"
    assert window.hears.channels.currentText() == "All 2 ch"
    assert window.hears.meter.db == pytest.approx(stage.status["rms_db"])
    assert window.hears.onset.value == pytest.approx(1.0)
    assert window.paints.scenes.names == SCENES
    columns = window.hears.mel.columns
    assert columns.shape == (128, MEL_COLUMNS)
    assert columns[:, -1] == pytest.approx(stage.status["mel"])
    assert (columns[:, :-1] == -2).all()


def test_clipping_too_quiet_and_a_device_that_is_gone_are_said(window, stage):
    panel, status = window.hears, stage.invent_status(0.0)
    panel.refresh({**status, "clip": True}, 0.0)
    assert "Clipping" in panel.advice.text()
    quiet = {**status, "rms_db": -70.0}
    panel.refresh(quiet, 1.0)
    assert panel.advice.text() == "−60 dB"  # a short pause is no fault
    panel.refresh(quiet, 1.1 + hears.QUIET_AFTER_S)
    assert panel.advice.text() == "Too quiet"
    panel.refresh({**quiet, "audio": {**status["audio"], "state": "lost"}}, 9.0)
    assert panel.advice.text() == "Device is gone"
    assert "opened again" in panel.advice.toolTip()
    assert panel.advice.property("role") == "error"


def test_what_the_flash_limiter_held_back_is_shown_and_where(window, stage):
    label = window.paints.limited
    painted, output = 0, 0
    window._flashes_limited = lambda: output
    window.refresh()
    assert label.text() == ""
    for painted, output, words in ((3, 0, "3 pictures held back"), (3, 2, "5 pictures held back, 2 by the output")):
        stage.status = {**stage.invent_status(0.0), "flashes_limited": painted}
        window.refresh()
        assert label.text() == words
        assert label.property("role") == "accent"
        assert f"{output} as look, faders and sizing had made them" in label.toolTip()
        for _ in range(paints.LIT):
            window.refresh()
        assert label.property("role") == "faint", "it is over"


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
    assert window.hears.onset.value == 0.0
    assert window.hears.mel.columns is None
    assert not window.paints.scenes.values.any()


def test_the_newest_line_and_the_error_of_the_engine(window, stage):
    stage.errors.extend(["first", "preset Ember:\nunreadable"])
    window.refresh()
    assert window.message.text() == "preset Ember: unreadable"
    assert window.message.property("role") == "muted"
    stage.status = {**stage.invent_status(0.0), "error": "microphone gone"}
    window.refresh()
    assert window.message.text() == "microphone gone"
    assert window.message.property("role") == "error"
    assert window.headline.state.text() == "Trouble"
    stage.status = {**stage.status, "state": "error"}
    window.refresh()
    assert window.headline.state.text() == "Engine down"


def test_a_refused_edit_is_shown_for_a_while_and_forgotten_with_the_next(window, monkeypatch):
    window.board.edit("preset/go", "No such preset")
    window.refresh()
    assert "No such preset" in window.message.text() + window.message.toolTip()
    window.board.edit("master", 0.5)
    window.refresh()
    assert window.message.text() == ""
    window.board.edit("preset/go", "No such preset")
    monkeypatch.setattr("gui.board.REFUSED_S", 0.0)
    window.refresh()
    assert window.message.text() == "", "it was long ago"


def test_an_error_of_the_engine_comes_before_a_refused_edit(window, stage):
    stage.status = {**stage.invent_status(0.0), "error": "microphone gone"}
    window.board.edit("preset/go", "No such preset")
    window.refresh()
    assert window.message.text() == "microphone gone"
    stage.status = {**stage.status, "error": None}
    window.refresh()
    assert "No such preset" in window.message.text() + window.message.toolTip()


def test_tempo_beat_and_performance_are_shown(window, stage):
    stage.status = {**stage.invent_status(0.0), "fps": 30.0}
    stage.paint(stage.landscape(0.0))
    for _ in range(3):
        stage.paint(stage.landscape(0.0))
        window.times.take(stage.newest_frame())
    window.refresh()
    assert window.headline.bpm.text() == "120.0"
    assert window.headline.beats.beat in (1, 2, 3, 4)
    assert window.performance.latency.text() == "34"
    assert window.performance.late.text() == "2"
    assert len(window.times.intervals) == 2
    assert window.times.latencies[-1] == pytest.approx(34.0, abs=1.0)


def test_a_recording_and_a_lower_frame_rate_are_seen(window, stage):
    button = window.board.toggles["record"]
    assert button.text() == "● Record"
    stage.recording = {"path": "x.mp4", "seconds": 83.4, "pictures": 2500, "dropped": 0, "gaps": 0, "mib": 12.0}
    stage.status = {**stage.invent_status(0.0), "quality": "15 instead of 30 pictures a second"}
    window.refresh()
    assert button.text() == "● 1:23"
    assert window.performance.quality.isVisible()
    stage.recording["dropped"] = 4
    window.refresh()
    assert button.text().endswith("−4")


# Size


@pytest.mark.parametrize("size", [(1280, 800), (1920, 1080), (1024, 640), (2560, 1440)])
def test_nothing_is_cut_off_and_nothing_scrolls(qapp, stage, output, size):
    window = open_window(stage, output, size=size)
    stage.status = stage.invent_status(0.0)
    window.refresh()
    QApplication.processEvents()
    try:
        assert window.size().toTuple() == size
        if size[1] >= 800:
            assert window.controls.scroll.verticalScrollBar().maximum() == 0
        inside = window.rect()
        widgets = [*window.board.faders.values(), *window.board.toggles.values(), *window.board.buttons.values()]
        for widget in widgets:
            corner = widget.mapTo(window, QPoint(0, 0))
            assert inside.contains(corner), widget.accessibleName()
            assert inside.contains(corner + widget.rect().bottomRight()), widget.accessibleName()
            if hasattr(widget, "text") and not hasattr(widget, "control"):
                words = widget.fontMetrics().horizontalAdvance(widget.text())
                assert words <= widget.width(), f"{widget.accessibleName()} is cut off"
    finally:
        close_window(window)


def test_a_larger_window_is_built_larger_and_keeps_what_it_showed(window, stage, qtbot):
    stage.status = stage.invent_status(0.0)
    window.refresh()
    before, height = window.board, window.board.faders["reactivity"].fontMetrics().height()
    columns = window.hears.mel.columns
    window.resize(1920, 1080)
    QApplication.processEvents()
    assert window.board is not before
    assert density_for(1920, 1080) > 1.0
    assert window.hears.mel.columns is columns, "the past of the sound stays"
    assert window.hears.mel.isVisible()
    fader = window.board.faders["reactivity"]
    assert fader.height() > height
    qtbot.mouseClick(fader, Qt.MouseButton.LeftButton, pos=at(fader, 0.9))
    assert stage.desk.get("reactivity") == pytest.approx(0.9, abs=0.01)
    window.resize(1280, 800)
    QApplication.processEvents()
    assert density_for(1280, 800) == 1.0
    assert window.board.faders["master"].shown == stage.desk.get("master")
