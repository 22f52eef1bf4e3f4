"""Strips are the rows of the whole, whatever lies between input and picture."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import openvino as ov
import pytest
from openvino import opset13 as ops

import engine.runtime.strips
from engine.bundle import load_bundle
from engine.runtime import open_graph
from engine.runtime.choose import random_feeds
from engine.runtime.openvino import _read
from engine.runtime.session import verify_session
from engine.runtime.strips import strips

SHIPPED = Path(__file__).parents[3] / "engine" / "bundles" / "landscape"
HEIGHT, WIDTH = 48, 10
RNG = np.random.default_rng(0)


def weights(*shape: int) -> Any:
    return ops.constant(RNG.standard_normal(shape).astype(np.float32))


def convolution(x: Any, kernel: int = 3, stride: int = 1, pad: int = 1, dilation: int = 1) -> Any:
    kernels = weights(6, x.shape[1], kernel, kernel)
    return ops.convolution(x, kernels, [stride] * 2, [pad] * 2, [pad] * 2, [dilation] * 2)


def transposed(x: Any, kernel: int, pad: int) -> Any:
    kernels = weights(x.shape[1], 6, kernel, kernel)
    return ops.convolution_backprop_data(x, kernels, [2, 2], None, [pad] * 2, [pad] * 2)


def padded(x: Any, mode: str, before: int = 2, after: int = 1) -> Any:
    return ops.pad(x, [0, 0, before, 1], [0, 0, after, 1], mode, ops.constant(np.float32(0.5)))


def places(x: Any) -> Any:
    """Mixes channels with rows and columns in one axis, as the generator's places do."""
    shape = list(x.shape)
    flat = ops.reshape(x, [1, shape[1], shape[2] * shape[3]], False)
    return ops.reshape(ops.matmul(weights(1, 6, 6), flat, False, False), shape, False)


def upright(x: Any) -> Any:
    """Adds which row it is."""
    rows = np.linspace(-1, 1, x.shape[2], dtype=np.float32).reshape(1, 1, -1, 1)
    return ops.tanh(ops.subtract(ops.constant(rows), ops.multiply(x, weights(1, 6, 1, 1))))


def joined(x: Any) -> Any:
    squeezed = ops.unsqueeze(ops.squeeze(x, ops.constant([0])), ops.constant([0]))
    apart = ops.slice(squeezed, [1], [5], [1], [1])
    return ops.concat([ops.prelu(apart, ops.constant(np.float32([0.2]))), convolution(x), x], 1)


def moved(x: Any) -> Any:
    return ops.slice(padded(x, "edge", 3, 3), [5], [x.shape[2] + 5], [1], [2])


def shuffled(x: Any) -> Any:
    deep = ops.convolution(x, weights(8, 6, 1, 1), [1, 1], [0, 0], [0, 0], [1, 1])
    return ops.depth_to_space(deep, "depth_first", 2)


def enlarged(x: Any) -> Any:
    factors = ops.constant(np.float32([1, 1, 2, 2]))
    return ops.interpolate(x, factors, "linear_onnx", "scales", coordinate_transformation_mode="half_pixel")


def averaged(x: Any) -> Any:
    """No rule knows it, and a row depends on all of them."""
    return ops.subtract(x, ops.reduce_mean(x, ops.constant([2]), True))


def grouped(x: Any) -> Any:
    return ops.group_convolution(x, weights(6, 1, 1, 4, 4), [1, 1], [1, 2], [2, 1], [1, 1])


LAYERS: dict[str, Callable[[Any], Any]] = {
    "nothing": lambda x: x,
    "3x3": convolution,
    "1x1": lambda x: convolution(x, 1, 1, 0),
    "5x5, unpadded": lambda x: convolution(x, 5, 1, 0),
    "stride 2": lambda x: convolution(x, 2, 2, 0),
    "stride 2, padded": lambda x: convolution(x, 3, 2, 1),
    "dilated": lambda x: convolution(x, 3, 1, 2, 2),
    "grouped, uneven": grouped,
    "transposed 3": lambda x: transposed(x, 3, 0),
    "transposed 4": lambda x: transposed(x, 4, 1),
    "transposed 2": lambda x: transposed(x, 2, 0),
    "pad edge": lambda x: padded(x, "edge"),
    "pad constant": lambda x: padded(x, "constant"),
    "pad reflect": lambda x: padded(x, "reflect"),
    "places": places,
    "rows": upright,
    "concat, slice, squeeze": joined,
    "moved rows": moved,
    "depth to space": shuffled,
    "bilinear": enlarged,
    "mean of rows": averaged,
    "sigmoid": ops.sigmoid,
}


def picture(layer: Callable[[Any], Any]) -> ov.Model:
    """x float32 [1, 6, H, W] and detail [1, H', W', 4] → layer, convolutions around it → [H', W', 7]."""
    x = ops.parameter([1, 6, HEIGHT, WIDTH], np.float32, "x")
    x.output(0).get_tensor().set_names({"x"})
    y = layer(convolution(x))
    y = ops.convolution(y, weights(3, y.shape[1], 3, 3), [1, 1], [1, 1], [1, 1], [1, 1])
    detail = ops.parameter([1, y.shape[2], y.shape[3], 4], np.uint8, "detail")
    detail.output(0).get_tensor().set_names({"detail"})
    seen = ops.transpose(ops.convert(detail, "f32"), ops.constant([0, 3, 1, 2]))
    y = ops.transpose(ops.concat([y, seen], 1), ops.constant([0, 2, 3, 1]))
    y = ops.squeeze(y, ops.constant([0]))
    y.output(0).get_tensor().set_names({"rgba"})
    return ov.Model([y], [x, detail], "picture")


