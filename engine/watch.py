"""The last look before the audience: what is shown keeps the rule of `engine.flash`, whatever made it so.

The painter holds back what it paints, but look, sizing, master, blackout and test card come after it, and each of them
can make flashes of a calm picture: contrast bends faint changes into strong ones, "fill" shows a strip of the picture
as large as the display, and a fader may be moved fifteen times a second. So the points of each picture are put under
look and level as they will be seen, and watched once more. What would break the rule is to be mixed with what stands.

A blackout is never delayed: three in a second are black at once, which is as many flashes as the rule allows. Those who
press it more often than that see the light sink and rise softly.
"""

from __future__ import annotations

import math
from collections import deque

import numpy as np
from numpy.typing import NDArray

from engine.flash import GRID, SECOND_S, WHOLE, Flashes, Part, points
from engine.look import Look, looked_at, shade

BLACKOUTS = 3
"""So many in a second are black at once."""

Image = NDArray[np.uint8]


class Watch:
    """Watches what is shown in one place, in order. One thread; times in seconds.

    Attributes
    ----------
    limiting : whether the newest picture is held back.
    limited : how many pictures were held back so far.
    """

    def __init__(self) -> None:
        self.limiting = False
        self.limited = 0
        self._flashes = Flashes()
        self._at = -math.inf
        self._trail: NDArray[np.float32] | None = None
        self._black = False
        self._blackouts: deque[float] = deque([-math.inf] * BLACKOUTS, BLACKOUTS)

    def share(self, rgba: Image, level: float, look: Look, now: float, part: Part = WHOLE) -> float:
        """How much of a picture that is shown at `now` is to be mixed with what stands: 1 for all of it, down to 0.

        `rgba` `[H, W, 4]`, under that look, `level` 0..1 bright; `part`: what of it is seen. Until it is 1 again the
        picture has to be shown again and again.
        """
        share = self._flashes.share(self._seen(rgba, level, look, now, part), now, free=self._darkens(level, now))
        self.limiting = share < 1.0
        self.limited += self.limiting
        return share

    def rest(self) -> None:
        """What is shown now is not watched, as the performer wishes."""
        self.limiting = False

    def _seen(self, rgba: Image, level: float, look: Look, now: float, part: Part) -> Image:
        passed, self._at = now - self._at, now
        if look.neutral:
            self._trail = None
            seen = points(rgba, part)
        else:
            seen = looked_at(rgba, look, GRID, part)
            light = seen.astype(np.float32)
            if self._trail is not None:
                light = np.maximum(light, light + look.keep(passed) * (self._trail - light))
            self._trail = light if look.trails > 0.0 else None
            seen = np.rint(light * (1.0 - look.vignette * shade(GRID, part))[..., np.newaxis]).astype(np.uint8)
        return seen if level == 1.0 else np.rint(seen * level).astype(np.uint8)

    def _darkens(self, level: float, now: float) -> bool:
        """Whether a blackout begins that is to be at once."""
        begins = level <= 0.0 and not self._black
        self._black = level <= 0.0
        free = begins and self._blackouts[0] <= now - SECOND_S
        if begins:
            self._blackouts.append(now)
        return free
