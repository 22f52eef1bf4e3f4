"""World pictures for training: drawn, rendered and kept in a small pool, each used about `reuse` times.

Sample i is always the same picture, so a resumed run sees what an unbroken one would have seen.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
import torch.nn.functional as nnf
from torch import Tensor

from training.networks.places import Part
from training.networks.stylegan2 import finer
from training.run import seeded
from training.world import factors, fields
from training.world.picture import render

CALM, PAIRED = 0.1, 0.35  # of the pictures: without a scene, with two


class FieldTiles:
    """The field tiles at full size and, area-averaged, at every grid below; on `device`, and so is what they make."""

    def __init__(self, size: tuple[int, int], seed: int = 20260, device: torch.device | str = "cpu") -> None:
        full = fields.make_tiles(*size, seed=seed).to(device)
        # What ships is 8 bits deep; train on exactly that.
        self.full = (full * 255).round() / 255
        self._at = {size[0]: self.full}
        self._around: dict[int, Tensor] = {}

    def at(self, height: int) -> Tensor:
        """`[F, height, width]`."""
        if height not in self._at:
            self._at[height] = nnf.avg_pool2d(self.full[None], self.full.shape[1] // height)[0]
        return self._at[height]

    def averaged(self, offsets: Tensor, cell: int) -> Tensor:
        """`[B, F, H / cell, W / cell]`: the full-size tiles moved by `offsets [B, F, 2]` in tiles, then averaged."""
        if cell not in self._around:  # the mean of the cell that begins at a pixel, for every pixel
            wrapped = nnf.pad(self.full[None], (0, cell - 1, 0, cell - 1), mode="circular")
            self._around[cell] = nnf.avg_pool2d(wrapped, cell, 1)[0]
        rows, columns = (torch.arange(0, n, cell, device=self.full.device) for n in self.full.shape[1:])
        return fields.scroll(self._around[cell], offsets, rows, columns)

    def cells(self, offsets: Tensor, cell: int, part: Part | None = None) -> Tensor:
        """`[B, cell² · Fd, H / cell, W / cell]`: the fine fields moved likewise, the pixels of a cell in channels; only
        of the `part` of the cells' grid if one is named."""
        whole = tuple(slice(0, n // cell) for n in self.full.shape[1:])
        rows, columns = (torch.arange(cell * s.start, cell * s.stop, device=self.full.device) for s in part or whole)
        fine = list(fields.DETAIL)
        return nnf.pixel_unshuffle(fields.scroll(self.full[fine], offsets[:, fine], rows, columns), cell)


class Batch(NamedTuple):
    """What one step trains on."""

    vectors: Tensor  # factors [B, COUNT]
    fields: Tensor  # [B, F, h, w]
    detail: Tensor | None  # in cells
    pictures: Tensor  # [B, 3, H, W] in −1..1, or a part of it


class WorldPictures:
    """A deterministic pool of `(factors, offsets, picture)` at one size.

    Process r of N (`share`) gets the samples r, r + N, … of each step's N·batch, and renders no others.
    """

    def __init__(
        self, tiles: FieldTiles, height: int, *, batch: int, reuse: int, seed: int, capacity: int = 192,
        share: tuple[int, int] = (0, 1),
    ) -> None:  # fmt: skip
        self.tiles, self.at, self.seed, self.share = tiles, tiles.at(height), seed, share
        self.batch = batch * share[1]
        self.fresh = max(1, self.batch // reuse)
        self.capacity = max(capacity, self.batch)
        self._pool: dict[int, tuple[Tensor, Tensor, Tensor]] = {}

    def _make(self, numbers: list[int]) -> None:
        vectors = torch.cat([factors.draw(1, seeded(self.seed, 11, i), calm=CALM, pair=PAIRED) for i in numbers])
        offsets = torch.cat([torch.rand(1, fields.COUNT, 2, generator=seeded(self.seed, 12, i)) for i in numbers])
        vectors, offsets = vectors.to(self.at.device), offsets.to(self.at.device)
        with torch.no_grad():
            pictures = (render(vectors, fields.scroll(self.at, offsets)) * 255).round().byte()
        for i, *sample in zip(numbers, vectors, offsets, pictures, strict=True):
            self._pool[i] = (sample[0], sample[1], sample[2])

    def step(self, number: int, cell: int | None = None, part: Part | None = None) -> Batch:
        """Step `number`, from 0. With `cell`, of full-size pictures: the fields averaged over cells of so many pixels a
        side, the fine ones in cells; pictures and fine fields may be a `part` of the cells' grid."""
        oldest = number * self.fresh
        chosen = torch.randint(oldest, oldest + self.capacity, (self.batch,), generator=seeded(self.seed, 13, number))
        mine = chosen[self.share[0] :: self.share[1]].tolist()
        for stale in [i for i in self._pool if i < oldest]:
            del self._pool[stale]
        missing = sorted(set(mine) - self._pool.keys())
        for first in range(0, len(missing), 4):
            self._make(missing[first : first + 4])
        samples = [self._pool[i] for i in mine]
        vectors, offsets = (torch.stack([sample[which] for sample in samples]) for which in (0, 1))
        if cell is None:
            seen, detail, shown = fields.scroll(self.at, offsets), None, (slice(None), slice(None))
        else:
            seen, detail = self.tiles.averaged(offsets, cell), self.tiles.cells(offsets, cell, part)
            shown = finer(part, cell) if part else (slice(None), slice(None))
        pictures = torch.stack([sample[2][:, *shown] for sample in samples])
        return Batch(vectors, seen, detail, pictures.float() / 127.5 - 1)
