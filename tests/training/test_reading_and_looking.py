"""Two stages that go on alone: E_t with sentences, F_v with pictures of two scenes."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest
import torch
from tiny_stages import TINY
from tqdm import tqdm

from training import generator, looking, reading
from training.clips import label_tokens
from training.embedding import JointEmbedding
from training.inversion import Inverters
from training.networks.generators import create
from training.run import Run, seeded
from training.world import factors

FLASH, SCENES = factors.INDEX["flash"], factors.SCENE_SLICE


@pytest.fixture(autouse=True)
def no_monitor(monkeypatch: pytest.MonkeyPatch) -> None:
    """tqdm watches its bars from a thread that nobody ends."""
    monkeypatch.setattr(tqdm, "monitor_interval", 0)


def test_what_a_sentence_says_has_no_lightning_that_stands() -> None:
    vectors = torch.cat([reading.draw_factors(seeded(3, number)) for number in range(400)])
    erupting = vectors[:, factors.INDEX["explosion"]] > 0
    assert 20 < int(erupting.sum()) < 200
    assert (vectors[~erupting, FLASH] == factors.REST).all()
    assert vectors[erupting, FLASH].std() > 0.5


def test_reading_on_says_more_nearly_what_is_meant(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reading, "LOG_EVERY", 1)
    monkeypatch.setattr(reading, "WARM_UP", 2)
    monkeypatch.setattr(reading, "LEARNING_RATE", 4e-3)
    scale, named = dataclasses.replace(TINY, reading_steps=60), torch.arange(len(factors.SCENES)).repeat(4)
    torch.manual_seed(2)
    painter, inverters = generator.settle(create(scale.generator), scale), Inverters.create(scale).freeze()
    run = Run(tmp_path / "run")
    reading.train(run, scale, painter, inverters, progress=False)
    told = [row["text_teacher"] for row in run.rows("reading")]
    assert sum(told[-20:]) < sum(told[:20])
    with torch.no_grad():
        scenes = inverters.text(label_tokens(named, [seeded(7)] * len(named)))[..., SCENES].mean(1)
    own = scenes.gather(1, named[:, None])[:, 0]
    assert own.mean() > 0.05 + scenes.mean()
    assert not any(parameter.requires_grad for parameter in inverters.text.parameters())
    again = Inverters.create(scale).freeze()
    reading.train(run, scale, painter, again, progress=False)  # it is finished: nothing is done again
    for mine, theirs in zip(inverters.text.parameters(), again.text.parameters(), strict=True):
        assert torch.equal(mine, theirs)


def test_half_of_what_is_looked_at_shows_two_scenes_one_of_them_faint_at_times() -> None:
    vectors = torch.cat([looking.draw_factors(seeded(4, number)) for number in range(400)])
    scenes = vectors[:, SCENES]
    paired = (scenes > 0).sum(1) == 2
    assert 0.3 < float(paired.float().mean()) < 0.6
    least = torch.where(scenes > 0, scenes, 2.0).amin(1)[paired]
    assert least.min() >= looking.FAINTEST
    assert float((least < 0.2).float().mean()) > 0.3
    assert 0.4 < float((vectors[:, FLASH] == factors.REST).float().mean()) < 0.7


def test_looking_on_brings_pictures_nearer_to_what_is_said_of_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(looking, "LOG_EVERY", 1)
    monkeypatch.setattr(looking, "WARM_UP", 2)
    scale = dataclasses.replace(TINY, looking_pictures=24, looking_steps=10)
    torch.manual_seed(2)
    joint = JointEmbedding.create(scale).freeze()
    others = {name: network.state_dict() for name, network in joint.networks().items() if name != "image"}
    others = {name: {key: value.clone() for key, value in state.items()} for name, state in others.items()}
    made, lessons = [], looking.lessons
    monkeypatch.setattr(looking, "lessons", lambda *given: made.append(lessons(*given)) or made[-1])
    run = Run(tmp_path / "run")
    looking.train(run, scale, joint, progress=False)
    ((pictures, goals),) = made
    assert pictures.shape == (24, 3, 72, 128)
    assert pictures.dtype == torch.uint8
    assert torch.allclose(goals.norm(dim=1), torch.ones(24), atol=1e-5)
    begun, ended = (run.rows("looking")[place]["cos"] for place in (0, -1))
    assert ended > begun + 0.3
    for name, state in others.items():
        for key, value in joint.networks()[name].state_dict().items():
            assert torch.equal(value, state[key]), "only F_v learns"


def test_retouched_pictures_are_the_same_pictures() -> None:
    pictures = torch.rand(6, 3, 72, 128, generator=seeded(5))
    smooth = torch.nn.functional.avg_pool2d(pictures, 9, 1, 4)
    found = looking.retouched(smooth, [seeded(6, number) for number in range(6)])
    assert found.shape == smooth.shape
    assert 0.0 <= float(found.min()) <= float(found.max()) <= 1.0
    for one, other in zip(found, smooth, strict=True):
        assert 0.003 < float((one - other).abs().mean()) < 0.12
