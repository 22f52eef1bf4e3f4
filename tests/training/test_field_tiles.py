"""Fields: tiles without seams, and scrolling that is nothing but a roll."""

from __future__ import annotations

import pytest
import torch

from training.world import fields

HEIGHT, WIDTH = 72, 128


@pytest.fixture(scope="module")
def tiles() -> torch.Tensor:
    return fields.make_tiles(HEIGHT, WIDTH)


def test_tiles_are_textures_from_0_to_1_and_always_the_same(tiles: torch.Tensor) -> None:
    assert tiles.shape == (fields.COUNT, HEIGHT, WIDTH)
    assert float(tiles.min()) >= 0.0
    assert float(tiles.max()) <= 1.0
    assert float(tiles.flatten(1).std(1).min()) > 0.02, "a flat field says nothing"
    assert torch.equal(tiles, fields.make_tiles(HEIGHT, WIDTH))
    assert not torch.equal(tiles, fields.make_tiles(HEIGHT, WIDTH, seed=1))


@pytest.mark.parametrize("axis", [1, 2])
def test_the_seam_is_like_any_other_line(tiles: torch.Tensor, axis: int) -> None:
    """The step from the last row to the first one is no larger than the steps inside."""
    steps = (tiles - tiles.roll(1, axis)).abs().mean(3 - axis)  # [F, lines], line 0 is the seam
    inside, seam = steps[:, 1:], steps[:, 0]
    bound = inside.mean(1) + 5 * inside.std(1) + 1e-3
    worst = [name for name, over in zip(fields.NAMES, seam > bound, strict=True) if over]
    assert worst == []


def test_a_ramp_would_be_found_to_have_a_seam() -> None:
    ramp = torch.linspace(0, 1, 128).expand(72, 128)
    steps = (ramp - ramp.roll(1, 1)).abs().mean(0)
    assert steps[0] > steps[1:].mean() + 5 * steps[1:].std() + 1e-3


def test_scroll_is_a_roll_of_each_tile_by_its_own_offset(tiles: torch.Tensor) -> None:
    draws = torch.Generator().manual_seed(3)
    offsets = 4 * torch.rand(2, fields.COUNT, 2, generator=draws) - 2
    moved = fields.scroll(tiles, offsets)
    for row in range(2):
        for i in range(fields.COUNT):
            down, right = round(float(offsets[row, i, 0]) * HEIGHT), round(float(offsets[row, i, 1]) * WIDTH)
            assert torch.equal(moved[row, i], tiles[i].roll((down, right), (0, 1)))


def test_velocities_are_the_fields_own() -> None:
    assert fields.VELOCITIES.shape == (fields.COUNT, 2)
    assert float(fields.VELOCITIES[fields.INDEX["flame"], 0]) < 0 < float(fields.VELOCITIES[fields.INDEX["streak"], 0])
