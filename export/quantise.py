"""A generator whose large convolutions compute in 8-bit integers.

A CPU with VNNI multiplies four times as many 8-bit integers as floats in one instruction. Each convolution's input is
rounded to 255 steps of one scale for the whole tensor, its weights to 255 steps of a scale for each output, both
without offset; sums, bias and all that lies between two convolutions stay f32. The file says so in standard ONNX
(QuantizeLinear and DequantizeLinear around a Conv, Jacob et al., *Quantization and Training of Neural Networks for
Efficient Integer-Arithmetic-Only Inference*, CVPR 2018), which OpenVINO and ONNX Runtime turn into integer kernels.

Left in f32 are the convolutions on the small grids, which cost little and decide the layout, and those that read or
write colours, whose rounding would be seen as bands.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path

import numpy as np
import onnx
import onnxruntime as ort
from numpy.typing import NDArray
from onnx import ModelProto, NodeProto, TensorProto, helper, numpy_helper

from engine.bundle import Bundle, describe_file, load_bundle, write_manifest
from engine.errors import BundleError
from engine.runtime import Tensors, open_graph, open_session
from engine.runtime.choose import random_feeds
from export.parity import as_rows, open_reference, worst
from export.rewrite import FEWEST_CHANNELS, Constants, copy_of, cut_bytes, drop_unused, fold_constants, shapes

GRAPH = "generator"
LIMIT_GREY = 2.0
"""Mean grey levels of difference over which nothing is written."""
SMALLEST_GRID = 4
"""Grids of less than the picture's height divided by this stay in f32."""
FEWEST_OUTPUTS = 8
STEPS = 127.0
HEADROOM = 1.1
"""More than any value that was seen while calibrating."""
CALM_PLACES = 8


def add_int8(folder: Path) -> dict[str, dict[str, float]]:
    """Give the bundle in `folder` a generator in int8 and return how far its pictures are from the exact ones.

    Raises `BundleError` when that is over `LIMIT_GREY`; the bundle then stays as it was.
    """
    bundle = load_bundle(folder)
    source = bundle.graph_path(GRAPH)
    target = source.with_suffix(".int8.onnx")
    write_int8(bundle, target)
    with open_reference(bundle) as reference:
        session = open_session(target, "onnxruntime", "int8")
        found = reference.compare(GRAPH, session)
        session.close()
    if not worst(found) <= LIMIT_GREY:
        target.unlink()
        raise BundleError(
            f"{GRAPH} in int8 differs by {worst(found):.3g} grey levels of 255 in the mean, the limit is {LIMIT_GREY:g}"
        )
    manifest, rows = bundle.manifest, as_rows(found)
    row = manifest.graphs[GRAPH].model_copy(update={"int8": describe_file(target)})
    changed = {
        "graphs": {**manifest.graphs, GRAPH: row},
        "provenance": {**manifest.provenance, "int8": rows},
    }
    write_manifest(folder, manifest.model_copy(update=changed))
    return rows


def write_int8(bundle: Bundle, target: Path) -> None:
    """Write the bundle's generator in int8."""
    source = onnx.load(bundle.graph_path(GRAPH))
    feeds = list(calibration(bundle))
    onnx.save(in_int8(source, feeds), target)


def calibration(bundle: Bundle) -> Iterator[Tensors]:
    """Generator inputs from all over what a show may ask for.

    Calm places that the mapping draws, what the bundle's scenes are in words, and each with the stroke of an onset.
    """
    tensors, manifest = bundle.tensors, bundle.manifest
    places: list[NDArray[np.float32]] = []
    rng = np.random.default_rng(7)
    mapping = open_graph(bundle, "mapping", "onnxruntime")
    places += [mapping.run(random_feeds(mapping.inputs, rng))["w"].copy() for _ in range(CALM_PLACES)]
    mapping.close()
    if manifest.text is not None:
        words = open_graph(bundle, "text", "onnxruntime")
        for scene in manifest.scenes:
            places.append(tensors["w_avg"] + words.run({"tokens": manifest.text.tokens(scene)})["delta"])
        words.close()
    spec = manifest.graphs[GRAPH].inputs
    tiles = {
        name: np.pad(tensors[name], ((0, 0), (0, 1), (0, 1)), mode="wrap")[np.newaxis]
        for name in ("fields", "detail")
        if name in tensors
    }
    for w_plus in places:
        for struck in (w_plus, w_plus + tensors["stroke"]):
            yield random_feeds(spec, rng) | tiles | {"w_plus": struck.astype(np.float32)}


