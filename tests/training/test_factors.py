"""Factors: ranges, shares, and the same draw from the same seed."""

from __future__ import annotations

import pytest
import torch

from training.world import factors
from training.world.factors import INDEX, REST, SCENE_SLICE, SCENES


def seeded(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def test_draw_gives_calm_single_and_paired_scenes() -> None:
    vectors = factors.draw(2000, seeded(1), calm=0.2, pair=0.3)
    scenes = vectors[:, SCENE_SLICE]
    present = (scenes > 0).sum(1)
    assert float(scenes.min()) == 0.0
    assert float(scenes.max()) <= 1.0
    assert set(present.tolist()) == {0, 1, 2}
    assert float((present == 0).float().mean()) == pytest.approx(0.2, abs=0.04)
    assert float((present == 2).float().mean()) == pytest.approx(0.3, abs=0.04)
    assert float(scenes[present == 1].max(1).values.min()) >= 0.25
    assert (scenes > 0).any(0).all(), "every scene is drawn"
    normal = vectors[:, : SCENE_SLICE.start]
    assert float(normal.mean().abs()) < 0.05
    assert float(normal.std()) == pytest.approx(1.0, abs=0.05)


def test_draw_is_a_function_of_the_seed() -> None:
    assert torch.equal(factors.draw(8, seeded(5)), factors.draw(8, seeded(5)))
    assert not torch.equal(factors.draw(8, seeded(5)), factors.draw(8, seeded(6)))


def test_asking_for_calm_gives_no_scene_at_all() -> None:
    assert float(factors.draw(500, seeded(3), calm=1.0)[:, SCENE_SLICE].abs().max()) == 0.0


def test_a_factor_reads_0_to_1() -> None:
    vectors = factors.draw(500, seeded(2))
    for name in factors.NAMES:
        value = factors.factor(vectors, name)
        assert float(value.min()) >= 0.0
        assert float(value.max()) <= 1.0
    assert float(factors.factor(vectors, "cloud_cover").mean()) == pytest.approx(0.5, abs=0.06)


@pytest.mark.parametrize("scene", [-1, *range(len(SCENES))])
def test_tracks_hold_one_scene(scene: int) -> None:
    tracks = factors.draw_tracks(3.0, seeded(7 + scene), scene=scene)
    scenes = tracks.values[:, SCENE_SLICE]
    assert tracks.scene == scene
    assert tracks.values.shape == (90, factors.COUNT)
    assert tracks.seconds == pytest.approx(3.0)
    assert torch.isfinite(tracks.values).all()
    others = [i for i in range(len(SCENES)) if i != scene]
    assert float(scenes[:, others].abs().max()) == 0.0
    if scene >= 0:
        assert float(scenes[:, scene].min()) >= 0.12 - 1e-6
        assert float(scenes[:, scene].max()) <= 1.0
    strikes = scene >= 0 and SCENES[scene] in ("thunder", "explosion")
    assert bool((tracks.values[:, INDEX["flash"]] > REST + 1.0).any()) is strikes


def test_some_clips_hold_a_second_fainter_scene() -> None:
    clips = [factors.draw_tracks(2.0, seeded(i), calm=0.1, pair=0.3) for i in range(200)]
    pairs = [clip for clip in clips if int((clip.values[:, SCENE_SLICE] > 0).any(0).sum()) == 2]
    assert len(pairs) / 200 == pytest.approx(0.9 * 0.3, abs=0.07)
    for clip in pairs:
        scenes = clip.values[:, SCENE_SLICE]
        leading = scenes[:, clip.scene]
        second = scenes.sum(1) - leading
        assert (second > 0).all()
        assert (second <= 0.8 * leading + 1e-6).all()
    strikes = {clip for clip in clips if any(clip.values[:, INDEX[name]].max() > 0 for name in factors.STROKES)}
    assert {clip for clip in clips if clip.values[:, INDEX["flash"]].max() > REST} <= strikes
    struck = [c for c in pairs if SCENES[c.scene] not in factors.STROKES and c in strikes]
    assert struck, "a second scene strikes too"
    assert sum(bool((c.values[:, INDEX["flash"]] > REST + 1.0).any()) for c in struck) > len(struck) // 2
    alone = [factors.draw_tracks(1.0, seeded(i), scene=2, pair=1.0) for i in range(5)]
    assert all(int((clip.values[:, SCENE_SLICE] > 0).any(0).sum()) == 1 for clip in alone)


def test_the_stronger_a_storm_the_more_strokes() -> None:
    def count(intensity: float) -> int:
        track = factors.strokes(torch.full((3000,), intensity), 30.0, "thunder", seeded(1))
        return int((track.diff() > 0.5).sum())

    assert count(0.95) > 1.3 * count(0.2)


def test_tracks_are_a_function_of_the_seed_and_move_smoothly() -> None:
    one, two = (factors.draw_tracks(2.0, seeded(9), scene=2) for _ in range(2))
    assert torch.equal(one.values, two.values)
    assert float((one.values[1:] - one.values[:-1]).abs().max()) < 0.5


def test_tracks_between_two_points_are_interpolated_and_held_at_the_ends() -> None:
    tracks = factors.Tracks(torch.arange(4.0)[:, None].expand(4, factors.COUNT), rate=10.0, scene=-1)
    found = tracks.at(torch.tensor([-1.0, 0.0, 0.15, 9.0]))[:, 0]
    assert found.tolist() == pytest.approx([0.0, 0.0, 1.5, 3.0], abs=2e-3)
