"""What the audience sees of a picture: test card, blackout and master fade, applied where it is shown.

Stage side and pure numpy, so it works while the engine is dead and is the same with and without a window.
"""

from __future__ import annotations

from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

Picture = NDArray[np.uint8]


def apply_output(rgba: Picture, master: float, blackout: bool, test_card: bool) -> Picture:
    """The picture [H, W, 4] as it leaves the house. Blackout wins over all; the test card is not faded by `master`.

    Returns `rgba` itself when nothing changes it; the input is never written to.
    """
    height, width = rgba.shape[:2]
    if blackout:
        return _black(height, width)
    if test_card:
        return draw_test_card(height, width)
    if master >= 1.0:
        return rgba
    levels = np.round(np.arange(256) * max(master, 0.0)).astype(np.uint8)
    faded = levels[rgba]
    faded[..., 3] = 255
    return faded


@lru_cache(maxsize=4)
def draw_test_card(height: int, width: int) -> Picture:
    """Colour bars over a grey ramp, a one-pixel frame and a centre cross, read-only: shows cropping, mirroring, swapped
    channels and crushed blacks at a glance. For films and other programs; the window draws its display's own."""
    card = np.zeros((height, width, 4), np.uint8)
    bars = [(c >> 1 & 1, c >> 2 & 1, c & 1) for c in range(7, -1, -1)]  # white, yellow, cyan, green, magenta, red, blue
    card[..., :3] = 191 * np.array(bars, np.uint8)[np.arange(width) * len(bars) // width]
    ramp = height * 3 // 4
    card[ramp:, :, :3] = np.linspace(0, 255, width).astype(np.uint8)[:, None]
    card[[0, -1], :, :3] = card[:, [0, -1], :3] = 255
    card[height // 2, :, :3] = card[:, width // 2, :3] = 255
    card[..., 3] = 255
    card.setflags(write=False)
    return card


@lru_cache(maxsize=4)
def _black(height: int, width: int) -> Picture:
    black = np.zeros((height, width, 4), np.uint8)
    black[..., 3] = 255
    black.setflags(write=False)
    return black
