"""Something that is done so many times a second, asked at times that somebody else keeps."""

from __future__ import annotations

import math

EARLY_S = 0.0005  # counts as due, or rounding would make 30 Hz beat against 60 frames a second


class Turns:
    """`rate_hz` turns a second, the first at once. Missed ones are not made up for."""

    def __init__(self, rate_hz: float) -> None:
        self._period = 1.0 / rate_hz
        self._next = -math.inf

    def due(self, now: float) -> bool:
        """Whether one is due at time `now` (s); asking takes it."""
        late = now - self._next
        if late < -EARLY_S:
            return False
        self._next = now + self._period if late > self._period else self._next + self._period
        return True
