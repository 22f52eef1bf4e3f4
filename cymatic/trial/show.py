"""A watched show in a process of its own, seen from outside."""

from __future__ import annotations

import json
import os
import queue
import subprocess
import sys
import threading
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

from cymatic.trial.watched import Row
from engine.errors import CymaticError

ROOT = Path(__file__).resolve().parents[2]
STOP_S = 15.0
BEGIN_S = 300.0
"""Compiling and measuring the graphs for the first time may take a while."""


class Show:
    """`cymatic live` with these arguments, watched. One thread; `log` takes what it says on standard error.

    `env` is added to the environment. OSC is heard on `port`.
    """

    def __init__(self, arguments: Sequence[str], port: int, env: Mapping[str, str], log: Path) -> None:
        self.log, self.port = log, port
        command = [sys.executable, "-m", "cymatic.trial.watched", "live", "--osc-port", str(port)]
        self.began_at = time.perf_counter()
        with log.open("wb") as errors:
            self._process = subprocess.Popen(
                [*command, "--oscquery-port", "0", *arguments],
                cwd=ROOT,
                env={**os.environ, **env},
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=errors,
                start_new_session=True,  # Ctrl-C in a terminal is for the trial, which ends the show
            )
        self._rows: queue.SimpleQueue[Row] = queue.SimpleQueue()
        self._reader = threading.Thread(target=self._read, name="trial-rows")
        self._reader.start()

    @property
    def pid(self) -> int:
        """Of the stage's process."""
        return self._process.pid

    @property
    def exit_code(self) -> int | None:
        """None while it plays."""
        return self._process.poll()

    def rows(self) -> list[Row]:
        """What came since the last call, in order."""
        return [self._rows.get() for _ in range(self._rows.qsize())]

    def wait_for_pictures(self) -> list[Row]:
        """The rows up to the first with a picture. `CymaticError` with its last words when the show cannot begin."""
        seen: list[Row] = []
        while not (seen and seen[-1]["frames"]):
            seen += self.rows()
            if self.exit_code is not None or time.perf_counter() > self.began_at + BEGIN_S:
                raise CymaticError(f"the show did not begin: {self.last_words()}")
            time.sleep(0.02)
        return seen

    def last_words(self) -> str:
        """The last line that it said on standard error."""
        lines = self.log.read_text(encoding="utf-8", errors="replace").strip().splitlines()
        return lines[-1].removeprefix("cymatic: ") if lines else "it said nothing"

    def stop(self) -> int:
        """Ends the show as Ctrl-C does and returns its exit code; kills it after `STOP_S`. Safe to call twice."""
        if self._process.poll() is None:
            self._process.terminate()
        try:
            code = self._process.wait(STOP_S)
        except subprocess.TimeoutExpired:
            self._process.kill()
            code = self._process.wait()
        self._reader.join()
        return code

    def _read(self) -> None:
        assert self._process.stdout is not None
        with self._process.stdout as stream:
            for line in stream:
                if line.endswith(b"\n"):  # a process that is killed may leave half of one
                    self._rows.put(json.loads(line))
