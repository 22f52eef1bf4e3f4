"""The recording process as the stage runs it: in sync, killed, frozen, without a disk, without a library."""

from __future__ import annotations

import contextlib
import itertools
import sys
import threading
import time

import numpy as np
import psutil
import pytest
from conftest import wait_until
from film_reader import FREE, number_of, numbered, read_film

from engine.outlet import Outlet
from engine.reel import SOUND_BYTES, Reel

RATE = 16_000
HEIGHT, WIDTH = 32, 64


class Show:
    """Shows numbered pictures and plays sound in real time; every full second a flash and a click."""

    def __init__(self, pictures: Reel, sound: Reel) -> None:
        self._pictures, self._sound = pictures, sound
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._play, name="show")
        self.shown: dict[int, float] = {}

    def _play(self) -> None:
        began, heard = time.perf_counter(), 0
        for number in itertools.count(1):
            if self._stop.wait(1 / 40):
                return
            now = time.perf_counter()
            due = int((now - began) * RATE)
            # A click is heard in the first sample of each second; the flash is shown with the block that holds it.
            at = -(-heard // RATE) * RATE
            samples = np.zeros(due - heard, np.float32)
            if at < due:
                samples[at - heard : at - heard + 16] = 0.9
                self._pictures.write(numbered(0xFFFF, HEIGHT, WIDTH), began + at / RATE, 1.0, FREE)
            heard = due
            self._sound.write_sound(samples, began + due / RATE, RATE)
            self.shown[number] = time.perf_counter()
            self._pictures.write(numbered(number, HEIGHT, WIDTH), self.shown[number], 1.0, FREE)

    def __enter__(self) -> Show:
        self._thread.start()
        return self

    def __exit__(self, *error: object) -> None:
        self._stop.set()
        self._thread.join()


@pytest.fixture
def reels():
    reels = Reel.create(16, HEIGHT * WIDTH * 4), Reel.create(512, SOUND_BYTES)
    yield reels
    for reel in reels:
        reel.close()


@pytest.fixture
def record(reels):
    begun = []

    def record(folder) -> Outlet:
        options = {"pictures": reels[0].name, "sound": reels[1].name, "folder": str(folder)}
        take = Outlet("engine.recording", {**options, "height": HEIGHT, "width": WIDTH, "sample_rate": RATE})
        begun.append(take)
        take.start()
        return take

    yield record
    for take in begun:
        take.stop(10.0)


def ends(take: Outlet) -> int:
    wait_until(lambda: take.poll() is not None, 30, "the end of the process")
    return take.poll()


def grows_to(take: Outlet, seconds: float) -> None:
    wait_until(lambda: take.poll() is None and take.status.get("seconds", 0) > seconds, 60, f"{seconds} s of film")


def test_flash_and_click_are_together_and_every_picture_stands_in_its_place(reels, record, tmp_path):
    with Show(*reels) as show:
        take = record(tmp_path)
        grows_to(take, 4.5)
        take.finish()
        assert ends(take) == 0
    status = take.status
    assert status["state"] == "done"
    [path] = tmp_path.iterdir()
    assert status["path"] == str(path)
    assert status["mib"] == pytest.approx(path.stat().st_size / 2**20, abs=0.001)
    film = read_film(path)
    assert status["seconds"] == pytest.approx(film.times[-1], abs=0.002)
    assert len(film.sound) / film.rate == pytest.approx(film.times[-1], abs=0.1)
    numbers = np.array([number_of(picture) for picture in film.pictures])
    lit = numbers == 0xFFFF
    flashes = film.times[lit & ~np.roll(lit, 1)]
    loud = np.flatnonzero(np.abs(film.sound) > 0.3)
    clicks = loud[np.diff(loud, prepend=-RATE) > RATE // 2] / film.rate
    flashes, clicks = flashes[flashes > 0.2], clicks[clicks > 0.2]  # the film may have begun in the middle of one
    assert len(flashes) == len(clicks) >= 3
    assert np.abs(flashes - clicks).max() < 0.005
    plain = numbers[~lit][:-1]
    assert np.array_equal(plain, np.arange(plain[0], plain[-1] + 1)), "all of them, in order"
    shown = np.array([show.shown[number] for number in plain])
    assert np.diff(film.times[~lit][1:-1]) == pytest.approx(np.diff(shown[1:]), abs=0.002)
    assert (status["dropped"], status["gaps"]) == (0, 0)


def test_a_process_that_is_killed_leaves_a_film_that_plays(reels, record, tmp_path):
    with Show(*reels):
        take = record(tmp_path)
        grows_to(take, 4.0)
        psutil.Process(take.pid).kill()
        assert ends(take) == -9
        told = take.status["seconds"]
    [path] = tmp_path.iterdir()
    film = read_film(path)
    assert told - 2.5 < film.times[-1] < told + 0.5
    assert len(film.sound) / film.rate == pytest.approx(film.times[-1], abs=1.1)


def test_a_process_that_freezes_holds_nobody_up_and_counts_what_it_missed(reels, record, tmp_path):
    with Show(*reels) as show:
        take = record(tmp_path)
        grows_to(take, 0.5)
        process = psutil.Process(take.pid)
        process.suspend()
        before, began = len(show.shown), time.monotonic()
        wait_until(lambda: len(show.shown) > before + 60, 30, "sixty more pictures")
        frozen = time.monotonic() - began
        process.resume()
        grows_to(take, 0.5 + frozen + 1.0)
        take.finish()
        assert ends(take) == 0
    assert take.status["dropped"] > 30
    film = read_film(next(tmp_path.iterdir()))
    loud = np.flatnonzero(np.abs(film.sound) > 0.3)
    clicks = loud[np.diff(loud, prepend=-RATE) > RATE // 2] / film.rate
    assert np.diff(clicks) == pytest.approx(1.0, abs=0.002), "the sound waited in its reel: not one click is missing"


@pytest.mark.skipif(sys.platform != "linux", reason="limits of another process can be set on Linux only")
def test_a_disk_that_takes_no_more_ends_the_film_in_one_line_and_what_is_there_plays(reels, record, tmp_path):
    import resource

    with Show(*reels):
        take = record(tmp_path)
        grows_to(take, 2.0)
        size = next(tmp_path.iterdir()).stat().st_size
        resource.prlimit(take.pid, resource.RLIMIT_FSIZE, (size + 4_000, size + 4_000))
        assert ends(take) == 2
    [path] = tmp_path.iterdir()
    assert take.status["error"] == f"the recording ended: {path} cannot be written: File too large"
    assert read_film(path).times[-1] > 1.0


def test_a_folder_that_cannot_be_written_is_one_line(record, tmp_path):
    (tmp_path / "file").write_text("in the way")
    take = record(tmp_path / "file")
    assert ends(take) == 2
    assert take.status["error"].startswith(f"nothing can be written to {tmp_path / 'file'}: ")


def test_without_pyav_one_line_says_what_to_install(record, tmp_path, monkeypatch):
    (tmp_path / "lacking" / "av").mkdir(parents=True)
    (tmp_path / "lacking" / "av" / "__init__.py").write_text("raise ModuleNotFoundError('No av', name='av')")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path / "lacking"))
    take = record(tmp_path / "films")
    assert ends(take) == 2
    assert take.status["error"] == "recording needs PyAV: pip install 'cymatic[record]'"
    assert not (tmp_path / "films").exists()


def test_no_process_outlives_the_stage(reels, record, tmp_path):
    """The lifeline is what ends it: a stage that is killed cannot say goodbye."""
    with Show(*reels):
        take = record(tmp_path)
        grows_to(take, 1.0)
        process = psutil.Process(take.pid)
        take._process.stdin.close()
        with contextlib.suppress(psutil.NoSuchProcess):
            process.wait(10)
        assert take.poll() == 0
    assert read_film(next(tmp_path.iterdir())).times[-1] >= 1.0
