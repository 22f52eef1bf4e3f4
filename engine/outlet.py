"""A process beside the show that takes pictures or sound out of it: a recording, a virtual camera.

The show never waits for an outlet, and an outlet that fails takes nothing with it: the stage says so in one line. Both
ends are here, the stage's (`Outlet`) and what such a process begins with (`begin`).
"""

from __future__ import annotations

import contextlib
import json
import math
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import psutil

from engine.channel import LatestValue

NICE = 10
KILL_S = 0.5


class Outlet:
    """Owns one such process: `python -m MODULE`. All methods belong to one thread and never wait, but for `stop`.

    `options` go to the process as one line of JSON on its standard input, together with the name of its status channel;
    the input stays open as its lifeline.
    """

    def __init__(self, module: str, options: Mapping[str, Any]) -> None:
        self.status: Mapping[str, Any] = {}
        """The newest that the process has told."""
        self._command = (sys.executable, "-m", module)
        self._channel = LatestValue.create(1 << 12)
        self._options = {**options, "status": self._channel.name}
        self._index = 0
        self._heard_at = 0.0
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def pid(self) -> int | None:
        """Process id, None before the start."""
        return None if self._process is None else self._process.pid

    def start(self) -> None:
        """Starts the process. OSError when the operating system refuses."""
        self._process = subprocess.Popen(
            self._command,
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            cwd=Path(__file__).parents[1],
        )
        self._heard_at = time.monotonic()
        assert self._process.stdin is not None
        with contextlib.suppress(BrokenPipeError):  # it died at once; `poll` says so
            self._process.stdin.write(json.dumps(self._options).encode() + b"\n")
            self._process.stdin.flush()

    def poll(self) -> int | None:
        """Takes in what the process has told; its exit code once it has ended, else None."""
        assert self._process is not None
        code = self._process.poll()
        newest = self._channel.get(self._index)
        if newest is not None:
            self._index, self.status = newest
            self._heard_at = time.monotonic()
        return code

    def fell_silent(self, after_s: float) -> bool:
        """Whether the process has told nothing for so long, since its start or its last word; True once, until it tells
        something again."""
        if time.monotonic() - self._heard_at <= after_s:
            return False
        self._heard_at = math.inf
        return True

    def finish(self) -> None:
        """Asks the process to come to its end."""
        if self._process is not None and self._process.stdin is not None:
            with contextlib.suppress(OSError):
                self._process.stdin.close()

    def stop(self, grace_s: float) -> None:
        """Ends the process: waits so long, then kills it. `poll` still answers. Safe to call twice."""
        self.finish()
        if self._process is not None and self._process.returncode is None:
            try:
                self._process.wait(grace_s)
            except subprocess.TimeoutExpired:
                self._process.kill()
                with contextlib.suppress(subprocess.TimeoutExpired):  # stuck in a driver: not even kill is quick
                    self._process.wait(KILL_S)
            self.poll()
        self._channel.close()


def begin(finish_s: float) -> tuple[dict[str, Any], threading.Event]:
    """What the process is to do, and the event that says it is to end; `finish_s` after it the process is gone."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C in a terminal reaches every process; the stage decides
    options: dict[str, Any] = json.loads(sys.stdin.buffer.readline() or b"{}")
    stop = threading.Event()

    def watch() -> None:
        while os.read(0, 1024):
            pass
        stop.set()
        threading.Event().wait(finish_s)
        os._exit(1)

    threading.Thread(target=watch, name="lifeline", daemon=True).start()
    return options, stop


def stand_back() -> None:
    """Leaves the processor to the show where both want it."""
    process = psutil.Process()
    with contextlib.suppress(psutil.Error, OSError):
        process.nice(psutil.BELOW_NORMAL_PRIORITY_CLASS if sys.platform == "win32" else process.nice() + NICE)
