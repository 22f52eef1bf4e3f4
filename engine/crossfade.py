"""From one preset's place in W+ to the next one's, over a stated time or by the crossfader."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Latent = NDArray[np.float32]

LARGEST_STEP = 0.1
"""A fade goes no more than this part of its time in one frame, however late that is: it then takes longer."""
EASED = 0.2
"""Of a fade's time at either end, in which it gains and loses its speed; in between it is steady."""


class Crossfade:
    """Moves latents, any number of them, from where they stand to where they shall be.

    A fade that is overtaken by another goes on from where it was, so nothing jumps; only a fade of 0 s is a cut. One
    thread, which asks once a frame; times in seconds, never earlier than before.
    """

    def __init__(self, *latents: Latent) -> None:
        self._from = self._to = latents
        self._fade_s = 0.0
        self._asked_at = 0.0
        self._passed = 1.0
        self._held: float | None = None

    @property
    def share(self) -> float:
        """How far it has come, 0..1."""
        return eased(self._passed)

    def go(self, latents: tuple[Latent, ...], fade_s: float, now: float, position: float = 1.0) -> None:
        """Begins to move; at once when `fade_s` is 0. Where the crossfader's `position` is below 1, it stays there."""
        self._from, self._to = self.at(now), latents
        self._held = position if position < 1.0 else None
        self._fade_s, self._passed = fade_s, 1.0 if fade_s == 0.0 and self._held is None else 0.0

    def hold(self, position: float) -> None:
        """Stay at this part of the way, 0..1, instead of going by time, until the next `go`. 1 holds only what was held
        before, so that a crossfader at rest lets fades run."""
        if position < 1.0 or self._held is not None:
            self._held = position

    def at(self, now: float) -> tuple[Latent, ...]:
        """The latents at this time; in the end the goal bit for bit."""
        if self._held is not None:
            self._passed += min(max(self._held - self._passed, -LARGEST_STEP), LARGEST_STEP)
        elif self._passed < 1.0:
            step = (now - self._asked_at) / self._fade_s
            self._passed = min(self._passed + min(max(step, 0.0), LARGEST_STEP), 1.0)
        self._asked_at = now
        if self._passed >= 1.0 - 1e-9:
            self._passed = 1.0
            return self._to
        share = np.float32(self.share)
        return tuple(start + share * (end - start) for start, end in zip(self._from, self._to, strict=True))


class Way:
    """From the place before to the preset called last: base latent and anchors' offset, both [L, D], and what lies over
    both ends alike, wherever between them the crossfader holds the picture: typed words and another land.

    One thread, which asks once a frame; times as for `Crossfade`.
    """

    def __init__(self, base: Latent, offset: Latent) -> None:
        self._fade = Crossfade(base, offset)
        self._words = Crossfade(np.zeros_like(offset))
        self._land = Crossfade(base, np.zeros((1, 1), np.float32))  # and how much of it lies

    @property
    def share(self) -> float:
        """How far it has come, 0..1."""
        return self._fade.share

    def call(self, base: Latent, offset: Latent, fade_s: float, now: float, position: float) -> None:
        """A preset is called while the crossfader stands at `position`. The words go with the place before."""
        before, pull = self._fade.at(now)
        (words,) = self._words.at(now)
        self._fade = Crossfade(before, pull + words)
        self._fade.go((base, offset), fade_s, now, position)
        self._words = Crossfade(np.zeros_like(words))

    def say(self, words: Latent | None, fade_s: float, now: float) -> None:
        """Words pull besides, until the next call; None lets go."""
        (before,) = self._words.at(now)
        self._words.go((np.zeros_like(before) if words is None else words,), fade_s, now)

    def lay(self, land: Latent | None, fade_s: float, now: float) -> None:
        """Another land lies beneath whatever is called, until None lifts it."""
        before, lies = self._land.at(now)
        if land is not None and not lies:  # nothing is seen of the one before
            self._land = Crossfade(land, lies)
        self._land.go((before, 0.0 * lies) if land is None else (land, np.ones_like(lies)), fade_s, now)

    def hold(self, position: float) -> None:
        """As `Crossfade.hold`."""
        self._fade.hold(position)

    def at(self, now: float) -> tuple[Latent, Latent]:
        """(base, offset) at this time."""
        base, offset = self._fade.at(now)
        (words,) = self._words.at(now)
        land, lies = self._land.at(now)
        return (1.0 - lies) * base + lies * land, offset + words


def eased(passed: float) -> float:
    """How far a fade has come when this part of its time has passed, or where a crossfader stands there, both 0..1:
    eased at both ends, steady in between."""
    return _first_half(passed) if passed < 0.5 else 1.0 - _first_half(1.0 - passed)


def _first_half(passed: float) -> float:
    """Half a square until full speed is reached, then a straight line."""
    if passed < EASED:
        return passed * passed / (2.0 * EASED * (1.0 - EASED))
    return (passed - 0.5 * EASED) / (1.0 - EASED)
