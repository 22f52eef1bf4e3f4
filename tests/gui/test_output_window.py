"""The output window without a display: what it chooses to show, whom it asks, and that it never stops the stage."""

from __future__ import annotations

import threading
from dataclasses import replace

import numpy as np
import pytest
from fake_stage import FakeStage
from PySide6.QtCore import QTimer
from PySide6.QtGui import QGuiApplication, QImage
from PySide6.QtWidgets import QApplication

import gui.app
from engine.errors import CymaticError
from gui.control import ControlWindow
from gui.displays import choose_screen
from gui.output import OutputWindow, loading_line
from gui.surface import RasterSurface, placement
from gui.testcard import draw_loading_card, draw_test_card, moving_bar


@pytest.fixture
def stage() -> FakeStage:
    return FakeStage(36, 64, play=False)


@pytest.fixture
def output(qapp, stage):
    output = OutputWindow(stage)
    yield output
    output.stop()


def picture(shade: int) -> np.ndarray:
    return np.full((36, 64, 4), shade, np.uint8)


def test_a_card_stands_in_until_the_first_frame(output, stage):
    output.pulse()
    card = output._picture
    assert card.rgba.shape[:2] == (output.surface.height(), output.surface.width())
    assert 0 < card.rgba[..., :3].mean() < 30
    frame = picture(90)
    stage.paint(frame)
    output.pulse()
    assert output._picture.rgba is frame
    output.pulse()
    assert output._picture.rgba is frame  # the last good frame is held


def test_loading_line_says_what_is_wrong(stage):
    stage.status = {"state": "error", "error": "bundle landscape: encoder.onnx is missing"}
    assert loading_line(stage) == "bundle landscape: encoder.onnx is missing"
    stage.status = {"state": "loading"}
    assert loading_line(stage) == "Loading"


def test_blackout_wins_over_the_test_card_and_the_fader_does_not_dim_it(output, stage):
    stage.paint(picture(90))
    stage.desk.set("master", 0.25, "test")
    output.pulse()
    assert output._picture.level == 0.25
    stage.desk.set("testcard", True, "test")
    output.pulse()
    assert (output._picture.level, output._picture.sizing) == (1.0, "stretch")
    assert output._picture.bar is not None
    stage.desk.set("blackout", True, "test")
    output.pulse()
    assert output._picture.level == 0.0
    assert output._picture.rgba.max() > 0


def test_freeze_holds_what_is_shown_and_lets_go_to_the_newest(output, stage):
    held = picture(10)
    stage.paint(held)
    output.pulse()
    stage.desk.set("freeze", True, "test")
    newest = picture(20)
    stage.paint(newest)
    output.pulse()
    assert output._picture.rgba is held
    assert output.frame.rgba is newest  # the preview goes on
    stage.desk.set("freeze", False, "test")
    output.pulse()
    assert output._picture.rgba is newest


def test_freeze_before_the_first_frame_still_takes_it(output, stage):
    stage.desk.set("freeze", True, "test")
    output.pulse()
    frame = picture(30)
    stage.paint(frame)
    output.pulse()
    assert output._picture.rgba is frame


def test_every_frame_is_reported_once(qapp, stage):
    heard = []
    output = OutputWindow(stage, on_frame=heard.append)
    for shade in (1, 2):
        stage.paint(picture(shade))
        output.pulse()
        output.pulse()
    output.stop()
    assert [frame.index for frame in heard] == [1, 2]


@pytest.fixture
def shown(qapp, stage, qtbot):
    """An output on the display, whose pulse the test gives; what became of it, in order."""
    told = []
    output = OutputWindow(stage, on_frame=lambda frame: told.append(f"frame {frame.index} heard of"))
    output.start(fullscreen=False)
    qtbot.waitUntil(output.surface.isExposed, timeout=20_000)
    output._pulse_timer.stop()
    QApplication.processEvents()
    output.surface.frameSwapped.connect(lambda: told.append("drawn"))
    yield output, told
    output._pulse_timer.start()  # `stop` looks at it
    output.stop()


