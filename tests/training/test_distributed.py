"""Two processes learn what one with the doubled batch learns, and a GPU would get what it is given."""

from __future__ import annotations

import dataclasses
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from one_thread import one_thread  # noqa: F401
from tiny_stages import STAGES, TINY, noise, train
from tqdm import tqdm

from engine.audio.mel import MelConfig
from engine.errors import CymaticError
from training import device, distributed, recurrent
from training.clips import make_clip, windows_of, world_pictures
from training.pictures import FieldTiles, WorldPictures
from training.run import Run, seeded, streams
from training.scales import Phase

ROOT = Path(__file__).parents[2]
SCALE = dataclasses.replace(
    TINY,
    phases=(Phase(depth=1, images=4 * 3, batch=4), Phase(depth=2, images=4 * 3, batch=4)),
    adversarial_steps=2,
    embedding_steps=4,
    looking_steps=3,
    inversion_steps=3,
    reading_steps=3,
    recurrent_steps=2,
    batch=32,
)
DOUBLED = dataclasses.replace(
    SCALE, phases=(Phase(depth=1, images=8 * 3, batch=8), Phase(depth=2, images=8 * 3, batch=8)), batch=64
)


@pytest.fixture(autouse=True)
def no_monitor(monkeypatch: pytest.MonkeyPatch) -> None:
    """tqdm watches its bars from a thread that nobody ends."""
    monkeypatch.setattr(tqdm, "monitor_interval", 0)


def torchrun(processes: int, script: str, *arguments: str) -> None:
    env = {
        **os.environ,
        "PYTHONPATH": f"{ROOT}:{Path(__file__).parent}:{Path(__file__).parents[1]}",
        "OMP_NUM_THREADS": "1",
    }
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", f"--nproc-per-node={processes}"]
    done = subprocess.run(
        [*command, script, *arguments], env=env, cwd=ROOT, capture_output=True, text=True, timeout=280
    )
    assert done.returncode == 0, done.stdout + done.stderr


def numbers(run: Run, stage: str, *, evaluation: bool = False) -> list[dict[str, float]]:
    """A stage's metrics but for their times. The evaluation at its end counts hits, and may differ by one."""
    steps = {"embedding": SCALE.embedding_steps, "inversion": SCALE.inversion_steps}.get(stage)
    rows = [row for row in run.rows(stage) if evaluation or row["step"] != steps]
    return [{k: v for k, v in row.items() if k not in ("time", "elapsed_s")} for row in rows]


def gradients(run: Run, stage: str) -> torch.Tensor:
    """The running means of all gradients: unlike Adam's steps, they would show a factor."""
    state = run.load(stage)
    assert state is not None
    optimisers = [part for part in state.values() if isinstance(part, dict) and "param_groups" in part]
    return torch.cat([each["exp_avg"].flatten() for part in optimisers for each in part["state"].values()])


