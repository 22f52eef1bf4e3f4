"""Another program steers the picture: `oscsend` of liblo, counted in pictures on a private display."""

from __future__ import annotations

import json
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from itertools import groupby
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest
import soundfile
from conftest import wait_until
from live_process import ROOT

pytestmark = pytest.mark.display

RATE = 48_000
STRETCH_S = 3  # of noise, then of silence; longer than the window that the encoder hears
WITHIN = 10  # pictures


class Row(NamedTuple):
    """See `show_and_tell.py`."""

    at: float
    index: int
    level: float
    blackout: bool
    colour: list[float]
    brightest: int


class Show:
    """A child that plays in the real windows and writes down what stands on the display."""

    def __init__(self, process: subprocess.Popen[bytes], rows: Path, log: Path) -> None:
        self.process, self._rows, self._log = process, rows, log

    def rows(self) -> list[Row]:
        """One row a picture so far."""
        lines = self._rows.read_text().split("\n")[1:-1]  # the last one may be half written
        return [Row(*json.loads(line)) for line in lines]

    def wait_for(self, what: str, seen: Callable[[list[Row]], object]) -> None:
        def look() -> bool:
            assert self.process.poll() is None, self._log.read_text()
            return bool(self._rows.exists() and seen(self.rows()))

        wait_until(look, 120, what)

    def oscsend(self, address: str, kind: str, value: object) -> float:
        """Sends one message; returns the time at which it was on its way."""
        port = self._rows.read_text().split("\n")[0]
        subprocess.run(["oscsend", "localhost", port, address, kind, str(value)], check=True, timeout=60)
        return time.perf_counter()

    def after(self, at: float) -> list[Row]:
        """The rows since that time, once there are enough to judge."""
        self.wait_for("pictures", lambda rows: sum(row.at > at for row in rows) >= 2 * WITHIN)
        return [row for row in self.rows() if row.at > at]


@pytest.fixture
def show(tiny_bundle, clean_env, xvfb, tmp_path) -> Iterator[Show]:
    if shutil.which("oscsend") is None:
        pytest.skip("not installed: oscsend (liblo-tools)")
    sound = 0.3 * np.random.default_rng(0).standard_normal(2 * STRETCH_S * RATE)
    sound[STRETCH_S * RATE :] = 0.0
    soundfile.write(tmp_path / "sound.wav", sound, RATE)
    rows, log = tmp_path / "rows.jsonl", tmp_path / "log"
    command = [sys.executable, str(Path(__file__).with_name("show_and_tell.py"))]
    command += map(str, (tiny_bundle, tmp_path / "sound.wav", rows))
    with log.open("wb") as errors:
        process = subprocess.Popen(command, cwd=ROOT, env=clean_env | xvfb.env, stdin=subprocess.DEVNULL, stderr=errors)
        try:
            yield Show(process, rows, log)
        finally:
            process.kill()
            process.wait()
    assert "Traceback" not in log.read_text()


def black(row: Row) -> bool:
    return row.brightest == 0


def test_oscsend_blacks_the_picture_out_and_brings_it_back_within_ten_frames(show):
    show.wait_for("a picture on the display", lambda rows: len(rows) > WITHIN and not black(rows[-1]))
    for value, wanted in ((1, True), (0, False), (1, True), (0, False)):
        assert black(show.rows()[-1]) is not wanted
        rows = show.after(show.oscsend("/cymatic/blackout", "i", value))
        assert all(black(row) is wanted for row in rows[WITHIN:]), f"blackout {value}: {rows}"
    show.process.send_signal(signal.SIGTERM)
    assert show.process.wait(30) == 0


def test_what_stands_on_the_display_follows_the_sound(show):
    show.wait_for("pictures", lambda rows: len(rows) > 1)
    still = show.oscsend("/cymatic/speed", "f", 0.0)  # so that nothing moves but by the sound

    def colours(rows: list[Row], loud: bool) -> list[np.ndarray]:
        """Mean colour near the end of each stretch of sound, or of silence, that lasted.

        Not at the very end: the level that is told may be a few pictures older than the one on the display.
        """
        stretches = [list(run) for _, run in groupby((r for r in rows if r.at > still), key=lambda r: r.level > 0.1)]
        lasted = [run for run in stretches[1:-1] if run[-1].at - run[0].at > 0.8 * STRETCH_S]
        return [np.mean([r.colour for r in run[-15:-10]], 0) for run in lasted if (run[0].level > 0.1) is loud]

    # What is heard is measured against how loud it has been for seconds, so the first stretches find that still moving.
    show.wait_for("sound and silence, often", lambda rows: min(len(colours(rows, loud)) for loud in (True, False)) >= 5)
    loud, silent = colours(show.rows(), True)[-2:], colours(show.rows(), False)[-2:]
    apart = min(np.abs(one - other).max() for one in loud for other in silent)
    alike = max(np.abs(stretches[0] - other).max() for stretches in (loud, silent) for other in stretches[1:])
    assert apart > 5.0  # grey levels
    assert alike < apart / 3
