"""`cymatic bench` on a real bundle: every runtime here is measured, and the table says what the figures say."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from cymatic import bench
from cymatic.cli import main
from engine.painter import GRAPHS
from engine.runtime import CPU_RUNTIMES
from engine.runtime.session import can_run
from export import measure

pytestmark = pytest.mark.timeout(900)  # for a busy machine


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """A small peak, no processes of its own, and nobody's cache."""
    monkeypatch.setattr(measure, "PEAK_S", 0.0)
    monkeypatch.setattr(measure, "PEAK_GRID", (8, 8))
    monkeypatch.setattr(measure, "memory_mib", lambda folder, label, threads: 100.0)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))


def test_every_runtime_is_measured_against_eager_torch(
    quick: None, tiny_bundle: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip("torch")
    assert main(["bench", str(tiny_bundle), "--json", "--seconds", "0", "--threads", "1"]) == 0
    report = json.loads(capsys.readouterr().out)
    assert report["reference"] == "eager torch, f32"
    assert set(report["graphs"]) == set(GRAPHS)
    here = [runtime for runtime in CPU_RUNTIMES if can_run(runtime)]
    for measured in report["graphs"].values():
        rows = measured["runtimes"]
        assert {measure.EAGER, measure.DEFAULTS, *(f"{runtime} f32" for runtime in here)} <= set(rows)
        eager = rows[measure.EAGER]
        assert eager["times_as_fast_as_eager"] == 1.0
        assert eager["mean_grey"] == 0.0
        for row in rows.values():
            assert 0 < row["p50_ms"] <= row["p95_ms"]
            assert row["runs"] >= 3 * (measure.TURN - 1)
            assert row["mean_grey"] <= 1.0
            assert row["times_as_fast_as_eager"] == pytest.approx(eager["p50_ms"] / row["p50_ms"])
            assert row["share_of_peak"] == pytest.approx(row["gflops"] / report["peak_gflops"]["cpu"])
    assert {choice["runtime"] for choice in report["live"].values()} <= set(here)

    lines = list(bench.table(report))
    assert sum(line.startswith("| generator |") for line in lines) == len(report["graphs"]["generator"]["runtimes"])
    assert {line.count("|") for line in lines if line.startswith("|")} == {11}
    assert lines[-1].startswith("`cymatic live` takes: ")


def test_a_faster_gpu_is_said_to_take_over(quick: None) -> None:
    rows = {
        "openvino f32": {"p50_ms": 20.0},
        "tensorrt f32": {"p50_ms": 2.0},
        "torch-cuda f32": {"p50_ms": 4.0},
        "onnxruntime-cuda f32": {"error": "no driver"},
    }
    report = {
        "graphs": {"generator": {"runtimes": rows}},
        "live": {"generator": {"runtime": "openvino", "precision": "f32"}},
    }
    assert bench._accelerated(report) == ["tensorrt f32", "torch-cuda f32"]
    rows["openvino f32"]["p50_ms"] = 1.0
    assert bench._accelerated(report) == []


def test_memory_is_that_of_a_process_of_its_own(tiny_bundle: Path) -> None:
    assert 20 < measure.memory_mib(tiny_bundle, "onnxruntime f32", 1) < 2_000


@pytest.mark.parametrize(
    "arguments",
    [["bench", "nowhere"], ["bench", "landscape", "--seconds", "-1"], ["bench", "landscape", "--threads", "x"]],
)
def test_bad_input_is_refused(capsys: pytest.CaptureFixture[str], arguments: list[str]) -> None:
    try:
        code = main(arguments)
    except SystemExit as end:
        code = end.code
    assert code == 2
    assert capsys.readouterr().err
