"""A stage killed with SIGKILL goes on with the metrics and ends with the weights of one that was never killed."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from one_thread import one_thread  # noqa: F401
from tiny_stages import TINY, noise, train
from tqdm import tqdm

from training.run import Run

ROOT = Path(__file__).parents[2]


@pytest.fixture(autouse=True)
def no_monitor(monkeypatch: pytest.MonkeyPatch) -> None:
    """tqdm watches its bars from a thread that nobody ends."""
    monkeypatch.setattr(tqdm, "monitor_interval", 0)


def killed_at(run: Run, stage: str, moment: str, name: str, number: int) -> None:
    """Train in a process of its own, which dies by SIGKILL after a row or within a checkpoint (`Doomed`)."""
    env = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    script = Path(__file__).with_name("tiny_stages.py")
    command = [sys.executable, str(script), str(run.folder), stage, moment, name, str(number)]
    done = subprocess.run(command, env=env, cwd=ROOT, capture_output=True, text=True, timeout=280)
    assert done.returncode == -signal.SIGKILL, done.stderr


def told(run: Run) -> dict[str, list[dict[str, object]]]:
    """All metrics but their times."""
    return {
        path.stem: [{k: v for k, v in row.items() if k not in ("time", "elapsed_s")} for row in run.rows(path.stem)]
        for path in sorted((run.folder / "metrics").glob("*.jsonl"))
    }


def tensors(state: object, name: str = "") -> dict[str, torch.Tensor]:
    """Everything in a checkpoint, by its path."""
    if isinstance(state, dict):
        return {k: v for key, part in state.items() for k, v in tensors(part, f"{name}/{key}").items()}
    if isinstance(state, list | tuple):
        return {k: v for i, part in enumerate(state) for k, v in tensors(part, f"{name}/{i}").items()}
    return {name: state if isinstance(state, torch.Tensor) else torch.tensor(float(state or 0))}


def both(tmp_path: Path) -> tuple[Run, Run]:
    runs = Run(tmp_path / "unbroken"), Run(tmp_path / "killed")
    for run in runs:
        noise(run, TINY)
    return runs


def assert_equal(unbroken: Run, killed: Run, stage: str) -> None:
    assert told(killed) == told(unbroken)
    expected, found = tensors(unbroken.load(stage)), tensors(killed.load(stage))
    assert expected.keys() == found.keys()
    assert [name for name, value in expected.items() if not torch.equal(value, found[name])] == []


@pytest.mark.parametrize(
    ("stage", "moment", "number"),
    [("embedding", "row", 4), ("embedding", "row", 8), ("inversion", "row", 4), ("recurrent", "checkpoint", 2)],
)
def test_a_killed_stage_ends_as_if_it_had_not_been(tmp_path: Path, stage: str, moment: str, number: int) -> None:
    """In the middle of its steps, after its last row but before its last checkpoint, or within a checkpoint."""
    unbroken, killed = both(tmp_path)
    train(unbroken, stage)
    killed_at(killed, stage, moment, stage, number)
    seen = told(killed)[stage]
    train(killed, stage)
    assert_equal(unbroken, killed, stage)
    assert told(killed)[stage][: len(seen)] == seen, "what was told before the kill was true"
    times = [row["elapsed_s"] for row in killed.rows(stage)]
    assert times == sorted(times), "the clock counts the work, not the pause"
    train(killed, stage)
    assert [row["elapsed_s"] for row in killed.rows(stage)] == times, "what is finished is not done again"


def test_a_generator_killed_in_each_of_its_phases(tmp_path: Path) -> None:
    unbroken, killed = both(tmp_path)
    train(unbroken, "generator")
    for moment, name, number in (("row", "generator", 5), ("checkpoint", "generator", 5), ("row", "adversarial", 3)):
        killed_at(killed, "generator", moment, name, number)
    train(killed, "generator")
    assert_equal(unbroken, killed, "generator")
    assert_equal(unbroken, killed, "generator-early")
    rows = told(killed)
    assert [row["step"] for row in rows["generator"]] == list(range(16))
    assert rows["adversarial"][-1]["images"] == (16 + 4) * 4


def test_metrics_that_ran_ahead_are_forgotten(tmp_path: Path) -> None:
    run = Run(tmp_path)
    for step in range(4):
        run.log("part", step=step, loss=float(step))
    path = tmp_path / "metrics/part.jsonl"
    path.write_text(path.read_text() + '{"time": 1.0, "step": 4, "lo')
    assert [row["step"] for row in run.rows("part")] == [0, 1, 2, 3], "a line cut short is no line"
    run.rewind("part", 2)
    assert [row["step"] for row in run.rows("part")] == [0, 1]
    run.log("part", step=2, loss=5.0)
    assert [json.loads(line)["step"] for line in path.read_text().splitlines()] == [0, 1, 2]
    run.rewind("part", 0)
    assert run.rows("part") == []
    run.rewind("other", 3)
    assert run.rows("other") == []


def test_the_clock_goes_on_where_older_metrics_end(tmp_path: Path) -> None:
    run = Run(tmp_path)
    lines = [{"time": 1000.0 + 60 * step, "step": step, "loss": 1.0} for step in range(3)]
    (tmp_path / "metrics/part.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    run.rewind("part", 3)
    run.log("part", step=3, loss=1.0)
    assert 120.0 <= run.rows("part")[-1]["elapsed_s"] < 180.0
