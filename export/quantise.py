"""A generator whose large convolutions compute in 8-bit integers.

A CPU with VNNI multiplies four times as many 8-bit integers as floats in one instruction. Each convolution's input is
rounded to 255 steps of a scale for each channel, its weights to 255 steps of a scale for each output, both without
offset; sums, bias and all that lies between two convolutions stay f32. The file says so in standard ONNX
(QuantizeLinear and DequantizeLinear around a Conv, Jacob et al., *Quantization and Training of Neural Networks for
Efficient Integer-Arithmetic-Only Inference*, CVPR 2018), which OpenVINO and ONNX Runtime turn into integer kernels.

Left in f32 are the convolutions on the small grids, which cost little and decide the layout, and those that read or
write colours, whose rounding would be seen as bands.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import onnx
import onnxruntime as ort
from numpy.typing import NDArray
from onnx import ModelProto, NodeProto, TensorProto, helper, numpy_helper

from engine.bundle import Bundle, describe_file, load_bundle, write_manifest
from engine.errors import BundleError
from engine.fields import FieldFlow
from engine.runtime import Tensors, open_graph, open_session
from engine.runtime.choose import random_feeds
from export.parity import as_rows, open_reference, worst
from export.rewrite import (
    FEWEST_CHANNELS,
    Constants,
    bytes_before_batch,
    copy_of,
    cut_bytes,
    drop_unused,
    fold_constants,
    shapes,
)

GRAPH = "generator"
PAINTERS = (GRAPH, "small")
"""Graphs that may have a twin in int8."""
LIMIT_GREY = 2.0
"""Mean grey levels of difference over which nothing is written."""
SMALLEST_GRID = {GRAPH: 36, "small": 24}
"""Grids with fewer rows stay in f32."""
FEWEST_OUTPUTS = 8
STEPS = 127.0
HEADROOM = 1.2
"""More than any value that was seen while calibrating."""
SMALLEST_SPAN = 0.1
"""No channel is taken for smaller than this share of the greatest one: one that was silent so far may speak up."""
CALM_PLACES = 8
WILD = 32
"""Inputs at random: wilder than a show, so that what is new to it is not cut off."""
STRENGTHS = (1.0, 2.5, 5.0)


def add_int8(folder: Path, graph: str = GRAPH) -> dict[str, dict[str, float]]:
    """Give one of the `PAINTERS` of the bundle in `folder` a twin in int8 and return how far its pictures are from the
    exact ones.

    Raises `BundleError` when that is over `LIMIT_GREY`; the bundle then stays as it was.
    """
    bundle = load_bundle(folder)
    source = bundle.graph_path(graph)
    target = source.with_suffix(".int8.onnx")
    write_int8(bundle, target, graph)
    with open_reference(bundle) as reference:
        session = open_session(target, "onnxruntime", "int8")
        found = reference.compare(graph, session)
        session.close()
    if not worst(found) <= LIMIT_GREY:
        target.unlink()
        raise BundleError(
            f"{graph} in int8 differs by {worst(found):.3g} grey levels of 255 in the mean, the limit is {LIMIT_GREY:g}"
        )
    manifest, rows = bundle.manifest, as_rows(found)
    row = manifest.graphs[graph].model_copy(update={"int8": describe_file(target)})
    changed = {
        "graphs": {**manifest.graphs, graph: row},
        "provenance": {**manifest.provenance, "int8" if graph == GRAPH else f"{graph}_int8": rows},
    }
    write_manifest(folder, manifest.model_copy(update=changed))
    return rows


def write_int8(bundle: Bundle, target: Path, graph: str = GRAPH) -> None:
    """Write one of the bundle's `PAINTERS` in int8."""
    source = onnx.load(bundle.graph_path(graph))
    onnx.save(in_int8(source, list(calibration(bundle, graph)), graph), target)


def calibration(bundle: Bundle, graph: str = GRAPH) -> Iterator[Tensors]:
    """Inputs of one of the `PAINTERS` from all over what a show may ask for.

    The bundle's `places`, each also with the stroke of an onset; then codes and textures at random.
    """
    manifest, rng = bundle.manifest, np.random.default_rng(7)
    spec = manifest.graphs[graph].inputs
    textures = FieldFlow.of(bundle, small=graph != GRAPH).sample() if manifest.fields else {}
    for w_plus in places(bundle, rng):
        for struck in (w_plus, w_plus + bundle.tensors["stroke"]):
            yield random_feeds(spec, rng) | textures | {"w_plus": struck.astype(np.float32)}
    for _ in range(WILD):
        yield random_feeds(spec, rng)


