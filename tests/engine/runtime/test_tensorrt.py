"""TensorRT behind its thin class: real engines built without a GPU; running them where there is one."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from onnx import TensorProto, helper
from tiny_bundle import make_tiny_bundle

from engine.bundle import Bundle, load_bundle
from engine.contract import GRAPHS
from engine.errors import RuntimeUnavailable
from engine.runtime import Session, open_graph, open_session
from engine.runtime.choose import random_feeds
from engine.runtime.session import can_run, has_nvidia_gpu

tensorrt = pytest.importorskip("engine.runtime.tensorrt")


@pytest.fixture(scope="module")
def trt() -> Any:
    try:
        found = tensorrt.TensorRt()
    except RuntimeUnavailable as error:
        pytest.skip(str(error))
    if not found.portable and not has_nvidia_gpu():
        pytest.skip("the classic TensorRT builds only where there is a GPU")
    return found


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    return load_bundle(make_tiny_bundle(tmp_path_factory.mktemp("tensorrt") / "tiny"))


def graph_of(kind: str, path: Path) -> Path:
    x, y = (helper.make_tensor_value_info(name, TensorProto.FLOAT, (1, 4)) for name in "xy")
    graph = helper.make_graph([helper.make_node(kind, ["x"], ["y"])], "g", [x], [y])
    path.write_bytes(
        helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=10).SerializeToString()
    )
    return path


@pytest.mark.parametrize("graph", GRAPHS)
def test_every_graph_becomes_an_engine(trt: Any, bundle: Bundle, graph: str) -> None:
    plan = trt.build(bundle.graph_path(graph).read_bytes(), (86, 89, 120) if trt.portable else ())
    assert len(plan) > 1000


def test_what_it_cannot_read_is_an_error_with_its_own_words(trt: Any, tmp_path: Path) -> None:
    path = graph_of("Abracadabra", tmp_path / "x.onnx")
    with pytest.raises(
        RuntimeUnavailable, match=rf"{re.escape(trt.version)} cannot read the graph: .*Plugin not found"
    ):
        trt.build(path.read_bytes())
    with pytest.raises(RuntimeUnavailable, match=r"cannot (read|build)"):
        trt.build(b"hello")


def test_what_it_cannot_build_is_an_error_with_the_logs_last_lines(trt: Any) -> None:
    """A size that is not fixed, and no range given for it."""
    x, y = (helper.make_tensor_value_info(name, TensorProto.FLOAT, ("n", 4)) for name in "xy")
    graph = helper.make_graph([helper.make_node("Relu", ["x"], ["y"])], "g", [x], [y])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=10)
    with pytest.raises(RuntimeUnavailable, match=r"cannot build an engine: .*optimization profile") as caught:
        trt.build(model.SerializeToString())
    assert "\n" not in str(caught.value)


def test_an_architecture_that_it_does_not_know(trt: Any, tmp_path: Path) -> None:
    graph = graph_of("Relu", tmp_path / "x.onnx").read_bytes()
    with pytest.raises(
        RuntimeUnavailable, match=r"SM 90: choose of 75, 80, 86" if trt.portable else "for the GPU here"
    ):
        trt.build(graph, (89, 90))


@pytest.mark.skipif(has_nvidia_gpu(), reason="there is a GPU")
def test_without_a_gpu_an_engine_is_refused_in_one_line(trt: Any, bundle: Bundle) -> None:
    plan = trt.build(bundle.graph_path("mapping").read_bytes())
    with pytest.raises(RuntimeUnavailable, match=r"cannot load the engine: .*CUDA") as caught:
        trt.load(plan)
    assert "\n" not in str(caught.value)
    assert not can_run("tensorrt")
    pytest.importorskip("cuda.bindings")
    with pytest.raises(RuntimeUnavailable, match="CUDA: cudaGetDeviceCount failed"):
        open_graph(bundle, "mapping", "tensorrt")


def test_an_engine_is_built_once(trt: Any, bundle: Bundle, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path, cache = bundle.graph_path("mapping"), tmp_path / "cache"
    built: list[int] = []

    def build(graph: bytes, sms: tuple[int, ...] = ()) -> bytes:
        built.append(len(graph))
        return b"plan %d" % len(built)

    monkeypatch.setattr(trt, "build", build)
    first = tensorrt.cached_engine(trt, path, "sm89", (89,), cache)
    assert tensorrt.cached_engine(trt, path, "sm89", (89,), cache) == first == b"plan 1"
    assert tensorrt.cached_engine(trt, path, "NVIDIA GeForce RTX 4070", (), cache) == b"plan 2", "another GPU"
    monkeypatch.setattr(trt, "version", "99")
    assert tensorrt.cached_engine(trt, path, "sm89", (89,), cache) == b"plan 3", "another version"
    other = graph_of("Relu", tmp_path / "mapping.onnx")
    assert tensorrt.cached_engine(trt, other, "sm89", (89,), cache) == b"plan 4", "another graph of the same name"
    assert sorted(path.suffix for path in cache.iterdir()) == [".engine"] * 4
    (tmp_path / "file").write_text("in the way")
    assert tensorrt.cached_engine(trt, path, "sm89", (89,), tmp_path / "file" / "cache") == b"plan 5"


def test_old_engines_make_room(trt: Any, bundle: Bundle, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(trt, "build", lambda graph, sms=(): b"plan")
    monkeypatch.setattr(tensorrt, "ENGINES_KEPT", 3)
    for number in range(6):
        tensorrt.cached_engine(trt, bundle.graph_path("mapping"), f"gpu {number}", (), tmp_path)
    assert len(list(tmp_path.iterdir())) == 3


# On a GPU


@pytest.fixture(params=["tensorrt", "torch-cuda", "onnxruntime-cuda", "onnxruntime-tensorrt-rtx"])
def accelerated(request: pytest.FixtureRequest) -> str:
    if not can_run(request.param):
        pytest.skip(f"{request.param} cannot run here")
    return str(request.param)


@pytest.mark.parametrize("graph", GRAPHS)
def test_a_gpu_answers_as_the_cpu_does(bundle: Bundle, accelerated: str, graph: str) -> None:
    session, exact = open_graph(bundle, graph, accelerated), open_graph(bundle, graph, "onnxruntime")
    feeds = random_feeds(exact.inputs, np.random.default_rng(0))
    for _ in range(3):
        found, expected = session.run(feeds), exact.run(feeds)
        for name, value in expected.items():
            apart = np.abs(value.astype(np.float64) - found[name])
            assert apart.mean() <= (0.5 if value.dtype == np.uint8 else 2e-3)
    session.close()
    exact.close()


def test_state_comes_back_and_outputs_stay_for_one_run(bundle: Bundle, accelerated: str) -> None:
    session: Session = open_session(bundle.graph_path("recurrent"), accelerated)
    feeds = {name: np.zeros(spec.shape, np.float32) for name, spec in session.inputs.items()}
    feeds["base"] = feeds["base"] + 1
    expected, last = 0.0, None
    for _ in range(20):
        kept = None if last is None else last.copy()
        after = session.run(feeds)
        if last is not None:
            np.testing.assert_array_equal(last, kept)
        last = feeds["w"] = after["w_next"]
        expected += 0.2 * (1 - expected)
        np.testing.assert_allclose(last, expected, rtol=1e-3)
    session.close()
    np.testing.assert_allclose(last, expected, rtol=1e-3)
