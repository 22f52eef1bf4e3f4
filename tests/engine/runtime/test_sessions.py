"""Both runtimes behind one `Session`: the same numbers, the same promises about memory, one-line refusals."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper
from tiny_bundle import make_tiny_bundle

from engine.bundle import Bundle, load_bundle
from engine.contract import GRAPHS, TensorSpec
from engine.errors import BundleError, RuntimeUnavailable
from engine.runtime import CPU_RUNTIMES, Session, open_graph, open_session, verify_session
from engine.runtime.choose import random_feeds
from engine.runtime.session import Interruptible

SHIPPED = Path(__file__).parents[3] / "engine" / "bundles" / "landscape"


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    return load_bundle(make_tiny_bundle(tmp_path_factory.mktemp("sessions") / "tiny"))


@pytest.fixture(params=CPU_RUNTIMES)
def generator(bundle: Bundle, request: pytest.FixtureRequest) -> Iterator[Session]:
    session = open_graph(bundle, "generator", request.param, threads=1)
    yield session
    session.close()


def feeds_for(session: Session, seed: int = 0) -> dict[str, np.ndarray]:
    return random_feeds(session.inputs, np.random.default_rng(seed))


@pytest.mark.parametrize("name", GRAPHS)
def test_both_runtimes_agree(bundle: Bundle, name: str) -> None:
    results = []
    for runtime in CPU_RUNTIMES:
        session = open_graph(bundle, name, runtime, threads=1)
        assert (session.runtime, session.precision) == (runtime, "f32")
        results.append(session.run(feeds_for(session)))
        session.close()
    spec = bundle.manifest.graphs[name]
    for output, tensor in spec.outputs.items():
        first, second = (result[output] for result in results)
        assert first.shape == second.shape == tensor.shape
        assert first.dtype == second.dtype == np.dtype(tensor.dtype)
        difference = np.abs(first.astype(np.float64) - second).max()
        assert difference <= (1 if tensor.dtype == "uint8" else 1e-4)


def test_the_picture_follows_latent_fields_and_fraction(generator: Session) -> None:
    feeds = feeds_for(generator)
    before = generator.run(feeds)["rgba"].copy()
    assert (before[..., 3::4] == 255).all()
    for name in ("w_plus", "fields", "fraction", "detail"):
        other = feeds | {name: feeds_for(generator, seed=1)[name]}
        assert not np.array_equal(generator.run(other)["rgba"], before), name
    np.testing.assert_array_equal(generator.run(feeds)["rgba"], before)


@pytest.mark.parametrize("runtime", CPU_RUNTIMES)
def test_a_sum_with_a_convolution_of_constants_is_the_same_in_every_run(tmp_path: Path, runtime: str) -> None:
    """As in a generator that begins with a learned constant; OpenVINO left alone adds to its last result."""
    rng = np.random.default_rng(0)
    shapes = {"constant": (1, 32, 9, 16), "gate": (16, 32, 1, 1), "filter": (16, 24, 1, 1)}
    constants = {name: rng.standard_normal(shape).astype(np.float32) for name, shape in shapes.items()}
    nodes = [
        helper.make_node("Conv", ["constant", "gate"], ["first"]),
        helper.make_node("Conv", ["x", "filter"], ["second"]),
        helper.make_node("Add", ["first", "second"], ["y"]),
    ]
    x, y = (
        helper.make_tensor_value_info(name, TensorProto.FLOAT, shape)
        for name, shape in (("x", (1, 24, 9, 16)), ("y", (1, 16, 9, 16)))
    )
    stored = [numpy_helper.from_array(value, name) for name, value in constants.items()]
    graph = helper.make_graph(nodes, "sum", [x], [y], stored)
    onnx.save(
        helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=10), tmp_path / "sum.onnx"
    )
    feeds = {"x": rng.standard_normal((1, 24, 9, 16)).astype(np.float32)}
    expected = sum(
        np.einsum("oi,nihw->nohw", constants[weights][..., 0, 0], value)
        for weights, value in (("gate", constants["constant"]), ("filter", feeds["x"]))
    )
    session = open_session(tmp_path / "sum.onnx", runtime, threads=1)
    for _ in range(5):
        np.testing.assert_allclose(session.run(feeds)["y"], expected, atol=1e-3)
    session.close()


def test_an_array_rewritten_in_place_is_read_anew(generator: Session) -> None:
    feeds = feeds_for(generator)
    before = generator.run(feeds)["rgba"].copy()
    generator.run(feeds)  # now every request of the session knows the array
    feeds["w_plus"][:] = feeds_for(generator, seed=2)["w_plus"]
    assert not np.array_equal(generator.run(feeds)["rgba"], before)


def test_arrays_that_are_not_contiguous_are_taken(generator: Session) -> None:
    feeds = feeds_for(generator)
    expected = generator.run(feeds)["rgba"].copy()
    wide = np.repeat(feeds["w_plus"], 2, axis=2)
    strided = wide[:, :, ::2]
    assert not strided.flags.c_contiguous
    np.testing.assert_array_equal(generator.run(feeds | {"w_plus": strided})["rgba"], expected)
    for _ in range(2):
        wide[:] = 0  # a copy taken at the first run must not be used again
        changed = generator.run(feeds | {"w_plus": strided})["rgba"]
        assert not np.array_equal(changed, expected)


def test_outputs_survive_the_next_run_and_the_session(generator: Session) -> None:
    feeds, other = feeds_for(generator), feeds_for(generator, seed=1)
    picture = generator.run(feeds)["rgba"]
    copy = picture.copy()
    assert not np.array_equal(generator.run(other)["rgba"], copy)
    np.testing.assert_array_equal(picture, copy)
    last = generator.run(feeds)["rgba"]
    generator.close()
    np.testing.assert_array_equal(last, copy)


@pytest.mark.parametrize("threads", [1, 2])
def test_a_run_that_is_given_up_leaves_what_was_given_out(threads: int) -> None:
    session = open_graph(load_bundle(SHIPPED), "generator", "openvino", threads=threads)
    assert isinstance(session, Interruptible)
    feeds, other = feeds_for(session), feeds_for(session, seed=1)
    asked = []

    def never() -> bool:
        asked.append(time.perf_counter())
        return False

    older = session.run(other)["rgba"]
    picture = session.run_unless(feeds, never)
    assert picture is not None
    assert len(asked) > 1, "while it painted"
    before, copy = older.copy(), picture["rgba"].copy()
    for _ in range(3):
        assert session.run_unless(other, lambda: True) is None
    np.testing.assert_array_equal(picture["rgba"], copy)
    np.testing.assert_array_equal(session.run(other)["rgba"], before)
    np.testing.assert_array_equal(picture["rgba"], copy)
    session.close()


@pytest.mark.parametrize("runtime", CPU_RUNTIMES)
def test_an_output_can_be_fed_back(bundle: Bundle, runtime: str) -> None:
    session = open_graph(bundle, "recurrent", runtime, threads=1)
    feeds = {name: array * 0 for name, array in feeds_for(session).items()}
    feeds["base"] = feeds["base"] + 1
    expected = 0.0
    for _ in range(20):
        feeds["w"] = session.run(feeds)["w_next"]
        expected += 0.2 * (1 - expected)
        np.testing.assert_allclose(feeds["w"], expected, rtol=1e-5)
    session.close()


def test_wrong_feeds_are_refused_by_name(generator: Session) -> None:
    feeds = feeds_for(generator)
    with pytest.raises(ValueError, match=r"w_plus is float64\[1, 10, 16\].*float32"):
        generator.run(feeds | {"w_plus": feeds["w_plus"].astype(np.float64)})
    with pytest.raises(ValueError, match=r"fraction is float32\[1, 4, 1\]"):
        generator.run(feeds | {"fraction": feeds["fraction"][:, :, :1]})
    feeds.pop("fields")
    with pytest.raises(ValueError, match="fields is missing"):
        generator.run(feeds)


@pytest.mark.parametrize("runtime", CPU_RUNTIMES)
def test_files_that_are_no_graph(tmp_path: Path, bundle: Bundle, runtime: str) -> None:
    whole = bundle.graph_path("generator").read_bytes()
    for content in (b"", b"hello", whole[: len(whole) // 2]):
        path = tmp_path / "x.onnx"
        path.write_bytes(content)
        with pytest.raises(BundleError) as caught:
            verify_session(open_session(path, runtime), bundle.manifest.graphs["generator"])
        assert "\n" not in str(caught.value)
    with pytest.raises(BundleError, match="does not exist"):
        open_session(tmp_path / "none.onnx", runtime)


@pytest.mark.parametrize("runtime", CPU_RUNTIMES)
def test_a_graph_with_other_shapes_than_stated_is_refused(bundle: Bundle, runtime: str) -> None:
    session = open_session(bundle.graph_path("mapping"), runtime)
    spec = bundle.manifest.graphs["mapping"]
    verify_session(session, spec)
    other = spec.model_copy(update={"outputs": {"w": TensorSpec(shape=(1, 9, 16))}})
    with pytest.raises(
        BundleError, match=r"mapping\.onnx, output w is float32\[1, 10, 16\], expected float32\[1, 9, 16\]"
    ):
        verify_session(session, other)
    with pytest.raises(BundleError, match="input mel is missing"):
        verify_session(session, bundle.manifest.graphs["encoder"])


def test_unknown_and_missing_runtimes(bundle: Bundle, monkeypatch: pytest.MonkeyPatch) -> None:
    path = bundle.graph_path("text")
    with pytest.raises(RuntimeUnavailable, match="openvino, onnxruntime"):
        open_session(path, "abacus")
    monkeypatch.setitem(sys.modules, "engine.runtime.onnxruntime", None)
    with pytest.raises(RuntimeUnavailable, match="pip install onnxruntime"):
        open_session(path, "onnxruntime")
    monkeypatch.undo()
    with pytest.raises(RuntimeUnavailable, match="f32"):
        open_session(path, "onnxruntime", "bf16")


def test_the_arithmetic_of_the_calling_thread_is_left_alone(generator: Session) -> None:
    generator.run(feeds_for(generator))
    assert np.float32(1e-30) * np.float32(1e-12) > 0  # a denormal, not flushed to zero


def test_openvino_reports_to_nobody(bundle: Bundle) -> None:
    """A fresh interpreter in which every look at the network fails the run."""
    code = f"""
import sys
def watch(event, args):
    if event.startswith(("socket.", "urllib.", "http.")) and event != "socket.__new__":
        print(event, args, file=sys.stderr)
        import os; os._exit(3)
sys.addaudithook(watch)
from engine.runtime import open_session
assert "openvino" not in sys.modules and "onnxruntime" not in sys.modules, "loaded before it was asked for"
session = open_session({str(bundle.graph_path("text"))!r}, "openvino")
assert sys.modules.get("openvino_telemetry") is None
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr
