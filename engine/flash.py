"""The flash limiter: no more than three flashes a second reach the audience.

General and red flashes as WCAG 2.2 (criterion 2.3.1, "three flashes or below threshold") and ITU-R BT.1702 count
them: pairs of opposing changes of relative luminance by a tenth or more whose darker picture is below 0.80, and pairs
of opposing changes that involve a saturated red, over a quarter of the picture or more. How large a picture is seen
nobody knows here, so its whole area counts.

Below the rule a picture passes untouched. What would break it is mixed with the picture shown before, as little as is
needed, so that a strobe becomes a glow. While the picture that comes in keeps flashing, the one that goes out is
granted one flash a second.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Float32 = NDArray[np.float32]
Image = NDArray[np.uint8]

SECOND_S = 1.0
TURNS = 6  # three flashes, each there and back
TURNS_LIMITING = 2
LUMINANCE_STEP, RED_STEP = 0.09, 0.055  # the rules' 0.1 and 20/320, and a margin for rounding and for fine texture
BRIGHT = 0.80  # what is never darker than this does not flash
SATURATED = 0.77  # R / (R + G + B); the rule says 0.8, which a picture that is scaled or faded may cross by itself
AREA = 0.20  # of the picture; the rule allows a quarter
CELLS, SAMPLES = (9, 16), 4  # the grid that is watched, and points a cell each way
MIXES = (0.25, 0.16, 0.10, 0.06, 0.03)  # of the new picture while limiting; below the last one the old one stays
ROWS = 32  # of a picture, mixed at a time: what that needs stays in the cache, and no heap grows by whole pictures

_LINEAR = np.arange(256, dtype=np.float32) / 255.0
_LINEAR = np.where(_LINEAR <= 0.04045, _LINEAR / 12.92, ((_LINEAR + 0.055) / 1.055) ** 2.4).astype(np.float32)  # sRGB


class FlashLimiter:
    """Watches the pictures of one show in order. One thread.

    Attributes
    ----------
    share : of the newest picture that was mixed with the one shown before; 1 when it passed untouched.
    limiting : whether the newest picture was held back.
    limited : how many pictures were held back so far.
    """

    def __init__(self) -> None:
        self._wanted, self._shown = _Turns(), _Turns()
        self._last: Image | None = None
        self.share = 1.0
        self.limiting = False
        self.limited = 0

    def limit(self, image: Image, now: float) -> Image:
        """The picture to show at time `now` (s) in the place of `image`, RGBA8 `[H, W, 4]`, which is left as it is.

        It is `image` itself where nothing is to be limited, else an array that is rewritten by the next call.
        """
        small = _thinned(image)
        signals = _signals(small)
        flashing = self._wanted.take(signals, now) > AREA
        budget = TURNS_LIMITING if flashing else TURNS
        share = 1.0
        if self._last is None or self._last.shape != image.shape:
            self._last = image.copy()
        elif flashing or self._shown.over(signals, now, budget) > AREA:
            before = _thinned(self._last)
            glows = ((mix, _signals(_mixed(before, small, mix))) for mix in MIXES)
            share = next((mix for mix, glow in glows if self._shown.over(glow, now, budget) <= AREA), 0.0)
        self.share = share
        self.limiting = share < 1.0
        self.limited += self.limiting
        if self.limiting:
            for top in range(0, len(image) if share else 0, ROWS):
                rows = slice(top, top + ROWS)
                self._last[rows] = _mixed(self._last[rows], image[rows], share)
            image = self._last
            signals = _signals(_thinned(image))
        else:
            self._last[:] = image
        self._shown.take(signals, now)
        return image


class _Turns:
    """When each cell's luminance and red last turned: left a low or a high by a whole step. `[2, cells]` throughout."""

    def __init__(self) -> None:
        cells = CELLS[0] * CELLS[1]
        self._step = np.array([[LUMINANCE_STEP], [RED_STEP]], np.float32)
        self._extreme: Float32 | None = None
        self._direction = np.zeros((2, cells), np.float32)
        self._times = np.full((TURNS, 2, cells), -np.inf)  # of the last turns, the oldest first
        self._over_until = np.full((2, cells), -np.inf)

    def over(self, signals: Float32, now: float, budget: int) -> float:
        """The share of the picture that would have turned more than `budget` times in a second with these signals."""
        turned = self._turned(signals)
        again = turned & (self._times[TURNS - budget] > now - SECOND_S)
        return float((again | (self._over_until > now)).mean(1).max())

    def take(self, signals: Float32, now: float) -> float:
        """These signals are shown at `now`: remember. Returns the share of the picture that turned too often."""
        if self._extreme is None:
            self._extreme = signals.copy()
            return 0.0
        moved = signals - self._extreme
        turned = self._turned(signals)
        oldest = self._times[0]
        self._over_until = np.where(turned & (oldest > now - SECOND_S), oldest + SECOND_S, self._over_until)
        self._times[:-1] = np.where(turned, self._times[1:], self._times[:-1])
        self._times[-1] = np.where(turned, now, self._times[-1])
        farther = moved * self._direction > 0
        self._extreme = np.where(turned | farther, signals, self._extreme)
        self._direction = np.where(turned, np.sign(moved), self._direction)
        return float((self._over_until > now).mean(1).max())

    def _turned(self, signals: Float32) -> NDArray[np.bool_]:
        """Which have left their extreme by a step, against the direction in which they came to it.

        Between two bright pictures luminance does not flash: there a turn is none until it goes on into the dark.
        """
        if self._extreme is None:
            return np.zeros(signals.shape, np.bool_)
        moved = signals - self._extreme
        turned = np.where(self._direction == 0, np.abs(moved), -moved * self._direction) >= self._step
        turned[0] &= np.minimum(signals[0], self._extreme[0]) < BRIGHT
        return turned


def _thinned(image: Image) -> Image:
    """Points of a picture on a grid, uint8 `[36, 64, 3]`; fewer pixels than that repeat."""
    rows, columns = (
        (np.arange(count * SAMPLES) + 0.5) * size / (count * SAMPLES)
        for count, size in zip(CELLS, image.shape[:2], strict=True)
    )
    return image[rows.astype(np.intp)[:, None], columns.astype(np.intp)[None, :], :3]


def _signals(points: Image) -> Float32:
    """Relative luminance and saturated red of every cell, `[2, cells]`."""
    cells = _LINEAR[points].reshape(CELLS[0], SAMPLES, CELLS[1], SAMPLES, 3).mean((1, 3)).reshape(-1, 3)
    red, green, blue = cells.T
    luminance = 0.2126 * red + 0.7152 * green + 0.0722 * blue
    saturated = red >= SATURATED * (red + green + blue)
    return np.stack([luminance, np.where(saturated, np.maximum(red - green - blue, 0.0), 0.0)])


def _mixed(before: Image, after: Image, share: float) -> Image:
    """`share` of the new picture over the old one; in whole numbers, an eighth of the time that floats would take."""
    weight = round(share * 256)
    mixed = (before.astype(np.uint16) * (256 - weight) + after.astype(np.uint16) * weight + 128) >> 8
    return mixed.astype(np.uint8)
