"""What a graph needs beyond f32 on a CPU, done to the ONNX file itself, so that no checkpoint has to be at hand.

`cast_last`: TensorRT knows bytes only as a graph's last step. `in_half`: convolutions in half precision, all else in
f32. TensorRT 11 takes precision from the graph and fuses what lies between two convolutions into one pass, whose
arithmetic is f32 and whose memory is half; the recurrent step and the path of the styles, where small errors live long
or count for much, stay exact.

fp16 ends at 65504. A convolution `y = W (s · x)` cannot get there when W is scaled to at most unit length for each
output (undone after it), s to a greatest value of 1 (likewise) and its input is clamped to ±256, all as in
StyleGAN2-ADA: |y| ≤ 256 · √(inputs · kernel), 17 378 for 512 × 3 × 3. bf16 reaches as far as f32 and needs none of it.
"""

from __future__ import annotations

import itertools
from typing import Literal, TypeVar

import ml_dtypes
import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import ModelProto, NodeProto, TensorProto, helper, numpy_helper
from onnx.reference import ReferenceEvaluator

Message = TypeVar("Message", ModelProto, NodeProto)
Half = Literal["fp16", "bf16"]
ELEMENTS = {"fp16": TensorProto.FLOAT16, "bf16": TensorProto.BFLOAT16}
DTYPES = {"fp16": np.float16, "bf16": ml_dtypes.bfloat16}
BF16_OPSET = 22  # the first in which convolutions take bf16
CLAMP = 256.0
FEWEST_CHANNELS = 8
"""A convolution that reads fewer reads sound or a picture: nothing to gain, and pictures add up in f32."""


def cast_last(model: ModelProto) -> ModelProto:
    """A copy that casts its bytes at the very end. A graph of a bundle makes bytes only to give them out."""
    model = copy_of(model)
    graph = model.graph
    outputs = {output.name for output in graph.output}
    early = [node for node in graph.node if _casts_to_bytes(node) and outputs.isdisjoint(node.output)]
    if not early:
        return model
    for node in early:
        node.op_type = "Floor"  # what a cast to bytes does to the values, which are within 0..255
        del node.attribute[:]
    for tensor in graph.initializer:
        if tensor.data_type == TensorProto.UINT8:
            tensor.CopyFrom(numpy_helper.from_array(numpy_helper.to_array(tensor).astype(np.float32), tensor.name))
    for output in graph.output:
        if output.type.tensor_type.elem_type == TensorProto.UINT8:
            values = f"{output.name}_values"
            for node in graph.node:
                for position, name in enumerate(node.output):
                    if name == output.name:
                        node.output[position] = values
            graph.node.append(helper.make_node("Cast", [values], [output.name], to=TensorProto.UINT8))
    del graph.value_info[:]  # what was stated of types between the nodes no longer holds
    return model


def cut_bytes(model: ModelProto) -> ModelProto:
    """A copy that cuts and turns bytes before it casts them: a quarter of the memory traffic. Answers are the same."""
    model = copy_of(model)
    graph = model.graph
    given = {value.name for value in graph.input if value.type.tensor_type.elem_type == TensorProto.UINT8}
    casts = [node for node in graph.node if node.op_type == "Cast" and node.input[0] in given]
    while casts:
        cast = casts.pop()
        cuts = [node for node in graph.node if cast.output[0] in node.input]
        if not cuts or any(node.op_type not in ("Slice", "Transpose") for node in cuts):
            continue
        for cut in cuts:
            bytes_cut = f"{cut.output[0]}_bytes"
            after = helper.make_node("Cast", [bytes_cut], [cut.output[0]], name=f"{bytes_cut}_cast")
            after.attribute.extend(cast.attribute)
            cut.input[0], cut.output[0] = cast.input[0], bytes_cut
            place = next(index for index, node in enumerate(graph.node) if node.output[0] == bytes_cut)
            graph.node.insert(place + 1, after)
            casts.append(graph.node[place + 1])
    drop_unused(graph)
    del graph.value_info[:]
    return model


def bytes_before_batch(model: ModelProto) -> ModelProto:
    """A copy that casts to bytes before it drops the batch: OpenVINO turns floats over for the latter, but not bytes.
    Answers are the same."""
    model = copy_of(model)
    nodes = list(model.graph.node)
    for drop, cast in itertools.pairwise(nodes):
        if drop.op_type == "Squeeze" and _casts_to_bytes(cast) and cast.input[0] == drop.output[0]:
            floats, between, out = drop.input[0], drop.output[0], cast.output[0]
            cast.input[0], cast.output[0] = floats, between
            drop.input[0], drop.output[0] = between, out
            first, second = copy_of(cast), copy_of(drop)
            drop.CopyFrom(first)
            cast.CopyFrom(second)
    del model.graph.value_info[:]
    return model


