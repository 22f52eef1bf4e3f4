"""The drift benchmark can tell drift from noise, and its encoder's memory changes nothing."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path

import numpy as np
import pytest

from engine.bundle import load_bundle
from engine.offline import open_sessions, paint

pytest.importorskip("torch")
RATE = 32_000


@pytest.fixture(scope="module")
def drift():
    path = Path(__file__).resolve().parents[1] / "benchmarks" / "drift.py"
    spec = importlib.util.spec_from_file_location("drift", path)
    sys.modules[spec.name] = module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    yield module
    del sys.modules[spec.name]


def test_noise_is_no_drift_and_drift_is_no_noise(drift):
    noise = np.random.default_rng(0).normal(1.0, 0.01, (200, 12))
    found = [drift.compare(stretches)["equal_within_noise"] for stretches in noise]
    assert np.mean(found) > 0.95
    for per_stretch in (0.01, -0.01, 0.1):
        slope = per_stretch * np.arange(12)
        found = [drift.compare(stretches + slope)["equal_within_noise"] for stretches in 0.2 * noise]
        assert np.mean(found) < 0.05
    assert not drift.compare(np.array([1.0, 1.0, np.nan]))["equal_within_noise"]


def test_colourfulness_is_that_of_the_paper(drift):
    grey = np.full((8, 8, 3), 77, np.uint8)
    assert drift.colourfulness(grey) == 0.0
    halves = np.zeros((2, 2, 3), np.uint8)
    halves[0] = (200, 0, 0)  # rg 200 and 0, yb 100 and 0: deviations 100 and 50, means 100 and 50
    assert drift.colourfulness(halves) == pytest.approx(1.3 * np.hypot(100, 50))


def test_what_the_encoder_remembers_is_what_it_would_have_said(drift, tiny_bundle):
    bundle = load_bundle(tiny_bundle)
    loop = 0.1 * np.random.default_rng(0).standard_normal(RATE).astype(np.float32)
    sound = np.tile(np.concatenate([np.zeros(3 * RATE, np.float32), loop]), 3)
    with open_sessions(bundle, "onnxruntime", threads=1) as sessions:
        expected = [frame.w_plus for frame in paint(sound, RATE, bundle, sessions, fps=2.0)]
        encoder = drift.Remembering(sessions["encoder"])
        found = [frame.w_plus for frame in paint(sound, RATE, bundle, {**sessions, "encoder": encoder}, fps=2.0)]
    np.testing.assert_array_equal(found, expected)
    assert encoder.runs < 0.8 * 12 * 30
