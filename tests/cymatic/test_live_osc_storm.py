"""A short storm of OSC over a show, as `benchmarks/osc_storm.py` measures it at length."""

from __future__ import annotations

import importlib.util
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import pytest
from live_process import ROOT

from cymatic.stage import EngineOptions
from engine.bundle import load_bundle
from presets.schema import Preset, Seed
from presets.store import PresetStore


@pytest.fixture
def benchmark() -> Iterator[ModuleType]:
    spec = importlib.util.spec_from_file_location("osc_storm", ROOT / "benchmarks" / "osc_storm.py")
    sys.modules["osc_storm"] = module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    yield module
    del sys.modules["osc_storm"]


def test_a_storm_loses_no_trigger_leaves_no_traceback_and_control_still_answers(
    benchmark, tiny_bundle, noise, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    store = PresetStore([tmp_path])
    for name in ("alpha", "ember"):
        store.save(Preset(name=name, base=Seed(seed=1)))
    options = EngineOptions(str(noise), runtime="onnxruntime", fps=30.0, threads=1)
    told = benchmark.storm(
        load_bundle(tiny_bundle), store, options, seconds=1.0, rate=1000.0, triggers=50, mutated=1000
    )
    assert told["triggers"] == {"sent": 50, "taken": 50, "in_order": True}
    assert told["storm"]["heard_messages_per_s"] > 900
    mutated = told["mutated"]
    assert (mutated["tracebacks"], mutated["errors"], mutated["raised"]) == (0, 0, [])
    assert mutated["datagrams"] >= 1000
    assert mutated["malformed"] > 200
    assert mutated["answers"] > 0
    assert mutated["answer_ms"]["longest"] < float("inf"), "every question was answered"
    assert told["holds"]["memory"]
