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
    reds = np.maximum(rgb[..., 0] - rgb[..., 1] - rgb[..., 2], 0.0)
    reds = np.where(rgb[..., 0] >= 0.8 * rgb.sum(-1).clip(min=1e-9), reds, 0.0)
    kinds = turns(luminance, 0.1, 0.8), turns(reds, 20 / 320, 2.0)
    worst = np.maximum(*(flashes_a_second(turned, fps) for turned in kinds)).reshape(GRID)
    fields = np.lib.stride_tricks.sliding_window_view(worst, FIELD).reshape(-1, FIELD[0] * FIELD[1])
    return int(np.sort(fields)[:, fields.shape[1] * 3 // 4 - 1].max())
