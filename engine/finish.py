"""The picture as the audience sees it, for those who take it out of the house: look, vignette, master and blackout.

What the output window draws on the graphics card is computed here on the processor, at the size in which the picture
was painted, by the definitions of `engine.look` and watched by `engine.watch`: in the process of a recording or a sink,
or on the thread of a still, and never on the picture's way to the window.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from engine.flash import mix
from engine.look import LOSS, MIRRORS, NEUTRAL, Float32, Look, LookState, Step, coloured, places, shade
from engine.present import apply_output
from engine.reel import Record
from engine.watch import Watch

ROWS = 16
"""So many rows are computed at a time: what is done to them stays in the processor's cache."""

Image = NDArray[np.uint8]
_FULL = np.float32(255.0)


@dataclass(frozen=True, slots=True, eq=False)
class Shown:
    """What is shown from the time `at` (s) on: a picture `[H, W, 4]`, how bright (0..1), and under which look.

    `limit`: whether flashes are held back. The numbers of a record (`engine.reel`) hold the look as
    its distance from the neutral one, so that a record without a look is shown as it was painted.
    """

    rgba: Image
    at: float
    level: float = 1.0
    look: Look = NEUTRAL
    limit: bool = True

    def same_as(self, other: Shown) -> bool:
        """True when the other one shows the same, whenever."""
        mine, others = ((shown.level, shown.look, shown.limit) for shown in (self, other))
        return self.rgba is other.rgba and mine == others

    @property
    def numbers(self) -> tuple[float, ...]:
        """Look and limit, as they go into a record."""
        look = self.look
        bent = look.saturation - 1.0, look.contrast - 1.0
        return look.hue, *bent, MIRRORS.index(look.mirror), look.trails, look.vignette, 0.0 if self.limit else 1.0

    @classmethod
    def of(cls, record: Record, size: tuple[int, int]) -> Shown:
        """A record of a picture of (height, width) = `size`."""
        hue, saturation, contrast, mirror, trails, vignette, free = record.more[:7]
        look = Look(hue, 1.0 + saturation, 1.0 + contrast, MIRRORS[int(mirror)], trails, vignette)
        return cls(record.data.reshape(*size, 4), record.at, record.value, look, not free)


class Finish:
    """The pictures of one show in the order in which they are shown. One thread.

    Trails and the flash limiter go by the pictures that come here: what was left out leaves no trail, and what is given
    out keeps the rule of `engine.flash` by itself.
    """

    def __init__(self) -> None:
        self._state = LookState()
        self._watch = Watch()
        self._newest: Shown | None = None
        self._drawn: Float32 | None = None
        self._given: Image | None = None

    @property
    def limiting(self) -> bool:
        """Whether the newest picture is held back: it is to be asked for `again` until it is not."""
        return self._watch.limiting

    def of(self, record: Record, size: tuple[int, int]) -> Image:
        """The finished picture of a record."""
        return self.show(Shown.of(record, size))

    def again(self, at: float) -> Image:
        """The newest picture as it stands at a later time; another one only if it was held back."""
        assert self._newest is not None, "no picture was shown"
        assert self._given is not None
        return self.show(replace(self._newest, at=at)) if self.limiting else self._given

    def show(self, shown: Shown) -> Image:
        """The finished picture, uint8 `[H, W, 4]`: the one that was given where nothing changes it, else a new one."""
        finished, before = self._finished(shown), self._given
        share = 1.0
        if shown.limit:
            share = self._watch.share(shown.rgba, shown.level, shown.look, shown.at)
        else:
            self._watch.rest()
        if share < 1.0 and before is not None and before.shape == finished.shape:
            fresh, finished = finished, before.copy()
            mix(finished, fresh, share)
        self._newest, self._given = shown, finished
        return finished

    def _finished(self, shown: Shown) -> Image:
        """All of it, as if nothing were held back."""
        rgba, look = shown.rgba, shown.look
        if look.neutral:
            self._state.forget()
        if shown.level <= 0.0 or look.neutral:
            return apply_output(rgba, shown.level, blackout=shown.level <= 0.0, test_card=False)
        if self._drawn is None or self._drawn.shape[:2] != rgba.shape[:2]:
            self._state.forget()
            self._drawn = np.zeros((*rgba.shape[:2], 3), np.float32)
        step = self._state.step(look, shown.at)
        drawn, finished = np.empty_like(self._drawn), np.empty_like(rgba)
        for begin in range(0, len(rgba), ROWS):
            rows = slice(begin, min(begin + ROWS, len(rgba)))
            drawn[rows] = _trailing(coloured(_sampled(rgba, look.mirror, rows), look), self._drawn, step, rows)
            light = drawn[rows] * np.float32(255.0 * shown.level)
            if look.vignette > 0.0:
                light *= (1 - np.float32(look.vignette) * _shade(*rgba.shape[:2])[rows])[..., None]
            finished[rows, :, :3] = np.rint(light, out=light)
        finished[..., 3] = 255
        self._drawn = drawn
        return finished