def places(bundle: Bundle, rng: np.random.Generator) -> list[NDArray[np.float32]]:
    """`w_plus [1, L, D]` from all over a show: calm places that the mapping draws, and what the bundle's scenes are in
    words, also as strong as loud sound makes them."""
    tensors, manifest = bundle.tensors, bundle.manifest
    mapping = open_graph(bundle, "mapping", "onnxruntime")
    found = [mapping.run(random_feeds(mapping.inputs, rng))["w"].copy() for _ in range(CALM_PLACES)]
    mapping.close()
    if manifest.text is not None:
        words = open_graph(bundle, "text", "onnxruntime")
        for scene in manifest.scenes:
            delta = words.run({"tokens": manifest.text.tokens(scene)})["delta"]
            found += [base + strength * delta for base in (tensors["w_avg"], found[0]) for strength in STRENGTHS]
        words.close()
    return found


def in_int8(model: ModelProto, feeds: Iterable[Tensors], graph: str = GRAPH) -> ModelProto:
    """A copy whose large convolutions compute in integers, with scales for the values that `feeds` lead to. `graph`:
    which of the `PAINTERS` it is."""
    model = bytes_before_batch(cut_bytes(fold_constants(model)))
    constants, sizes, smallest = Constants(model), shapes(model), SMALLEST_GRID[graph]
    chosen = {node.output[0]: node for node in model.graph.node if _worth_it(node, constants, sizes, smallest)}
    if not chosen:
        raise BundleError(f"{graph} has no large convolution: int8 would be no faster")
    sources = _Sources(model, constants, sizes, [node.input[0] for node in chosen.values()], feeds)
    nodes: list[NodeProto] = []
    for node in model.graph.node:
        if node.output[0] in chosen:
            weights, out = constants.value(node.input[1]), node.output[0]
            assert weights is not None
            source = sources.rounded(node.input[0])
            nodes += source.nodes
            axis = 0 if node.op_type == "Conv" else 1
            shape = [-1 if dimension == 1 - axis else 1 for dimension in range(weights.ndim)]
            nodes.append(_kernel(out, weights * source.share.reshape(shape), axis, model.graph.initializer))
            node.input[0], node.input[1] = source.name, f"{out}_kernel"
        nodes.append(node)
    nodes = [copy_of(node) for node in nodes]
    del model.graph.node[:]
    model.graph.node.extend(nodes)
    del model.graph.value_info[:]
    drop_unused(model.graph)
    onnx.checker.check_model(model, full_check=True)
    return model


def _worth_it(node: NodeProto, constants: Constants, sizes: dict[str, list[int]], smallest: int) -> bool:
    """Whether a convolution is one of the large ones: constant kernel, neither grouped nor of few channels."""
    if node.op_type not in ("Conv", "ConvTranspose") or any(a.name == "group" and a.i != 1 for a in node.attribute):
        return False
    source, out = sizes.get(node.input[0], []), sizes.get(node.output[0], [])
    return (
        len(source) == len(out) == 4
        and source[1] >= FEWEST_CHANNELS
        and out[1] >= FEWEST_OUTPUTS
        and out[2] >= smallest
        and constants.value(node.input[1]) is not None
    )


@dataclass(frozen=True, slots=True)
class _Rounded:
    """What a convolution reads instead: the tensor `name`, which `nodes` make (none if they stand already), and by how
    much its weights count more for each of the channels."""

    name: str
    nodes: list[NodeProto]
    share: NDArray[np.float32]


