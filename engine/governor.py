"""How many frames a second, and how large: as much as the machine holds now, always evenly.

When frames are late for a while, the rate steps down to one that a display of 60 Hz still shows at equal distances;
when there has been room for a while, it steps back up. Each step up that does not last makes the next one wait longer,
so that a machine on the edge does not swing. Below 30 frames a second motion falls apart sooner than softness is seen:
where the bundle can paint its picture on a coarser grid, that gives first.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

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


class Step(NamedTuple):
    """Frames a second, and whether they are painted small."""

    fps: float
    small: bool


class Governor:
    """Hears of every frame (`judge`) and moves `fps` along `rates`, the highest first. One thread, any clock.

    The whole picture is painted at the two highest rates; from the second one down small ones take over once they are
    offered. `small`: whether they are to be from the beginning.

    Attributes
    ----------
    fps : frames a second to make.
    small : whether the next ones are to be painted small.
    note : why that is less than wanted, one line; None while nothing is wanting.
    """

    def __init__(
        self,
        rates: Sequence[float] = RATES,
        fps: float | None = None,
        note: str | None = None,
        small: bool = False,
    ) -> None:
        self._rates = tuple(rates)
        self.fps = self._rates[0] if fps is None else fps
        self.small = False
        self.note = note
        self._begins_small = small
        self._share: float | None = None  # of a whole picture's time that a small one takes; None: there are none
        self._size = ""
        self._begun_at: float | None = None  # of the window
        self._work_s: list[float] = []
        self._late = 0
        self._roomy_s = 0.0
        self._patience_s = PATIENCE_S[0]
        self._rose_at: float | None = None
        self._short = False  # not even the last step is held, and that was told

    @property
    def wants_small(self) -> bool:
        """Whether small pictures would help and are not offered."""
        return self._share is None and (self._begins_small or self._short or self.fps < self._rates[:2][-1])

    def offer(self, share: float, size: str) -> None:
        """Pictures can be painted small from now on. They take `share` of a whole one's time; `size` is how large they
        are, for the performer."""
        self._share, self._size, self.small = share, size, self._begins_small

    def withdraw(self) -> None:
        """They can no more."""
        self._share, self.small, self._begins_small = None, False, False

    @property
    def _steps(self) -> list[Step]:
        if self._share is None:
            return [Step(rate, False) for rate in self._rates]
        whole, small = self._rates[:2], self._rates[1:] or self._rates
        return [*(Step(rate, False) for rate in whole), *(Step(rate, True) for rate in small)]

    def _fills(self, step: Step, work_s: float) -> float:
        """Share of its period that a frame will fill there which takes `work_s` now."""
        if self._share is not None and step.small != self.small:
            work_s *= self._share if step.small else 1.0 / self._share
        return work_s * step.fps

    def judge(self, now: float, work_s: float, late: bool) -> str | None:
        """A frame was finished at `now` (s) that took `work_s` seconds; a line when the rate changes, else None."""
        if self._begins_small and self._share is None:  # whole ones stand in until they are ready, as well as they can
            return None
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
        work_s = float(np.percentile(newest, 75))
        if Step(self.fps, self.small) not in self._steps:  # it fell to where whole pictures are no longer painted
            return self._settle(work_s)
        if late_share > LATE:
            self._roomy_s = 0.0
            return self._fall(now, work_s, late_share)
        return self._rise(now, seconds, float(np.percentile(work, 95)))

    def _settle(self, work_s: float) -> str:
        before = self.fps
        self._take(self._steps[1:], work_s)
        return self._say(before, _takes(work_s))

    def _fall(self, now: float, work_s: float, late_share: float) -> str | None:
        steps, here = self._steps, Step(self.fps, self.small)
        lower = steps[steps.index(here) + 1 :]
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
        self._take(lower, work_s)
        if work_s * here.fps <= FITS:  # most frames would fit, but something else keeps the processors busy
            return self._say(here.fps, f"{late_share:.0%} of the frames were late, for other work takes the processors")
        return self._say(here.fps, _takes(work_s))

    def _take(self, steps: Sequence[Step], work_s: float) -> None:
        """The first of these that will be held, or else the last."""
        self.fps, self.small = next((step for step in steps if self._fills(step, work_s) <= FITS), steps[-1])

    def _rise(self, now: float, seconds: float, work_s: float) -> str | None:
        steps = self._steps
        higher = steps[: steps.index(Step(self.fps, self.small))]
        line = f"a frame takes {1000 * work_s:.1f} ms (p95)"
        if not higher or self._short:
            self.note = self._wanting(line) if higher else None
            self._short = False
        if not higher:
            return None
        self._roomy_s = self._roomy_s + seconds if self._fills(higher[-1], work_s) <= ROOM else 0.0
        if self._roomy_s < self._patience_s:
            return None
        grows, self._roomy_s, self._rose_at = self.small and not higher[-1].small, 0.0, now
        self.fps, self.small = higher[-1]
        self.note = None if len(higher) == 1 else self._wanting(line)
        return f"{self.fps:g} frames/s{' in full size' if grows else ''} again: {line}"

    def _say(self, before: float, why: str) -> str:
        """What has become less, and `why`, in the present and, for as long as it stays so, in the past."""
        self.note = self._wanting(why.format("took"))
        instead = f" instead of {before:g}" if self.fps != before else ""
        return f"{self.fps:g} frames/s{instead}{self._painted}: {why.format('takes')}"

    def _wanting(self, why: str) -> str:
        of = f" of {self._rates[0]:g}" if self.fps != self._rates[0] else ""
        return f"{self.fps:g}{of} frames/s{self._painted}: {why}"

    @property
    def _painted(self) -> str:
        return f", painted in {self._size}" if self.small else ""


def _takes(work_s: float) -> str:
    return f"a frame {{}} {1000 * work_s:.1f} ms"