def fold_constants(model: ModelProto) -> ModelProto:
    """A copy that holds the values of what depends on no input, instead of the nodes that work them out."""
    model = copy_of(model)
    constants = Constants(model)
    nodes = []
    for node in model.graph.node:
        if constants.value(node.output[0]) is None:
            nodes.append(copy_of(node))
        else:
            for name in node.output:
                model.graph.initializer.append(numpy_helper.from_array(np.asarray(constants.value(name)), name))
    del model.graph.node[:]
    model.graph.node.extend(nodes)
    drop_unused(model.graph)
    return model


def in_half(model: ModelProto, half: Half, emulated: bool = False) -> ModelProto:
    """A copy whose convolutions compute in half precision. Inputs and outputs stay what they are.

    `emulated`: values and weights are rounded to half, the arithmetic is f32, for runtimes that have no other.
    """
    model = copy_of(model)
    graph = model.graph
    writer = _HalfWriter(model, half, emulated)
    for node in list(graph.node):
        if node.op_type in ("Conv", "ConvTranspose"):
            writer.convolution(node)
        else:
            writer.nodes.append(node)
    nodes = [copy_of(node) for node in writer.nodes]
    del graph.node[:]
    graph.node.extend(nodes)
    graph.initializer.extend(writer.stored)
    del graph.value_info[:]
    drop_unused(graph)
    if half == "bf16" and not emulated:
        model.opset_import[0].version = max(model.opset_import[0].version, BF16_OPSET)
    onnx.checker.check_model(model, full_check=True)
    return model


class _HalfWriter:
    """Nodes of the rewritten graph, in order."""

    def __init__(self, model: ModelProto, half: Half, emulated: bool) -> None:
        self.nodes: list[NodeProto] = []
        self.stored: list[TensorProto] = []
        self._half, self._emulated = half, emulated
        self._constants = Constants(model)
        self._producers = {output: node for node in model.graph.node for output in node.output}
        self._shapes = shapes(model)
        self._maxima: dict[str, tuple[str, str]] = {}

    def convolution(self, node: NodeProto) -> None:
        """The node in half precision, or as it was: when its weights are not constant or it reads few channels."""
        weights = self._constants.value(node.input[1])
        shape = self._shapes.get(node.input[0], [])
        unknown = self._half == "bf16" and node.op_type == "ConvTranspose"  # to TensorRT-RTX 1.7
        if weights is None or len(shape) != 4 or shape[1] < FEWEST_CHANNELS or unknown:
            self.nodes.append(node)
            return
        out, source, undo = node.output[0], node.input[0], ""
        if self._half == "fp16":
            weights, scale = _unit_length(node, weights)
            undo = self._store(f"{out}_scale", scale)
            source, greatest = self._modulated_by_at_most_one(node, source)
            if greatest:
                undo = self._node("Mul", [undo, greatest], f"{out}_undo")
            limits = [self._store("half_lowest", np.float32(-CLAMP)), self._store("half_highest", np.float32(CLAMP))]
            source = self._node("Clip", [source, *limits], f"{out}_clamped")
        halved = weights.astype(DTYPES[self._half])
        if self._emulated:
            source = self._cast(self._cast(source, ELEMENTS[self._half], f"{out}_in"), TensorProto.FLOAT, f"{out}_in32")
            kernel = self._store(f"{out}_kernel", halved.astype(np.float32))
        else:
            source = self._cast(source, ELEMENTS[self._half], f"{out}_in")
            kernel = self._store(f"{out}_kernel", halved)
        convolved = helper.make_node(node.op_type, [source, kernel], [f"{out}_half"], name=f"{out}_half")
        convolved.attribute.extend(node.attribute)
        self.nodes.append(convolved)
        rounded = f"{out}_half"
        if self._emulated:
            rounded = self._cast(rounded, ELEMENTS[self._half], f"{out}_rounded")
        steps = [("Mul", undo)] if undo else []
        if len(node.input) > 2 and node.input[2]:
            channels = self._shapes[out][1]
            flat = self._constants.value(node.input[2])
            assert flat is not None, "a bias is constant where the weights are"
            steps.append(("Add", self._store(f"{out}_bias", flat.reshape(1, channels, 1, 1))))
        name = self._cast(rounded, TensorProto.FLOAT, f"{out}_single" if steps else out)
        for number, (kind, operand) in enumerate(steps, 1):
            name = self._node(kind, [name, operand], out if number == len(steps) else f"{out}_{kind.lower()}")

    def _modulated_by_at_most_one(self, node: NodeProto, source: str) -> tuple[str, str]:
        """A convolution's input, its style, if it has one, divided by its greatest value; and that value."""
        mul = self._producers.get(source)
        if mul is None or mul.op_type != "Mul" or self._constants.value(source) is not None:
            return source, ""
        for style, x in (mul.input, reversed(mul.input)):
            shape = self._shapes.get(style, [])
            if len(shape) == 4 and shape[2:] == [1, 1] and self._shapes.get(x, [])[2:] != [1, 1]:
                if style not in self._maxima:
                    size = self._node("Abs", [style], f"{style}_size")
                    least = self._store("half_least", np.float32(2.0**-12))
                    greatest = self._node("ReduceMax", [size], f"{style}_greatest", keepdims=1)
                    greatest = self._node("Max", [greatest, least], f"{style}_at_least")
                    self._maxima[style] = self._node("Div", [style, greatest], f"{style}_unit"), greatest
                unit, greatest = self._maxima[style]
                return self._node("Mul", [x, unit], f"{node.output[0]}_modulated"), greatest
        return source, ""

    def _node(self, kind: str, inputs: list[str], output: str, **attributes: int) -> str:
        self.nodes.append(helper.make_node(kind, inputs, [output], name=output, **attributes))
        return output

    def _cast(self, source: str, element: int, output: str) -> str:
        return self._node("Cast", [source], output, to=element)

    def _store(self, name: str, value: NDArray[np.generic] | np.generic) -> str:
        if all(tensor.name != name for tensor in self.stored):
            self.stored.append(numpy_helper.from_array(np.asarray(value), name))
        return name


