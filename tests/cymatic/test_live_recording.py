"""`cymatic live` records: what was played is in the film, and a recorder that is killed leaves show and film alive."""

from __future__ import annotations

import contextlib
import json
import socket
import sys
from pathlib import Path

import numpy as np
import psutil
import pytest
import soundfile
from conftest import wait_until
from film_reader import read_film
from live_process import free_port, live, osc, playing, send_osc

RATE = 32_000


@pytest.fixture(scope="module")
def sweep(tmp_path_factory) -> tuple[Path, np.ndarray]:
    """Twenty seconds in which no moment sounds like another; the right side is another sound, and softer."""
    seconds = np.arange(20 * RATE) / RATE
    sound = 0.3 * np.sin(2 * np.pi * (100 + 150 * seconds) * seconds) * (0.6 + 0.4 * np.sin(2 * np.pi * 1.7 * seconds))
    path = tmp_path_factory.mktemp("sound") / "sweep.wav"
    both = np.stack([sound, 0.5 * sound[::-1]], axis=1).astype(np.float32)
    soundfile.write(path, both, RATE, subtype="FLOAT")
    return path, both


def ask(port: int, address: str) -> bytes:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender:
        sender.settimeout(10)
        sender.sendto(osc(address, "?"), ("127.0.0.1", port))
        return sender.recv(1024)


def recorder_of(show) -> psutil.Process | None:
    with contextlib.suppress(psutil.Error):
        for child in psutil.Process(show.pid).children():
            if "engine.recording" in child.cmdline():
                return child
    return None


def recorded(films: Path) -> int:
    """Bytes in the newest film."""
    return max((path.stat().st_size for path in films.iterdir()), default=0) if films.is_dir() else 0


def test_a_show_that_is_recorded(tiny_bundle, clean_env, sweep, tmp_path):
    films, report, port = tmp_path / "films", tmp_path / "r.json", free_port()
    path, played = sweep
    outputs = ("--osc-port", port, "--record-to", films, "--report", report)
    show = playing(clean_env, "--headless", "--source", path, "--bundle", tiny_bundle, "--fps", 30, *outputs)
    with show as process:
        wait_for_status(port)
        send_osc(port, "/cymatic/record", 1)
        wait_until(lambda: recorded(films) > 0, 60, "the first fragment")
        size = recorded(films)
        wait_until(lambda: recorded(films) > size, 60, "the second")
        send_osc(port, "/cymatic/record", 0)
        wait_until(lambda: recorder_of(process) is None, 30, "the end of the recorder")
        process.terminate()
        assert process.wait(20) == 0
        said = process.stderr.read()
    [film_path] = films.iterdir()
    assert f"cymatic: recording to {film_path}\n" in said
    assert f" to {film_path}" in said.splitlines()[-1]
    assert "Traceback" not in said
    film = read_film(film_path)
    assert film.rate == RATE
    assert film.times[0] == 0.0
    assert film.times[-1] > 1.2
    assert len(film.sound) / RATE == pytest.approx(film.times[-1], abs=0.1)
    assert film.pictures.shape[1:] == (36, 64, 3)
    # The sound is the file's, half a second for half a second; a busy machine may have lost some in between.
    twice = np.fft.rfft(np.concatenate([played, played]), axis=0)
    good = []
    for begin in range(RATE // 10, round(film.times[-1] * RATE) - RATE, RATE // 2):
        heard = film.stereo[begin : begin + RATE // 2]
        likeness = np.fft.irfft(twice[:, 0] * np.conj(np.fft.rfft(heard[:, 0], 2 * len(played))))[: len(played)]
        at = int(likeness.argmax())
        meant = np.concatenate([played, played])[at : at + len(heard)]
        good.append(bool((np.sqrt(((heard - meant) ** 2).mean(0)) < 0.03 * np.sqrt((meant**2).mean(0))).all()))
    assert len(good) >= 1
    assert np.mean(good) > 0.7
    assert any(event["event"] == f"recording to {film_path}" for event in json.loads(report.read_text())["events"])


def test_a_killed_recorder_leaves_the_show_and_a_film(tiny_bundle, clean_env, sweep, tmp_path):
    films, port = tmp_path / "films", free_port()
    outputs = ("--osc-port", port, "--record-to", films)
    show = playing(clean_env, "--headless", "--source", sweep[0], "--bundle", tiny_bundle, "--fps", 30, *outputs)
    with show as process:
        wait_for_status(port)
        send_osc(port, "/cymatic/record", 1)
        wait_until(lambda: recorded(films) > 0, 60, "the first fragment")
        recorder_of(process).kill()
        wait_until(lambda: ask(port, "/cymatic/record") == osc("/cymatic/record", 0), 20, "the lamp to go out")
        process.terminate()
        assert process.wait(20) == 0
        assert "the recording ended (signal 9); " in process.stderr.read()
    assert read_film(next(films.iterdir())).times[-1] > 0.5


def wait_for_status(port: int) -> None:
    """Returns once the show answers and paints."""

    def answers() -> bool:
        with contextlib.suppress(OSError):
            return bool(ask(port, "/cymatic/record"))
        return False

    wait_until(answers, 60, "the show")


def test_a_sink_that_cannot_be_had_here_is_refused_before_the_show(tiny_bundle, clean_env, noise):
    sink = "spout" if sys.platform != "win32" else "syphon"
    done = live(clean_env, "--headless", "--source", noise, "--bundle", tiny_bundle, "--share", sink)
    assert done.returncode == 2
    [line] = done.stderr.splitlines()
    assert line.startswith(f"cymatic: {sink} is a part of ")
