"""Starts the engine process, looks for its signs of life, and starts it again when it dies or falls silent.

The supervisor has no thread that watches: the stage calls `poll` while it goes round. Each failure comes back as a
`Failure`, for the stage to tell and to think about; the pause before the next start grows, and after three failures
within a minute it is long.

A sign of life is a beat (a new status) or work (time on a processor). An engine that loads a large bundle for the first
time, on a busy machine, may give no beat for minutes and is well, and while it waits for a disk or a virus scanner it
does not even work. One that has been stopped does neither, and the system says so of it.

An engine that is to go is told so by the end of its lifeline and seen off by `poll`, which kills it when it takes too
long. The next one begins when it has gone: there is one sound device, and one writer of pictures.
"""

from __future__ import annotations

import contextlib
import itertools
import json
import subprocess
import sys
import threading
import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil

COMMAND = (sys.executable, "-m", "engine")


@dataclass(frozen=True, slots=True)
class Patience:
    """How long an engine may be without a beat: `idle_s` when it does not work either, `busy_s` when it does."""

    idle_s: float
    busy_s: float


PLAYING = Patience(3.0, 10.0)
"""An engine that plays beats ten times a second."""
LOADING = Patience(60.0, 1800.0)
"""One that loads beats at each step. A step may wait for a sound system and for a slow disk, and compile for longer."""
WORKING = 0.05
"""Share of a processor that counts as work; what a sound driver's thread takes by itself is less."""
AWAY_S = 0.5
"""Only this much of the time between two polls counts: when the stage was stopped too, the engine is not to blame."""
FAILURES = 3
WITHIN_S = 60.0
BACK_OFF_S = 0.25
RETRY_S = 10.0
"""Pause before the next start after `FAILURES` failures within `WITHIN_S`; sooner ones double from `BACK_OFF_S`."""
GRACE_S = 1.2
"""How long an engine may take to end before it is killed; together with the kill a show ends within two seconds."""
KILLED_S = 0.5
"""How long a killed one is waited for; one that is stuck in a driver may never go."""
LAST_WORDS_S = 0.1
TAIL_LINES = 400
"""All threads of an engine that crashed write where they are."""


@dataclass(frozen=True, slots=True)
class Failure:
    """An engine has ended or was ended. `pause_s`: until the next start."""

    what: str
    """What happened and what the engine said last, in one line."""
    pause_s: float
    repeated: bool
    """It was the third within a minute."""


