"""How evenly pictures came to the audience, and how many a second. No processes here: rows in, figures out."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from typing import Any

import numpy as np

from cymatic.trial.watched import FRAME, Row

PERCENTILES = (50, 95, 99)
_INDEX, _TAKEN = FRAME.index("index"), FRAME.index("taken_at")


class Pace:
    """Adds up when pictures were seen outside the windows of faults, row by row; keeps none of them.

    `in_window`: a picture is seen when the window has handed it to the display, else when the stage has taken it.
    """

    def __init__(self, in_window: bool = False) -> None:
        self.seen = 0
        """All pictures, those within the windows of faults too."""
        self._in_window = in_window
        self._index = self._seen_at = self._row_at = 0.0
        self._lengths: Counter[int] = Counter()
        """Times between two pictures, by their tenths of milliseconds."""
        self._seconds = 0.0
        self._seconds_at: Counter[float] = Counter()
        """By the rate that the engine kept."""
        self._seconds_small = 0.0
        self._skipped = 0
        self._second = [0.0, 0]
        """So many seconds of the one that is being counted have passed, and so many pictures came in them."""
        self._slowest: float | None = None

    def take(self, row: Row, counts: bool) -> float:
        """The next row. Returns for how long a picture stood at most; the figures take note of it when it `counts`."""
        longest, pictures = 0.0, 0
        for index, at in self._seen(row):
            if self._seen_at:
                longest = max(longest, at - self._seen_at)
                if counts:
                    self._lengths[round(1e4 * (at - self._seen_at))] += 1
                    self._skipped += round(index - self._index) - 1
                    pictures += 1
            self._index, self._seen_at = index, at
            self.seen += 1
        if self._seen_at:  # the one that stands now may be the last
            longest = max(longest, row["at"] - self._seen_at)
        self._follow_rate(row, pictures, counts)
        return longest

    def told(self) -> dict[str, Any]:
        """As JSON; None where nothing was seen."""
        lengths = np.repeat(list(self._lengths), list(self._lengths.values())) / 10.0
        return {
            "shown": len(lengths),
            "skipped": self._skipped,
            "interval_ms": {f"p{p}": round(float(np.percentile(lengths, p)), 1) for p in PERCENTILES if len(lengths)},
            "shown_fps": round(len(lengths) / self._seconds, 2) if self._seconds else None,
            "slowest_second_fps": None if self._slowest is None else round(self._slowest, 1),
            "seconds_at_fps": {f"{fps:g}": round(s, 1) for fps, s in sorted(self._seconds_at.items(), reverse=True)},
            "seconds_small": round(self._seconds_small, 1),
        }

    def _seen(self, row: Row) -> Iterator[tuple[float, float]]:
        """Index and time of every picture that came; a window draws one again whenever it likes."""
        swaps = ((index, at) for at, index in row["swaps"])
        taken = ((frame[_INDEX], frame[_TAKEN]) for frame in row["frames"])
        last = self._index
        for index, at in swaps if self._in_window else taken:
            if index != last:
                yield index, at
            last = index

    def _follow_rate(self, row: Row, pictures: int, counts: bool) -> None:
        if not counts or not self._row_at:
            self._second = [0.0, 0]
        else:
            seconds = row["at"] - self._row_at
            self._seconds += seconds
            if row["fps"] is not None:  # one has been chosen
                self._seconds_at[row["fps"]] += seconds
            self._seconds_small += seconds * row["small"]
            self._second = [self._second[0] + seconds, self._second[1] + pictures]
            if self._second[0] >= 1.0:
                rate = self._second[1] / self._second[0]
                self._slowest = rate if self._slowest is None else min(self._slowest, rate)
                self._second = [0.0, 0]
        self._row_at = row["at"]


def in_words(outside: dict[str, Any]) -> str:
    """One line on what `told` gave."""
    if outside["slowest_second_fps"] is None:
        return "there was no second outside faults"
    kept = ", ".join(f"{fps} frames/s for {seconds:.0f} s" for fps, seconds in outside["seconds_at_fps"].items())
    if outside["seconds_small"]:
        kept += f"; {outside['seconds_small']:.0f} s of it with pictures painted small"
    shown, slowest = outside["shown_fps"], outside["slowest_second_fps"]
    return f"outside faults {shown:.1f} pictures a second were seen, {slowest:.1f} in the slowest; kept were {kept}"
