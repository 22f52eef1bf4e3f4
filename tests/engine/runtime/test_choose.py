"""The choice of runtimes: measured once, remembered, forced when asked, and honest about bf16."""

from __future__ import annotations

import importlib.util
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tiny_bundle import make_tiny_bundle

from engine.bundle import Bundle, load_bundle
from engine.contract import GRAPHS
from engine.errors import BundleError, RuntimeUnavailable
from engine.runtime import CPU_RUNTIMES, choose, choose_runtime
from engine.runtime.session import Session


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    return load_bundle(make_tiny_bundle(tmp_path_factory.mktemp("choose") / "tiny"))


@pytest.fixture
def cache(tmp_path: Path) -> Path:
    return tmp_path / "cache" / "runtimes.json"


@pytest.fixture
def timings(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """Stands in for the stopwatch: every measurement takes the next value, or 1 ms; the list of those taken."""
    taken: list[float] = []

    def median(run: Callable[[], object], seconds: float = 0.0) -> float:
        run()
        taken.append(1.0)
        return 1.0

    monkeypatch.setattr(choose, "median_ms", median)
    return taken


def test_every_graph_gets_the_faster_runtime(bundle: Bundle, cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    values = {"openvino": 2.0, "onnxruntime": 1.0}
    opened: list[str] = []
    real = choose.open_graph

    def opening(*args: Any) -> Session:
        opened.append(args[2])
        return real(*args)

    monkeypatch.setattr(choose, "open_graph", opening)
    monkeypatch.setattr(choose, "median_ms", lambda run, seconds=0.0: values[opened[-1]])
    monkeypatch.setattr(choose, "_has_bf16", lambda: False)
    choices = choose_runtime(bundle, cache=cache)
    assert set(choices) == set(GRAPHS)
    assert {(c.runtime, c.precision, c.ms) for c in choices.values()} == {("onnxruntime", "f32", 1.0)}


@pytest.mark.parametrize(("saved_ms", "encoder_runs_in"), [(0.05, "openvino"), (1.0, "onnxruntime")])
def test_a_second_runtime_must_be_worth_it(
    bundle: Bundle, cache: Path, monkeypatch: pytest.MonkeyPatch, saved_ms: float, encoder_runs_in: str
) -> None:
    def measure(bundle: Bundle, name: str, runtime: str, threads: int) -> list[Any]:
        ms = {"openvino": 5.0, "onnxruntime": 9.0 if name == "generator" else 5.0 - saved_ms}[runtime]
        return [choose._Measured(runtime=runtime, precision="f32", ms=ms)]

    monkeypatch.setattr(choose, "_measure", measure)
    choices = choose_runtime(bundle, cache=cache)
    assert choices["generator"].runtime == "openvino"
    assert choices["encoder"].runtime == encoder_runs_in


def test_measured_for_real_once_and_then_remembered(
    bundle: Bundle, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(choose, "MOST_RUNS", 5)
    first = choose_runtime(bundle, cache=cache)
    assert all(0 < choice.ms < 10_000 for choice in first.values())
    monkeypatch.setattr(choose, "median_ms", None)  # would fail if anything were measured again
    assert choose_runtime(bundle, cache=cache) == first
    for runtime in CPU_RUNTIMES:
        assert {c.runtime for c in choose_runtime(bundle, runtime, cache=cache).values()} == {runtime}
    assert [path.name for path in cache.parent.iterdir()] == [cache.name]


def test_a_forced_runtime_is_the_only_one_measured(bundle: Bundle, cache: Path, timings: list[float]) -> None:
    choices = choose_runtime(bundle, "onnxruntime", cache=cache)
    assert {c.runtime for c in choices.values()} == {"onnxruntime"}
    assert len(timings) == len(GRAPHS)
    assert choose_runtime(bundle, "onnxruntime", cache=cache) == choices
    assert len(timings) == len(GRAPHS)


@pytest.mark.parametrize("change", ["threads", "cpu", "version", "graph"])
def test_what_changes_the_speed_is_measured_anew(
    bundle: Bundle, cache: Path, timings: list[float], monkeypatch: pytest.MonkeyPatch, tmp_path: Path, change: str
) -> None:
    choose_runtime(bundle, "onnxruntime", threads=1, cache=cache)
    before = len(timings)
    threads = 1
    if change == "threads":
        threads = 2
    elif change == "cpu":
        monkeypatch.setattr(choose, "cpu_name", lambda: "another CPU")
    elif change == "version":
        monkeypatch.setattr(choose, "_version", lambda package: "99")
    else:
        bundle = load_bundle(make_tiny_bundle(tmp_path / "other", height=10, width=12))
    choose_runtime(bundle, "onnxruntime", threads=threads, cache=cache)
    assert len(timings) - before == (1 if change == "graph" else len(GRAPHS))  # only the generator knows the size


@pytest.mark.parametrize(
    "content", [b"", b"\xff\xfe", b"[]", b'{"k": [{"runtime": "abacus", "precision": "f32", "ms": 1}]}']
)
def test_a_spoilt_cache_is_measured_over(bundle: Bundle, cache: Path, timings: list[float], content: bytes) -> None:
    cache.parent.mkdir()
    cache.write_bytes(content)
    choose_runtime(bundle, "onnxruntime", cache=cache)
    assert len(timings) == len(GRAPHS)
    assert len(json.loads(cache.read_bytes())) == len(GRAPHS)


def test_a_cache_that_cannot_be_written_costs_nothing_but_time(
    bundle: Bundle, tmp_path: Path, timings: list[float]
) -> None:
    (tmp_path / "file").write_text("in the way")
    assert set(choose_runtime(bundle, "onnxruntime", cache=tmp_path / "file" / "runtimes.json")) == set(GRAPHS)
    assert timings


def test_bf16_only_where_its_pictures_are_the_same(
    bundle: Bundle, cache: Path, timings: list[float], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The short session computes in f32 here and paints a known amount darker: the rule must see exactly that."""
    real = choose.open_graph
    darker = 0

    class Short:
        def __init__(self, session: Session) -> None:
            self._session = session
            self.close = session.close

        def run(self, feeds: Any) -> Any:
            picture = self._session.run(feeds)["rgba"].astype(np.int16)
            colours = picture.reshape(-1, 4)[:, :3]
            colours[:] = np.where(colours >= darker, colours - darker, colours + darker)
            return {"rgba": picture}

    def opening(folder: Bundle, name: str, runtime: str, precision: Any = "f32", threads: int | None = None) -> Any:
        session = real(folder, name, runtime, "f32", threads)
        return Short(session) if precision == "bf16" else session

    speeds = iter(
        [1.0, 1.0, 1.0, 3.0, 2.0, 1.0, 1.0] * 2
    )  # encoder, reader, recurrent, generator f32 and bf16, text, mapping
    monkeypatch.setattr(choose, "_has_bf16", lambda: True)
    monkeypatch.setattr(choose, "open_graph", opening)
    monkeypatch.setattr(choose, "median_ms", lambda run, seconds=0.0: next(speeds))
    darker = 1
    accepted = choose_runtime(bundle, "openvino", cache=cache)["generator"]
    assert (accepted.precision, accepted.ms) == ("bf16", 2.0)
    assert accepted.grey_error == pytest.approx(1.0)
    darker = 2
    refused = choose_runtime(bundle, "openvino", cache=cache.with_name("other.json"))
    assert (refused["generator"].precision, refused["generator"].ms) == ("f32", 3.0)
    assert {choice.precision for choice in refused.values()} == {"f32"}


def test_missing_and_unknown_runtimes(bundle: Bundle, cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(RuntimeUnavailable, match=r"'abacus'.*auto.*openvino"):
        choose_runtime(bundle, "abacus", cache=cache)
    real = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None if name == "onnxruntime" else real(name))
    with pytest.raises(RuntimeUnavailable, match="pip install onnxruntime"):
        choose_runtime(bundle, "onnxruntime", cache=cache)
    monkeypatch.setattr(choose, "MOST_RUNS", 5)
    assert {c.runtime for c in choose_runtime(bundle, cache=cache).values()} == {"openvino"}


def test_a_graph_that_no_runtime_can_load(tmp_path: Path, cache: Path) -> None:
    bundle = load_bundle(make_tiny_bundle(tmp_path / "b"))
    bundle.graph_path("encoder").write_bytes(b"hello")
    with pytest.raises(BundleError, match=r"encoder\.onnx"):
        choose_runtime(bundle, cache=cache)