class Supervisor:
    """Owns the engine process. All methods belong to the stage's thread and never wait, but for `stop` (2 s at most).

    `options` go to the engine as one line of JSON on its standard input, which stays open as its lifeline: whatever
    ends the stage closes it, and the engine ends with it. They may be changed; the next start takes them.
    """

    def __init__(
        self,
        options: Mapping[str, Any],
        command: Sequence[str] = COMMAND,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.options = dict(options)
        self._command = tuple(command)
        self._clock = clock
        self._process: subprocess.Popen[bytes] | None = None
        self._leaving: tuple[subprocess.Popen[bytes], float] | None = None
        """An engine that was let go, and when it is killed if it has not gone by then."""
        self._drain: threading.Thread | None = None
        self._tail: deque[str] = deque(maxlen=TAIL_LINES)
        self._failures: deque[float] = deque(maxlen=FAILURES)
        self._polled_at = 0.0
        self._beat_index = -1
        self._beat_at = 0.0
        self._worked_at = 0.0
        self._worked_s = 0.0
        self._restart_at: float | None = None
        self.restarts = 0
        self.replacing = False
        """Whether `replace` was called and its engine has not begun yet: what is told meanwhile the last one tells."""

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
        self._polled_at = self._beat_at = self._worked_at = self._clock()
        self._worked_s = 0.0
        self._restart_at = None
        self.replacing = False
        self._tail = deque(maxlen=TAIL_LINES)  # the last one may still speak to its own
        self._process = subprocess.Popen(
            self._command,
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            cwd=Path(__file__).parents[1],  # `-m engine` means this package, wherever the performer's shell stands
        )
        self._drain = threading.Thread(target=self._read_stderr, args=(self._process, self._tail), name="engine-stderr")
        self._drain.daemon = True  # a grandchild that keeps the pipe open must not keep the stage
        self._drain.start()
        assert self._process.stdin is not None
        with contextlib.suppress(BrokenPipeError):  # it died at once; the next poll says so
            self._process.stdin.write(json.dumps(self.options).encode() + b"\n")
            self._process.stdin.flush()

    def poll(self, beat_index: int, loading: bool) -> Failure | None:
        """One look at the engine. `beat_index` is the index of its newest status, `loading` whether that says so."""
        now = self._clock()
        away = max(0.0, now - self._polled_at - AWAY_S)
        self._polled_at = now
        self._beat_at += away
        self._worked_at += away
        if self._leaving is not None:
            self._see_off(*self._leaving, now)
            return None
        if self._restart_at is not None and now >= self._restart_at:
            return self._try_again()
        if self._process is None:
            return None
        code = self._process.poll()
        if code is not None:
            return self._failed(f"the engine stopped ({_reason(code)})")
        patience = LOADING if loading else PLAYING
        self._look(now, beat_index, WORKING * patience.idle_s)
        idle_s = now - self._worked_at
        limit_s = PLAYING.idle_s if idle_s > PLAYING.idle_s and self._stopped() else patience.idle_s
        if idle_s > limit_s:
            return self._failed(f"the engine gave no sign of life for {limit_s:g} s")
        if now - self._beat_at > patience.busy_s:
            return self._failed(f"the engine has worked on one thing for {patience.busy_s:g} s and does not get on")
        return None

    def start_over(self, options: Mapping[str, Any]) -> None:
        """Start again now with other options, after a failure that these had no part in."""
        self.options = dict(options)
        self._failures.clear()
        self._restart_at = self._clock()

    def replace(self, options: Mapping[str, Any]) -> None:
        """End the engine that plays, and start one with other options once it has gone and holds no device any more;
        `poll` sees to both."""
        self._let_go(GRACE_S)
        self.start_over(options)
        self.replacing = True

    def stop(self) -> None:
        """Ends the engine and takes its threads in; at most 2 s. Safe to call twice."""
        self._restart_at = None
        self._let_go(GRACE_S)
        if self._leaving is not None:
            (process, _), self._leaving = self._leaving, None
            try:
                process.wait(GRACE_S)
            except subprocess.TimeoutExpired:
                process.kill()
                with contextlib.suppress(subprocess.TimeoutExpired):
                    process.wait(KILLED_S)
        if self._drain is not None:
            self._drain.join(LAST_WORDS_S)
            self._drain = None

    def _look(self, now: float, beat_index: int, enough_s: float) -> None:
        """Takes note of a beat, or of `enough_s` seconds of work since the last sign of life."""
        if beat_index != self._beat_index:
            self._beat_index = beat_index
            self._beat_at = self._worked_at = now
            self._worked_s = self._processor_s()
        elif now - self._worked_at > PLAYING.idle_s / 4:  # not in every poll of a healthy show
            worked_s = self._processor_s()
            if worked_s - self._worked_s >= enough_s:
                self._worked_at, self._worked_s = now, worked_s

    def _processor_s(self) -> float:
        """Seconds that the engine has spent on processors so far."""
        assert self._process is not None
        try:
            times = psutil.Process(self._process.pid).cpu_times()
        except psutil.Error:  # it has just ended
            return self._worked_s
        return float(times.user + times.system)

    def _try_again(self) -> Failure | None:
        self.restarts += 1
        try:
            self.start()
        except OSError as error:
            return self._failed(f"the engine cannot be started: {error}")
        return None

    def _stopped(self) -> bool:
        """Whether the system holds it, as after SIGSTOP: one that waits for a disk or for sound is not stopped."""
        assert self._process is not None
        try:
            return bool(psutil.Process(self._process.pid).status() == psutil.STATUS_STOPPED)
        except psutil.Error:  # it has just ended
            return False

    def _failed(self, what: str) -> Failure:
        self._let_go(0.0)
        if self._drain is not None and self._leaving is None:  # it is dead, and all that it said is in the pipe
            self._drain.join(LAST_WORDS_S)
        now = self._clock()
        self._failures.append(now)
        last = _last_words(self.tail)
        said = f"; its last words: {last[:200]}" if last else ""
        recent = sum(now - failure < WITHIN_S for failure in self._failures)
        pause = BACK_OFF_S * 2 ** (recent - 1) if recent < FAILURES else RETRY_S
        self._restart_at = now + pause
        return Failure(what + said, pause, recent == FAILURES)

    def _let_go(self, grace_s: float) -> None:
        """Closes the lifeline of the engine; what becomes of it `_see_off` sees."""
        process, self._process = self._process, None
        if process is None:
            return
        assert process.stdin is not None
        with contextlib.suppress(OSError):  # unsent options of an engine that died
            process.stdin.close()
        if process.poll() is None:
            self._leaving = process, self._clock() + grace_s

    def _see_off(self, process: subprocess.Popen[bytes], kill_at: float, now: float) -> None:
        if process.poll() is not None:
            self._leaving = None
        elif now >= kill_at:
            process.kill()
            if now >= kill_at + KILLED_S:
                self._leaving = None

    @staticmethod
    def _read_stderr(process: subprocess.Popen[bytes], tail: deque[str]) -> None:
        assert process.stderr is not None
        with process.stderr as stream:
            for line in stream:
                tail.append(line.decode(errors="replace").rstrip())


def _last_words(tail: Sequence[str]) -> str:
    """What tells most: the last line, or of a crash, as `faulthandler` writes it down, what it was and where."""
    said = [line.strip() for line in tail if line.strip()]
    crash = next((line for line in said if line.startswith("Fatal Python error")), None)
    if crash is None:
        return said[-1] if said else ""
    thread = itertools.dropwhile(lambda line: not line.startswith("Current thread"), said)
    innermost = next((line for line in thread if line.startswith("File ")), "")  # call, which comes first
    return f"{crash} {innermost}".strip()


def _reason(code: int) -> str:
    if code == -9:  # the system does so when memory runs out
        return "killed by signal 9; if nobody did that, memory ran out"
    return f"signal {-code}" if code < 0 else f"exit code {code}"
