"""The log of a run: what its stages told as a table and a plot."""

from __future__ import annotations

import csv
import json
from pathlib import Path
from xml.etree import ElementTree

import pytest

from training.log import main, table, write_log
from training.run import Run


@pytest.fixture
def run(tmp_path: Path) -> Run:
    """A run whose embedding ended, and whose generator is at its second size; the first rows are of an older form."""
    run = Run(tmp_path / "run")
    lines = [{"time": 1000.0 + 60 * i, "step": 50 * i, "depth": 3, "loss": 0.5, "lr": 0.005} for i in range(3)]
    path = run.folder / "metrics/generator.jsonl"
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))
    run.rewind("generator", 150)
    run.log("generator", step=150, images=1200, depth=4, loss=0.25, lr=0.004)
    for step, loss in enumerate((3.0, 2.0, float("nan"))):
        run.log("embedding", step=step, loss=loss, temperature=14.0)
    run.log("embedding", step=3, retrieval_sound_image=0.5, scene_sound=0.875)
    for step in range(2):
        run.log("inversion", step=step, sound_cos=0.5 + 0.1 * step, sound_teacher=0.0)
    return run


def test_the_table_is_tidy_and_in_the_order_of_training(run: Run, tmp_path: Path) -> None:
    csv_path, _ = write_log(run.folder, tmp_path / "docs/runs/tiny")
    with csv_path.open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert list(rows[0]) == ["stage", "step", "elapsed_s", "metric", "value"]
    assert list(dict.fromkeys(row["stage"] for row in rows)) == ["generator", "embedding", "inversion"]
    losses = [(int(r["step"]), float(r["value"])) for r in rows if (r["stage"], r["metric"]) == ("generator", "loss")]
    assert losses == [(0, 0.5), (50, 0.5), (100, 0.5), (150, 0.25)]
    times = [float(row["elapsed_s"]) for row in rows if row["stage"] == "generator" and row["metric"] == "loss"]
    assert times[:3] == [0.0, 60.0, 120.0]
    assert times[3] >= 120.0
    assert {"metric": "scene_sound", "value": "0.875"}.items() <= rows[-5].items()


def test_a_step_done_again_counts_once(run: Run) -> None:
    run.log("inversion", step=1, sound_cos=0.9, sound_teacher=0.1)
    told = [entry.value for entry in table(run.folder) if (entry.metric, entry.step) == ("sound_cos", 1)]
    assert told == [0.9]


def test_the_plot_shows_every_stage_and_its_results(run: Run, tmp_path: Path) -> None:
    main([str(run.folder), str(tmp_path / "tiny")])
    root = ElementTree.parse(tmp_path / "tiny.svg").getroot()
    words = [element.text for element in root.iter("{http://www.w3.org/2000/svg}text")]
    assert [word for word in words if word and " steps, " in word] == [
        "generator: 150 steps, 0.0 h", "embedding: 3 steps, 0.0 h", "inversion: 1 steps, 0.0 h",
    ]  # fmt: skip
    assert {"loss 0.25", "loss 2", "sound_cos 0.6", "retrieval_sound_image", "0.875", "4"} <= set(words)
    assert not any(word and word.startswith(("lr", "temperature", "images")) for word in words)
    assert "nan" not in (tmp_path / "tiny.svg").read_text()


def test_a_folder_without_metrics_is_one_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main([str(tmp_path), str(tmp_path / "log")])
    assert "is no run folder" in capsys.readouterr().err
