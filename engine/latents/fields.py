"""The flowing textures: the generator's noise inputs, which the show moves so that nothing sticks to the screen.

A field is a tile that wraps both ways. At offset `o` (pixels, fractional) row `y` of the screen shows row `y − o` of
the tile, so a growing offset carries the texture down and right. The generator interpolates between neighbours; it gets
the integer part as pixels and the rest as `fraction`:

    buffer[y] = tile[(y + floor(−o)) mod H]      fraction = −o − floor(−o)
    shown[y]  = (1 − fraction) · buffer[y] + fraction · buffer[y + 1]

for y and x alike, which is why the buffer has one row and one column more than the screen.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray


class FieldFlow:
    """Offsets of all fields, and the window of each that the generator sees. Player thread only.

    `tiles` uint8 `[F, H, W]`; `velocities` `[F, 2]` (down, right) in tiles/s; `drives` `[F]`: at full level a field
    flows `1 + drive` times as fast.
    """

    def __init__(self, tiles: NDArray[np.uint8], velocities: ArrayLike, drives: ArrayLike) -> None:
        count, height, width = tiles.shape
        self._tiles = tiles
        self._velocities = np.asarray(velocities, np.float64).reshape(count, 2)
        self._drives = np.asarray(drives, np.float64).reshape(count, 1)
        self._size = np.array([height, width])
        self._offsets = np.zeros((count, 2))
        self._starts = np.full((count, 2), -1)
        self._buffer = np.empty((1, count, height + 1, width + 1), np.uint8)
        self._fraction = np.zeros((1, count, 2), np.float32)

    @property
    def offsets(self) -> NDArray[np.float64]:
        """Offsets of all fields in tiles, `[F, 2]`, each 0..1; a copy."""
        return self._offsets.copy()

    def seek(self, offsets: ArrayLike) -> None:
        """Put every field at an offset in tiles, `[F, 2]`."""
        self._offsets[:] = np.asarray(offsets, np.float64) % 1.0

    def advance(self, dt: float, speed: float, level: float) -> None:
        """Let the fields flow for `dt` seconds at `speed` times their velocity, driven by the sound's level 0..1."""
        self._offsets += self._velocities * (speed * dt) * (1.0 + self._drives * level)
        self._offsets %= 1.0  # a set lasts hours: small numbers keep their precision

    def sample(self) -> tuple[NDArray[np.uint8], NDArray[np.float32]]:
        """What the generator takes: fields uint8 `[1, F, H+1, W+1]` and fraction float32 `[1, F, 2]` in 0..1.

        Both are the same two arrays at every call, rewritten; a field that moved less than a pixel is not copied anew.
        """
        back = -self._offsets * self._size
        whole = np.floor(back)
        self._fraction[0] = back - whole
        starts = whole.astype(np.int64) % self._size
        for index in np.flatnonzero((starts != self._starts).any(axis=1)):
            _copy_wrapped(self._tiles[index], self._buffer[0, index], *map(int, starts[index]))
        self._starts = starts
        return self._buffer, self._fraction


def _copy_wrapped(tile: NDArray[np.uint8], out: NDArray[np.uint8], top: int, left: int) -> None:
    """`out[y, x] = tile[(y + top) mod H, (x + left) mod W]`, `out` one larger than the tile: four block copies."""
    height, width = tile.shape
    upper, before = height - top, width - left
    out[:upper, :before] = tile[top:, left:]
    out[:upper, before:] = tile[top:, : left + 1]
    out[upper:, :before] = tile[: top + 1, left:]
    out[upper:, before:] = tile[: top + 1, : left + 1]
