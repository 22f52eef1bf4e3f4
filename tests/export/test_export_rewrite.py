"""Half precision as a rewrite of the graph: the same answers, no overflow, bytes only at the very end."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from engine.bundle import find_bundle, load_bundle
from engine.runtime import Tensors, open_session
from export.flops import gflop
from export.rewrite import bytes_before_batch, cast_last, cut_bytes, in_half

CHANNELS, GRID = 32, (9, 16)


def modulated(path: Path, weight: float, style: float, seed: int = 0) -> Tensors:
    """Two StyleGAN2 layers as a file, with weights and styles of these sizes, and what to feed them."""
    rng = np.random.default_rng(seed)
    stored = {
        "up": weight * rng.standard_normal((CHANNELS, CHANNELS, 3, 3)),
        "plain": weight * rng.standard_normal((CHANNELS, CHANNELS, 3, 3)),
        "bias": rng.standard_normal(CHANNELS),
        "affine": style * rng.standard_normal((8, CHANNELS)),
        "epsilon": np.array(1e-8),
        "shape": np.array([1, CHANNELS, 1, 1]),
    }
    for name, kernel in (("up", (0, 2, 3)), ("plain", (0, 2, 3))):
        stored[f"{name}_power"] = (
            (stored[name] ** 2).sum(kernel[1:]) if name == "up" else (stored[name] ** 2).sum((2, 3)).T
        )
    nodes = [
        helper.make_node("MatMul", ["w", "affine"], ["flat"]),
        helper.make_node("Reshape", ["flat", "shape"], ["s"]),
    ]
    nodes.append(helper.make_node("Mul", ["flat", "flat"], ["square"]))

    def demodulated(source: str, name: str, made: onnx.NodeProto) -> str:
        nodes.append(made)
        for kind, inputs, out in (
            ("MatMul", ["square", f"{name}_power"], f"{name}_sum"),
            ("Add", [f"{name}_sum", "epsilon"], f"{name}_safe"),
            ("Sqrt", [f"{name}_safe"], f"{name}_root"),
            ("Reciprocal", [f"{name}_root"], f"{name}_row"),
            ("Reshape", [f"{name}_row", "shape"], f"{name}_d"),
            ("Mul", [f"{name}_conv", f"{name}_d"], f"{name}_out"),
        ):
            nodes.append(helper.make_node(kind, inputs, [out]))
        return f"{name}_out"

    nodes.append(helper.make_node("Mul", ["x", "s"], ["x_styled"]))
    up = demodulated(
        "x_styled", "up", helper.make_node("ConvTranspose", ["x_styled", "up"], ["up_conv"], strides=[2, 2])
    )
    nodes.append(helper.make_node("Mul", ["s", up], ["up_styled"]))  # the style first, as a graph may have it
    plain = helper.make_node("Conv", ["up_styled", "plain", "bias"], ["plain_conv"], pads=[1, 1, 1, 1])
    out = demodulated("up_styled", "plain", plain)
    nodes.append(helper.make_node("LeakyRelu", [out], ["y"], alpha=0.2))
    height, width = GRID
    values = {"x": (1, CHANNELS, height, width), "w": (1, 8), "y": (1, CHANNELS, 2 * height + 1, 2 * width + 1)}
    x, w, y = (helper.make_tensor_value_info(name, TensorProto.FLOAT, shape) for name, shape in values.items())
    constants = [
        numpy_helper.from_array(value if name == "shape" else value.astype(np.float32), name)
        for name, value in stored.items()
    ]
    graph = helper.make_graph(nodes, "layer", [x, w], [y], constants)
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=10), path)
    return {name: rng.standard_normal(values[name]).astype(np.float32) for name in ("x", "w")}


def answer(path: Path, feeds: Tensors) -> np.ndarray:
    session = open_session(path, "onnxruntime", threads=1)
    found = next(iter(session.run(feeds).values()))
    session.close()
    return found


def in_fp16(folder: Path, emulated: bool = True) -> Path:
    onnx.save(in_half(onnx.load(folder / "layer.onnx"), "fp16", emulated), folder / "half.onnx")
    return folder / "half.onnx"


@pytest.mark.parametrize(("weight", "style"), [(0.06, 1.0), (1.0, 80.0), (300.0, 300.0), (1e-4, 1e-2)])
def test_fp16_answers_as_f32_does_however_large_weights_and_styles_are(
    tmp_path: Path, weight: float, style: float
) -> None:
    """Unit-variance weights with styles of 80 overflow fp16 by far if nothing is scaled."""
    feeds = modulated(tmp_path / "layer.onnx", weight, style)
    exact = answer(tmp_path / "layer.onnx", feeds)
    found = answer(in_fp16(tmp_path), feeds)
    assert np.isfinite(found).all()
    error = np.abs(found - exact).mean() / np.abs(exact).mean()
    assert 0 < error < 2e-3, "close, and yet computed in another precision"
    torch_cuda = pytest.importorskip("engine.runtime.torch_cuda")
    session = torch_cuda.TorchSession(in_fp16(tmp_path, emulated=False), "f32", "cpu")
    real = session.run(feeds)["y"]  # torch has such arithmetic on a CPU, too
    assert np.abs(real - exact).mean() / np.abs(exact).mean() < 2e-3


def test_without_scaling_the_same_layer_overflows(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What the test above would say if the scaling were left out."""
    from export import rewrite

    feeds = modulated(tmp_path / "layer.onnx", 300.0, 300.0)
    monkeypatch.setattr(rewrite, "CLAMP", 65504.0)
    monkeypatch.setattr(rewrite._HalfWriter, "_modulated_by_at_most_one", lambda self, node, source: (source, ""))
    monkeypatch.setattr(
        rewrite, "_unit_length", lambda node, weights: (weights, np.ones((1, CHANNELS, 1, 1), np.float32))
    )
    assert not np.isfinite(answer(in_fp16(tmp_path), feeds)).all()