def _unit_length(node: NodeProto, weights: NDArray[np.float32]) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Weights of at most unit length for each output, and the powers of two `[1, O, 1, 1]` that undo it."""
    groups = next((a.i for a in node.attribute if a.name == "group"), 1)
    if node.op_type == "Conv":
        kernels = weights.reshape(len(weights), -1)
    else:  # [I, O / groups, k, k]: the outputs of one group after those of another
        grouped = weights.reshape(groups, -1, *weights.shape[1:]).swapaxes(1, 2)
        kernels = grouped.reshape(groups * weights.shape[1], -1)
    lengths = np.linalg.norm(kernels.astype(np.float64), axis=1)
    scale = np.exp2(np.ceil(np.log2(np.maximum(lengths, 2.0**-24)))).astype(np.float32)
    if node.op_type == "Conv":
        divided = weights / scale.reshape(-1, *[1] * (weights.ndim - 1))
    else:
        by_group = scale.reshape(groups, 1, weights.shape[1], *[1] * (weights.ndim - 2))
        divided = (weights.reshape(groups, -1, *weights.shape[1:]) / by_group).reshape(weights.shape)
    return divided, scale.reshape(1, -1, 1, 1)


class Constants:
    """Values of everything in a graph that depends on no input, worked out when asked for."""

    def __init__(self, model: ModelProto) -> None:
        self._values = {tensor.name: numpy_helper.to_array(tensor) for tensor in model.graph.initializer}
        self._producers = {output: node for node in model.graph.node for output in node.output}
        self._variable = {value.name for value in model.graph.input}
        self._opsets = list(model.opset_import)

    def value(self, name: str) -> NDArray[np.float32] | None:
        """None when it depends on an input."""
        if name in self._variable:
            return None
        if name not in self._values:
            node = self._producers.get(name)
            if node is None:
                return None
            found = [self.value(source) if source else None for source in node.input]
            if any(source and value is None for source, value in zip(node.input, found, strict=True)):
                self._variable.update(node.output)
                return None
            feeds = {source: value for source, value in zip(node.input, found, strict=True) if source}
            made = ReferenceEvaluator(_one_node(node, self._opsets)).run(None, feeds)
            self._values.update(zip(node.output, made, strict=True))
        return self._values[name]


def _one_node(node: NodeProto, opsets: list[onnx.OperatorSetIdProto]) -> ModelProto:
    unknown = [helper.make_empty_tensor_value_info(name) for name in dict.fromkeys(node.input) if name]
    outputs = [helper.make_empty_tensor_value_info(name) for name in node.output]
    return helper.make_model(helper.make_graph([node], "one", unknown, outputs), opset_imports=opsets)


def shapes(model: ModelProto) -> dict[str, list[int]]:
    """Shapes of everything in a graph, by name."""
    graph = onnx.shape_inference.infer_shapes(model, data_prop=True).graph
    values = [*graph.value_info, *graph.input, *graph.output]
    found = {v.name: [d.dim_value for d in v.type.tensor_type.shape.dim] for v in values}
    return found | {tensor.name: list(tensor.dims) for tensor in graph.initializer}


def drop_unused(graph: onnx.GraphProto) -> None:
    """Nodes and stored tensors that nothing asks for any more, last first."""
    wanted = {output.name for output in graph.output}
    for index in reversed(range(len(graph.node))):
        if wanted.isdisjoint(graph.node[index].output):
            del graph.node[index]
        else:
            wanted.update(graph.node[index].input)
    for index in reversed(range(len(graph.initializer))):
        if graph.initializer[index].name not in wanted:
            del graph.initializer[index]


def _casts_to_bytes(node: NodeProto) -> bool:
    return node.op_type == "Cast" and any(a.name == "to" and a.i == TensorProto.UINT8 for a in node.attribute)


def copy_of(message: Message) -> Message:
    """A copy that shares nothing: what is in a list of a message dies when the list is emptied."""
    copy = type(message)()
    copy.CopyFrom(message)
    return copy