class _Sources:
    """What the chosen convolutions read, in integers.

    Each channel is rounded on a scale of its own, and then all are taken for one scale; the weights make up for it.
    Channels that were joined from several places are joined as integers. Bytes that the graph is given are taken as
    they are.
    """

    def __init__(
        self,
        model: ModelProto,
        constants: Constants,
        sizes: dict[str, list[int]],
        names: Iterable[str],
        feeds: Iterable[Tensors],
    ) -> None:
        self._stored, self._sizes = model.graph.initializer, sizes
        self._made_by = {name: node for node in model.graph.node for name in node.output}
        self._constants = constants
        self._places = {name: self._joined(name) for name in names}
        self._bytes = {place: self._as_bytes(place) for places in self._places.values() for place in places}
        self._least, self._greatest = _extremes(model, sorted(self._bytes), feeds)
        self._made: dict[str, _Rounded] = {}

    def rounded(self, name: str) -> _Rounded:
        """`name` in integers; the nodes that do it come with the first call."""
        if name in self._made:
            return replace(self._made[name], nodes=[])
        places = self._places[name]
        signed = any((self._least[place] < 0).any() for place in places)
        # OpenVINO 2026.4 loses the scale of signed integers when it joins them, and computes transposed convolutions
        # of integers with an offset in f32.
        zero = np.int8(0) if signed and len(places) == 1 else np.uint8(128 if signed else 0)
        steps = STEPS if signed else 2 * STEPS + 1
        own: dict[str, NDArray[np.float32]] = {}
        for place in places:
            span = np.maximum(self._greatest[place], -self._least[place])
            own[place] = (HEADROOM * np.maximum(span, SMALLEST_SPAN * span.max() + 1e-6) / steps).astype(np.float32)
        common = np.float32(max(each.max() for each in own.values()))
        nodes, outputs = [], []
        for place in places:
            part = name if place == name else f"{name}_{place}"
            source, factor = self._bytes[place] or ("", 0.0)
            scale = self._scale(part, common, zero)
            if source and not signed:
                own[place] = np.full_like(own[place], factor)
            else:
                # Not on scales of their own: runtimes expect what is read to be what was rounded.
                times = (common / own[place]).reshape(1, -1, 1, 1)
                self._stored.append(numpy_helper.from_array(times, f"{part}_times"))
                source = f"{part}_integers"
                nodes.append(helper.make_node("Mul", [place, f"{part}_times"], [f"{part}_even"]))
                nodes.append(helper.make_node("QuantizeLinear", [f"{part}_even", *scale], [source]))
            nodes.append(helper.make_node("DequantizeLinear", [source, *scale], [f"{part}_rounded"]))
            outputs.append(f"{part}_rounded")
        if len(outputs) > 1:
            nodes.append(helper.make_node("Concat", outputs, [f"{name}_rounded"], axis=1))
        share = np.concatenate([own[place] / common for place in places])
        self._made[name] = _Rounded(f"{name}_rounded", nodes, share)
        return self._made[name]

    def _scale(self, name: str, step: np.float32, zero: np.int8 | np.uint8) -> tuple[str, str]:
        names = f"{name}_step", f"{name}_zero"
        self._stored.extend(numpy_helper.from_array(v, n) for v, n in zip((step, zero), names, strict=True))
        return names

    def _joined(self, name: str) -> list[str]:
        """The places whose channels a concatenation joins to `name`; itself if none does."""
        node = self._made_by.get(name)
        if node is not None and node.op_type == "Concat" and node.attribute[0].i == 1:
            return [place for source in node.input for place in self._joined(source)]
        return [name]

    def _as_bytes(self, place: str) -> tuple[str, float] | None:
        """The bytes of which `place` is a constant multiple, and the factor, if it is one."""
        factor, node = 1.0, self._made_by.get(place)
        while node is not None and node.op_type == "Mul":
            times = self._constants.value(node.input[1])
            if times is None or times.size != 1:
                return None
            factor, node = factor * float(times.item()), self._made_by.get(node.input[0])
        if node is None or node.op_type != "Cast":
            return None
        made_by = self._made_by.get(node.input[0])
        given = made_by.input[0] if made_by is not None and made_by.op_type == "Transpose" else node.input[0]
        return (node.input[0], factor) if given == "detail" else None


def _extremes(
    model: ModelProto, names: list[str], feeds: Iterable[Tensors]
) -> tuple[dict[str, NDArray[np.float32]], dict[str, NDArray[np.float32]]]:
    """The least and the greatest value of each channel of these."""
    shown = copy_of(model)
    shown.graph.output.extend(helper.make_empty_tensor_value_info(name) for name in names)
    options = ort.SessionOptions()
    options.log_severity_level = 4
    session = ort.InferenceSession(shown.SerializeToString(), options, providers=["CPUExecutionProvider"])
    least: dict[str, NDArray[np.float32]] = {}
    greatest: dict[str, NDArray[np.float32]] = {}
    for each in feeds:
        for name, value in zip(names, session.run(names, each), strict=True):
            low, high = value.min((0, 2, 3)), value.max((0, 2, 3))
            least[name] = np.minimum(least.get(name, low), low)
            greatest[name] = np.maximum(greatest.get(name, high), high)
    return least, greatest


def _kernel(out: str, weights: NDArray[np.float32], axis: int, stored: list[TensorProto]) -> NodeProto:
    """`out_kernel`: the weights in integers, each output with a scale of its own. `axis`: that of the outputs.

    What rounding takes from one weight is given to the next (error diffusion), so sums over neighbours stay exact: the
    taps of a kernel and the pixels of a cell see much the same.
    """
    others = tuple(each for each in range(weights.ndim) if each != axis)
    step = np.maximum(np.abs(weights).max(others, keepdims=True), 1e-12) / STEPS
    rows = np.moveaxis(np.float64(weights) / step, axis, 0)
    sums = np.round(rows.reshape(len(rows), -1).cumsum(1))
    rounded = np.diff(sums, axis=1, prepend=0.0).reshape(rows.shape).clip(-STEPS, STEPS)
    integers = np.ascontiguousarray(np.moveaxis(rounded, 0, axis)).astype(np.int8)
    names = [f"{out}_kernel_int8", f"{out}_kernel_step", f"{out}_kernel_zero"]
    values = [integers, step.ravel().astype(np.float32), np.zeros(step.size, np.int8)]
    stored.extend(numpy_helper.from_array(value, name) for value, name in zip(values, names, strict=True))
    return helper.make_node("DequantizeLinear", names, [f"{out}_kernel"], name=f"{out}_kernel", axis=axis)
