"""`cymatic live`, watched: `python -m cymatic.trial.watched live ...` plays the same show and tells what it was like.

Ten times a second it writes one line of JSON to its standard output (`Row`). Every picture that the audience sees is
looked at, in the process that shows it.
"""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, TypedDict

import numpy as np
from numpy.typing import NDArray

from cymatic.stage import Stage
from engine.errors import CymaticError
from engine.slot import Frame

if TYPE_CHECKING:
    from cymatic.trial.swaps import Swaps

ROW_S = 0.1
POINTS = (36, 64)
"""A picture is looked at on a grid of about so many pixels."""
FLAT = 1.5
BLACK, WHITE = 2.0, 253.0
"""Grey levels of 255. A picture is black or white when its mean lies beyond these and its standard deviation under
`FLAT`: the darkest night has stars, a horizon or texture that lift its deviation above that."""

Points = NDArray[np.int16]


class Row(TypedDict):
    """A tenth of a second of a show. All times are `time.perf_counter()`, which every process of a machine shares."""

    at: float
    frames: list[list[float]]
    """A row of `FRAME` for every picture that the stage took, then its `STAGES` in milliseconds."""
    swaps: list[list[float]]
    """[time, index of the picture] of every picture that the window has handed to the display."""
    bad: list[dict[str, Any]]
    """Pictures that must not be: `what` (black, white, torn, backwards), `index`, `mean`, `spread`."""
    mean: list[float]
    """Darkest and brightest mean of a picture."""
    spread: float | None
    """Least standard deviation of a picture."""
    pid: int | None
    """The engine's process."""
    state: str
    audio: str
    """State of the microphone, "" before the engine has told one."""
    rms_db: float
    fps: float | None
    """The rate that the engine keeps; None before it has chosen one."""
    late: int
    """Pictures that the engine made late for that rate, so far."""
    received: int
    lines: list[str]
    """What was said to the performer."""


FRAME = ("index", "captured_at", "started_at", "written_at", "published_at", "taken_at", "change", "onset_at")
"""`change`: how far this picture is from the one before, mean of absolute differences in grey levels."""