def test_a_frame_is_drawn_at_once_and_before_anybody_hears_of_it(shown, stage, qtbot):
    output, told = shown
    stage.paint(picture(10))
    output.pulse()
    assert told == ["drawn", "frame 1 heard of"]
    output.pulse()
    qtbot.wait(50)
    assert told == ["drawn", "frame 1 heard of"], "once is enough"


def test_a_frame_that_comes_while_one_is_drawn_takes_its_turn(shown, stage, qtbot):
    output, told = shown
    stage.paint(picture(0))
    newest = stage.newest_frame()
    stage.newest_frame = lambda: replace(newest, index=len(told) + 2, rgba=picture(len(told) + 1))  # always another
    output.pulse()
    assert told.count("drawn") == 1, "not one within the other"
    qtbot.waitUntil(lambda: told.count("drawn") > 3, timeout=20_000)


def test_a_hidden_window_does_not_stop_the_stage(output, stage, qtbot):
    output.start(fullscreen=False)
    output.surface.hide()
    before = stage.ticks
    qtbot.waitUntil(lambda: stage.ticks > before + 5, timeout=20_000)
    stage.paint(picture(40))
    qtbot.waitUntil(lambda: output.frame is not None, timeout=20_000)


def test_shown_frames_are_timed_from_their_sound(output, stage, qtbot):
    output.start(fullscreen=False)
    assert output.latency_ms is None
    stage.paint(picture(40))  # captured 34 ms ago
    qtbot.waitUntil(lambda: output.latency_ms is not None, timeout=20_000)
    assert output.latency_ms > 34


def test_fullscreen_covers_the_display_and_comes_back(output):
    output.start(fullscreen=False)
    before = output.surface.geometry()
    output.toggle_fullscreen()
    assert output.fullscreen
    assert output.surface.geometry() == QGuiApplication.primaryScreen().geometry()
    output.leave_fullscreen()
    output.leave_fullscreen()
    assert not output.fullscreen
    assert output.surface.geometry() == before


def test_a_display_that_changes_its_size_stays_covered(output):
    output.start(fullscreen=True)
    screen = QGuiApplication.primaryScreen()
    output.surface.setGeometry(0, 0, 320, 180)
    screen.geometryChanged.emit(screen.geometry())
    assert output.surface.geometry() == screen.geometry()


def test_a_display_that_is_not_there_is_named(qapp):
    assert choose_screen("1") is QGuiApplication.screens()[0]
    for number in ("0", str(len(QGuiApplication.screens()) + 1)):
        with pytest.raises(CymaticError, match=f"display {number} is not there: choose 1 "):
            choose_screen(number)


def test_without_opengl_a_painter_draws_the_same(output, stage, qtbot):
    assert isinstance(output.surface, RasterSurface)
    stage.paint(picture(200))
    stage.desk.set("master", 0.5, "test")
    with qtbot.waitSignal(output.surface.frameSwapped, timeout=20_000):
        output.start(fullscreen=False)


def grey(output: OutputWindow) -> float:
    """The mean of what stands in the window."""
    image = (
        output.surface.screen()
        .grabWindow(output.surface.winId())
        .toImage()
        .convertToFormat(QImage.Format.Format_Grayscale8)
    )
    return float(np.frombuffer(image.constBits(), np.uint8).reshape(image.height(), -1)[:, : image.width()].mean())


def test_without_opengl_a_strobe_glows_and_its_end_is_shown_by_and_by(shown, stage, qtbot):
    output, told = shown
    stage.paint(picture(250))
    for pressed in range(1, 40):
        stage.desk.set("blackout", pressed % 2, "test")
        output.pulse()
    assert output.surface.limiting
    assert 0 < grey(output) < 200
    drawn = told.count("drawn")
    qtbot.waitUntil(lambda: (output.pulse(), not output.surface.limiting)[1], timeout=20_000)
    assert told.count("drawn") > drawn + 5
    assert grey(output) == 0


