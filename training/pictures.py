"""World pictures for training: drawn, rendered and kept in a small pool, each used about `reuse` times.

Sample i is always the same picture, so a resumed run sees what an unbroken one would have seen.
"""

from __future__ import annotations

import torch
import torch.nn.functional as nnf
from torch import Tensor

from training.run import seeded
from training.world import factors, fields
from training.world.picture import render


class FieldTiles:
    """The field tiles at full size and, area-averaged, at every grid below."""

    def __init__(self, size: tuple[int, int], seed: int = 20260) -> None:
        full = fields.make_tiles(*size, seed=seed)
        # What ships is 8 bits deep; train on exactly that.
        self.full = (full * 255).round() / 255
        self._at = {size[0]: self.full}

    def at(self, height: int) -> Tensor:
        """`[F, height, width]`."""
        if height not in self._at:
            self._at[height] = nnf.avg_pool2d(self.full[None], self.full.shape[1] // height)[0]
        return self._at[height]


class WorldPictures:
    """A deterministic pool of `(factors, offsets, picture)` at one size."""

    def __init__(
        self, tiles: FieldTiles, height: int, *, batch: int, reuse: int, seed: int, capacity: int = 192
    ) -> None:
        self.tiles, self.batch, self.seed = tiles.at(height), batch, seed
        self.fresh = max(1, batch // reuse)
        self.capacity = max(capacity, batch)
        self._pool: dict[int, tuple[Tensor, Tensor, Tensor]] = {}
        self._newest = 0

    def _make(self, first: int, count: int) -> None:
        vectors = torch.cat([factors.draw(1, seeded(self.seed, 11, i)) for i in range(first, first + count)])
        offsets = torch.cat(
            [torch.rand(1, fields.COUNT, 2, generator=seeded(self.seed, 12, i)) for i in range(first, first + count)]
        )
        with torch.no_grad():
            pictures = render(vectors, fields.scroll(self.tiles, offsets))
        for j in range(count):
            self._pool[first + j] = (vectors[j], offsets[j], (pictures[j] * 255).round().byte())

    def step(self, number: int) -> tuple[Tensor, Tensor, Tensor]:
        """Step `number` (from 0): factors `[B, COUNT]`, fields `[B, F, H, W]`, pictures `[B, 3, H, W]` in −1..1."""
        newest = self.capacity + number * self.fresh
        oldest = newest - self.capacity
        for first in range(max(self._newest, oldest), newest, 8):
            self._make(first, min(8, newest - first))
        self._newest = newest
        for stale in [i for i in self._pool if i < oldest]:
            del self._pool[stale]
        chosen = torch.randint(oldest, newest, (self.batch,), generator=seeded(self.seed, 13, number)).tolist()
        vectors, offsets, pictures = zip(*(self._pool[i] for i in chosen), strict=True)
        moved = fields.scroll(self.tiles, torch.stack(offsets))
        return torch.stack(vectors), moved, torch.stack(pictures).float() / 127.5 - 1
