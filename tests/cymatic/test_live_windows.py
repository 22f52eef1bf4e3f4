"""`cymatic live` with its windows, on a private display."""

from __future__ import annotations

import json
import time
from pathlib import Path

import numpy as np
import pytest
import soundfile
from conftest import wait_until
from live_process import REPORT_KEYS, free_port, live, playing, send_osc, wait_for_pictures
from PIL import ImageGrab

pytestmark = pytest.mark.display


@pytest.fixture(scope="module")
def noise(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Half a second of noise, half a second of silence."""
    path = tmp_path_factory.mktemp("sound") / "noise.wav"
    sound = 0.3 * np.random.default_rng(0).standard_normal(96_000)
    sound[48_000:] = 0.0
    soundfile.write(path, sound, 48_000)
    return path


def test_a_show_in_windows_leaves_the_same_report(tiny_bundle, clean_env, xvfb, noise, tmp_path):
    report = tmp_path / "r.json"
    arguments = ("--source", noise, "--bundle", tiny_bundle, "--fps", 30, "--seconds", 3, "--report", report)
    done = live(clean_env | xvfb.env, *arguments)
    assert done.returncode == 0, done.stderr
    assert "headless" not in done.stderr
    assert "Traceback" not in done.stderr
    told = json.loads(report.read_text())
    assert set(told) == REPORT_KEYS
    assert told["frames"] > 1
    assert told["seconds"] > 1


def test_a_show_that_cannot_begin_closes_its_windows(tiny_bundle, clean_env, xvfb, tmp_path):
    done = live(clean_env | xvfb.env, "--source", tmp_path / "no.wav", "--bundle", tiny_bundle)
    assert done.returncode == 2
    assert len(done.stderr.splitlines()) == 1
    assert "no.wav" in done.stderr


def test_a_display_that_is_not_there_is_refused(tiny_bundle, clean_env, xvfb, noise):
    done = live(clean_env | xvfb.env, "--source", noise, "--bundle", tiny_bundle, "--display", 7)
    assert done.returncode == 2
    assert "display 7" in done.stderr


def test_the_picture_is_seen_moves_and_is_blacked_out_by_osc(tiny_bundle, clean_env, xvfb, noise):
    port = free_port()

    def seen() -> np.ndarray:
        return np.asarray(ImageGrab.grab(xdisplay=xvfb.name).convert("RGB"), int)

    arguments = ("--source", noise, "--bundle", tiny_bundle, "--fullscreen", "--osc-port", port)
    with playing(clean_env | xvfb.env, *arguments) as show:
        wait_for_pictures(show)
        wait_until(lambda: seen().mean() > 20, 30, "a picture on the display")
        before = seen()
        wait_until(lambda: np.abs(seen() - before).mean() > 2, 30, "a picture that moves")
        send_osc(port, "/cymatic/blackout", 1)
        wait_until(lambda: seen().max() == 0, 30, "the blackout")
        time.sleep(0.5)
        assert seen().max() == 0, "black must stay black"
        send_osc(port, "/cymatic/blackout", 0)
        wait_until(lambda: seen().mean() > 20, 30, "the picture to be back")
        show.terminate()
        assert show.wait(20) == 0
        assert "Traceback" not in show.stderr.read()
