"""Films of the world: one clip at any size and rate shows one place, whose things move as they should."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
import torch
import torch.nn.functional as nnf
from one_thread import one_thread  # noqa: F401
from torch import Tensor

from training.run import seeded
from training.world import factors, fields
from training.world.film import SIZE, Film, textures
from training.world.preview import SAMPLE_RATE, film


@pytest.fixture(scope="module")
def tiles() -> Tensor:
    return textures((36, 64))


def shown(clip: Film, times: Tensor, tiles: Tensor) -> Tensor:
    return torch.stack(list(clip.pictures(times, tiles)))


@pytest.mark.parametrize("scene", range(9))
def test_two_rates_show_the_same_pictures_at_common_times(scene: int, tiles: Tensor) -> None:
    clip = Film.draw(10.0, seeded(1, scene), scene)
    at_10, at_25 = torch.arange(100) / 10.0, torch.arange(250) / 25.0
    common_10, common_25 = at_10[::20], at_25[::50]
    assert torch.equal(shown(clip, common_10, tiles), shown(clip, common_25, tiles))
    among = list(clip.pictures(at_10[8:12], tiles, batch=3))
    assert torch.equal(among[2], shown(clip, at_25[25:26], tiles)[0]), "whatever else is painted with it"


@pytest.mark.parametrize(("size", "scenes"), [((54, 96), range(9)), ((300, 540), (1, 3, 7))])
def test_two_sizes_show_the_same_layout(size: tuple[int, int], scenes: Sequence[int], tiles: Tensor) -> None:
    bigger, times = textures(size), torch.tensor([0.5, 6.0])
    near, far = [], []
    for scene in scenes:
        small, large, other = (
            nnf.interpolate(shown(clip, times, t), (18, 32), mode="area").flatten()
            for clip, t in (
                (Film.draw(8.0, seeded(2, scene), scene), tiles),
                (Film.draw(8.0, seeded(2, scene), scene), bigger),
                (Film.draw(8.0, seeded(3, scene), scene), bigger),
            )
        )
        near.append(float((small - large).abs().mean()))
        far.append(float((small - other).abs().mean()))
    assert max(near) < 0.06
    assert sum(near) < 0.25 * sum(far)


def test_textures_keep_their_seams_at_every_size() -> None:
    for size in ((36, 64), SIZE, (301, 700)):
        found = textures(size)
        assert found.shape == (fields.COUNT, *size)
        assert float(found.min()) >= 0.0
        assert float(found.max()) <= 1.0
        inside = (found[:, :, 1:] - found[:, :, :-1]).abs().amax((1, 2))
        seam = (found[:, :, 0] - found[:, :, -1]).abs().amax(1)
        assert (seam <= 1.5 * inside + 0.05).all()


@pytest.mark.parametrize("scene", range(9))
def test_neighbours_are_alike_and_a_clip_does_not_stand_still(scene: int, tiles: Tensor) -> None:
    clip = Film.draw(10.0, seeded(4, scene), scene)
    frames = shown(clip, torch.arange(0, 300, 6) / 30.0, tiles)
    step = (frames[1:] - frames[:-1]).abs().mean((1, 2, 3))
    apart = (frames[25:] - frames[:-25]).abs().mean()
    assert float(step.median()) > 1e-4, "it moves"
    assert float(step.median()) < 0.8 * float(apart) + 0.02, "and does not jump"
    if factors.SCENES[scene] not in factors.STROKES:
        assert float(step.max()) < 0.15


def test_previews_are_the_same_at_two_rates_and_carry_all_their_sound(tiles: Tensor) -> None:
    slow, fast = (list(film(5, 1, tiles, fps, 2.0)) for fps in (6.0, 12.0))
    assert (len(slow), len(fast)) == (12, 24)
    assert all((a[0] == b[0]).all() for a, b in zip(slow, fast[::2], strict=True))
    sounds = [torch.cat([torch.from_numpy(block) for _, block in one]) for one in (slow, fast)]
    assert torch.equal(*sounds)
    assert len(sounds[0]) == 2 * SAMPLE_RATE
    assert float(sounds[0].abs().max()) == pytest.approx(0.7, abs=1e-3)
    played = list(film(5, 1, tiles, 6.0, 2.0, music=True))
    assert (played[3][0] == slow[3][0]).all()
    assert (played[3][1] != slow[3][1]).any()
