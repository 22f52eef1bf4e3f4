"""From one preset's place in W+ to the next one's, over a stated time."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Latent = NDArray[np.float32]


class Crossfade:
    """Moves a preset's base latent and its anchors' offset, both [L, D], from where they stand to where they shall be.

    A fade that is overtaken by another goes on from where it was, so nothing jumps. One thread; times in seconds.
    """

    def __init__(self, base: Latent, offset: Latent) -> None:
        self._from = self._to = (base, offset)
        self._begins = 0.0
        self._fade_s = 0.0

    def go(self, base: Latent, offset: Latent, fade_s: float, now: float) -> None:
        """Begins to move; at once when `fade_s` is 0."""
        self._from = self.at(now)
        self._to = (base, offset)
        self._begins, self._fade_s = now, fade_s

    def at(self, now: float) -> tuple[Latent, Latent]:
        """(base, offset) at this time; eased at both ends (smoothstep), and in the end the goal bit for bit."""
        passed = 1.0 if self._fade_s <= 0.0 else (now - self._begins) / self._fade_s
        if passed >= 1.0:
            return self._to
        t = max(passed, 0.0)
        share = np.float32(t * t * (3.0 - 2.0 * t))
        base, offset = (start + share * (end - start) for start, end in zip(self._from, self._to, strict=True))
        return base, offset
