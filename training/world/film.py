"""The world as it moves: pictures of one clip at any size and any moments, the same places in all of them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import torch
import torch.nn.functional as nnf
from torch import Tensor

from training.world import factors, fields
from training.world.factors import Tracks
from training.world.picture import render

SIZE = (288, 512)  # at which the textures are drawn; other sizes are made from these


def textures(size: tuple[int, int], seed: int = 20260) -> Tensor:
    """The field tiles `[F, H, W]` at a size: averaged where it is smaller than `SIZE`, linear in between where larger.

    Tiles drawn anew at each size would be another world at each size.
    """
    drawn = fields.make_tiles(*SIZE, seed=seed)
    smaller = (min(size[0], SIZE[0]), min(size[1], SIZE[1]))
    tiles = nnf.interpolate(drawn[None], smaller, mode="area")[0]
    return _stretched(_stretched(tiles, 1, size[0]), 2, size[1])


def _stretched(tiles: Tensor, axis: int, length: int) -> Tensor:
    """`tiles` resampled along an axis, linear, round the seam."""
    old = tiles.shape[axis]
    if old == length:
        return tiles
    place = (torch.arange(length) + 0.5) * (old / length) - 0.5
    part = (place - place.floor()).view([-1 if i == axis else 1 for i in range(3)])
    low = place.floor().long()
    return torch.lerp(tiles.index_select(axis, low % old), tiles.index_select(axis, (low + 1) % old), part)


@dataclass(frozen=True, slots=True)
class Film:
    """One clip: its factor `tracks`, and where its textures begin, `start [F, 2]` in tiles."""

    tracks: Tracks
    start: Tensor

    @classmethod
    def draw(cls, seconds: float, generator: torch.Generator, scene: int | None = None) -> Film:
        """A clip of a scene, or of any: see `factors.draw_tracks`."""
        tracks = factors.draw_tracks(seconds, generator, scene=scene)
        return cls(tracks, torch.rand(fields.COUNT, 2, generator=generator))

    def moments(self, times: Tensor) -> tuple[Tensor, Tensor]:
        """Factors `[N, COUNT]` and offsets of the textures `[N, F, 2]` at `times [N]` in seconds."""
        return self.tracks.at(times), self.start + times.view(-1, 1, 1) * fields.VELOCITIES

    @torch.no_grad()
    def pictures(self, times: Tensor, tiles: Tensor, batch: int = 8) -> Iterator[Tensor]:
        """RGB `[3, H, W]` in 0..1 at each of `times [N]`, of the size of `tiles`; no more than `batch` are held."""
        for vectors, offsets in zip(*(part.split(batch) for part in self.moments(times)), strict=True):
            yield from render(vectors, fields.scroll(tiles, offsets))
