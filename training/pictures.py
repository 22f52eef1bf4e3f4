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
    """The field tiles at full size and, area-averaged, at every grid below; on `device`, and so is what they make."""

    def __init__(self, size: tuple[int, int], seed: int = 20260, device: torch.device | str = "cpu") -> None:
        full = fields.make_tiles(*size, seed=seed).to(device)
        # What ships is 8 bits deep; train on exactly that.
        self.full = (full * 255).round() / 255
        self._at = {size[0]: self.full}

    def at(self, height: int) -> Tensor:
        """`[F, height, width]`."""
        if height not in self._at:
            self._at[height] = nnf.avg_pool2d(self.full[None], self.full.shape[1] // height)[0]
        return self._at[height]


class WorldPictures:
    """A deterministic pool of `(factors, offsets, picture)` at one size.

    Process r of N (`share`) gets the samples r, r + N, … of each step's N·batch, and renders no others.
    """

    def __init__(
        self, tiles: FieldTiles, height: int, *, batch: int, reuse: int, seed: int, capacity: int = 192,
        share: tuple[int, int] = (0, 1),
    ) -> None:  # fmt: skip
        self.tiles, self.seed, self.share = tiles.at(height), seed, share
        self.batch = batch * share[1]
        self.fresh = max(1, self.batch // reuse)
        self.capacity = max(capacity, self.batch)
        self._pool: dict[int, tuple[Tensor, Tensor, Tensor]] = {}

    def _make(self, numbers: list[int]) -> None:
        vectors = torch.cat([factors.draw(1, seeded(self.seed, 11, i)) for i in numbers])
        offsets = torch.cat([torch.rand(1, fields.COUNT, 2, generator=seeded(self.seed, 12, i)) for i in numbers])
        vectors, offsets = vectors.to(self.tiles.device), offsets.to(self.tiles.device)
        with torch.no_grad():
            pictures = (render(vectors, fields.scroll(self.tiles, offsets)) * 255).round().byte()
        for i, *sample in zip(numbers, vectors, offsets, pictures, strict=True):
            self._pool[i] = (sample[0], sample[1], sample[2])

    def step(self, number: int) -> tuple[Tensor, Tensor, Tensor]:
        """Step `number` (from 0): factors `[B, COUNT]`, fields `[B, F, H, W]`, pictures `[B, 3, H, W]` in −1..1."""
        oldest = number * self.fresh
        chosen = torch.randint(oldest, oldest + self.capacity, (self.batch,), generator=seeded(self.seed, 13, number))
        mine = chosen[self.share[0] :: self.share[1]].tolist()
        for stale in [i for i in self._pool if i < oldest]:
            del self._pool[stale]
        missing = sorted(set(mine) - self._pool.keys())
        for first in range(0, len(missing), 8):
            self._make(missing[first : first + 8])
        vectors, offsets, pictures = zip(*(self._pool[i] for i in mine), strict=True)
        moved = fields.scroll(self.tiles, torch.stack(offsets))
        return torch.stack(vectors), moved, torch.stack(pictures).float() / 127.5 - 1
