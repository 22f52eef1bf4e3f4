"""A generator in integers: the same pictures, only the large convolutions rounded, refused when it paints otherwise."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper
from tiny_bundle import make_tiny_bundle

from cymatic.cli import main
from engine.bundle import Bundle, load_bundle
from engine.errors import BundleError, RuntimeUnavailable
from engine.offline import open_sessions
from engine.runtime import CPU_RUNTIMES, open_graph, open_session
from engine.runtime.choose import choose_runtime
from export import quantise
from export.parity import open_reference, worst

HEIGHT, WIDTH = 32, 48


def network(channels: int = 16) -> onnx.ModelProto:
    """x [1, 16, 4, 6] → a small grid, two doublings, 1×1 to RGBA in bytes: one convolution of each kind."""
    rng = np.random.default_rng(0)
    stored, nodes = [], []

    def layer(kind: str, source: str, out: str, shape: tuple[int, ...], **attributes: object) -> None:
        inputs = shape[1] if kind == "Conv" else shape[0]
        scale = (inputs * shape[2] * shape[3]) ** -0.5
        kernel = scale * rng.standard_normal(shape)
        stored.append(numpy_helper.from_array(kernel.astype(np.float32), f"{out}_w"))
        nodes.append(helper.make_node(kind, [source, f"{out}_w"], [f"{out}_sum"], name=f"{out}_sum", **attributes))
        nodes.append(helper.make_node("LeakyRelu", [f"{out}_sum"], [out], alpha=0.2))

    layer("Conv", "x", "small", (channels, channels, 3, 3), pads=[1, 1, 1, 1])
    layer("ConvTranspose", "small", "middle", (channels, channels, 2, 2), strides=[2, 2])
    layer("ConvTranspose", "middle", "large", (channels, channels, 4, 4), strides=[4, 4])
    layer("Conv", "large", "second", (channels, channels, 3, 3), pads=[1, 1, 1, 1])
    layer("Conv", "second", "colours", (4, channels, 1, 1))
    stored.append(numpy_helper.from_array(np.float32(100.0), "scale"))
    nodes += [
        helper.make_node("Mul", ["colours", "scale"], ["scaled"]),
        helper.make_node("Clip", ["scaled", "lowest", "highest"], ["limited"]),
        helper.make_node("Cast", ["limited"], ["bytes"], to=TensorProto.UINT8),
        helper.make_node("Transpose", ["bytes"], ["last"], perm=[0, 2, 3, 1]),
        helper.make_node("Squeeze", ["last", "axis"], ["rgba"]),
    ]
    stored += [
        numpy_helper.from_array(np.float32(0), "lowest"),
        numpy_helper.from_array(np.float32(255), "highest"),
        numpy_helper.from_array(np.array([0]), "axis"),
    ]
    ends = (
        helper.make_tensor_value_info("x", TensorProto.FLOAT, (1, channels, 4, 6)),
        helper.make_tensor_value_info("rgba", TensorProto.UINT8, (HEIGHT, WIDTH, 4)),
    )
    graph = helper.make_graph(nodes, "generator", ends[:1], ends[1:], stored)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=10)


def feeds(count: int, seed: int) -> list[dict[str, NDArray[np.float32]]]:
    rng = np.random.default_rng(seed)
    return [{"x": rng.standard_normal((1, 16, 4, 6), np.float32)} for _ in range(count)]


def rounded(model: onnx.ModelProto) -> set[str]:
    """Convolutions that read integers."""
    kinds = {name: node.op_type for node in model.graph.node for name in node.output}
    convolutions = [node for node in model.graph.node if node.op_type.startswith("Conv")]
    for node in convolutions:
        both = [kinds.get(name) == "DequantizeLinear" for name in node.input[:2]]
        assert both[0] == both[1], "integers meet integers"
    return {node.name for node in convolutions if kinds.get(node.input[0]) == "DequantizeLinear"}


@pytest.fixture(autouse=True)
def small_grids(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(quantise.SMALLEST_GRID, "generator", 8)


@pytest.mark.parametrize("runtime", CPU_RUNTIMES)
def test_large_convolutions_are_rounded_and_the_picture_stays(tmp_path: Path, runtime: str) -> None:
    exact, short = network(), quantise.in_int8(network(), feeds(6, 0))
    # 4×6 is too small a grid; four channels of colour are left alone.
    assert rounded(short) == {"middle_sum", "large_sum", "second_sum"}
    onnx.save(exact, tmp_path / "exact.onnx")
    onnx.save(short, tmp_path / "short.onnx")
    one = open_session(tmp_path / "exact.onnx", runtime, threads=1)
    other = open_session(tmp_path / "short.onnx", runtime, "int8", threads=1)
    assert (other.precision, other.inputs, other.outputs) == ("int8", one.inputs, one.outputs)
    for each in feeds(3, 1):
        apart = np.abs(one.run(each)["rgba"].astype(int) - other.run(each)["rgba"])
        assert 0 < apart.mean() < 2.5, "close, and yet computed in another precision"
    one.close()
    other.close()


def test_scales_reach_beyond_what_was_seen() -> None:
    short = quantise.in_int8(network(), feeds(1, 0))
    held = {tensor.name: numpy_helper.to_array(tensor) for tensor in short.graph.initializer}
    shown = network()
    shown.graph.output.append(helper.make_empty_tensor_value_info("small"))
    seen = onnx.reference.ReferenceEvaluator(shown).run(["small"], feeds(1, 0)[0])[0]
    channels = np.abs(seen).max((0, 2, 3))
    share = held["small_times"].ravel()
    reach = pytest.approx(quantise.HEADROOM * channels, rel=1e-4)
    assert held["small_step"] * 127 / share == reach, "each channel has its own scale"
    kernel = numpy_helper.to_array(next(t for t in network().graph.initializer if t.name == "middle_w"))
    found = held["middle_sum_kernel_int8"] * held["middle_sum_kernel_step"][None, :, None, None]
    meant = kernel / share[:, None, None, None]  # its inputs, and so its axis 0, count more
    step = np.abs(meant).max((0, 2, 3), keepdims=True) / 127
    assert (np.abs(found - meant) <= 1.01 * step).all()
    rows = np.moveaxis((found - meant) / step, 1, 0).reshape(meant.shape[1], -1)
    assert (np.abs(rows.cumsum(1)) <= 0.51).all(), "what is rounded off one weight is given to the next"
    assert (np.abs(held["middle_sum_kernel_int8"]).max((0, 2, 3)) >= 126).all()


def joined(signed: bool) -> onnx.ModelProto:
    """Features that are never negative (unless `signed`), others that seldom are large, and given bytes, joined for one
    convolution."""
    rng = np.random.default_rng(3)
    kernel = (0.1 * rng.standard_normal((16, 36, 3, 3))).astype(np.float32)
    stored = [
        numpy_helper.from_array(kernel, "kernel"),
        numpy_helper.from_array(np.float32(1 / 255), "unit"),
        numpy_helper.from_array(np.float32(0), "lowest"),
        numpy_helper.from_array(np.float32(255), "highest"),
        numpy_helper.from_array(np.float32(30), "contrast"),
        numpy_helper.from_array(np.array([0]), "axis"),
    ]
    nodes = [
        helper.make_node("Tanh" if signed else "Sigmoid", ["x"], ["edges"]),
        helper.make_node("Relu", ["x"], ["features"]),
        helper.make_node("Cast", ["detail"], ["values"], to=TensorProto.FLOAT),
        helper.make_node("Transpose", ["values"], ["in_depth"], perm=[0, 3, 1, 2]),
        helper.make_node("Mul", ["in_depth", "unit"], ["pixels"]),
        helper.make_node("Concat", ["edges", "features", "pixels"], ["all"], axis=1),
        helper.make_node("Conv", ["all", "kernel"], ["sum"], name="sum", pads=[1, 1, 1, 1]),
        helper.make_node("Mul", ["sum", "contrast"], ["scaled"]),
        helper.make_node("Clip", ["scaled", "lowest", "highest"], ["limited"]),
        helper.make_node("Transpose", ["limited"], ["last"], perm=[0, 2, 3, 1]),
        helper.make_node("Squeeze", ["last", "axis"], ["picture"]),
        helper.make_node("Cast", ["picture"], ["rgba"], to=TensorProto.UINT8),
    ]
    ends = (
        helper.make_tensor_value_info("x", TensorProto.FLOAT, (1, 16, 16, 24)),
        helper.make_tensor_value_info("detail", TensorProto.UINT8, (1, 16, 24, 4)),
        helper.make_tensor_value_info("rgba", TensorProto.UINT8, (16, 24, 16)),
    )
    graph = helper.make_graph(nodes, "generator", ends[:2], ends[2:], stored)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=10)


@pytest.mark.parametrize("signed", [True, False])
@pytest.mark.parametrize("runtime", CPU_RUNTIMES)
def test_what_is_joined_is_rounded_apart_and_bytes_stay_bytes(tmp_path: Path, runtime: str, signed: bool) -> None:
    rng = np.random.default_rng(4)
    given = [
        {
            "x": 2 * rng.standard_normal((1, 16, 16, 24), np.float32),
            "detail": rng.integers(0, 256, (1, 16, 24, 4), np.uint8),
        }
        for _ in range(3)
    ]
    exact, short = joined(signed), quantise.in_int8(joined(signed), given)
    sources = {node.name: node for node in short.graph.node}["sum"].input[:1]
    (joint,) = (node for node in short.graph.node if node.output[0] == sources[0])
    rounding = {node.output[0]: node for node in short.graph.node}
    assert joint.op_type == "Concat"
    assert all(rounding[name].op_type == "DequantizeLinear" for name in joint.input)
    (turned,) = (node for node in short.graph.node if node.op_type == "Transpose" and node.input[0] == "detail")
    taken = [name for name in joint.input if rounding[name].input[0] == turned.output[0]]
    assert len(taken) == (0 if signed else 1), "bytes meet what is never negative"
    onnx.save(exact, tmp_path / "exact.onnx")
    onnx.save(short, tmp_path / "short.onnx")
    one = open_session(tmp_path / "exact.onnx", runtime, threads=1)
    other = open_session(tmp_path / "short.onnx", runtime, "int8", threads=1)
    for each in given:
        apart = np.abs(one.run(each)["rgba"].astype(int) - other.run(each)["rgba"])
        assert apart.mean() < 2.5
    one.close()
    other.close()


def count_narrow(patch: pytest.MonkeyPatch) -> None:
    """The tiny bundle has no other convolutions than narrow ones."""
    patch.setattr(quantise, "FEWEST_CHANNELS", 1)
    patch.setattr(quantise, "FEWEST_OUTPUTS", 1)


@pytest.fixture
def narrow(monkeypatch: pytest.MonkeyPatch) -> None:
    count_narrow(monkeypatch)


@pytest.fixture(scope="module")
def with_int8(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = make_tiny_bundle(tmp_path_factory.mktemp("int8") / "tiny")
    with pytest.MonkeyPatch.context() as patch:
        count_narrow(patch)
        quantise.add_int8(folder)
    return folder


def test_a_bundle_gets_a_twin_of_its_generator(with_int8: Path) -> None:
    bundle = load_bundle(with_int8)
    twin = bundle.manifest.graphs["generator"].int8
    assert twin is not None
    assert twin.file == "generator.int8.onnx"
    assert bundle.manifest.provenance["int8"].keys() == {"random", "trained"}
    assert rounded(onnx.load(bundle.graph_path("generator", int8=True)))
    assert not rounded(onnx.load(bundle.graph_path("generator")))
    with open_reference(bundle) as reference:
        for runtime in CPU_RUNTIMES:
            session = open_graph(bundle, "generator", runtime, "int8", threads=1)
            assert worst(reference.compare("generator", session)) < quantise.LIMIT_GREY
            session.close()


def test_offline_pictures_are_painted_in_integers_unless_they_are_to_be_exact(with_int8: Path) -> None:
    bundle = load_bundle(with_int8)
    with open_sessions(bundle, "onnxruntime", threads=1) as sessions:
        found = {name: session.precision for name, session in sessions.items()}
    assert found == {"generator": "int8", "mapping": "f32", "encoder": "f32", "recurrent": "f32", "reader": "f32"}
    with open_sessions(bundle, "onnxruntime", threads=1, exact=True) as sessions:
        assert {session.precision for session in sessions.values()} == {"f32"}


def test_a_show_takes_integers_only_while_they_paint_the_same(
    with_int8: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    bundle = load_bundle(with_int8)
    monkeypatch.setattr("engine.runtime.choose._has_bf16", lambda: False)  # a third choice, where the CPU has it
    chosen = choose_runtime(bundle, "openvino", cache=tmp_path / "a.json")["generator"]
    assert (chosen.precision, chosen.grey_error is None) in {("f32", True), ("int8", False)}, "whichever was faster"
    monkeypatch.setattr("engine.runtime.choose.median_ms", lambda run, seconds=0.0: next(speeds))
    speeds = iter([1.0, 1.0, 1.0, 3.0, 2.0, 1.0, 1.0])  # encoder, reader, recurrent, generator twice, text, mapping
    faster = choose_runtime(bundle, "onnxruntime", cache=tmp_path / "b.json")["generator"]
    assert (faster.precision, faster.ms) == ("int8", 2.0)
    assert faster.grey_error is not None
    assert 0 <= faster.grey_error < 1
    monkeypatch.setattr("engine.runtime.choose._grey_error", lambda *_: 1.5)
    speeds = iter([1.0, 1.0, 1.0, 3.0, 2.0, 1.0, 1.0])
    assert choose_runtime(bundle, "onnxruntime", cache=tmp_path / "c.json")["generator"].precision == "f32"


@pytest.mark.usefixtures("narrow")
def test_what_paints_otherwise_is_refused_and_leaves_the_bundle_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = make_tiny_bundle(tmp_path / "tiny")
    before = {path.name: path.read_bytes() for path in folder.iterdir()}
    monkeypatch.setattr(quantise, "HEADROOM", 0.01)  # everything is cut off
    with pytest.raises(BundleError, match=r"generator in int8 differs by .* the limit is 2"):
        quantise.add_int8(folder)
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == before


def test_a_generator_without_large_convolutions_stays_as_it_is(tiny_bundle: Path, tmp_path: Path) -> None:
    with pytest.raises(BundleError, match="no large convolution"):
        quantise.write_int8(load_bundle(tiny_bundle), tmp_path / "short.onnx")
    assert not (tmp_path / "short.onnx").exists()


def test_without_a_twin_or_with_a_damaged_one(with_int8: Path, tmp_path: Path, tiny_bundle: Path) -> None:
    plain: Bundle = load_bundle(tiny_bundle)
    with pytest.raises(BundleError, match="no generator in int8: cymatic export --to onnx --precision int8"):
        open_graph(plain, "generator", "onnxruntime", "int8")
    with pytest.raises(RuntimeUnavailable, match="int8"):
        open_session(plain.graph_path("generator"), "torch-cuda", "int8")
    damaged = tmp_path / "damaged"
    damaged.mkdir()
    for path in with_int8.iterdir():
        (damaged / path.name).write_bytes(path.read_bytes())
    (damaged / "generator.int8.onnx").write_bytes(b"hello")
    with pytest.raises(BundleError, match=r"generator\.int8\.onnx is damaged"):
        load_bundle(damaged)


@pytest.mark.usefixtures("narrow")
def test_export_makes_a_bundle_with_a_twin(tmp_path: Path, tiny_bundle: Path) -> None:
    out = tmp_path / "out"
    assert main(["export", str(tiny_bundle), "--to", "onnx", "--precision", "int8", "--out", str(out)]) == 0
    bundle = load_bundle(out)
    record = bundle.manifest.provenance["export"]
    assert set(record["graphs"]["generator"]["files"]) == {"generator.onnx", "generator.int8.onnx"}
    assert record["graphs"]["generator"]["parity"]["trained"]["mean"] < 2
    plain = tmp_path / "openvino"
    assert main(["export", str(tiny_bundle), "--to", "openvino", "--precision", "int8", "--out", str(plain)]) == 0
    session = open_session(plain / "generator.xml", "openvino", "int8", threads=1)
    with open_reference(bundle) as reference:
        assert worst(reference.compare("generator", session)) < 2
    session.close()