@pytest.mark.parametrize(
    ("sizing", "wanted"),
    [
        ("fit", (0, 100, 400, 200)),
        ("fill", (-200, 0, 800, 400)),
        ("stretch", (0, 0, 400, 400)),
        ("1:1", (100, 150, 200, 100)),
    ],
)
def test_placement(sizing, wanted):
    assert placement((200, 100), (400, 400), sizing) == wanted


def test_cards_have_the_size_of_the_window_and_something_to_read(qapp):
    card = draw_test_card(640, 360, "HDMI-1", 59.94)
    assert card.shape == (360, 640, 4)
    assert (card[..., 3] == 255).all()
    border = np.concatenate([card[0], card[-1], card[:, 0], card[:, -1]])
    assert (border == 255).all()
    chequer = card[22:58, 22:58, 0]
    assert set(np.unique(chequer)) == {0, 255}
    assert (chequer[1:] != chequer[:-1]).all()
    assert (chequer[:, 1:] != chequer[:, :-1]).all()
    assert not (card == draw_test_card(640, 360, "HDMI-2", 59.94)).all()
    card = draw_loading_card(640, 360, "Loading")
    assert not (card == draw_loading_card(640, 360, "Waiting")).all()


def test_the_moving_bar_crosses_the_whole_card_and_stays_on_it():
    lefts = [moving_bar(seconds)[0] for seconds in np.arange(0, 4, 0.01)]
    assert min(lefts) == 0
    assert max(x + moving_bar(0)[2] for x in lefts) == pytest.approx(1.0, abs=0.01)


def test_run_ends_by_the_clock_and_leaves_nothing(qapp):
    stage = FakeStage(36, 64)
    frames = []
    threads = set(threading.enumerate())
    assert gui.app.run(stage, seconds=0.5, on_frame=frames.append) == 0
    assert frames
    assert stage.ticks > 0
    assert set(threading.enumerate()) == threads
    assert [w for w in QApplication.topLevelWidgets() if isinstance(w, ControlWindow)] == []
    assert [w for w in QGuiApplication.allWindows() if w.isVisible()] == []


@pytest.mark.parametrize("which", ["control", "output", "quit"])
def test_closing_either_window_asks_and_closing_it_again_ends_the_run(qapp, which, monkeypatch):
    monkeypatch.setattr("gui.commands.AGAIN_S", 600.0)
    asked = []

    def control() -> ControlWindow:
        return next(w for w in QApplication.topLevelWidgets() if isinstance(w, ControlWindow))

    def close() -> None:
        if which == "quit":
            QApplication.quit()
        elif which == "control":
            control().close()
        else:
            next(w for w in QGuiApplication.allWindows() if isinstance(w, RasterSurface) and w.isVisible()).close()

    def look() -> None:
        asked.append(control().message.text())
        assert len([w for w in QGuiApplication.allWindows() if w.isVisible()]) == 2, "both windows stay"
        close()

    QTimer.singleShot(100, close)
    QTimer.singleShot(300, look)
    assert gui.app.run(FakeStage(36, 64)) == 0
    assert asked == ["Press Ctrl Q or close a window again within 600 s to end the show"]
    assert [w for w in QGuiApplication.allWindows() if w.isVisible()] == []


def test_a_failing_slot_is_logged_once_and_the_show_goes_on(qapp, caplog):
    stage = FakeStage(36, 64)
    frames = []

    def fail() -> None:
        raise RuntimeError("the stage stumbled")

    stage.tick = fail
    assert gui.app.run(stage, seconds=0.5, on_frame=frames.append) == 0
    assert len(frames) > 1
    assert [r.message for r in caplog.records if "stumbled" in r.message] == [
        "a window failed and goes on: the stage stumbled"
    ]
