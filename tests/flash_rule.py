"""A plain count of flashes, straight from the rule (WCAG 2.2, 2.3.1), to judge pictures that were shown."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Image = NDArray[np.uint8]

GRID = (36, 64)  # pixels that are looked at
FIELD = (12, 21)  # of them: 10 degrees, a third of the picture each way


def linear(images: list[Image]) -> NDArray[np.float64]:
    """Of the pixels of the grid, `[pictures, pixels, 3]`."""
    rows, columns = (((np.arange(n) + 0.5) * images[0].shape[axis] / n).astype(int) for axis, n in enumerate(GRID))
    value = np.stack([image[rows[:, None], columns, :3] for image in images]).reshape(len(images), -1, 3) / 255.0
    return np.where(value <= 0.04045, value / 12.92, ((value + 0.055) / 1.055) ** 2.4)


def turns(tracks: NDArray[np.float64], step: float, bright: float) -> NDArray[np.bool_]:
    """Where a track `[pictures, pixels]` has left its last low or high by `step`, one of the two below `bright`."""
    found = np.zeros(tracks.shape, bool)
    low = high = tracks[0]
    rising = np.zeros(tracks.shape[1])
    for i, value in enumerate(tracks):
        low, high = np.minimum(low, value), np.maximum(high, value)
        up = (value - low >= step) & (low < bright) & (rising != 1)
        down = (high - value >= step) & (value < bright) & (rising != -1) & ~up
        found[i] = up | down
        rising = np.where(up, 1, np.where(down, -1, rising))
        low, high = np.where(found[i], value, low), np.where(found[i], value, high)
    return found


def red_turns(rgb: NDArray[np.float64], fps: float) -> NDArray[np.bool_]:
    """Where a colour `[pictures, pixels, 3]` lies more than 0.2 in u'v' from one that was there since the turn before,
    in the last second, and one of the two is a saturated red. A display's black is a grey of a thousandth of its white,
    so what is black lies at the white point."""
    rgb = rgb + 0.001
    xyz = rgb @ np.array([[0.4124, 0.3576, 0.1805], [0.2126, 0.7152, 0.0722], [0.0193, 0.1192, 0.9505]]).T
    whole = xyz @ np.array([1.0, 15.0, 3.0])
    uv = xyz[..., :2] * np.array([4.0, 9.0]) / whole[..., None]
    red = rgb[..., 0] >= 0.8 * rgb.sum(-1)
    found, ever = np.zeros(red.shape, bool), red.any(0)
    found[:, ever] = _red_turns(uv[:, ever], red[:, ever], round(fps))
    return found


def _red_turns(uv: NDArray[np.float64], red: NDArray[np.bool_], second: int) -> NDArray[np.bool_]:
    found, since = np.zeros(red.shape, bool), np.zeros(red.shape[1], int)
    for i in range(1, len(uv)):
        for j in range(max(i - second, 0), i):
            far = np.square(uv[i] - uv[j]).sum(-1) > 0.2**2
            found[i] |= far & (red[i] | red[j]) & (j >= since)
        since[found[i]] = i
    return found


def flashes_a_second(turned: NDArray[np.bool_], fps: float) -> NDArray[np.int_]:
    """The most opposing turns in any second of each pixel, in pairs."""
    count = np.concatenate([np.zeros((1, turned.shape[1]), int), turned.cumsum(0)])
    ends = np.minimum(np.arange(len(turned)) + round(fps), len(turned))
    most: NDArray[np.int_] = (count[ends] - count[:-1]).max(0) // 2
    return most


def most_flashes_a_second(images: list[Image], fps: float) -> int:
    """The rule, pixel by pixel: the most flashes a second that more than a quarter of any field shows."""
    rgb = linear(images)
    luminance = rgb @ np.array([0.2126, 0.7152, 0.0722])
    kinds = turns(luminance, 0.1, 0.8), red_turns(rgb, fps)
    worst = np.maximum(*(flashes_a_second(turned, fps) for turned in kinds)).reshape(GRID)
    fields = np.lib.stride_tricks.sliding_window_view(worst, FIELD).reshape(-1, FIELD[0] * FIELD[1])
    return int(np.sort(fields)[:, fields.shape[1] * 3 // 4 - 1].max())