def points_of(rgba: NDArray[np.uint8]) -> Points:
    """A picture [H, W, 3 or 4] on the grid."""
    steps = (max(1, size // count) for size, count in zip(rgba.shape[:2], POINTS, strict=True))
    down, across = steps
    return rgba[::down, ::across, :3].astype(np.int16)


def blank(points: Points) -> str | None:
    """ "black" or "white" when nothing is to be seen, else None."""
    if points.std() >= FLAT:
        return None
    mean = points.mean()
    return "black" if mean <= BLACK else "white" if mean >= WHITE else None


class Watch:
    """Looks at the pictures of one show and writes its rows to `write`. The stage's thread."""

    def __init__(self, write: Any) -> None:
        self._write = write
        self._last: Frame | None = None
        self._points: Points | None = None
        self._told_at = 0.0
        self._window: Swaps | None = None
        self._waiting: list[tuple[Frame, float]] = []
        self._newest = 0
        self.lines: list[str] = []
        self._begin()

    def _begin(self) -> None:
        self._frames: list[list[float]] = []
        self._swaps: list[list[float]] = []
        self._bad: list[dict[str, Any]] = []
        self._means: list[float] = []
        self._spreads: list[float] = []

    def note(self, frame: Frame) -> None:
        """A picture that the stage has taken; it is shown first and looked at with the next `tick`."""
        self._waiting.append((frame, time.perf_counter()))
        self._newest = frame.index
        self._find_window()

    def take(self, frame: Frame, shown: NDArray[np.uint8], taken_at: float) -> None:
        """Looks at a picture, and at what the audience sees of it."""
        points = points_of(frame.rgba)
        change = 0.0 if self._points is None else float(np.abs(points - self._points).mean())
        last = self._last
        if not frame.whole:
            self._complain("torn", frame.index, points)
        if last is not None and (frame.index <= last.index or frame.published_at < last.published_at):
            self._complain("backwards", frame.index, points)
        self._look(frame.index, points if shown is frame.rgba else points_of(shown))
        self._last, self._points = frame, points
        times = (frame.captured_at, frame.started_at, frame.written_at, frame.published_at, taken_at)
        self._frames.append([frame.index, *times, change, frame.onset_at, *frame.stats])

    def tick(self, stage: Stage) -> None:
        """Looks at what has come, and writes a row when it is time."""
        waiting, self._waiting = self._waiting, []
        for frame, taken_at in waiting:
            shown = stage.present() if frame is waiting[-1][0] else None
            self.take(frame, frame.rgba if shown is None else shown, taken_at)
        now = time.perf_counter()
        if now - self._told_at < ROW_S:
            return
        self._told_at = now
        if self._last is not None and not self._frames and (picture := stage.present()) is not None:
            self._look(self._last.index, points_of(picture))  # what stays while nothing new comes
        status, lines = stage.status, self.lines
        row: Row = {
            "at": now,
            "frames": self._frames,
            "swaps": self._swaps,
            "bad": self._bad,
            "mean": [round(find(self._means), 2) for find in (min, max)] if self._means else [],
            "spread": round(min(self._spreads), 2) if self._spreads else None,
            "pid": stage.engine_pid,
            "state": str(status.get("state")),
            "audio": str(status.get("audio", {}).get("state", "")),
            "rms_db": float(status.get("rms_db", -120.0)),
            "fps": status.get("fps"),
            "small": bool(status.get("small")),
            "late": stage.late_frames,
            "received": stage.controls_received,
            "lines": lines,
        }
        self.lines = []
        self._begin()
        try:
            self._write(json.dumps(row) + "\n")
        except BrokenPipeError:  # nobody watches any more
            stage.close()

    def _look(self, index: int, points: Points) -> None:
        self._means.append(float(points.mean()))
        self._spreads.append(float(points.std()))
        if (what := blank(points)) is not None:
            self._complain(what, index, points)

    def _complain(self, what: str, index: int, points: Points) -> None:
        mean, spread = round(float(points.mean()), 2), round(float(points.std()), 2)
        self._bad.append({"what": what, "index": index, "mean": mean, "spread": spread})

    def _find_window(self) -> None:
        """In a show with windows: be told when the output has handed a picture to the display."""
        if self._window is None and "PySide6.QtGui" in sys.modules:
            from PySide6.QtGui import QGuiApplication

            from cymatic.trial.swaps import Swaps

            for window in QGuiApplication.topLevelWindows():
                if hasattr(window, "frameSwapped"):
                    self._window = Swaps(window, lambda: self._newest, self._swapped)

    def _swapped(self, at: float, index: int) -> None:
        self._swaps.append([at, index])


class WatchedStage(Stage):
    """A stage that is watched; it does nothing else."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        self._watch = Watch(_write)
        super().__init__(*args, **kwargs)

    def newest_frame(self) -> Frame | None:
        frame = super().newest_frame()
        if frame is not None:
            self._watch.note(frame)
        return frame

    def tick(self) -> None:
        super().tick()
        self._watch.tick(self)

    def tell(self, line: str, at: float | None = None) -> None:
        super().tell(line, at)
        self._watch.lines.append(line)


def _write(text: str) -> None:
    sys.stdout.write(text)
    sys.stdout.flush()


def main(argv: Sequence[str]) -> int:
    """As `cymatic live` with these arguments."""
    import argparse

    from cymatic import live

    parser = argparse.ArgumentParser(prog="cymatic")
    live.add_parser(parser.add_subparsers(required=True))
    try:
        return live.run(parser.parse_args(argv), WatchedStage)
    except CymaticError as error:
        print(f"cymatic: {error}", file=sys.stderr)
        return 2
    finally:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # the reader may be gone


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
