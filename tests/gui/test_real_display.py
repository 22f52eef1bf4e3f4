"""The real windows on a real (virtual) display, seen from outside: by screenshots and by how the process ends."""

from __future__ import annotations

import re
import signal
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
from conftest import Display
from PIL import Image
from shown import Show, shows

pytestmark = pytest.mark.display


@pytest.fixture
def show(xvfb: Display, tmp_path: Path) -> Iterator[Callable[..., Show]]:
    with shows(xvfb, tmp_path) as start:
        yield start


def assert_quiet(log: str) -> None:
    """Nothing in the log above INFO, and nothing that did not come through it."""
    assert [line for line in log.splitlines() if not re.match(r"INFO ", line)] == []


def test_the_picture_moves_goes_black_and_comes_back(show):
    play = show("--fullscreen")
    first = play.wait_for(lambda shot: shot.mean() > 30 and shot[:, :, 0].std() > 20, "a picture on the display")
    play.wait_for(lambda shot: np.abs(shot - first).mean() > 2, "another picture")
    play.move("blackout", 1)
    play.wait_for(lambda shot: shot.max() == 0, "blackout")
    play.move("blackout", 0)
    play.wait_for(lambda shot: shot.mean() > 30, "the picture again")
    assert play.end(signal.SIGINT) == 0
    assert_quiet(play.log)


def test_freeze_holds_the_picture(show):
    play = show("--fullscreen")
    play.wait_for(lambda shot: shot.mean() > 30 and shot[:, :, 0].std() > 20, "a picture on the display")
    play.move("freeze", 1)
    shots = [play.screenshot()]

    def still(shot: np.ndarray) -> bool:
        shots.append(shot)
        return len(shots) > 5 and all((one == shots[-1]).all() for one in shots[-5:])

    play.wait_for(still, "five equal screenshots of a moving picture")
    play.move("freeze", 0)
    play.wait_for(lambda shot: np.abs(shot - shots[-1]).mean() > 2, "the picture moving on")
    assert play.end(signal.SIGTERM) == 0


@pytest.mark.parametrize("arguments", [[], ["--bicubic"]], ids=["linear", "bicubic"])
def test_pixels_arrive_as_they_were_painted(show, arguments):
    from fake_stage import FakeStage

    play = show("--fullscreen", "--still", *arguments)
    shot = play.wait_for(lambda shot: shot.mean() > 30 and shot[:, :, 0].std() > 20, "a picture on the display")
    painted = Image.fromarray(FakeStage(72, 128).landscape(1.0)[..., :3])
    method = Image.Resampling.BICUBIC if arguments else Image.Resampling.BILINEAR
    wanted = np.asarray(painted.resize((shot.shape[1], shot.shape[0]), method), float)
    assert np.abs(shot - wanted).mean() < 1.5
    assert np.abs(shot[::-1] - wanted).mean() > 20  # would it notice a picture upside down?
    play.move("master", 0.5)
    half = play.wait_for(lambda dimmed: abs(dimmed.mean() / shot.mean() - 0.5) < 0.02, "half the light")
    assert np.abs(half - wanted / 2).mean() < 1.5
    assert ("bicubic" if arguments else "bilinear") in play.log


def test_a_driver_that_compiles_no_shader_leaves_the_picture_to_the_painter_and_a_line_says_so(show):
    play = show("--fullscreen", "--still", "--refuse")
    shot = play.wait_for(lambda shot: shot.mean() > 30 and shot[:, :, 0].std() > 20, "a picture on the display")
    play.move("master", 0.5)
    play.wait_for(lambda dimmed: abs(dimmed.mean() / shot.mean() - 0.5) < 0.02, "half the light")
    assert re.search(r"told: the driver .+ compiles no shader: the output is drawn without it", play.log)
    assert play.end(signal.SIGTERM) == 0


def test_the_test_card_fills_the_display_whatever_the_fader_says(show):
    play = show("--fullscreen", "--still")
    play.move("master", 0)
    play.move("testcard", 1)
    shot = play.wait_for(lambda shot: shot.max() == 255 and shot[0].min() == 255, "the border of the test card")
    height, width = shot.shape[:2]
    assert shot[-1].min() == shot[:, 0].min() == shot[:, -1].min() == 255
    bars = shot[height // 3]
    for colour in [(192, 192, 192), (192, 192, 0), (0, 192, 192), (0, 192, 0), (192, 0, 192), (192, 0, 0), (0, 0, 192)]:
        assert (bars == colour).all(axis=1).sum() > width / 20
    assert play.end(signal.SIGTERM) == 0


def test_both_windows_redraw_for_seconds_and_end_quietly(show):
    """Catches Qt releases that lose a reference to None with every painter call and abort after a second or two."""
    play = show("--seconds", "6")
    play.wait_for(lambda shot: shot.mean() > 10, "the windows")
    assert play.process.wait(60) == 0, play.log
    ticks = re.search(r"ticks (\d+)", play.log)
    assert ticks is not None
    assert int(ticks[1]) > 20
    assert_quiet(play.log)
