"""A recording or a sink whose process stands still is told of, before its first word as after it."""

from __future__ import annotations

import time
from collections.abc import Iterator

import psutil
import pytest
from conftest import wait_until

from cymatic import outlets
from cymatic.outlets import Outlets
from engine.control.desk import Desk
from engine.reel import SOUND_BYTES, Reel


class Beside:
    """What stands beside a show: a recording, a camera, and the lines about them."""

    def __init__(self, kind: str, sound: Reel, folder) -> None:
        self.desk, self.lines, self._module = Desk(), [], f"engine.{kind}"
        self.begun = {"recording": "recording to ", "sinks": "shared by the camera"}[kind]
        share = ("camera",) if kind == "sinks" else ()
        self.outlets = Outlets(self.desk, (36, 64), sound, self.lines.append, folder, share)
        self.desk.set("record", kind == "recording", "test")
        self.outlets.start()
        self.outlets.tick(None)

    @property
    def process(self) -> psutil.Process:
        [process] = [child for child in psutil.Process().children() if self._module in child.cmdline()]
        return process

    def tells(self, words: str) -> None:
        wait_until(lambda: self.outlets.tick(None) or any(words in line for line in self.lines), 30, words)


@pytest.fixture(params=["recording", "sinks"])
def beside(request, tmp_path, camera_log, monkeypatch) -> Iterator[Beside]:
    monkeypatch.setattr(outlets, "STILL_S", 1.0)
    sound = Reel.create(16, SOUND_BYTES)
    beside = Beside(request.param, sound, tmp_path / "films")
    yield beside
    beside.outlets.stop()
    sound.close()


def test_one_that_hangs_before_its_first_word_is_told_and_may_still_begin(beside):
    beside.process.suspend()  # as by a folder or a driver that hangs; Python itself takes longer to begin
    beside.tells("does not begin")
    beside.process.resume()
    beside.tells(beside.begun)


def test_one_that_hangs_later_is_told_once(beside):
    beside.tells(beside.begun)
    beside.process.suspend()
    beside.tells("stands still")
    until = time.monotonic() + 2 * outlets.STILL_S
    wait_until(lambda: beside.outlets.tick(None) or time.monotonic() > until, 30)
    assert sum("stands still" in line for line in beside.lines) == 1
    beside.process.resume()
