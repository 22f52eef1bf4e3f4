"""When the next frame is due: a steady beat that drops what it cannot reach and never queues.

At which rate is the affair of `engine.governor`, which every frame may change; here the first frames choose where it
begins.
"""

from __future__ import annotations

import time
from collections.abc import Callable

import numpy as np

from engine.governor import RATES, Governor

FULL_FPS, HALF_FPS = RATES[:2]
BUDGET = 0.8
"""Share of a frame's period that its work may take (p95) before the machine counts as too slow for that rate."""
MEASURED = 16
"""Frames that are made one after the other, unpaced, before the rate is chosen."""
LEAD = 0.25
"""Share of a period that a frame may begin before it is due: what one frame saves, a slower one may use, and the beat
stays the same."""
CATCH_UP = 0.1
"""Share of a period that one frame may win back after a late one; what is missing beyond it is dropped."""
LOOK_S = 0.003
"""How often a wait looks up."""
WARM_UP = 4
LONGEST_MEASURE_S = 1.0


class Pacer:
    """Beats at `fps`; when that is None, the first frames are made as fast as they come and choose a rate, which the
    governor changes when it is not held, and when there is room again. A rate that was asked for stays. `held`: the
    rate that another engine held here a moment ago, `small` if with small pictures: it begins with that one and chooses
    none.

    `begin` before a frame, `end` after it, `wait` for the next one. One thread. `clock` and its seconds are
    `time.perf_counter`; tests pass their own.
    """

    def __init__(
        self,
        fps: float | None,
        clock: Callable[[], float] = time.perf_counter,
        sleep: Callable[[float], None] = time.sleep,
        held: float | None = None,
        small: bool = False,
    ) -> None:
        self.fps = held if fps is None else fps
        self.late_frames = 0
        """Frames that were finished later than a period after they were due."""
        self._clock = clock
        self._sleep = sleep
        self._work_s: list[float] = []
        self._started = 0.0
        self._due: float | None = None
        self._early = False
        self._governor: Governor | None = None
        self._to_tell: str | None = None
        if fps is not None:
            self._governor = Governor((fps,), small=small)
        elif held is not None:
            note = f"{held:g} of {FULL_FPS:g} frames/s, as before" if held < FULL_FPS else None
            self._governor = Governor(fps=held, note=note, small=small)
            self._to_tell = f"{held:g} frames/s, as before"

    @property
    def note(self) -> str | None:
        """Why there are fewer frames than there should be, one line; None while there are not."""
        return None if self._governor is None else self._governor.note

    @property
    def small(self) -> bool:
        """Whether the next picture is to be painted small, so that the rate is held."""
        return self._governor is not None and self._governor.small

    @property
    def wants_small(self) -> bool:
        """As `Governor.wants_small`."""
        return self._governor is not None and self._governor.wants_small

    def offer_small(self, share: float, size: str) -> None:
        """As `Governor.offer`; nothing while no rate is chosen."""
        if self._governor is not None:
            self._governor.offer(share, size)

    def withdraw_small(self) -> None:
        """As `Governor.withdraw`."""
        if self._governor is not None:
            self._governor.withdraw()

    def begin(self) -> float:
        """The time at which this frame's work begins."""
        self._started = self._clock()
        if self._due is None:
            self._due = self._started
        return self._started

    def again(self) -> float:
        """This frame's work begins once more; when it is due stays. The time at which it does."""
        self._started = self._clock()
        return self._started

    @property
    def passed(self) -> float:
        """Seconds since this frame's work began."""
        return self._clock() - self._started

    @property
    def left(self) -> float:
        """Seconds in which this frame is to be finished so as not to be late; none while no rate is chosen."""
        if self.fps is None or self._due is None:
            return 0.0
        return self._due + 1.0 / self.fps - self._clock()

    def end(self) -> str | None:
        """Takes note of a finished frame. Returns a line when the rate is new (chosen, kept, changed), else None."""
        now = self._clock()
        if self.fps is None or self._governor is None:
            self._work_s.append(now - self._started)
            enough = MEASURED if sum(self._work_s) < LONGEST_MEASURE_S else 1
            if len(self._work_s) < WARM_UP + enough:
                return None
            p95 = float(np.percentile(self._work_s[WARM_UP:], 95))
            self.fps = choose_fps(p95)
            self._due = now
            line = f"a frame takes {1000 * p95:.1f} ms (p95)"
            note = f"{self.fps:g} of {FULL_FPS:g} frames/s: {line}" if self.fps < FULL_FPS else None
            self._governor = Governor(fps=self.fps, note=note)
            return f"{self.fps:g} frames/s: {line}"
        assert self._due is not None
        period = 1.0 / self.fps
        self._due += period
        late = now > self._due
        if late:
            self.late_frames += 1
            self._due = max(self._due, now - CATCH_UP * period)
        changed = self._governor.judge(now, now - self._started, late)
        self.fps = self._governor.fps
        told, self._to_tell = changed or self._to_tell, None
        return told

    def wait(self, struck: Callable[[], bool] = lambda: False) -> None:
        """Sleeps until the next frame may begin, `LEAD` of a period before it is due, or something has `struck`.

        Then it begins at once, and the beat goes on from there: this frame and all after it are due sooner by what it
        came early. So none is late that would not be, no frame gets less than a period, and one that was begun early is
        followed by one that is not.
        """
        if self.fps is None or self._due is None:
            return
        early, self._early = self._early, False
        while (left := self._due - LEAD / self.fps - self._clock()) > 0.0:
            if struck() and not early:
                self._due, self._early = min(self._due, self._clock() + LEAD / self.fps), True
                return
            self._sleep(min(left, LOOK_S))


def choose_fps(p95_work_s: float) -> float:
    """The display rate that a machine holds which needs `p95_work_s` seconds of work for nearly every frame."""
    return FULL_FPS if p95_work_s <= BUDGET / FULL_FPS else HALF_FPS
