"""The screen saver is held off while the picture covers a display, on a private session bus."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from conftest import Display, wait_until
from shown import shows
from virtual_monitors import monitors

pytestmark = pytest.mark.display

HERE = Path(__file__).parent


@pytest.fixture
def bus(tmp_path: Path) -> Iterator[str]:
    """Address of a private session bus."""
    if shutil.which("dbus-daemon") is None:
        pytest.skip("not installed: dbus-daemon")
    command = ["dbus-daemon", "--session", "--nofork", "--print-address", f"--address=unix:dir={tmp_path}"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True) as daemon:
        assert daemon.stdout is not None
        yield daemon.stdout.readline().strip()
        daemon.terminate()


def test_it_is_held_off_from_full_screen_to_window(xvfb: Display, bus: str, tmp_path: Path):
    heard = tmp_path / "heard"
    with (
        heard.open("w") as told,
        subprocess.Popen(
            [sys.executable, str(HERE / "screen_saver.py")],
            env={**os.environ, "DBUS_SESSION_BUS_ADDRESS": bus},
            stdout=told,
            stderr=subprocess.DEVNULL,
        ) as saver,
        monitors(xvfb.name) as room,
        shows(xvfb, tmp_path) as show,
    ):
        try:

            def wait_for(*lines: str) -> None:
                wait_until(lambda: heard.read_text().splitlines() == list(lines), 60, " ".join(lines))

            wait_for("ready")
            play = show("--still", "--fullscreen", DBUS_SESSION_BUS_ADDRESS=bus)
            wait_for("ready", "held off for cymatic")
            room.point(960, 360)
            room.press("Escape")
            wait_for("ready", "held off for cymatic", "let go")
            room.press("f")
            wait_for("ready", "held off for cymatic", "let go", "held off for cymatic")
            assert play.end(signal.SIGTERM) == 0
            wait_until(lambda: heard.read_text().count("let go") >= 2, 60, "the end of the show")
            assert "screen saver" not in play.log
        finally:
            saver.terminate()


def test_a_desktop_without_one_costs_a_line(xvfb: Display, bus: str, tmp_path: Path):
    with shows(xvfb, tmp_path) as show:
        play = show("--still", "--fullscreen", DBUS_SESSION_BUS_ADDRESS=bus)
        wait_until(lambda: "the screen saver is not held off, switch it off by hand" in play.log, 60, "the line")
        play.wait_for(lambda shot: shot.mean() > 30, "the picture all the same")
        assert play.end(signal.SIGTERM) == 0
