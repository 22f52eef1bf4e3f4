"""Anchors that hide each other give way until each of them is seen; one that hardly shows is raised until it does.

A picture has an order: water stands before everything that is under it, flames before what they lick at. So the sum of
two offsets may show one of them only, however hard the other one pulls. What is seen of an anchor is measured in the
picture, by taking that anchor away:

    seenᵢ = |G(all) − G(all but i)| / |G(i alone) − G(none)|

with |·| the mean difference of two small pictures, of their tones and, `TEXTURE` times, of the grain in each place:
rain at night has the tone of its sky, and is told from it by its drops. It is counted in grey levels of a picture of
middle brightness, and by contrast (Weber): a thunderstorm that darkens a field does not hide it. If one anchor is seen
less than `ENOUGH`, strengths are searched that make the least of

    |G(i alone) − G(none)| · min(1, seenᵢ)²

as great as can be: the middle, as a product, between how much of an anchor is left and how much of the picture that is.
Of a sea that fills the picture a strip is enough, of a small volcano most of it must stand. And what an unsure encoder
or a quiet sound says may be so faint that it shows nothing even alone: it is raised first, to twice its strength at
most. Only pictures are compared, so this holds for any bundle; nothing here knows what a scene is.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from engine.bundle import Bundle
from engine.painter import Painter
from engine.runtime.session import Session

__all__ = ["Balance", "Sight", "Sketch", "balance", "scaled", "small", "weigh"]

ENOUGH = 0.8
CLEAR = 10.0  # grey levels; an anchor that pulls whole and alone changes less of the picture is raised
RAISED = np.linspace(0.1, 0.7, 7)  # logarithms of what it is multiplied with
FAINT = 2.0  # grey levels; an anchor that changes less of the picture when alone shows nothing that could be hidden
STRENGTHS = -0.3 * np.arange(9)  # logarithms of an anchor's strength: the grid
CLOSER = (0.15, 0.08, 0.04, 0.02)  # steps from the best place on it
ROWS = 72  # of the small pictures
TEXTURE = 8.0  # of a grey level of tone, what one of grain counts: so both weigh much the same in most scenes
MIDDLE, DARK = 85.0, 16.0  # brightness at which a grey level counts for one, and below which the eye sees no better
SAMPLE_RATE, LATENT_HZ, SETTLED_S = 48_000, 30, 0.4

Float32 = NDArray[np.float32]
Float64 = NDArray[np.float64]


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
    """With what each offset is to be multiplied, up to 2, and how much is `seen` of the one that then shows least."""

    factors: tuple[float, ...]
    seen: float


class Sight:
    """How much is seen of each of some anchors, as a part of what it changes alone with the offset that it was given.

    `look` makes a `small` picture of Σ pull·offset. What pushes away hides nothing and is not asked after, nor is what
    shows nothing alone: `which` are the others, and `alone` the grey levels that these change alone.
    """

    def __init__(self, look: Callable[[Float32], Float32], offsets: Sequence[Float32], pulls: Sequence[float]) -> None:
        self._look, self._pulls = look, pulls
        pulled = self._pulled(offsets)
        pushed = _total([one for one, pull in zip(pulled, pulls, strict=True) if pull < 0.0], offsets[0])
        ground = look(pushed)
        alone = np.array([_change(look(pushed + one), ground) if pull > 0.0 else 0.0
                          for one, pull in zip(pulled, pulls, strict=True)])  # fmt: skip
        self.which = np.flatnonzero(alone > FAINT)
        self.alone = alone[self.which]

    def of(self, offsets: Sequence[Float32]) -> Float64:
        """What is seen of `which`, about 0..1, when these offsets `[L, D]` pull."""
        pulled = self._pulled(offsets)
        together = self._look(_total(pulled, offsets[0]))
        without = [_total([*pulled[:i], *pulled[i + 1 :]], offsets[0]) for i in self.which]
        changes = [_change(together, self._look(rest)) for rest in without]
        seen: Float64 = np.array(changes) / self.alone
        return seen

    def _pulled(self, offsets: Sequence[Float32]) -> list[Float32]:
        return [np.float32(pull) * offset for pull, offset in zip(self._pulls, offsets, strict=True)]


def balance(
    paint: Callable[[Float32], NDArray[np.uint8]], offsets: Sequence[Float32], pulls: Sequence[float]
) -> Balance:
    """How hard each of these offsets `[L, D]` has to pull for all to be seen.

    `paint` makes a picture, bytes `[H, W, 3]`, of Σ pull·offset, the same of the same; of two anchors that hide each
    other it is asked for some seventy. What pushes away stays as it is, and all that show stay as they are where each
    is seen anyway.
    """
    kept: dict[bytes, Float32] = {}

    def look(offset: Float32) -> Float32:
        key = offset.tobytes()
        if key not in kept:
            kept[key] = small(paint(offset))
        return kept[key]

    raised = _raised(look, offsets, pulls)
    offsets = [factor * offset for factor, offset in zip(raised, offsets, strict=True)]
    sight = Sight(look, offsets, pulls)
    if len(sight.which) < 2:
        return Balance(tuple(map(float, raised)), 1.0)
    seen = sight.of(offsets)
    if seen.min() >= ENOUGH:
        return Balance(tuple(map(float, raised)), float(seen.min()))

    def hidden(logarithms: Float64) -> float:
        part = sight.of(scaled(offsets, logarithms)).clip(0.0, 1.0)
        return -float((sight.alone * np.square(part)).min())

    free = np.isin(np.arange(len(offsets)), sight.which)
    found = weigh(hidden, free, STRENGTHS)
    factors = raised * np.exp(found)
    return Balance(tuple(map(float, factors)), float(sight.of(scaled(offsets, found)).min()))


def scaled(offsets: Sequence[Float32], logarithms: Float64) -> list[Float32]:
    """Each offset at a strength that is given as its logarithm."""
    return [np.float32(math.exp(logarithm)) * one for logarithm, one in zip(logarithms, offsets, strict=True)]


def weigh(loss: Callable[[Float64], float], free: NDArray[np.bool_], grid: Iterable[float]) -> Float64:
    """The strengths, as logarithms, at which `loss` is least: one after the other on the grid, then `CLOSER`.

    Those that are not `free` stay at 0, and so does the greatest.
    """
    best: Float64 = np.zeros(len(free))
    least = loss(best)
    places = np.flatnonzero(free)

    def try_each(place: int, values: Iterable[float]) -> None:
        nonlocal best, least
        for value in values:
            tried = best.copy()
            tried[place] = value
            tried[places] -= tried[places].max()
            if (found := loss(tried)) < least:
                best, least = tried, found

    for place in places:
        try_each(int(place), grid)
    for step in CLOSER:
        for place in places:
            try_each(int(place), (best[place] - step, best[place] + step))
    return best


def _raised(look: Callable[[Float32], Float32], offsets: Sequence[Float32], pulls: Sequence[float]) -> Float32:
    """With what each offset is multiplied so that it is `CLEAR` alone; 1 if it is, or cannot be: it means nothing."""
    ground = look(np.zeros_like(offsets[0]))

    def shows(offset: Float32) -> bool:
        return _change(look(offset), ground) >= CLEAR

    factors = np.ones(len(offsets), np.float32)
    for i, offset in enumerate(offsets):
        if pulls[i] > 0.0 and not shows(offset):
            enough = (factor for factor in np.exp(RAISED).astype(np.float32) if shows(factor * offset))
            factors[i] = next(enough, np.float32(1.0))
    return factors


def small(picture: NDArray[np.uint8]) -> Float32:
    """Tone and grain of whole blocks, about `ROWS` of them from top to bottom: `[rows, columns, 4]`.

    The logarithm of each colour's mean, a third of it, so that the sum of differences is one of grey levels, and
    `TEXTURE` times the deviation of the brightness over its mean.
    """
    block = max(1, picture.shape[0] // ROWS)
    rows, columns = picture.shape[0] // block, picture.shape[1] // block
    red, green, blue = np.moveaxis(picture[: rows * block, : columns * block], 2, 0).astype(np.int32)
    bright = red + green + blue

    def mean(values: NDArray[np.int32]) -> Float64:
        lines = values.reshape(rows, block, -1).sum(1, dtype=np.int32)
        means: Float64 = lines.reshape(rows, columns, block).sum(2) / block**2
        return means

    tones = [np.log(mean(colour) + DARK) / 3.0 for colour in (red, green, blue)]
    deviation = np.sqrt(mean(bright * bright) - mean(bright) ** 2)
    grain = TEXTURE * deviation / (mean(bright) + 3.0 * DARK)
    return ((MIDDLE + DARK) * np.stack([*tones, grain], 2)).astype(np.float32)


def _total(offsets: Sequence[Float32], like: Float32) -> Float32:
    return sum(offsets, np.zeros_like(like))


def _change(first: Float32, second: Float32) -> float:
    """From one small picture to another, in grey levels."""
    return float(np.abs(first - second).sum(2).mean())
