"""The judges that are shipped: what they say of world pictures they have never seen, and of files that are none."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from one_thread import one_thread  # noqa: F401
from tqdm import tqdm

from engine.errors import CymaticError
from training.evaluation import judge as judging
from training.evaluation import train_judge
from training.evaluation.features import FileEye, JudgeEye, TextureEye
from training.evaluation.held_out import FULL_SIZE
from training.evaluation.judge import Judges, load_judges
from training.pictures import FieldTiles
from training.run import seeded
from training.world import factors, fields
from training.world.picture import render


@pytest.fixture(scope="module")
def judges() -> Judges:
    return load_judges()


@pytest.fixture(scope="module")
def tiles() -> FieldTiles:
    return FieldTiles(FULL_SIZE)


def world(vectors: torch.Tensor, tiles: FieldTiles, seed: int) -> torch.Tensor:
    offsets = torch.rand(len(vectors), fields.COUNT, 2, generator=seeded(seed, 1))
    return judging.for_picture(render(vectors, fields.scroll(tiles.at(72), offsets)))


def test_scenes_of_world_pictures_are_told_apart_and_calm_ones_are_calm(judges: Judges, tiles: FieldTiles) -> None:
    draws = seeded(404, 0)
    vectors = factors.draw(54, draws, calm=1.0)
    scenes = torch.arange(54) % 9
    vectors[torch.arange(54), factors.SCENE_SLICE.start + scenes] = 0.3 + 0.7 * torch.rand(54, generator=draws)
    seen = judges.look(world(vectors, tiles, 404))
    assert float((seen.scenes.argmax(1) == scenes).float().mean()) > 0.9
    vectors[:, factors.SCENE_SLICE] = 0.0
    vectors[:, factors.INDEX["flash"]] = factors.REST
    calm = judges.look(world(vectors[:18], tiles, 405))
    assert float((calm.scenes < 0).all(1).float().mean()) > 0.9


@pytest.mark.parametrize("scene", factors.SCENES)
def test_the_more_intense_picture_of_two_is_told(scene: str, judges: Judges, tiles: FieldTiles) -> None:
    draws = seeded(406, 0)
    vectors = factors.draw(10, draws, calm=1.0)
    vectors[:, factors.INDEX["flash"]] = factors.REST
    told = []
    for strength in (0.25, 0.95):
        vectors[:, factors.INDEX[scene]] = strength
        told.append(judges.look(world(vectors, tiles, 407)).intensity[:, factors.SCENES.index(scene)])
    assert float((told[1] > told[0]).float().mean()) >= 0.8


def test_a_softer_picture_is_judged_the_same_but_its_texture_is_not(judges: Judges, tiles: FieldTiles) -> None:
    vectors = factors.draw(9, seeded(408, 0), calm=1.0)
    vectors[torch.arange(9), factors.SCENE_SLICE.start + torch.arange(9)] = 0.8
    offsets = torch.rand(9, fields.COUNT, 2, generator=seeded(408, 1))
    sharp = render(vectors, fields.scroll(tiles.at(144), offsets))
    soft = torch.nn.functional.interpolate(torch.nn.functional.avg_pool2d(sharp, 3), sharp.shape[2:], mode="bilinear")
    same = [judges.look(judging.for_picture(side)).scenes.argmax(1) for side in (sharp, soft)]
    assert float((same[0] == same[1]).float().mean()) > 0.85
    moved = {}
    for eye in (JudgeEye(judges), TextureEye(judges)):
        a, b = (eye((side * 255).byte()) for side in (sharp, soft))
        moved[type(eye)] = float((np.abs(a - b) / (a.std(0) + 1e-6)).mean())  # in deviations from picture to picture
    assert moved[JudgeEye] < 0.03
    assert moved[TextureEye] > 4 * moved[JudgeEye]


def test_the_file_says_what_the_judges_can_do(judges: Judges) -> None:
    assert float(judges.about["scene_accuracy"]) > 0.9
    assert float(judges.about["calm_accuracy"]) > 0.8
    assert float(judges.about["intensity_order_accuracy"]) > 0.7
    assert float(judges.about["film_scene_accuracy"]) > 0.8
    assert str(train_judge.SEED) in judges.about["data"]
    assert judging.FILE.stat().st_size < 1_500_000


def test_both_judges_can_be_trained_and_read_back(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tqdm, "monitor_interval", 0)  # its thread would outlive the test
    path = tmp_path / "judge.safetensors"
    about = train_judge.train(path, scale=0.002, progress=False)
    trained = load_judges(path)
    assert trained.about == about
    assert trained.sha256 != load_judges().sha256
    films = torch.randint(0, 256, (2, judging.FILM_FRAMES, 3, *judging.FILM)).byte()
    watched = trained.watch(films)
    assert watched.features.shape == (2, judging.FILM_FEATURES)
    assert torch.isfinite(watched.features).all()


def test_neighbours_in_training_are_one_landscape_at_two_intensities() -> None:
    vectors = train_judge.draw_factors(40, seeded(1))
    first, second = vectors[::2], vectors[1::2]
    flash = factors.INDEX["flash"]
    kept = [i for i in range(factors.SCENE_SLICE.start) if i != flash]
    assert torch.equal(first[:, kept], second[:, kept])
    present = first[:, factors.SCENE_SLICE] > 0
    assert torch.equal(present, second[:, factors.SCENE_SLICE] > 0)
    assert (first[:, factors.SCENE_SLICE] != second[:, factors.SCENE_SLICE])[present].all()
    assert 10 < int((vectors[:, flash] == factors.REST).sum()) < 30


def test_the_size_of_a_picture_is_no_matter_to_the_judges(tiles: FieldTiles) -> None:
    vectors = factors.draw(2, seeded(409, 0), calm=0.0)
    offsets = torch.rand(2, fields.COUNT, 2, generator=seeded(409, 1))
    small = render(vectors, fields.scroll(tiles.at(144), offsets))
    seen = judging.for_picture(small)
    for times in (2, 4):  # 288×512 and 576×1024
        large = small.repeat_interleave(times, 2).repeat_interleave(times, 3)
        assert int((judging.for_picture(large).int() - seen.int()).abs().max()) <= 1  # rounding


def test_what_is_seen_of_each_scene_of_a_mixture(tiles: FieldTiles) -> None:
    shown, which, seen = train_judge.mixtures(train_judge.thinned(tiles, 72), 96, seeded(410))
    assert shown.shape == (96, 3, *judging.PICTURE)
    assert (which[:, 0] < which[:, 1]).all()
    water = factors.draw(96, seeded(410), calm=0.0, pair=1.0)[:, factors.INDEX["underwater"]]
    deep, dry = water > 0.6, water == 0
    assert int(deep.sum()) > 3
    least = seen.amin(1)
    assert float(least[deep].median()) < 0.25 < 0.5 < float(least[dry].median())
    assert float(seen.amax(1).min()) > 0.2


def test_half_of_what_the_picture_judge_learns_from_are_mixtures() -> None:
    present = (train_judge.draw_factors(400, seeded(2))[:, factors.SCENE_SLICE] > 0).sum(1)
    assert 0.4 < float((present == 2).float().mean()) < 0.6
    assert 0.05 < float((present == 0).float().mean()) < 0.16


def test_a_file_that_holds_no_judges_is_one_line(tmp_path: Path) -> None:
    path = tmp_path / "judge.safetensors"
    for content in (None, b"nothing of the kind", b""):
        if content is not None:
            path.write_bytes(content)
        with pytest.raises(CymaticError, match=r"judge\.safetensors does not hold the judges; make them with"):
            load_judges(path)


def test_a_feature_network_of_ones_own_is_used_and_another_file_refused(tmp_path: Path, judges: Judges) -> None:
    class Network(torch.nn.Module):
        def forward(self, rgb: torch.Tensor) -> torch.Tensor:
            return torch.cat([rgb.mean((2, 3)), rgb.amax((2, 3))], 1)

    from export.bundle import export_graph

    good, bad = tmp_path / "features.onnx", tmp_path / "other.onnx"
    export_graph(Network(), {"rgb": torch.rand(1, 3, 20, 30)}, ["features"], good)
    export_graph(Network(), {"rgb": torch.rand(2, 3, 20, 30)}, ["features"], bad)
    pictures = torch.randint(0, 256, (4, 3, 40, 60)).byte()
    eye = FileEye(good)
    try:
        found = eye(pictures)
    finally:
        eye.close()
    assert found.shape == (4, 6)
    assert found[:, :3] == pytest.approx((pictures.float() / 255).mean((2, 3)).numpy(), abs=1e-4)
    assert JudgeEye(judges)(pictures).shape == (4, judging.FEATURES)
    for path in (bad, tmp_path / "missing.onnx", Path(__file__)):
        with pytest.raises(CymaticError) as refused:
            FileEye(path)
        assert path.name in str(refused.value)
        assert "\n" not in str(refused.value)
