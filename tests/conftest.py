"""What tests share: a tiny bundle, a private sound server and display, and a watch for what a test leaves behind."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import psutil
import pytest
import soundfile
from pulse_server import FIRST_BLOCKS_S, PROGRAMS, PulseServer

from engine import memory
from engine.control.desk import Desk
from engine.control.osc import OscServer

with contextlib.suppress(ImportError):
    from tqdm import tqdm

    tqdm.monitor_interval = 0  # the first bar would start a thread that outlives its test

if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:  # begun in a shell's background: no program would hear Ctrl-C
    signal.signal(signal.SIGINT, signal.default_int_handler)

ROOT = Path(__file__).resolve().parent.parent
SHM = Path("/dev/shm")
PATIENCE_S = 3.0


def wait_until(condition: Callable[[], object], seconds: float = 30.0, what: str = "the condition") -> None:
    """Waits until `condition()` is true; fails the test when it is not within `seconds`."""
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            pytest.fail(f"{what} did not come true within {seconds:g} s")
        time.sleep(0.01)


# What a test leaves behind


def _threads() -> set[threading.Thread]:
    """Threads that somebody must end: those that are not daemons, and the daemons that have a name of their own."""
    return {
        thread
        for thread in threading.enumerate()
        if thread is not threading.main_thread() and not (thread.daemon and thread.name.startswith("Thread-"))
    }


def _children() -> dict[int, str]:
    """Living child processes, but for the one that Python keeps for its shared memory."""
    found = {}
    for child in psutil.Process().children(recursive=True):
        with contextlib.suppress(psutil.Error):
            command = " ".join(child.cmdline())
            if child.status() != psutil.STATUS_ZOMBIE and "resource_tracker" not in command:
                found[child.pid] = command
    return found


def _blocks() -> set[str]:
    """Our shared memory on this machine (Linux shows it as files), without that of shows outside this test run.

    The living creators that count are this process and its children. A creator that is dead counts as ours: memory
    without an owner is what this looks for.
    """
    if not SHM.is_dir():
        return set()
    found = {path.name for path in SHM.glob(memory.PREFIX + "*")}
    ours = {os.getpid(), *_children()}
    return {name for name in found if (pid := memory.creator(name)) in ours or not psutil.pid_exists(pid)}


@pytest.fixture(autouse=True)
def nothing_is_left_behind() -> Iterator[None]:
    """Fails a test that leaves a thread, a child process or shared memory behind."""
    threads, children, blocks = _threads(), set(_children()), _blocks()
    yield
    deadline = time.monotonic() + PATIENCE_S
    while True:
        left = [f"thread {thread.name}" for thread in _threads() - threads]
        left += [f"process {pid}: {command}" for pid, command in _children().items() if pid not in children]
        left += [f"shared memory {name}" for name in _blocks() - blocks]
        if not left or time.monotonic() > deadline:
            break
        time.sleep(0.02)
    assert left == []


@pytest.fixture(scope="session")
def qapp_args() -> list[str]:
    """For pytest-qt: an application that needs no display."""
    return ["cymatic", "-platform", "offscreen"]


@pytest.fixture(autouse=True)
def nothing_of_a_window_is_left(request: pytest.FixtureRequest) -> Iterator[None]:
    """Fails a test with Qt's application in it that leaves a thread, a timer, a process or a window behind.

    It is here because a second conftest.py would hide this one from those who import from it.
    """
    if "qapp" not in request.fixturenames:
        yield
        return
    from window_watch import alive, left_behind, settle

    request.getfixturevalue("qapp")
    before = alive()
    yield
    settle()
    assert left_behind(before) == []


# Things to play with


@pytest.fixture(scope="session")
def tiny_bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder of a valid bundle of a few kilobytes, 36×64 pixels. Not to be changed: copy it first."""
    from tiny_bundle import make_tiny_bundle

    return make_tiny_bundle(tmp_path_factory.mktemp("bundle") / "tiny")


