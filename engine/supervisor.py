"""Starts the engine process, listens to its heartbeat, and starts it again when it dies or falls silent.

The supervisor has no thread that watches: the stage calls `poll` while it goes round. Restarts wait longer each time;
the third failure within a minute ends them: a show is better served by one clear line than by a picture that stutters.
"""

from __future__ import annotations

import contextlib
import json
import subprocess
import sys
import threading
import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

COMMAND = (sys.executable, "-m", "engine")
HEARTBEAT_S = 5.0
"""An engine that plays reports ten times a second; silent for longer than this, it is stuck."""
LOADING_S = 300.0
"""The same while it loads: compiling and measuring the graphs for the first time may take a while."""
FAILURES = 3
WITHIN_S = 60.0
BACK_OFF_S = 0.25
GRACE_S = 1.2
"""How long `stop` waits before it kills; together with the kill a show ends within two seconds."""
TAIL_LINES = 40


class Supervisor:
    """Owns the engine process. All methods belong to the stage's thread and never wait, but for `stop` (2 s at most).

    `options` go to the engine as one line of JSON on its standard input, which stays open as its lifeline: whatever
    ends the stage closes it, and the engine ends with it.
    """

    def __init__(
        self,
        options: Mapping[str, Any],
        command: Sequence[str] = COMMAND,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._options = json.dumps(dict(options)).encode() + b"\n"
        self._command = tuple(command)
        self._clock = clock
        self._process: subprocess.Popen[bytes] | None = None
        self._drain: threading.Thread | None = None
        self._tail: deque[str] = deque(maxlen=TAIL_LINES)
        self._failures: deque[float] = deque(maxlen=FAILURES)
        self._beat_index = -1
        self._beat_at = 0.0
        self._restart_at: float | None = None
        self.restarts = 0
        self.given_up = False

    @property
    def pid(self) -> int | None:
        """Process id of the engine, None while there is none."""
        return None if self._process is None else self._process.pid

    @property
    def tail(self) -> list[str]:
        """The last lines that the engine wrote to its standard error."""
        return list(self._tail)

    def start(self) -> None:
        """Starts the engine. OSError when the operating system refuses."""
        self._beat_at = self._clock()
        self._restart_at = None
        self._process = subprocess.Popen(
            self._command,
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            cwd=Path(__file__).parents[1],  # `-m engine` means this package, wherever the performer's shell stands
        )
        self._drain = threading.Thread(target=self._read_stderr, args=(self._process,), name="engine-stderr")
        self._drain.daemon = True  # a grandchild that keeps the pipe open must not keep the stage
        self._drain.start()
        assert self._process.stdin is not None
        with contextlib.suppress(BrokenPipeError):  # it died at once; the next poll says so
            self._process.stdin.write(self._options)
            self._process.stdin.flush()

    def poll(self, beat_index: int, loading: bool) -> str | None:
        """One look at the engine. `beat_index` is the index of its newest status, `loading` whether that says so.

        Returns a line for the performer when something happened, else None.
        """
        now = self._clock()
        if beat_index != self._beat_index:
            self._beat_index, self._beat_at = beat_index, now
        if self._restart_at is not None and now >= self._restart_at:
            return self._try_again()
        if self._process is None:
            return None
        code = self._process.poll()
        if code is not None:
            return self._failed(f"the engine stopped ({_reason(code)})")
        limit = LOADING_S if loading else HEARTBEAT_S
        if now - self._beat_at > limit:
            return self._failed(f"the engine gave no sign of life for {limit:g} s")
        return None

    def stop(self) -> None:
        """Ends the engine and takes its threads in; at most 2 s. Safe to call twice."""
        self._restart_at = None
        self._end(GRACE_S)

    def _try_again(self) -> str | None:
        self.restarts += 1
        try:
            self.start()
        except OSError as error:
            return self._failed(f"the engine cannot be started: {error}")
        return None

    def _failed(self, what: str) -> str:
        self._end(0.0)
        now = self._clock()
        self._failures.append(now)
        last = next((line for line in reversed(self._tail) if line.strip()), "")
        said = f"; its last words: {last.strip()[:200]}" if last else ""
        if len(self._failures) == FAILURES and now - self._failures[0] < WITHIN_S:
            self.given_up = True
            return f"{what}{said}; it failed {FAILURES} times within a minute, the last picture stays"
        recent = sum(now - failure < WITHIN_S for failure in self._failures)
        wait = BACK_OFF_S * 2 ** (recent - 1)
        self._restart_at = now + wait
        return f"{what}{said}; starting it again, the last picture stays meanwhile"

    def _end(self, grace_s: float) -> None:
        process, self._process = self._process, None
        if process is None:
            return
        assert process.stdin is not None
        with contextlib.suppress(OSError):  # unsent options of an engine that died
            process.stdin.close()
        try:
            process.wait(grace_s)
        except subprocess.TimeoutExpired:
            process.kill()
            with contextlib.suppress(subprocess.TimeoutExpired):  # stuck in a driver: not even kill is quick
                process.wait(0.5)
        if self._drain is not None:
            self._drain.join(0.5)
            self._drain = None

    def _read_stderr(self, process: subprocess.Popen[bytes]) -> None:
        assert process.stderr is not None
        with process.stderr as stream:
            for line in stream:
                self._tail.append(line.decode(errors="replace").rstrip())


def _reason(code: int) -> str:
    return f"signal {-code}" if code < 0 else f"exit code {code}"
