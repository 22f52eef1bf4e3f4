"""Which source of the sound server feeds this process.

PulseAudio, and PipeWire in its place, move a stream whose device has gone to another device without a word: PortAudio's
callbacks go on, with the sound of a room nobody meant. `pactl`, which comes with either, tells. Where it is missing, or
no sound server stands between, nothing is known and nothing is watched.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import subprocess
import threading

__all__ = ["Route", "pactl"]

ANSWER_S = 1.0
"""A server that takes longer has other trouble."""


class Route:
    """Watches for as long as one stream is open. `source` may be called from any one thread; `close` in the end."""

    def __init__(self) -> None:
        self._source: str | None = None
        self._news, self._other_default = threading.Event(), threading.Event()
        self._news.set()
        self._other_default.set()
        self._listener: subprocess.Popen[str] | None = None
        if shutil.which("pactl") is None:
            return
        with contextlib.suppress(OSError):  # out of memory, say: then nothing is known
            self._listener = subprocess.Popen(
                ["pactl", "subscribe"],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
                text=True,
                env=_english(),
            )
            self._reader = threading.Thread(target=self._read, name="microphone-route", daemon=True)
            self._reader.start()

    def source(self) -> str | None:
        """The server's name of the source that this process's newest stream records; None where that is not known.

        Asks the server (some 20 ms) only when something has changed there.
        """
        if self._listener is not None and self._news.is_set():
            self._news.clear()
            self._source = _ask()
        return self._source

    def default_news(self) -> bool:
        """Whether the default output may be another one since this was last asked; yes at first, where that is told."""
        if self._listener is None or not self._other_default.is_set():
            return False
        self._other_default.clear()
        return True

    def close(self) -> None:
        """End the watch."""
        if self._listener is not None:
            self._listener.terminate()
            self._reader.join()
            self._listener.wait()
            self._listener = None

    def _read(self) -> None:
        assert self._listener is not None
        assert self._listener.stdout is not None
        with self._listener.stdout as lines:
            for line in lines:
                if " source" in line:  # sources, and the streams that record them
                    self._news.set()
                elif " server" in line:  # which says what the defaults are
                    self._other_default.set()


def _ask() -> str | None:
    outputs: list[tuple[int, int]] = []  # number of the stream, number of its source
    with contextlib.suppress(ValueError, KeyError, TypeError):  # older than 16 it knows no JSON
        for output in json.loads(pactl("--format=json", "list", "source-outputs")):
            if output["properties"].get("application.process.id") == str(os.getpid()):
                outputs.append((int(output["index"]), int(output["source"])))
    if not outputs:
        return None
    number = str(max(outputs)[1])
    rows = [line.split("\t") for line in pactl("list", "short", "sources").splitlines()]
    return next((row[1] for row in rows if len(row) > 1 and row[0] == number), None)


def pactl(*arguments: str) -> str:
    """What the sound server answers, in English; "" where it does not, or not within `ANSWER_S`."""
    try:
        done = subprocess.run(
            ["pactl", *arguments],
            capture_output=True,
            encoding="utf-8",
            errors="replace",
            timeout=ANSWER_S,
            stdin=subprocess.DEVNULL,
            env=_english(),
        )
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return done.stdout


def _english() -> dict[str, str]:
    return {**os.environ, "LC_ALL": "C"}
