"""Anchors that hide each other give way until each of them is seen.

A picture has an order: water stands before everything that is under it, flames before what they lick at. So the sum of
two offsets may show one of them only, however hard the other one pulls. What is seen of an anchor is measured in the
picture, by taking that anchor away:

    seenᵢ = |G(all) − G(all but i)| / |G(i alone) − G(none)|

with |·| the mean difference of small pictures. As long as one anchor is seen less than `ENOUGH`, the one of which most
is seen gives way. Only pictures are compared, so this holds for any bundle; nothing here knows what a scene is.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from engine.bundle import Bundle
from engine.painter import Painter
from engine.runtime.session import Session

__all__ = ["Balance", "Sight", "Sketch", "balance"]

ENOUGH = 0.65
FAINT = 2.0  # grey levels; an anchor that changes less of the picture when alone shows nothing that could be hidden
STEP, LAST_STEP = 0.5, 0.03  # of the logarithm of an anchor's strength
ROUNDS = 20
ROWS = 72  # of the small pictures
SAMPLE_RATE, LATENT_HZ, SETTLED_S = 48_000, 30, 0.4

Float32 = NDArray[np.float32]


class Sketch:
    """What a show would show of one base and one look while nothing sounds, whatever pulls at it. One thread.

    `base` as `Painter.go` takes it; `controls` that stand elsewhere than at their defaults.
    """

    def __init__(
        self,
        bundle: Bundle,
        sessions: Mapping[str, Session],
        base: Mapping[str, Any],
        controls: Mapping[str, float] | None = None,
    ) -> None:
        self._painter = Painter(bundle, sessions, SAMPLE_RATE)
        self._painter.controls |= {**(controls or {}), "flash/limit": False}
        self._base, self._now = base, 0.0
        self._painter.go({"base": base, "offset": None}, 0.0)
        silence = np.zeros(SAMPLE_RATE // LATENT_HZ, np.float32)
        for step in range(round(SETTLED_S * LATENT_HZ)):  # what silence itself adds has to be there
            self._painter.hear(silence)
            self._painter.move(step / LATENT_HZ)
            self._now = step / LATENT_HZ

    def paint(self, offset: Float32, passed_s: float = 0.0) -> NDArray[np.uint8]:
        """Bytes `[H, W, 3]` with this offset `[L, D]`, so many seconds after the last picture; at 0 only the offset
        differs."""
        self._now += passed_s
        self._painter.go({"base": self._base, "offset": offset}, self._now)
        self._painter.move(self._now)
        return self._painter.picture()[..., :3].copy()


class Balance(NamedTuple):
    """With what each offset is to be multiplied, 0..1, and how much is `seen` of the one that then shows least."""

    factors: tuple[float, ...]
    seen: float


class Sight:
    """How much is seen of each of some anchors, as a part of what it changes alone with the offset that it was given.

    `paint` makes a picture, bytes `[H, W, 3]`, of Σ pull·offset. What pushes away hides nothing and is not asked after,
    nor is what shows nothing alone: `which` are the others.
    """

    def __init__(
        self, paint: Callable[[Float32], NDArray[np.uint8]], offsets: Sequence[Float32], pulls: Sequence[float]
    ) -> None:
        self._paint, self._pulls = paint, pulls
        pulled = self._pulled(offsets)
        pushed = sum((one for one, pull in zip(pulled, pulls, strict=True) if pull < 0.0), np.zeros_like(offsets[0]))
        ground = _small(paint(pushed))
        self._alone = np.array([_change(_small(paint(pushed + one)), ground) if pull > 0.0 else 0.0
                                for one, pull in zip(pulled, pulls, strict=True)])  # fmt: skip
        self.which = np.flatnonzero(self._alone > FAINT)

    def of(self, offsets: Sequence[Float32]) -> NDArray[np.float64]:
        """What is seen of `which`, about 0..1, when these offsets `[L, D]` pull."""
        pulled = self._pulled(offsets)
        total = sum(pulled, np.zeros_like(offsets[0]))
        together = _small(self._paint(total))
        changes = [_change(together, _small(self._paint(total - pulled[i]))) for i in self.which]
        seen: NDArray[np.float64] = np.array(changes) / self._alone[self.which]
        return seen

    def _pulled(self, offsets: Sequence[Float32]) -> list[Float32]:
        return [np.float32(pull) * offset for pull, offset in zip(self._pulls, offsets, strict=True)]


def balance(
    paint: Callable[[Float32], NDArray[np.uint8]], offsets: Sequence[Float32], pulls: Sequence[float]
) -> Balance:
    """How hard each of these offsets `[L, D]` has to pull for all to be seen.

    `paint` makes a picture, bytes `[H, W, 3]`, of Σ pull·offset; it is asked for some sixty at most. What pushes away
    stays as it is, and all stay as they are where each is seen anyway.
    """
    sight = Sight(paint, offsets, pulls)
    which = sight.which
    if len(which) < 2:
        return Balance((1.0,) * len(offsets), 1.0)
    now = best = np.zeros(len(offsets))
    least, step, gave_way = -1.0, STEP, -1
    for _ in range(ROUNDS):
        factors = [math.exp(log) if pull > 0.0 else 1.0 for log, pull in zip(now, pulls, strict=True)]
        found = sight.of([np.float32(factor) * one for factor, one in zip(factors, offsets, strict=True)])
        if found.min() > least:
            least, best = float(found.min()), now
        if least >= ENOUGH or step < LAST_STEP:
            break
        most = int(which[found.argmax()])
        step *= 1.0 if gave_way in (-1, most) else 0.5
        now, gave_way = now.copy(), most
        now[most] -= step
        now[which] -= now[which].max()
    return Balance(tuple(math.exp(logarithm) for logarithm in best), least)


def _small(picture: NDArray[np.uint8]) -> Float32:
    """Means of whole blocks, about `ROWS` of them from top to bottom: `[rows, columns, 3]`."""
    block = max(1, picture.shape[0] // ROWS)
    rows, columns = picture.shape[0] // block, picture.shape[1] // block
    lines = picture[: rows * block, : columns * block].reshape(rows, block, -1).sum(1, dtype=np.uint32)
    means: Float32 = lines.reshape(rows, columns, block, 3).sum(2, dtype=np.float32) / np.float32(block**2)
    return means


def _change(first: Float32, second: Float32) -> float:
    return float(np.abs(first - second).mean())