def _sampled(rgba: Image, mirror: str, rows: slice) -> Float32:
    """Rows of the mirrored picture, `[rows, W, 3]`, 0..1; bilinear between pixels, as a texture is read."""
    if mirror == "off":
        return rgba[rows, :, :3].astype(np.float32) / _FULL
    (top, bottom, down), (left, right, across) = _texels(mirror, *rgba.shape[:2])
    if len(top) > 1:  # else one for all rows
        top, bottom, down = top[rows], bottom[rows], down[rows]
    if len(left) > 1:
        left, right, across = left[rows], right[rows], across[rows]
    pixels = rgba.view(np.uint32)[..., 0]

    def at(y: NDArray[np.intp], x: NDArray[np.intp]) -> Float32:
        return pixels[y, x].view(np.uint8).reshape(rows.stop - rows.start, -1, 4).astype(np.float32)

    points = at(top, left)
    if across.any():
        points += across[..., None] * (at(top, right) - points)
    if down.any():
        lower = at(bottom, left)
        if across.any():
            lower += across[..., None] * (at(bottom, right) - lower)
        points += down[..., None] * (lower - points)
    return points[..., :3] / _FULL


def _trailing(points: Float32, last: Float32, step: Step, rows: slice) -> Float32:
    """The new picture's rows with the trail of the last picture."""
    if step.keep > 0.0:
        height, width = last.shape[:2]
        y, x = (np.arange(rows.start, rows.stop) + 0.5) / height, (np.arange(width) + 0.5) / width
        top, bottom, down = _neighbours(0.5 + (y - 0.5) / step.growth, height)
        left, right, across = _neighbours(0.5 + (x - 0.5) / step.growth, width)
        band = last[top]
        band += down[:, None, None] * (last[bottom] - band)
        trail = np.take(band, left, axis=1, mode="clip")
        trail += across[:, None] * (np.take(band, right, axis=1, mode="clip") - trail)
        trail -= points
        trail *= np.float32(step.keep)
        trail -= np.float32(LOSS)
        points = points + np.maximum(trail, 0.0, out=trail)
    return points


def _neighbours(place: NDArray[np.float64], count: int) -> tuple[NDArray[np.intp], NDArray[np.intp], Float32]:
    """For places 0..1 along `count` pixels: the two pixels around each, and how far it is from the first to the second.
    Beyond the edge the last pixel goes on."""
    at = np.clip(place * count - 0.5, 0.0, count - 1.0)
    first = np.floor(at + 1e-6).astype(np.intp)
    return first, np.minimum(first + 1, count - 1), np.maximum(at - first, 0.0).astype(np.float32)


Texels = tuple[NDArray[np.intp], NDArray[np.intp], Float32]


@lru_cache(maxsize=2)
def _texels(mirror: str, height: int, width: int) -> tuple[Texels, Texels]:
    y, x = places(mirror, (height, width), (height, width))
    return _neighbours(y, height), _neighbours(x, width)


@lru_cache(maxsize=2)
def _shade(height: int, width: int) -> Float32:
    return shade((height, width))
