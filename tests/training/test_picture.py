"""The world's picture: finite, in range, a function of factors and fields, and each scene looks like itself."""

from __future__ import annotations

from itertools import combinations, pairwise, product

import pytest
import torch
from one_thread import one_thread  # noqa: F401

from training.world import factors, fields
from training.world.picture import render


def seeded(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def still(count: int, scene: str | None, strength: float = 0.9) -> torch.Tensor:
    """The same `count` landscapes whatever the scene."""
    vectors = factors.draw(count, seeded(4), calm=1.0)
    vectors[:, factors.INDEX["flash"]] = factors.REST
    if scene is not None:
        vectors[:, factors.INDEX[scene]] = strength
    return vectors


@pytest.fixture(scope="module")
def tiles() -> torch.Tensor:
    return fields.make_tiles(36, 64)


def paint(vectors: torch.Tensor, tiles: torch.Tensor) -> torch.Tensor:
    offsets = torch.rand(len(vectors), fields.COUNT, 2, generator=seeded(5))
    return render(vectors, fields.scroll(tiles, offsets))


@pytest.mark.parametrize("size", [(36, 64), (40, 40), (64, 36), (17, 31)])
def test_every_pixel_is_finite_and_in_range_at_any_size(size: tuple[int, int]) -> None:
    vectors = factors.draw(20, seeded(1))
    vectors[:10] *= 3.0  # far outside of what is drawn
    vectors[:, factors.SCENE_SLICE] = vectors[:, factors.SCENE_SLICE].clamp(0, 1)
    picture = paint(vectors, fields.make_tiles(*size))
    assert picture.shape == (20, 3, *size)
    assert torch.isfinite(picture).all()
    assert float(picture.min()) >= 0.0
    assert float(picture.max()) <= 1.0


def test_the_same_factors_and_fields_give_the_same_picture(tiles: torch.Tensor) -> None:
    vectors = factors.draw(4, seeded(2))
    assert torch.equal(paint(vectors, tiles), paint(vectors, tiles))


def test_every_scene_changes_the_picture_in_its_own_way(tiles: torch.Tensor) -> None:
    pictures = [paint(still(4, scene), tiles) for scene in (None, *factors.SCENES)]
    for i, one in enumerate(pictures):
        for other in pictures[:i]:
            assert float((one - other).abs().mean()) > 0.02


def test_stronger_is_further_from_calm(tiles: torch.Tensor) -> None:
    calm = paint(still(4, None), tiles)
    for scene in factors.SCENES:
        weak, strong = (paint(still(4, scene, strength), tiles) for strength in (0.1, 1.0))
        assert float((strong - calm).abs().mean()) > float((weak - calm).abs().mean()), scene


def test_fire_is_warm_and_water_is_cold(tiles: torch.Tensor) -> None:
    warmth = {
        scene: float((picture[:, 0] - picture[:, 2]).mean())
        for scene in ("fire", "underwater", "mud")
        for picture in [paint(still(8, scene), tiles)]
    }
    assert warmth["fire"] > warmth["mud"] > warmth["underwater"]
    assert warmth["fire"] > 0.1
    assert warmth["underwater"] < -0.1


def test_lightning_lights_the_storm(tiles: torch.Tensor) -> None:
    dark = still(8, "thunder")
    stroke = dark.clone()
    stroke[:, factors.INDEX["flash"]] = 1.5
    assert float(paint(stroke, tiles).mean()) > 1.05 * float(paint(dark, tiles).mean())


def test_noon_is_brighter_than_night(tiles: torch.Tensor) -> None:
    night, noon = still(8, None), still(8, None)
    night[:, factors.INDEX["time_of_day"]] = -2.0
    noon[:, factors.INDEX["time_of_day"]] = 2.0
    assert float(paint(noon, tiles).mean()) > 2 * float(paint(night, tiles).mean())


def test_water_rises_with_its_scene(tiles: torch.Tensor) -> None:
    dry = paint(still(6, None), tiles)
    levels = []
    for strength in (0.05, 0.2, 0.35, 0.5, 0.7):
        wet = (paint(still(6, "underwater", strength), tiles) - dry).abs().amax(1) > 0.01
        share = wet.float().mean(2)  # of every row
        assert float(share[:, -1].min()) == 1.0, "water lies at the foot"
        levels.append((share > 0.5).float().argmax(1) / share.shape[1])
    for lower, higher in pairwise(levels):
        assert (lower > higher).all()
    assert float(levels[0].min()) > 0.8
    assert float(levels[-1].max()) == 0.0


def test_a_volcano_grows_out_of_the_ground_and_is_an_island_where_water_stands(tiles: torch.Tensor) -> None:
    """Where the picture at noon darkens most on the way down beside the river of lava, the cone begins."""
    noon = {"time_of_day": 2.0, "event_x": 0.0, "horizon": 0.0, "cloud_cover": -2.0, "trees": -2.0}

    def summits(explosion: float, underwater: float) -> torch.Tensor:
        vectors = still(6, "explosion", explosion)
        for name, value in (noon | {"underwater": underwater}).items():
            vectors[:, factors.INDEX[name]] = value
        column = paint(vectors, tiles)[:, :, :, 35].mean(1)
        return (column[:, :-2] - column[:, 2:]).argmax(1) / column.shape[1]

    small, grown, island = summits(0.12, 0.0), summits(0.4, 0.0), summits(0.4, 0.3)
    assert (grown < small).all()
    assert (island < grown).all()


def test_any_two_scenes_can_be_seen_at_once(tiles: torch.Tensor) -> None:
    """At some strengths of theirs: each changes the picture much as if it were alone."""
    strengths = (0.12, 0.2, 0.35, 0.6)
    calm = paint(still(4, None), tiles)
    alone = {(scene, s): paint(still(4, scene, s), tiles) for scene in factors.SCENES for s in strengths}
    for first, second in combinations(factors.SCENES, 2):
        seen = []
        for s, t in product(strengths, strengths):
            both = still(4, first, s)
            both[:, factors.INDEX[second]] = t
            together = paint(both, tiles)
            without = ((first, s), (second, t)), ((second, t), (first, s))
            changes = [
                float((together - alone[left]).abs().mean() / (alone[out] - calm).abs().mean()) for out, left in without
            ]
            seen.append(min(changes))
        assert max(seen) > 0.5, (first, second)