def test_two_processes_learn_like_one_with_the_doubled_batch(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """In float32: where bfloat16 is at hand, a batch in halves is rounded otherwise than the whole."""
    monkeypatch.setattr(device, "has_bfloat16", lambda _: False)
    two, one = Run(tmp_path / "two"), Run(tmp_path / "one")
    for run in (two, one):
        noise(run, SCALE)
    torchrun(2, __file__, str(two.folder))
    monkeypatch.setattr(recurrent, "FILMS", 2 * recurrent.FILMS)
    for stage in STAGES:
        train(one, stage, DOUBLED)
    for stage in (*STAGES, "adversarial"):
        rows, found = numbers(one, stage), numbers(two, stage)
        assert len(found) == len(rows) >= 2
        for mine, theirs in zip(rows, found, strict=True):
            assert theirs == pytest.approx(mine, rel=1e-3, abs=1e-3), stage
        assert numbers(two, stage, evaluation=True)[-1].keys() == numbers(one, stage, evaluation=True)[-1].keys()
    for stage in STAGES:
        mine, theirs = gradients(one, stage), gradients(two, stage)
        assert float((mine - theirs).norm()) < 0.02 * float(mine.norm()), stage
    # One format: what two have begun, one goes on with.
    train(two, "recurrent", dataclasses.replace(SCALE, recurrent_steps=SCALE.recurrent_steps + 1))
    assert [row["step"] for row in two.rows("recurrent")] == [0, 1, 2]


def test_sounds_are_made_in_parts_and_known_to_all(tmp_path: Path) -> None:
    """Three clips in two processes."""
    torchrun(2, __file__, str(tmp_path / "run"), "clips")
    found = [torch.load(tmp_path / f"run/{rank}.pt", weights_only=True) for rank in range(2)]
    assert torch.equal(found[0], found[1])
    tiles = FieldTiles(SCALE.generator.size)
    alone = [world_pictures(make_clip(i, 1, MelConfig())[1], tiles, seeded(1, 32, i)) for i in range(3)]
    assert torch.equal(found[0], torch.cat(alone))
    assert len(list((tmp_path / "run").glob("sounds*"))) == 1


def test_samples_are_dealt_out_without_gap_or_overlap(monkeypatch: pytest.MonkeyPatch) -> None:
    tiles = FieldTiles((18, 32))
    whole = WorldPictures(tiles, 18, batch=6, reuse=2, seed=3, capacity=8)
    parts = [WorldPictures(tiles, 18, batch=2, reuse=2, seed=3, capacity=8, share=(r, 3)) for r in range(3)]
    for step in range(4):
        expected, found = whole.step(step), [part.step(step) for part in parts]
        for i, values in enumerate(expected):
            if values is None:  # no cells
                continue
            assert torch.equal(torch.stack([part[i] for part in found], 1).flatten(0, 1), values)
    drawn = [torch.rand(1, generator=one) for one in streams(6, 1, 2)]
    monkeypatch.setattr(distributed, "size", lambda: 3)
    for rank in range(3):
        monkeypatch.setattr(distributed, "rank", lambda rank=rank: rank)
        assert [torch.rand(1, generator=one) for one in streams(2, 1, 2)] == drawn[rank::3]


def test_a_process_that_is_alone_is_left_alone() -> None:
    with distributed.processes():
        assert (distributed.rank(), distributed.size()) == (0, 1)
        rows = torch.ones(2, 3, requires_grad=True)
        assert distributed.gather(rows) is rows
        assert distributed.share(b"sounds") == b"sounds"
        assert distributed.mean({"loss": torch.tensor(0.5)}) == {"loss": 0.5}


# Where it computes


def test_bfloat16_only_where_the_hardware_has_it(monkeypatch: pytest.MonkeyPatch) -> None:
    for known, expected in (({}, False), ({"avx512_bf16": True}, True), ({"amx_bf16": True, "avx2": True}, True)):
        monkeypatch.setattr(torch.cpu, "get_capabilities", lambda known=known: known, raising=False)
        assert device.has_bfloat16(torch.device("cpu")) is expected
        product = torch.ones(2, 2)
        with device.mixed(torch.device("cpu")):
            assert (product @ product).dtype is (torch.bfloat16 if expected else torch.float32)
            assert device.exact(torch.matmul)(product, product).dtype is torch.float32


def test_every_process_needs_a_gpu_of_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    monkeypatch.setattr(torch.cuda, "set_device", lambda number: None)
    monkeypatch.setenv("LOCAL_RANK", "1")
    assert device.pick() == torch.device("cuda", 1)
    monkeypatch.setenv("LOCAL_RANK", "2")
    with pytest.raises(CymaticError, match="at most 2"):
        device.pick()


@pytest.mark.parametrize("stage", STAGES)
def test_mixed_precision_learns_the_same(tmp_path: Path, stage: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Emulated on most processors: slow, but the numbers are those of a GPU's bfloat16.

    Of one step each: Adam's first one goes by signs, so that from the second on what was rounded is a whole step.
    """
    short = dataclasses.replace(
        TINY, phases=(Phase(1, 8, 4), Phase(2, 8, 4)), adversarial_steps=1, embedding_steps=1, looking_steps=1,
        inversion_steps=1, reading_steps=1, recurrent_steps=1,
    )  # fmt: skip
    runs = [Run(tmp_path / name) for name in ("exact", "mixed")]
    for run, there in zip(runs, (False, True), strict=True):
        noise(run, short)
        monkeypatch.setattr(device, "has_bfloat16", lambda _, there=there: there)
        train(run, stage, short)
    first, second = (numbers(run, stage)[0] for run in runs)
    assert second == pytest.approx(first, rel=0.01, abs=0.01)
    assert second != first, "something was computed in bfloat16"
    moved, also = (gradients(run, stage) for run in runs)
    assert float(torch.cosine_similarity(moved, also, dim=0)) > 0.98


if __name__ == "__main__":
    torch.set_num_threads(1)
    tqdm.monitor_interval = 0
    device.has_bfloat16 = lambda _: False
    with distributed.processes():
        child = Run(Path(sys.argv[1]))
        if sys.argv[2:] == ["clips"]:
            windows = windows_of(child, dataclasses.replace(SCALE, embedding_clips=3), "train")
            torch.save(windows.pictures, child.folder / f"{distributed.rank()}.pt")
        else:
            for part in STAGES:
                train(child, part, SCALE)
