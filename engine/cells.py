"""From cells to pixels: how a generator's answer becomes a picture.

A generator paints the picture in cells of `cell` × `cell` pixels (`engine.bundle.ImageSpec`) and leaves the pixels of a
cell side by side. Where they belong is a matter of lines of `4 · cell` bytes, as quick to copy as the picture.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray


class Cells:
    """Puts `[rows, columns, cell² · 4]` in order: RGBA `[H, W, 4]`. One thread; the picture is good until the next.

    `grid`: rows and columns, by default as many as fill the picture; of more of them it is the middle.
    """

    def __init__(self, height: int, width: int, cell: int, grid: tuple[int, int] | None = None) -> None:
        self._cell, (self._rows, self._columns) = cell, grid or (height // cell, width // cell)
        painted = np.empty((self._rows * cell, self._columns * cell, 4), np.uint8)
        self._lines = self._as_lines(painted, (self._rows, cell, self._columns))
        top, left = (len(painted) - height) // 2, (painted.shape[1] - width) // 2
        self._middle = painted[top : top + height, left : left + width]
        self._cut = self._middle.shape != painted.shape
        self._picture = np.empty((height, width, 4), np.uint8) if self._cut else painted

    def picture(self, cells: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """The picture that the generator's answer stands for; the answer itself where a cell is a pixel."""
        if self._cell == 1:
            return cells
        lines = self._as_lines(np.ascontiguousarray(cells), (self._rows, self._columns, self._cell))
        np.copyto(self._lines, lines.swapaxes(1, 2))
        if self._cut:
            np.copyto(self._picture, self._middle)
        return self._picture

    def _as_lines(self, array: NDArray[np.uint8], shape: tuple[int, int, int]) -> NDArray[np.void]:
        """One item for each row of pixels in a cell."""
        line = 4 * self._cell
        lines: NDArray[np.void] = array.reshape(*shape, line).view(f"V{line}")[..., 0]
        return lines


def colours(rgba: NDArray[np.uint8]) -> NDArray[np.int16]:
    """`[pixels, 3]`, signed, so that two answers of a generator can be told apart; in its own order."""
    return rgba.reshape(-1, 4)[:, :3].astype(np.int16)
