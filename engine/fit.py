"""Pictures of one size in the place of another: every picture of a show has the size of its slot.

Only a bundle that steps in for another during a show needs it. The picture fills the frame and keeps its proportions;
what sticks out on two sides is cut off.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Size = tuple[int, int]
Picture = NDArray[np.uint8]


class Fit:
    """Bilinear scaling from `source` to `target`, both (height, width). The picture itself where they are equal."""

    def __init__(self, source: Size, target: Size) -> None:
        self._equal = source == target
        scale = max(t / s for s, t in zip(source, target, strict=True))
        self._rows, self._columns = (_taps(s, t, scale) for s, t in zip(source, target, strict=True))

    def __call__(self, rgba: Picture) -> Picture:
        """uint8 `[*source, 4]` to `[*target, 4]`."""
        if self._equal:
            return rgba
        top, bottom, below = self._rows
        left, right, beside = self._columns
        # Rows first, since each is copied in one piece; then whole pixels.
        tall = _mix(rgba[top], rgba[bottom], below[:, np.newaxis, np.newaxis])
        pixels = tall.view(np.uint32)
        one, other = pixels.take(left, axis=1).view(np.uint8), pixels.take(right, axis=1).view(np.uint8)
        return _mix(one, other, beside[np.newaxis, :, np.newaxis])


def _taps(source: int, target: int, scale: float) -> tuple[NDArray[np.intp], NDArray[np.intp], NDArray[np.uint16]]:
    """For each target pixel the two source pixels that it lies between, and its way from the first, in 256ths."""
    centre = (np.arange(target) + 0.5 - target / 2) / scale + source / 2 - 0.5
    centre = np.clip(centre, 0, source - 1)
    first = np.minimum(centre.astype(np.intp), max(source - 2, 0))
    weight = np.round(256 * (centre - first)).astype(np.uint16)
    return first, np.minimum(first + 1, source - 1), weight


def _mix(first: Picture, second: Picture, weight: NDArray[np.uint16]) -> Picture:
    mixed, other = first.astype(np.uint16), second.astype(np.uint16)
    mixed *= np.uint16(256) - weight
    other *= weight
    mixed += other
    mixed += np.uint16(128)  # 255 × 256 + 128 still fits into 16 bits
    mixed >>= np.uint16(8)
    return mixed.astype(np.uint8)