@pytest.fixture(scope="session")
def noise(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A WAV file with a second of soft noise."""
    path = tmp_path_factory.mktemp("sound") / "noise.wav"
    soundfile.write(path, 0.1 * np.random.default_rng(0).standard_normal(48_000), 48_000)
    return path


@pytest.fixture
def camera_log(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Puts a stand-in in pyvirtualcam's place, for a sink's process; what it is sent is a line each in this file."""
    shutil.copy(ROOT / "tests" / "fake_pyvirtualcam.py", tmp_path / "pyvirtualcam.py")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    monkeypatch.setenv("CAMERA_LOG", str(tmp_path / "log"))
    return tmp_path / "log"


@pytest.fixture(scope="session")
def clean_env(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """Environment for a child: nobody's presets, a cache of this test run, no display, no sound server."""
    home = tmp_path_factory.mktemp("home")
    unwanted = ("DISPLAY", "WAYLAND_DISPLAY", "QT_QPA_PLATFORM", "PULSE_SERVER", "XDG_RUNTIME_DIR")
    env = {name: value for name, value in os.environ.items() if name not in unwanted}
    return env | {
        "HOME": str(home),
        "XDG_CACHE_HOME": str(home / "cache"),
        "XDG_DATA_HOME": str(home / "data"),
        "PYTHONPATH": str(ROOT),
        "PYTHONWARNINGS": "default",
    }


def _end(process: subprocess.Popen[bytes]) -> None:
    process.terminate()
    try:
        process.wait(5)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


@pytest.fixture(scope="session")
def pulse(tmp_path_factory: pytest.TempPathFactory) -> Iterator[PulseServer]:
    """A private PulseAudio with a null sink as microphone."""
    yield from _pulse_server(tmp_path_factory.mktemp("pulse"))


@pytest.fixture
def frail_pulse(tmp_path_factory: pytest.TempPathFactory) -> Iterator[PulseServer]:
    """Another one, of one test's own, that may be harmed."""
    yield from _pulse_server(tmp_path_factory.mktemp("pulse"))


def _pulse_server(home: Path) -> Iterator[PulseServer]:
    missing = [name for name in PROGRAMS if shutil.which(name) is None]
    if missing:
        pytest.skip(f"not installed: {', '.join(missing)}")
    server = PulseServer(home)
    try:
        server.start()
        time.sleep(FIRST_BLOCKS_S)
        yield server
    finally:
        server.stop()


@dataclass(frozen=True)
class Display:
    """A private X display."""

    name: str
    env: dict[str, str]


@pytest.fixture(scope="session")
def xvfb() -> Iterator[Display]:
    """A private Xvfb, 1280×720, with OpenGL in software."""
    if shutil.which("Xvfb") is None:
        pytest.skip("not installed: Xvfb")
    read_end, write_end = os.pipe()
    command = ["Xvfb", "-displayfd", str(write_end), "-screen", "0", "1280x720x24", "-ac", "+extension", "GLX"]
    command += ["+render", "-noreset", "-nolisten", "tcp"]
    server = subprocess.Popen(
        command, pass_fds=(write_end,), stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    try:
        os.close(write_end)
        with os.fdopen(read_end) as pipe:
            number = pipe.readline().strip()
        assert number.isdigit(), "Xvfb did not start"
        yield Display(f":{number}", {"DISPLAY": f":{number}", "LIBGL_ALWAYS_SOFTWARE": "1", "QT_QPA_PLATFORM": "xcb"})
    finally:
        _end(server)


# OSC


@pytest.fixture
def desk() -> Desk:
    """A desk that knows three presets."""
    desk = Desk()
    desk.set_options("preset/go", ["open-sky", "ember", "gorge"])
    return desk


@pytest.fixture
def server(desk: Desk) -> Iterator[OscServer]:
    """An OSC server on any free port that moves the desk."""
    server = OscServer(desk, port=0)
    server.start()
    yield server
    server.stop()
    assert server.join(20.0)
