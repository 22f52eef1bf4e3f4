"""`cymatic live` as a user runs it: a process of its own."""

from __future__ import annotations

import contextlib
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import psutil
from pythonosc.osc_message_builder import OscMessageBuilder

ROOT = Path(__file__).resolve().parents[2]
REPORT_KEYS = {
    "frames", "seconds", "fps", "frame_ms", "audio_to_frame_ms", "late_frames", "stages_ms", "audio", "runtime",
    "bundle", "controls_received", "clock_offsets_s", "rss_mib", "first_frame_s", "events",
}  # fmt: skip
COMMAND = [sys.executable, "-m", "cymatic", "live"]


def live(env: dict[str, str], *arguments: object, seconds: float = 120.0) -> subprocess.CompletedProcess[str]:
    """Runs a show to its end; OSC on any free port unless the arguments say otherwise."""
    command = [*COMMAND, *map(str, ("--osc-port", 0, *arguments))]
    return subprocess.run(
        command, cwd=ROOT, env=env, capture_output=True, text=True, timeout=seconds, stdin=subprocess.DEVNULL
    )


@contextlib.contextmanager
def playing(env: dict[str, str], *arguments: object) -> Iterator[subprocess.Popen[str]]:
    """A show that goes on while the block runs, and is killed at its end should it still play."""
    command = [*COMMAND, *map(str, ("--osc-port", 0, *arguments))]
    process = subprocess.Popen(command, cwd=ROOT, env=env, text=True, stderr=subprocess.PIPE, stdin=subprocess.DEVNULL)
    try:
        yield process
    finally:
        if process.poll() is None:
            process.kill()
        process.communicate()


def engine_of(process: subprocess.Popen[str]) -> psutil.Process | None:
    """The engine process of a show, None while there is none."""
    with contextlib.suppress(psutil.Error):
        for child in psutil.Process(process.pid).children():
            if child.cmdline()[1:3] == ["-m", "engine"]:
                return child
    return None


def wait_for_pictures(process: subprocess.Popen[str]) -> None:
    """Returns once the show plays: after its first pictures it says at which rate."""
    assert process.stderr is not None
    for line in process.stderr:
        if "frames/s" in line:
            return
    raise AssertionError(f"the show ended with {process.wait()} before it played")


def free_port() -> int:
    """A UDP port that nobody uses."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def osc(address: str, value: int | str) -> bytes:
    """One OSC message."""
    message = OscMessageBuilder(address)
    message.add_arg(value)
    return message.build().dgram


def send_osc(port: int, address: str, value: int | str) -> None:
    """Sends one OSC message to a show."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender:
        sender.sendto(osc(address, value), ("127.0.0.1", port))