def test_bf16_rounds_and_is_emulated_where_no_runtime_has_it(tmp_path: Path) -> None:
    feeds = modulated(tmp_path / "layer.onnx", 0.06, 1.0)
    model = onnx.load(tmp_path / "layer.onnx")
    real = in_half(model, "bf16")
    kernels = {t.name: t.data_type for t in real.graph.initializer}
    assert kernels["plain_conv_kernel"] == TensorProto.BFLOAT16
    assert kernels["up"] == TensorProto.FLOAT, "TensorRT has no transposed convolution in bf16"
    onnx.save(in_half(model, "bf16", emulated=True), tmp_path / "emulated.onnx")
    exact = answer(tmp_path / "layer.onnx", feeds)
    error = np.abs(answer(tmp_path / "emulated.onnx", feeds) - exact).mean() / np.abs(exact).mean()
    assert 5e-4 < error < 2e-2


@pytest.mark.parametrize("half", ["fp16", "bf16"])
def test_only_convolutions_change_and_what_goes_in_and_out_stays(half: str) -> None:
    bundle = load_bundle(find_bundle("landscape"))
    model = onnx.load(bundle.graph_path("recurrent"))
    assert not any(node.op_type in ("Conv", "ConvTranspose") for node in model.graph.node)
    same = in_half(model, half)
    assert [node.op_type for node in same.graph.node] == [node.op_type for node in model.graph.node]
    generator = in_half(onnx.load(bundle.graph_path("generator")), half)
    original = onnx.load(bundle.graph_path("generator"))
    assert [v.SerializeToString() for v in generator.graph.input] == [
        v.SerializeToString() for v in original.graph.input
    ]
    assert [v.name for v in generator.graph.output] == ["rgba"]
    producers = {output: node for node in generator.graph.node for output in node.output}
    stored = {tensor.name: tensor for tensor in generator.graph.initializer}
    element = TensorProto.FLOAT16 if half == "fp16" else TensorProto.BFLOAT16
    halved = [n for n in generator.graph.node if n.op_type == "Conv" and n.input[1] in stored
              and stored[n.input[1]].data_type == element]  # fmt: skip
    assert len(halved) > 20
    assert all(producers[node.input[0]].op_type == "Cast" for node in halved)


def test_bytes_are_made_by_the_last_node_and_are_the_same(tmp_path: Path, tiny_bundle: Path) -> None:
    """A graph that casts, adds alpha and turns the picture, as generators do."""
    rng = np.random.default_rng(0)
    nodes = [
        helper.make_node("Cast", ["x"], ["grey"], to=TensorProto.UINT8),
        helper.make_node("Concat", ["grey", "opaque"], ["all"], axis=0),
        helper.make_node("Transpose", ["all"], ["rgba"], perm=[1, 2, 0]),
    ]
    x = helper.make_tensor_value_info("x", TensorProto.FLOAT, (3, 4, 5))
    y = helper.make_tensor_value_info("rgba", TensorProto.UINT8, (4, 5, 4))
    opaque = numpy_helper.from_array(np.full((1, 4, 5), 255, np.uint8), "opaque")
    graph = helper.make_graph(nodes, "pack", [x], [y], [opaque])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=10)
    onnx.save(model, tmp_path / "early.onnx")
    last = cast_last(model)
    onnx.checker.check_model(last, full_check=True)
    onnx.save(last, tmp_path / "last.onnx")
    assert [node.op_type for node in last.graph.node] == ["Floor", "Concat", "Transpose", "Cast"]
    feeds = {"x": (255 * rng.random((3, 4, 5))).astype(np.float32)}
    assert np.array_equal(answer(tmp_path / "early.onnx", feeds), answer(tmp_path / "last.onnx", feeds))
    assert cast_last(last) == last, "nothing to do the second time"