def in_int8(model: ModelProto, feeds: Iterable[Tensors]) -> ModelProto:
    """A copy whose large convolutions compute in integers, with scales for the values that `feeds` lead to."""
    model = cut_bytes(fold_constants(model))
    constants, sizes = Constants(model), shapes(model)
    chosen = {node.output[0]: node for node in model.graph.node if _worth_it(node, model, constants, sizes)}
    if not chosen:
        raise BundleError(f"{GRAPH} has no large convolution: int8 would be no faster")
    greatest = _greatest(model, sorted({node.input[0] for node in chosen.values()}), feeds)
    nodes: list[NodeProto] = []
    rounded: dict[str, str] = {}
    for node in model.graph.node:
        if node.output[0] in chosen:
            source, weights, out = node.input[0], constants.value(node.input[1]), node.output[0]
            assert weights is not None
            if source not in rounded:
                scale = np.float32(max(greatest[source], 1e-6) / STEPS)
                nodes += _rounding(source, scale, model.graph.initializer)
                rounded[source] = f"{source}_rounded"
            nodes.append(_kernel(out, weights, 0 if node.op_type == "Conv" else 1, model.graph.initializer))
            node.input[0], node.input[1] = rounded[source], f"{out}_kernel"
        nodes.append(node)
    nodes = [copy_of(node) for node in nodes]
    del model.graph.node[:]
    model.graph.node.extend(nodes)
    del model.graph.value_info[:]
    drop_unused(model.graph)
    onnx.checker.check_model(model, full_check=True)
    return model


def _worth_it(node: NodeProto, model: ModelProto, constants: Constants, sizes: dict[str, list[int]]) -> bool:
    """Whether a convolution is one of the large ones: constant kernel, neither grouped nor of few channels."""
    if node.op_type not in ("Conv", "ConvTranspose") or any(a.name == "group" and a.i != 1 for a in node.attribute):
        return False
    source, out = sizes.get(node.input[0], []), sizes.get(node.output[0], [])
    picture = model.graph.output[0].type.tensor_type.shape.dim[0].dim_value
    return (
        len(source) == len(out) == 4
        and source[1] >= FEWEST_CHANNELS
        and out[1] >= FEWEST_OUTPUTS
        and out[2] * SMALLEST_GRID >= picture
        and constants.value(node.input[1]) is not None
    )


def _greatest(model: ModelProto, names: list[str], feeds: Iterable[Tensors]) -> dict[str, float]:
    """The greatest absolute value that each of these takes, with some headroom."""
    shown = copy_of(model)
    shown.graph.output.extend(helper.make_empty_tensor_value_info(name) for name in names)
    options = ort.SessionOptions()
    options.log_severity_level = 4
    session = ort.InferenceSession(shown.SerializeToString(), options, providers=["CPUExecutionProvider"])
    greatest = dict.fromkeys(names, 0.0)
    for each in feeds:
        for name, value in zip(names, session.run(names, each), strict=True):
            greatest[name] = max(greatest[name], HEADROOM * float(np.abs(value).max()))
    return greatest


def _rounding(source: str, scale: np.float32, stored: list[TensorProto]) -> Iterator[NodeProto]:
    """From `source` to `source_rounded`."""
    step, zero = f"{source}_step", f"{source}_zero"
    stored.extend([numpy_helper.from_array(scale, step), numpy_helper.from_array(np.int8(0), zero)])
    yield helper.make_node("QuantizeLinear", [source, step, zero], [f"{source}_int8"], name=f"{source}_int8")
    yield helper.make_node(
        "DequantizeLinear", [f"{source}_int8", step, zero], [f"{source}_rounded"], name=f"{source}_rounded"
    )


def _kernel(out: str, weights: NDArray[np.float32], axis: int, stored: list[TensorProto]) -> NodeProto:
    """`out_kernel`: the weights in integers, each output with a scale of its own. `axis`: that of the outputs."""
    others = tuple(each for each in range(weights.ndim) if each != axis)
    step = np.maximum(np.abs(weights).max(others, keepdims=True), 1e-12) / STEPS
    integers = np.clip(np.round(weights / step), -STEPS, STEPS).astype(np.int8)
    names = [f"{out}_kernel_int8", f"{out}_kernel_step", f"{out}_kernel_zero"]
    values = [integers, step.ravel().astype(np.float32), np.zeros(step.size, np.int8)]
    stored.extend(numpy_helper.from_array(value, name) for value, name in zip(values, names, strict=True))
    return helper.make_node("DequantizeLinear", names, [f"{out}_kernel"], name=f"{out}_kernel", axis=axis)
