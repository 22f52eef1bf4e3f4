"""How many frames a second: as many as the machine holds now, always evenly.

A graph's picture has one size, so the rate is all that gives. When frames are late for a while, the rate steps down to
one that a display of 60 Hz still shows at equal distances; when there has been room for a while, it steps back up. Each
step up that does not last makes the next one wait longer, so that a machine on the edge does not swing.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

RATES = (60.0, 30.0, 20.0, 15.0)
"""Frames a second, each of them a picture every whole number of refreshes of a 60 Hz display."""
WINDOW_S = 3.0
FEWEST = 8
"""Frames are judged in windows of so many seconds and at least so many frames."""
SOONEST_S = 0.5
"""Windows end so early when more frames were late by then than in a whole one may be."""
LATE = 0.05
"""Share of a window's frames that may be late: a hiccup is no reason to change what everyone sees."""
FITS = 0.9
"""Share of a period that three of four frames may fill at most at a rate that is stepped down to."""
ROOM = 0.8
"""Share of a higher rate's period that nearly every frame (p95) must leave to step up: less than made it step down."""
PATIENCE_S = (10.0, 320.0)
"""How long there must have been room: at first, and at most, after steps up that did not last."""
TRIAL_S = 30.0
"""A step up that is taken back within this time did not last."""


class Governor:
    """Hears of every frame (`judge`) and moves `fps` along `rates`, the highest first. One thread, any clock.

    Attributes
    ----------
    fps : frames a second to make.
    note : why that is less than wanted, one line; None while nothing is wanting.
    """

    def __init__(self, rates: Sequence[float] = RATES, fps: float | None = None, note: str | None = None) -> None:
        self._rates = tuple(rates)
        self.fps = self._rates[0] if fps is None else fps
        self.note = note
        self._begun_at: float | None = None  # of the window
        self._work_s: list[float] = []
        self._late = 0
        self._roomy_s = 0.0
        self._patience_s = PATIENCE_S[0]
        self._rose_at: float | None = None
        self._short = False  # not even the lowest rate is held, and that was told

    def judge(self, now: float, work_s: float, late: bool) -> str | None:
        """A frame was finished at `now` (s) that took `work_s` seconds; a line when the rate changes, else None."""
        if self._begun_at is None:
            self._begun_at = now
        self._work_s.append(work_s)
        self._late += late
        seconds = now - self._begun_at
        lost = seconds >= SOONEST_S and self._late > LATE * WINDOW_S * self.fps
        if not (seconds >= WINDOW_S or lost) or len(self._work_s) < FEWEST:
            return None
        work, late_share = np.array(self._work_s), self._late / len(self._work_s)
        newest = work[-max(self._late, FEWEST) :]  # what it takes now, where it has just begun to take longer
        self._begun_at, self._late = now, 0
        self._work_s.clear()
        if late_share > LATE:
            self._roomy_s = 0.0
            return self._fall(now, float(np.percentile(newest, 75)), late_share)
        return self._rise(now, seconds, float(np.percentile(work, 95)))

    def _fall(self, now: float, work_s: float, late_share: float) -> str | None:
        lower = [rate for rate in self._rates if rate < self.fps]
        if not lower:
            if self._short:
                return None
            self._short = True
            self.note = f"{self.fps:g} frames/s are not held: a frame takes {1000 * work_s:.1f} ms"
            return self.note
        if self._rose_at is not None and now - self._rose_at < TRIAL_S:
            self._patience_s = min(2 * self._patience_s, PATIENCE_S[1])
        else:
            self._patience_s = PATIENCE_S[0]
        before, self.fps = self.fps, next((rate for rate in lower if work_s * rate <= FITS), lower[-1])
        if work_s * before <= FITS:  # most frames would fit, but something else keeps the processors busy
            why = f"{late_share:.0%} of the frames were late, for other work takes the processors"
            self.note = f"{self.fps:g} of {self._rates[0]:g} frames/s: {why}"
            return f"{self.fps:g} frames/s instead of {before:g}: {why}"
        self.note = f"{self.fps:g} of {self._rates[0]:g} frames/s: a frame took {1000 * work_s:.1f} ms"
        return f"{self.fps:g} frames/s instead of {before:g}: a frame takes {1000 * work_s:.1f} ms"

    def _rise(self, now: float, seconds: float, work_s: float) -> str | None:
        higher = [rate for rate in self._rates if rate > self.fps]
        line = f"a frame takes {1000 * work_s:.1f} ms (p95)"
        if not higher or self._short:
            self.note = f"{self.fps:g} of {self._rates[0]:g} frames/s: {line}" if higher else None
            self._short = False
        if not higher:
            return None
        self._roomy_s = self._roomy_s + seconds if work_s * higher[-1] <= ROOM else 0.0
        if self._roomy_s < self._patience_s:
            return None
        self._roomy_s, self._rose_at, self.fps = 0.0, now, higher[-1]
        full = self.fps == self._rates[0]
        self.note = None if full else f"{self.fps:g} of {self._rates[0]:g} frames/s: {line}"
        return f"{self.fps:g} frames/s again: {line}"