def run(model: ov.Model, feeds: dict[str, np.ndarray]) -> np.ndarray:
    compiled = ov.Core().compile_model(model, "CPU", {"INFERENCE_PRECISION_HINT": "f32", "INFERENCE_NUM_THREADS": 1})
    return compiled(feeds)[0].copy()


def put_together(model: ov.Model, cut: list[Any], feeds: dict[str, np.ndarray]) -> np.ndarray:
    whole = np.full(tuple(model.output(0).get_shape()), np.nan, np.float32)
    for strip in cut:
        own = {name: np.ascontiguousarray(strip.of_input(name, array)) for name, array in feeds.items()}
        strip.of_output(whole)[:] = run(strip.model, own)
    return whole


@pytest.mark.parametrize("count", [2, 3, 5])
@pytest.mark.parametrize("name", LAYERS)
def test_strips_are_the_rows_of_the_whole(monkeypatch: pytest.MonkeyPatch, name: str, count: int) -> None:
    monkeypatch.setattr(engine.runtime.strips, "MOST_WORK", 10.0)
    monkeypatch.setattr(engine.runtime.strips, "FEWEST_ROWS", 1)
    model = picture(LAYERS[name])
    feeds = {
        "x": RNG.standard_normal((1, 6, HEIGHT, WIDTH)).astype(np.float32),
        "detail": RNG.integers(0, 256, tuple(model.input("detail").get_shape()), np.uint8),
    }
    cut = strips(model, count)
    assert len(cut) == count
    expected = run(model, feeds)
    np.testing.assert_allclose(put_together(model, cut, feeds), expected, rtol=1e-4, atol=1e-4)


def test_a_strip_computes_little_beside_its_rows() -> None:
    cut = strips(picture(LAYERS["transposed 4"]), 2)
    shapes = [
        list(node.get_output_shape(0))
        for strip in cut
        for node in strip.model.get_ops()
        if "Conv" in node.get_type_name()
    ]
    assert max(shape[2] for shape in shapes) <= HEIGHT + 2  # of twice as many
    assert [strip.feeds["detail"][1:] for strip in cut] == [(0, HEIGHT), (HEIGHT, 2 * HEIGHT)]
    assert [set(strip.feeds) for strip in cut] == [{"detail"}] * 2, "rows of x lie apart: it is fed whole"


def test_what_would_be_computed_twice_is_not_cut() -> None:
    assert strips(picture(LAYERS["mean of rows"]), 2) == [], "all rows of the first convolution are in every mean"
    assert strips(picture(LAYERS["nothing"]), 1) == []
    assert strips(picture(LAYERS["nothing"]), HEIGHT // 4) == [], "strips of four rows"


def test_a_strip_that_openvino_refuses_leaves_the_graph_whole(monkeypatch: pytest.MonkeyPatch) -> None:
    wrong = engine.runtime.strips._convolution

    def narrow(node: Any, rows: Any) -> Any:
        asks = wrong(node, rows)
        return asks and asks._replace(inputs=[rows.of(rows.start, rows.start + 1), None], make=None)

    monkeypatch.setitem(engine.runtime.strips._RULES, "Convolution", narrow)
    assert strips(picture(LAYERS["nothing"]), 2) == []


@pytest.mark.parametrize("graph", ["encoder", "recurrent", "text", "mapping", "reader"])
def test_only_pictures_are_cut(graph: str) -> None:
    assert strips(_read(load_bundle(SHIPPED).graph_path(graph)), 2) == []


@pytest.mark.parametrize("precision", ["f32", "int8"])
def test_the_shipped_generator_paints_the_same_picture_in_any_number_of_strips(precision: str) -> None:
    bundle = load_bundle(SHIPPED)
    pictures = []
    for threads in (1, 2, 4):
        session = open_graph(bundle, "generator", "openvino", precision, threads)
        verify_session(session, bundle.manifest.graphs["generator"])
        feeds = random_feeds(session.inputs, np.random.default_rng(0))
        feeds["w_plus"] *= 0.3
        pictures.append(session.run(feeds)["rgba"].astype(np.int16))
        session.close()
    assert len(strips(_read(bundle.graph_path("generator", precision == "int8")), 4)) == 4
    assert pictures[0].std() > 20
    for other in pictures[1:]:
        assert np.abs(pictures[0] - other).max() <= 1


def test_two_threads_that_open_graphs_look_into_them_one_after_the_other(tiny_bundle, monkeypatch):
    """Both at once have waited for each other for ever."""
    at_once, most = [], []

    def watched(model: Any, count: int) -> list[Any]:
        at_once.append(model)
        most.append(len(at_once))
        time.sleep(0.2)
        at_once.pop()
        return []

    monkeypatch.setattr("engine.runtime.openvino.strips", watched)
    bundle = load_bundle(tiny_bundle)
    threads = [threading.Thread(target=lambda: open_graph(bundle, "generator").close()) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert most == [1, 1, 1]
