"""The flowing textures: the generator's noise inputs, which the show moves so that nothing sticks to the screen.

A field is a tile that wraps both ways. At offset `o` (pixels, fractional) row `y` of the screen shows row `y − o` of
the tile, so a growing offset carries the texture down and right. The picture is divided into cells of `cell` × `cell`
pixels. Every field comes with one place a cell, its average there; the generator interpolates between neighbours, and
gets the integer part as places and the rest as `fraction`:

    buffer[y] = tile[(y + floor(−o)) mod H]      fraction = −o − floor(−o)
    shown[y]  = (1 − fraction) · buffer[y] + fraction · buffer[y + 1]

for y and x alike, which is why the buffer has one row and one column more than there are cells. The fine fields come
once more with all their pixels, moved by whole ones, those of a cell side by side in channels: nothing in the generator
needs to touch single pixels then. So that moving stays a copy of blocks, each fine tile is kept `cell`² times, cut into
cells from every pixel of a cell on.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from engine.bundle import Bundle

ROWS = 18
"""Of cells, filled from all fine tiles before the next ones: they stay in the cache, which halves the time."""


class FieldFlow:
    """Offsets of all fields, and the window of each that the generator sees. Player thread only.

    `tiles` uint8 `[F, h, w]`, a place a cell; `velocities` `[F, 2]` (down, right) in tiles/s; `drives` `[F]`: at full
    level a field flows `1 + drive` times as fast. `fine` uint8 `[Fd, H, W]`: all pixels of the fields with the numbers
    `which`, ascending.
    """

    def __init__(
        self,
        tiles: NDArray[np.uint8],
        velocities: ArrayLike,
        drives: ArrayLike,
        fine: NDArray[np.uint8],
        which: ArrayLike,
    ) -> None:
        count, height, width = tiles.shape
        self._tiles = tiles
        self._velocities = np.asarray(velocities, np.float64).reshape(count, 2)
        self._drives = np.asarray(drives, np.float64).reshape(count, 1)
        self._size = np.array([height, width])
        self._offsets = np.zeros((count, 2))
        self._starts = np.full((count, 2), -1)
        self._buffer = np.empty((1, count, height + 1, width + 1), np.uint8)
        self._fraction = np.zeros((1, count, 2), np.float32)
        self._which = np.asarray(which, np.int64)
        self._cell = cell = fine.shape[1] // height
        self._phases = [[_in_cells(np.roll(tile, (-y, -x), (0, 1)), cell) for y in range(cell) for x in range(cell)]
                        for tile in fine]  # fmt: skip
        self._fine_starts = np.full((len(fine), 2), -1)
        self._detail = np.empty((1, height, width, len(fine) * cell**2), np.uint8)

    @classmethod
    def of(cls, bundle: Bundle, small: bool = False) -> FieldFlow:
        """The fields of a bundle that has some, at rest. `small`: for its graph of that name, with the same tiles in
        fewer cells, which takes a moment to make."""
        image, fields, tensors = bundle.manifest.image, bundle.manifest.fields, bundle.tensors
        which = [index for index, field in enumerate(fields) if field.detail]
        velocities, drives = [field.velocity for field in fields], [field.drive for field in fields]
        tiles, fine = tensors["fields"], tensors["detail"]
        if small:
            assert image.small is not None, "the bundle has no such graph"
            rows, columns = image.small.rows, image.small.columns
            tiles, fine = shrunk(tiles, rows, columns), shrunk(fine, rows * image.cell, columns * image.cell)
        return cls(tiles, velocities, drives, fine, which)

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

    def sample(self) -> dict[str, NDArray[Any]]:
        """What the generator takes, by its inputs' names: `fields` uint8 `[1, F, h+1, w+1]`, `fraction` float32
        `[1, F, 2]` in 0..1, `detail` uint8 `[1, h, w, Fd · cell²]`.

        They are the same arrays at every call, rewritten; a field that moved less than a pixel is not copied anew.
        """
        back = -self._offsets * self._size
        whole = np.floor(back)
        self._fraction[0] = back - whole
        starts = whole.astype(np.int64) % self._size
        for index in np.flatnonzero((starts != self._starts).any(axis=1)):
            _copy_wrapped(self._tiles[index], self._buffer[0, index], *map(int, starts[index]))
        self._starts = starts
        self._move_fine(np.rint(back[self._which] * self._cell).astype(np.int64) % (self._size * self._cell))
        return {"fields": self._buffer, "fraction": self._fraction, "detail": self._detail}

    def _move_fine(self, starts: NDArray[np.int64]) -> None:
        """`starts` `[Fd, 2]`: the pixel of each fine tile that comes to the upper left corner."""
        cell, height, width = self._cell, *map(int, self._size)
        out = self._detail.reshape(height, width, -1, cell**2).view(f"V{cell**2}")[..., 0]
        moved = np.flatnonzero((starts != self._fine_starts).any(axis=1))
        for first in range(0, height, ROWS):
            for index in moved:
                (top, y), (left, x) = (divmod(int(start), cell) for start in starts[index])
                tile, rows = self._phases[index][y * cell + x], out[first : first + ROWS, :, index]
                _copy_wrapped(tile, rows, (top + first) % height, left)
        self._fine_starts = starts


def shrunk(tiles: NDArray[np.uint8], height: int, width: int) -> NDArray[np.uint8]:
    """`[F, H, W]` in fewer pixels, each the average of what it covers."""
    small = np.empty((len(tiles), height, width), np.uint8)
    for tile, out in zip(tiles, small, strict=True):
        np.rint(_averages(_averages(tile, height).T, width).T, out=out, casting="unsafe")
    return small


def _averages(rows: NDArray[Any], count: int) -> NDArray[np.float32]:
    """So many averages of rows: differences of their integral, which is a straight line within a row."""
    integral = np.zeros((len(rows) + 1, rows.shape[1]), np.float32)  # of 1024 bytes: exact
    np.cumsum(rows, 0, out=integral[1:])
    edges = np.linspace(0.0, len(rows), count + 1)
    whole = np.minimum(edges.astype(np.int64), len(rows) - 1)
    part = (edges - whole).astype(np.float32)[:, np.newaxis]
    at = integral[whole] * (1.0 - part) + integral[whole + 1] * part
    averages: NDArray[np.float32] = np.diff(at, axis=0) * np.float32(count / len(rows))
    return averages


def _in_cells(tile: NDArray[np.uint8], cell: int) -> NDArray[np.void]:
    """`[H / cell, W / cell]`, the pixels of each cell as one item, row by row."""
    height, width = tile.shape
    cells = tile.reshape(height // cell, cell, width // cell, cell).swapaxes(1, 2)
    return np.ascontiguousarray(cells).reshape(height // cell, width // cell, -1).view(f"V{cell**2}")[..., 0]


def _copy_wrapped(tile: NDArray[Any], out: NDArray[Any], top: int, left: int) -> None:
    """`out[y, x] = tile[(y + top) mod H, (x + left) mod W]`, for an `out` of any part of that size or one more."""
    (height, width), (rows, columns) = tile.shape, out.shape
    upper, before = min(height - top, rows), min(width - left, columns)
    lower, after = rows - upper, columns - before
    out[:upper, :before] = tile[top : top + upper, left : left + before]
    out[:upper, before:] = tile[top : top + upper, :after]
    out[upper:, :before] = tile[:lower, left : left + before]
    out[upper:, before:] = tile[:lower, :after]
