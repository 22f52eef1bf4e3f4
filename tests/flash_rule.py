"""A plain count of flashes, straight from the rule (WCAG 2.2, 2.3.1), to judge pictures that were shown."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Image = NDArray[np.uint8]


def linear(images: list[Image]) -> NDArray[np.float64]:
    value = np.stack(images)[..., :3] / 255.0
    return np.where(value <= 0.04045, value / 12.92, ((value + 0.055) / 1.055) ** 2.4)


def turns(track: NDArray[np.float64], step: float, bright: float) -> list[int]:
    """Frames at which a track has left its last low or high by `step`, one of the two being below `bright`."""
    found: list[int] = []
    low = high = track[0]
    rising: bool | None = None
    for i, value in enumerate(track):
        low, high = min(low, value), max(high, value)
        up = bool(value - low >= step and low < bright)
        down = bool(high - value >= step and value < bright)
        if (up and rising is not True) or (down and rising is not False):
            rising = up and rising is not True
            low = high = value
            found.append(i)
    return found


def most_flashes_a_second(images: list[Image], fps: float) -> int:
    """The rule, pixel by pixel: a flash is two opposing turns; the most a second that a quarter of the pixels show."""
    rgb = linear([image[4::12, 4::12] for image in images]).reshape(len(images), -1, 3)
    luminance = rgb @ np.array([0.2126, 0.7152, 0.0722])
    reds = np.maximum(rgb[..., 0] - rgb[..., 1] - rgb[..., 2], 0.0)
    reds = np.where(rgb[..., 0] >= 0.8 * rgb.sum(-1).clip(min=1e-9), reds, 0.0)
    worst = []
    for pixel in range(rgb.shape[1]):
        most = 0
        for track, step, bright in ((luminance[:, pixel], 0.1, 0.8), (reds[:, pixel], 20 / 320, 2.0)):
            at = turns(track, step, bright)
            most = max([most, *(sum(i <= j < i + fps for j in at) // 2 for i in at)])
        worst.append(most)
    return int(np.sort(worst)[len(worst) * 3 // 4])