def test_bytes_are_cut_before_they_are_cast_and_give_the_same(tmp_path: Path) -> None:
    """As fields are moved by parts of a pixel; a cast whose bytes go elsewhere, too, stays where it is."""
    stored = [
        numpy_helper.from_array(np.array(value), name)
        for name, value in {"one": [1], "end": [99], "zero": [0], "less": [-1], "rows": [0], "columns": [1]}.items()
    ]
    nodes = [
        helper.make_node("Cast", ["x"], ["floats"], to=TensorProto.FLOAT),
        helper.make_node("Slice", ["floats", "one", "end", "rows"], ["lower"]),
        helper.make_node("Slice", ["floats", "zero", "less", "rows"], ["upper"]),
        helper.make_node("Slice", ["lower", "zero", "less", "columns"], ["left"]),
        helper.make_node("Slice", ["upper", "one", "end", "columns"], ["right"]),
        helper.make_node("Sub", ["left", "right"], ["apart"]),
        helper.make_node("Cast", ["other"], ["whole"], to=TensorProto.FLOAT),
        helper.make_node("Slice", ["whole", "one", "end", "rows"], ["part"]),
        helper.make_node("Slice", ["part", "one", "end", "columns"], ["piece"]),
        helper.make_node("ReduceMax", ["whole"], ["greatest"]),
        helper.make_node("Add", ["apart", "piece"], ["sum"]),
        helper.make_node("Add", ["sum", "greatest"], ["y"]),
    ]
    ends = [helper.make_tensor_value_info(name, TensorProto.UINT8, (5, 7)) for name in ("x", "other")]
    y = helper.make_tensor_value_info("y", TensorProto.FLOAT, (4, 6))
    graph = helper.make_graph(nodes, "cuts", ends, [y], stored)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=10)
    turned = cut_bytes(model)
    onnx.checker.check_model(turned, full_check=True)
    kinds = {name: node.op_type for node in turned.graph.node for name in node.output}
    assert [kinds[name] for name in ("left", "right", "whole")] == ["Cast"] * 3
    assert "floats" not in kinds
    feeds = {name: np.random.default_rng(3).integers(0, 256, (5, 7)).astype(np.uint8) for name in ("x", "other")}
    onnx.save(model, tmp_path / "before.onnx")
    onnx.save(turned, tmp_path / "after.onnx")
    assert np.array_equal(answer(tmp_path / "before.onnx", feeds), answer(tmp_path / "after.onnx", feeds))


def test_the_batch_is_dropped_of_bytes_and_not_of_floats(tmp_path: Path) -> None:
    nodes = [
        helper.make_node("Transpose", ["x"], ["last"], perm=[0, 2, 3, 1]),
        helper.make_node("Squeeze", ["last", "first"], ["one"]),
        helper.make_node("Cast", ["one"], ["y"], to=TensorProto.UINT8),
    ]
    x = helper.make_tensor_value_info("x", TensorProto.FLOAT, (1, 3, 4, 5))
    y = helper.make_tensor_value_info("y", TensorProto.UINT8, (4, 5, 3))
    graph = helper.make_graph(nodes, "pack", [x], [y], [numpy_helper.from_array(np.array([0]), "first")])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=10)
    turned = bytes_before_batch(model)
    onnx.checker.check_model(turned, full_check=True)
    assert [node.op_type for node in turned.graph.node] == ["Transpose", "Cast", "Squeeze"]
    feeds = {"x": (255 * np.random.default_rng(0).random((1, 3, 4, 5))).astype(np.float32)}
    onnx.save(model, tmp_path / "before.onnx")
    onnx.save(turned, tmp_path / "after.onnx")
    assert np.array_equal(answer(tmp_path / "before.onnx", feeds), answer(tmp_path / "after.onnx", feeds))
    assert bytes_before_batch(turned) == turned, "nothing to do the second time"


def test_operations_are_counted(tmp_path: Path) -> None:
    modulated(tmp_path / "layer.onnx", 1.0, 1.0)
    height, width = GRID
    up = CHANNELS * CHANNELS * 9 * height * width
    plain = CHANNELS * CHANNELS * 9 * (2 * height + 1) * (2 * width + 1)
    products = 8 * CHANNELS + 2 * CHANNELS * CHANNELS
    assert gflop(tmp_path / "layer.onnx") == pytest.approx(2 * (up + plain + products) / 1e9)
