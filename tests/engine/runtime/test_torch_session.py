"""Graphs in torch, operator by operator: the same answers as ONNX Runtime's, and one line for what it does not know."""

from __future__ import annotations

import importlib.util
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from tiny_bundle import make_tiny_bundle

from engine.bundle import Bundle, find_bundle, load_bundle
from engine.contract import GRAPHS
from engine.errors import BundleError, RuntimeUnavailable
from engine.runtime import open_graph, open_session
from engine.runtime.choose import random_feeds

torch = pytest.importorskip("torch")
pytest.importorskip("onnx")

import onnx  # noqa: E402
from onnx import TensorProto, helper, numpy_helper  # noqa: E402

from engine.runtime.torch_cuda import TorchSession  # noqa: E402


@pytest.fixture(autouse=True, scope="module")
def one_thread() -> Iterator[None]:
    """Neighbours keep their cores."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="module", params=["tiny", "landscape"])
def bundle(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    if request.param == "tiny":
        return load_bundle(make_tiny_bundle(tmp_path_factory.mktemp("torch") / "tiny"))
    return load_bundle(find_bundle(request.param))


@pytest.mark.parametrize("graph", GRAPHS)
def test_torch_answers_as_onnx_runtime_does(bundle: Bundle, graph: str) -> None:
    exact = open_graph(bundle, graph, "onnxruntime", threads=1)
    session = TorchSession(bundle.graph_path(graph), "f32", "cpu")
    assert (session.inputs, session.outputs) == (exact.inputs, exact.outputs)
    for seed in range(2):
        feeds = random_feeds(exact.inputs, np.random.default_rng(seed))
        found, expected = session.run(feeds), exact.run(feeds)
        assert found.keys() == expected.keys()
        for name, value in expected.items():
            apart = np.abs(value.astype(np.float64) - found[name]).max()
            assert apart <= (1 if value.dtype == np.uint8 else 1e-4), name
            assert found[name].dtype == value.dtype
    session.close()
    exact.close()


OPERATORS = {
    "Conv": ({"pads": [0, 1, 2, 1], "strides": [2, 1]}, [(3, 4, 3, 3), (3,)]),
    "ConvTranspose": ({"strides": [2, 2], "pads": [1, 1, 1, 1], "group": 2}, [(4, 1, 4, 4)]),
    "Pad": ({"mode": "reflect"}, [np.array([0, 0, 1, 2, 0, 0, 0, 1])]),
    "Slice": ({}, [np.array([-3, 0]), np.array([10_000, -1]), np.array([2, 3]), np.array([1, 2])]),
    "ReduceMean": ({"keepdims": 0}, [np.array([1, 3])]),
    "ReduceL2": ({"keepdims": 1}, [np.array([1])]),
    "DepthToSpace": ({"blocksize": 2, "mode": "DCR"}, []),
    "AveragePool": ({"kernel_shape": [3, 3], "pads": [1, 1, 1, 1], "count_include_pad": 1}, []),
    "Resize": ({"mode": "linear"}, ["", np.array([1, 1, 2, 2], np.float32)]),
    "Gather": ({"axis": 2}, [np.array([[0, 2], [1, 1]])]),
    "Expand": ({}, [np.array([2, 1, 1, 1, 7])]),
    "Transpose": ({"perm": [0, 2, 3, 1]}, []),
    "Softmax": ({"axis": 1}, []),
    "Clip": ({}, [np.array(-0.5, np.float32), np.array(0.25, np.float32)]),
}


@pytest.mark.parametrize("kind", OPERATORS)
def test_an_operator_is_what_onnx_says(tmp_path: Path, kind: str) -> None:
    attributes, more = OPERATORS[kind]
    rng = np.random.default_rng(0)
    names, stored = ["x"], []
    for number, value in enumerate(more):
        if isinstance(value, str):
            names.append("")
            continue
        array = rng.standard_normal(value).astype(np.float32) if isinstance(value, tuple) else value
        stored.append(numpy_helper.from_array(np.asarray(array), f"c{number}"))
        names.append(f"c{number}")
    shape = (1, 4, 6, 1) if kind == "Expand" else (1, 4, 6, 7)
    x = helper.make_tensor_value_info("x", TensorProto.FLOAT, shape)
    y = helper.make_empty_tensor_value_info("y")
    node = helper.make_node(kind, names, ["y"], **attributes)
    model = helper.make_model(
        helper.make_graph([node], "one", [x], [y], stored), opset_imports=[helper.make_opsetid("", 20)], ir_version=10
    )
    inferred = onnx.shape_inference.infer_shapes(model, data_prop=True, strict_mode=True)
    onnx.save(inferred, tmp_path / "one.onnx")
    feeds = {"x": rng.standard_normal(shape).astype(np.float32)}
    exact, session = (
        open_session(tmp_path / "one.onnx", "onnxruntime"),
        TorchSession(tmp_path / "one.onnx", "f32", "cpu"),
    )
    np.testing.assert_allclose(session.run(feeds)["y"], exact.run(feeds)["y"], atol=1e-5)


def test_what_it_does_not_know_and_what_is_no_graph(tmp_path: Path) -> None:
    x, y = (helper.make_tensor_value_info(name, TensorProto.FLOAT, (1, 4)) for name in "xy")
    graph = helper.make_graph([helper.make_node("Celu", ["x"], ["y"])], "g", [x], [y])
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)]), tmp_path / "celu.onnx")
    with pytest.raises(BundleError, match=r"celu\.onnx: torch is not told how to compute Celu"):
        TorchSession(tmp_path / "celu.onnx", "f32", "cpu")
    (tmp_path / "x.onnx").write_bytes(b"\xff" * 40)
    with pytest.raises(BundleError, match=r"x\.onnx: torch cannot load it") as caught:
        TorchSession(tmp_path / "x.onnx", "f32", "cpu")
    assert "\n" not in str(caught.value)


def test_without_a_gpu_the_runtime_says_so(bundle: Bundle) -> None:
    if importlib.util.find_spec("torch") and torch.cuda.is_available():
        pytest.skip("there is a GPU")
    with pytest.raises(RuntimeUnavailable, match="torch finds no GPU"):
        open_graph(bundle, "mapping", "torch-cuda")
    with pytest.raises(RuntimeUnavailable, match="bf16"):
        TorchSession(bundle.graph_path("mapping"), "bf16", "cpu")


def test_wrong_feeds_are_refused_by_name(bundle: Bundle) -> None:
    session = TorchSession(bundle.graph_path("mapping"), "f32", "cpu")
    with pytest.raises(ValueError, match="input z is missing"):
        session.run({})
    with pytest.raises(ValueError, match=r"input z is float64"):
        session.run({"z": np.zeros(session.inputs["z"].shape)})
