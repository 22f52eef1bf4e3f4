"""Runs: what is written is whole, what is read is safe, and a killed run ends where an unbroken one does."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest
import torch
from one_thread import one_thread  # noqa: F401
from tqdm import tqdm

from engine.errors import CymaticError
from training import generator as stage
from training.clips import spec_augment
from training.pictures import FieldTiles, WorldPictures
from training.run import Run, seeded
from training.scales import SCALES, Phase, Scale
from training.world import fields as world_fields

TINY = dataclasses.replace(
    SCALES["smoke"],
    name="tiny",
    generator=dataclasses.replace(SCALES["smoke"].generator, channels=(8,), fine=4, head=4),
    phases=(Phase(depth=1, images=12, batch=4), Phase(depth=2, images=8, batch=4)),
    settled=1,
    adversarial_steps=2,
)
TINY_3 = dataclasses.replace(
    TINY, generator=dataclasses.replace(SCALES["smoke-3"].generator, channels=(8, 8), planes=2)
)


@pytest.fixture(autouse=True)
def no_monitor(monkeypatch: pytest.MonkeyPatch) -> None:
    """tqdm watches its bars from a thread that nobody ends."""
    monkeypatch.setattr(tqdm, "monitor_interval", 0)


@pytest.fixture(scope="module")
def tiles() -> FieldTiles:
    return FieldTiles((36, 64))


def test_pictures_of_step_n_do_not_depend_on_where_the_run_began(tiles: FieldTiles) -> None:
    def fresh() -> WorldPictures:
        return WorldPictures(tiles, 18, batch=4, reuse=2, seed=3, capacity=8)

    unbroken, resumed = fresh(), fresh()
    steps = [unbroken.step(number) for number in range(7)]
    for found, expected in zip(resumed.step(6), steps[6], strict=True):
        assert found is expected is None or torch.equal(found, expected)
    assert not torch.equal(steps[5].pictures, steps[6].pictures)
    vectors, fields, _, pictures = steps[6]
    assert (vectors.shape[0], fields.shape[2:], pictures.shape) == (4, (18, 32), (4, 3, 18, 32))
    assert -1.0 <= float(pictures.min()) < float(pictures.max()) <= 1.0


def test_a_part_in_cells_is_that_part_of_the_picture(tiles: FieldTiles) -> None:
    part = (slice(2, 6), slice(5, 13))
    whole, cut = (
        WorldPictures(tiles, 36, batch=3, reuse=2, seed=3, capacity=8).step(2, *more) for more in ((), (4, part))
    )
    assert torch.equal(cut.vectors, whole.vectors)
    assert torch.equal(cut.pictures, whole.pictures[..., 8:24, 20:52])
    assert torch.allclose(cut.fields, torch.nn.functional.avg_pool2d(whole.fields, 4), atol=1e-6)
    fine = torch.nn.functional.pixel_shuffle(cut.detail, 4)
    assert torch.equal(fine, whole.fields[:, [field.detail for field in world_fields.FIELDS], 8:24, 20:52])


def test_small_tiles_are_the_large_ones_averaged(tiles: FieldTiles) -> None:
    small = tiles.at(9)
    assert small.shape[1:] == (9, 16)
    assert torch.allclose(small[:, 2, 3], tiles.full[:, 8:12, 12:16].mean((1, 2)), atol=1e-6)
    assert torch.equal((tiles.full * 255).round() / 255, tiles.full), "what ships is 8 bits deep"


def test_seeded_streams_differ_and_repeat() -> None:
    draws = {tuple(torch.rand(3, generator=seeded(*n)).tolist()) for n in [(1, 2), (2, 1), (1, 2, 0), (1, 3)]}
    assert len(draws) == 4
    assert torch.equal(torch.rand(3, generator=seeded(1, 2)), torch.rand(3, generator=seeded(1, 2)))


def test_a_checkpoint_is_whole_or_not_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run = Run(tmp_path / "run")
    assert run.load("part") is None
    run.save("part", {"step": 1, "weights": torch.ones(2)})
    whole = torch.save

    def killed(state: object, file: object) -> None:
        whole({"half": 1}, file)
        raise KeyboardInterrupt

    monkeypatch.setattr(torch, "save", killed)
    with pytest.raises(KeyboardInterrupt):
        run.save("part", {"step": 2, "weights": torch.zeros(2)})
    found = run.load("part")
    assert found is not None
    assert found["step"] == 1
    assert torch.equal(found["weights"], torch.ones(2))


def test_a_checkpoint_cannot_run_code(tmp_path: Path) -> None:
    run = Run(tmp_path / "run")
    touched = tmp_path / "touched"

    class Evil:
        def __reduce__(self) -> tuple[object, tuple[Path]]:
            return Path.touch, (touched,)

    torch.save({"step": Evil()}, run.checkpoint("part"))
    with pytest.raises(CymaticError, match="cannot be read"):
        run.load("part")
    run.checkpoint("part").write_bytes(b"not a checkpoint")
    with pytest.raises(CymaticError, match="cannot be read"):
        run.load("part")
    run.checkpoint("part").write_bytes(b"")
    with pytest.raises(CymaticError, match="cannot be read"):
        run.load("part")
    assert not touched.exists()


@pytest.mark.parametrize("other", [torch.nn.Linear(3, 2), torch.nn.Linear(2, 2, bias=False), torch.nn.ReLU()])
def test_a_checkpoint_of_another_network_is_one_line(tmp_path: Path, other: torch.nn.Module) -> None:
    run = Run(tmp_path / "run")
    assert run.restore("part", network=other) is None
    run.save("part", {"network": torch.nn.Linear(2, 2).state_dict()})
    with pytest.raises(CymaticError, match=r"part\.pt was made by another version or scale") as refused:
        run.restore("part", network=other)
    assert "\n" not in str(refused.value)
    with pytest.raises(CymaticError, match="another version"):
        run.restore("part", nobody=other)


def test_metrics_are_one_object_a_line(tmp_path: Path) -> None:
    run = Run(tmp_path / "run")
    run.log("part", step=1, loss=0.123456789)
    run.log("part", step=2, loss=0.1)
    lines = (tmp_path / "run/metrics/part.jsonl").read_text().splitlines()
    assert len(lines) == 2
    assert '"loss": 0.123457' in lines[0]


def test_spec_augment_masks_a_band_and_a_time_of_a_copy() -> None:
    mels = torch.randn(6, 1, 128, 128, generator=torch.Generator().manual_seed(1))
    before = mels.clone()
    masked = spec_augment(mels, [seeded(1)] * 6)
    assert torch.equal(mels, before)
    assert torch.equal(masked, spec_augment(mels, [seeded(1)] * 6))
    for row, plain in zip(masked, before, strict=True):
        change = row - plain
        gain = change.flatten().mode().values
        assert float(gain.abs()) <= 0.1 + 1e-6
        moved = (change - gain).abs() > 1e-4
        rows, columns = moved[0].float().mean(1) > 0.9, moved[0].float().mean(0) > 0.9
        assert float(rows.float().mean()) <= 0.15
        assert float(columns.float().mean()) <= 0.30
        assert not (moved[0] & ~rows[:, None] & ~columns).any(), "nothing else changes"
    assert ((masked - before).abs() > 0.2).any()


def weights(run: Run) -> dict[str, torch.Tensor]:
    state = run.load("generator")
    assert state is not None
    beside = {f"{part} {name}": value for part in ("critic", "path_length") for name, value in state[part].items()}
    return {**state["generator"], **{f"ema {name}": value for name, value in state["ema"].items()}, **beside}


def train_with_kills(run: Run, scale: Scale, kill_at: list[int], monkeypatch: pytest.MonkeyPatch) -> None:
    """Saves after every step and is killed after the given steps; then runs to the end."""
    monkeypatch.setattr(stage, "SAVE_EVERY_S", -1.0)
    monkeypatch.setattr(stage, "sheet", lambda *arguments: None)
    save = run.save
    for last in kill_at:

        def dying(name: str, state: dict[str, object], last: int = last) -> None:
            save(name, state)
            if name == "generator" and state["step"] == last:
                raise KeyboardInterrupt

        run.save = dying  # type: ignore[method-assign]
        with pytest.raises(KeyboardInterrupt):
            stage.train(run, scale, progress=False)
    run.save = save  # type: ignore[method-assign]
    stage.train(run, scale, progress=False)


@pytest.mark.parametrize("scale", [TINY, TINY_3], ids=["stylegan2", "stylegan3"])
def test_a_killed_generator_ends_with_the_weights_of_an_unbroken_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, scale: Scale
) -> None:
    """Killed inside the first phase, at its end (before W is kept), inside the second, at the end of teaching and in
    the adversarial stretch."""
    unbroken, killed = Run(tmp_path / "unbroken"), Run(tmp_path / "killed")
    train_with_kills(unbroken, scale, [], monkeypatch)
    train_with_kills(killed, scale, [2, 3, 4, 5, 6], monkeypatch)
    expected, found = weights(unbroken), weights(killed)
    assert expected.keys() == found.keys()
    assert [name for name, value in expected.items() if not torch.equal(value, found[name])] == []
    early = [run.load("generator-early") for run in (unbroken, killed)]
    for name, value in early[0]["generator"].items():
        assert torch.equal(value, early[1]["generator"][name]), name
        if name.startswith("mapping."):
            assert torch.equal(value, expected[f"ema {name}"]), "W is settled from here on"


def test_another_scale_cannot_go_on_from_this_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run = Run(tmp_path / "run")
    short = dataclasses.replace(TINY, phases=(Phase(depth=1, images=4, batch=4),), adversarial_steps=0)
    train_with_kills(run, short, [], monkeypatch)
    wider = dataclasses.replace(short, generator=dataclasses.replace(TINY.generator, channels=(12, 8)))
    with pytest.raises(CymaticError, match="another version or scale"):
        stage.train(run, wider, progress=False)
