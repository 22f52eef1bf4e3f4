"""A graph that paints a picture, cut into strips of rows: a graph for each, so that every core paints its own.

Two threads in one graph hand each other features after every operation, for a convolution is shared out otherwise than
the sum that follows. Where cores share no cache, as in many virtual machines and between the dies of a processor, that
takes longer than the arithmetic. A strip stays on its core: it computes its own rows, and of what lies below them in
the graph as many more as its convolutions look at.

Rows are asked for from the picture down to the inputs, each operation asking its inputs for what it needs
(`_asks`); what no rule knows is computed whole. Then the graph is made anew from the inputs upwards. At a cut a
convolution sees its real neighbours, and zeros only where the picture ends: the strips are the rows of the whole.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, NamedTuple

import openvino as ov
from numpy.typing import NDArray
from openvino import opset13 as ops

MOST_WORK = 1.6
"""Times the multiplications of the whole that all strips together may take. Coarse grids are computed by each."""
FEWEST_ROWS = 8
"""Of the output, in a strip."""

_POINTWISE = {
    *("Add", "Subtract", "Multiply", "Divide", "Maximum", "Minimum", "Power", "PRelu", "Relu", "Sigmoid", "Tanh"),
    *("Exp", "Log", "Sqrt", "Erf", "Abs", "Negative", "Sign", "Clamp", "Convert", "FakeQuantize"),
}
_CONVOLUTIONS = {"Convolution", "GroupConvolution", "ConvolutionBackpropData"}


class Rows(NamedTuple):
    """`start` to `stop` on an axis of a tensor."""

    axis: int
    start: int
    stop: int

    def of(self, start: int, stop: int) -> Rows:
        """Others on the same axis."""
        return Rows(self.axis, start, stop)


@dataclass(frozen=True)
class Strip:
    """A graph that gives some rows of the whole's outputs, or all of them. `rows`: which; `feeds`: what it takes of an
    input that it does not take whole."""

    model: Any
    rows: slice
    feeds: dict[str, Rows]

    def of_input(self, name: str, array: NDArray[Any]) -> NDArray[Any]:
        """What the strip takes of an input of the whole graph; where that lies, without a copy."""
        if (rows := self.feeds.get(name)) is None:
            return array
        return array[(*[slice(None)] * rows.axis, slice(rows.start, rows.stop))]

    def of_output(self, array: NDArray[Any]) -> NDArray[Any]:
        """The place of what the strip gives in an output of the whole graph."""
        return array[self.rows]


def whole(model: Any) -> Strip:
    """A graph that is not cut."""
    return Strip(model, slice(None), {})


class _Asks(NamedTuple):
    """What an operation needs of its inputs to give the rows that it is asked for; None is all of an input. `make`
    builds it anew from those inputs; without it the old one gives the right rows when it is given them."""

    inputs: list[Rows | None]
    make: Callable[[list[Any]], Any] | None = None


def strips(model: Any, count: int) -> list[Strip]:
    """`model` in so many strips. Empty where that is not possible, or not worth it: it must have one output of the form
    [rows, columns, channels], and most of it must be convolutions and what goes point by point."""
    if count < 2 or model.is_dynamic() or len(model.outputs) != 1 or len(shape := model.output(0).get_shape()) != 3:
        return []
    edges = [shape[0] * i // count for i in range(count + 1)]
    if edges[1] < FEWEST_ROWS:
        return []
    try:
        made = [_strip(model.clone(), *edge) for edge in pairwise(edges)]
    except (RuntimeError, IndexError):  # an operation is not as a rule takes it to be: the graph plays whole
        return []
    worth = 0 < sum(_multiplications(strip.model) for strip in made) <= MOST_WORK * _multiplications(model)
    return made if worth else []


def _strip(model: Any, start: int, stop: int) -> Strip:
    _fix_shapes(model)
    nodes = model.get_ordered_ops()
    wanted, asked = _wanted(nodes, Rows(0, start, stop))
    made: dict[str, Any] = {}  # instead of an output; one that is not in here is as it was, or gives fewer rows
    feeds = {}
    for node in nodes:
        name, asks = _name(node.output(0)), asked.get(node.get_name())
        inputs = []
        for index, port in enumerate(node.inputs()):
            source = port.get_source_output()
            needs = asks.inputs[index] if asks else None
            inputs.append(_cut(made.get(_name(source), source), wanted[_name(source)], needs))
        if node.get_type_name() == "Parameter" and (rows := wanted.get(name)):
            node.set_partial_shape(ov.PartialShape(_with(node.output(0), rows.axis, rows.stop - rows.start)))
            node.validate_and_infer_types()
            feeds[node.output(0).get_any_name()] = rows
        elif asks and asks.make:
            made[name] = asks.make(inputs).output(0)
        elif inputs:
            for port, source in zip(node.inputs(), inputs, strict=True):
                port.replace_source_output(source)
            node.validate_and_infer_types()
    return Strip(model, slice(start, stop), feeds)


def _wanted(nodes: Sequence[Any], of_output: Rows) -> tuple[dict[str, Rows | None], dict[str, _Asks]]:
    """The rows that must be there of every output, None for all of them, and what the operations that give only some
    rows ask for. From the end to the beginning, so that all who read an output have said what they need of it."""
    wanted: dict[str, Rows | None] = {}
    asked: dict[str, _Asks] = {}
    for node in reversed(nodes):
        name = _name(node.output(0))
        rows = of_output if node.get_type_name() == "Result" else wanted.get(name)
        asks = _asks(node, rows) if rows and node.get_output_size() == 1 else None
        if asks:
            asked[node.get_name()] = asks
        else:
            wanted |= {_name(output): None for output in node.outputs()}
        for index, port in enumerate(node.inputs()):
            source = port.get_source_output()
            needs = asks.inputs[index] if asks else None
            if needs == (needs and needs.of(0, source.get_shape()[needs.axis])):
                needs = None
            wanted[_name(source)] = _hull(wanted[_name(source)], needs) if _name(source) in wanted else needs
    return wanted, asked


def _hull(one: Rows | None, other: Rows | None) -> Rows | None:
    if one is None or other is None or one.axis != other.axis:
        return None
    return one.of(min(one.start, other.start), max(one.stop, other.stop))


def _asks(node: Any, rows: Rows) -> _Asks | None:
    """What `node` needs to give these rows; None when no rule knows."""
    kind = node.get_type_name()
    if kind == "Result":
        return _Asks([rows])
    if kind in _POINTWISE:
        return _Asks([_of_operand(port, rows, len(node.output(0).get_shape())) for port in node.inputs()])
    rule = _RULES.get(kind)
    return rule(node, rows) if rule else None


def _of_operand(port: Any, rows: Rows, rank: int) -> Rows | None:
    """Of an operand that is broadcast as in numpy."""
    shape = port.get_shape()
    axis = rows.axis - (rank - len(shape))
    return None if axis < 0 or shape[axis] == 1 else Rows(axis, rows.start, rows.stop)


def _parameter(node: Any, rows: Rows) -> _Asks | None:
    """Part of an input is fed only where it lies in one piece."""
    return _Asks([]) if math.prod(node.output(0).get_shape()[: rows.axis]) == 1 else None


def _concat(node: Any, rows: Rows) -> _Asks | None:
    axis = node.get_attributes()["axis"] % len(node.output(0).get_shape())
    return None if axis == rows.axis else _Asks([rows] * node.get_input_size())


def _squeeze(node: Any, rows: Rows) -> _Asks | None:
    axis = rows.axis
    for gone in sorted(axis % len(node.input(0).get_shape()) for axis in _numbers(node, 1)):
        axis += gone <= axis
    return _Asks([Rows(axis, rows.start, rows.stop), None])


def _unsqueeze(node: Any, rows: Rows) -> _Asks | None:
    new = [axis % len(node.output(0).get_shape()) for axis in _numbers(node, 1)]
    return _Asks([Rows(rows.axis - sum(axis < rows.axis for axis in new), rows.start, rows.stop), None])


def _transpose(node: Any, rows: Rows) -> _Asks | None:
    return _Asks([Rows(int(_numbers(node, 1)[rows.axis]), rows.start, rows.stop), None])


def _slice(node: Any, rows: Rows) -> _Asks | None:
    """Slices of other axes let rows pass; one of rows moves them."""
    if node.get_input_size() < 5:
        return None
    begins, _, steps, axes = (_numbers(node, index) for index in range(1, 5))
    axes = [axis % len(node.input(0).get_shape()) for axis in axes]
    if rows.axis not in axes:
        return _Asks([rows, None, None, None, None])
    if axes != [rows.axis] or steps != [1]:
        return None
    size = node.input(0).get_shape()[rows.axis]
    first = min(begins[0] if begins[0] >= 0 else begins[0] + size, size)
    return _Asks([rows.of(rows.start + first, rows.stop + first), *[None] * 4], lambda inputs: _itself(inputs[0]))


def _convolution(node: Any, rows: Rows) -> _Asks | None:
    """Row `o` sees the rows `o · stride − pad` onwards, `reach` of them."""
    if rows.axis != 2 or (like := _convolution_of(node)) is None:
        return None
    stride, pad, reach = like["strides"][0], like["pads_begin"][0], node.input(1).get_shape()[-2]
    height = node.input(0).get_shape()[2]
    first, last = rows.start * stride - pad, (rows.stop - 1) * stride - pad + reach
    like["pads_begin"][0], like["pads_end"][0] = max(0, -first), max(0, last - height)
    needs = rows.of(max(0, first), min(height, last))
    make = ops.group_convolution if node.get_type_name() == "GroupConvolution" else ops.convolution
    return _Asks([needs, None], lambda inputs: make(*inputs, **like))


def _transposed(node: Any, rows: Rows) -> _Asks | None:
    """Row `i` lands on the rows `i · stride − pad` onwards, `reach` of them."""
    if rows.axis != 2 or node.get_input_size() != 2 or (like := _convolution_of(node)) is None:
        return None
    if any(like["output_padding"]):
        return None
    stride, pad, reach = like["strides"][0], like["pads_begin"][0], node.input(1).get_shape()[2]
    height = node.input(0).get_shape()[2]
    first = max(0, -((reach - 1 - pad - rows.start) // stride))
    last = min(height - 1, (rows.stop - 1 + pad) // stride)
    like["pads_begin"][0] = rows.start + pad - first * stride
    like["pads_end"][0] = last * stride + reach - (rows.stop + pad)
    if min(*like["pads_begin"], *like["pads_end"]) < 0:
        return None
    return _Asks([rows.of(first, last + 1), None], lambda inputs: ops.convolution_backprop_data(*inputs, **like))


def _convolution_of(node: Any) -> dict[str, Any] | None:
    """The attributes of a convolution in two dimensions that is not dilated."""
    like = {name: value for name, value in node.get_attributes().items() if name != "auto_pad"}
    plain = node.get_attributes()["auto_pad"] == "explicit" and list(like["dilations"]) == [1, 1]
    return {name: list(value) for name, value in like.items()} if plain else None


def _pad(node: Any, rows: Rows) -> _Asks | None:
    mode, (begins, ends) = node.get_attributes()["pad_mode"], (_numbers(node, index) for index in (1, 2))
    if mode not in ("edge", "constant") or min(*begins, *ends) < 0:
        return None
    height, before = node.input(0).get_shape()[rows.axis], begins[rows.axis]
    first, last = rows.start - before, rows.stop - before
    needs = rows.of(min(max(0, first), height - 1), max(1, min(height, last)))
    begins[rows.axis], ends[rows.axis] = needs.start - first, last - needs.stop
    return _Asks(
        [needs, *[None] * (node.get_input_size() - 1)],
        lambda inputs: ops.pad(inputs[0], begins, ends, mode, *inputs[3:]),
    )


def _enlarged(node: Any, rows: Rows, times: int, around: int) -> tuple[Rows, Callable[[Any], Any]]:
    """For operations that make `times` rows of one and look at `around` of its neighbours: what they need, and what
    takes the rows from what they then give."""
    height = node.input(0).get_shape()[rows.axis]
    first = max(0, rows.start // times - around)
    last = min(height, -(-rows.stop // times) + around)
    gives = rows.of(first * times, last * times)
    return rows.of(first, last), lambda made: _itself(_cut(made.output(0), gives, rows))


def _interpolate(node: Any, rows: Rows) -> _Asks | None:
    like = node.get_attributes()
    scales = _numbers(node, 1)
    plain = like["mode"] == "linear_onnx" and like["coordinate_transformation_mode"] == "half_pixel"
    plain = plain and like["shape_calculation_mode"] == "scales" and not any(like["pads_begin"] + like["pads_end"])
    if not plain or node.get_input_size() != 2 or len(scales) != 4 or rows.axis != 2 or scales[2] % 1:
        return None
    needs, take = _enlarged(node, rows, int(scales[2]), 1)
    return _Asks([needs, None], lambda inputs: take(ops.interpolate(*inputs, "linear_onnx", "scales")))


def _depth_to_space(node: Any, rows: Rows) -> _Asks | None:
    block, mode = (node.get_attributes()[name] for name in ("block_size", "mode"))
    if rows.axis != 2:
        return None
    needs, take = _enlarged(node, rows, block, 0)
    return _Asks([needs], lambda inputs: take(ops.depth_to_space(inputs[0], mode, block)))


def _reshape(node: Any, rows: Rows) -> _Asks | None:
    """The last two axes made one, or one made the last two."""
    before, after = list(node.input(0).get_shape()), list(node.output(0).get_shape())
    if after == [*before[:-2], math.prod(before[-2:])] and rows.axis == len(after) - 1:
        width = before[-1]
        needs = Rows(len(before) - 2, rows.start // width, -(-rows.stop // width))
        gives = rows.of(needs.start * width, needs.stop * width)

        def merged(inputs: list[Any]) -> Any:
            flat = ops.reshape(inputs[0], [*after[:-1], gives.stop - gives.start], False)
            return _itself(_cut(flat.output(0), gives, rows))

        return _Asks([needs, None], merged)
    if before == [*after[:-2], math.prod(after[-2:])] and rows.axis == len(after) - 2:
        needs = Rows(len(before) - 1, rows.start * after[-1], rows.stop * after[-1])
        shape = [*after[:-2], rows.stop - rows.start, after[-1]]
        return _Asks([needs, None], lambda inputs: ops.reshape(inputs[0], shape, False))
    return None


def _matmul(node: Any, rows: Rows) -> _Asks | None:
    """Columns of a product come from the second factor's."""
    plain = not any(node.get_attributes()[name] for name in ("transpose_a", "transpose_b"))
    rank, second = len(node.output(0).get_shape()), len(node.input(1).get_shape())
    return _Asks([None, rows.of(*rows[1:])]) if plain and rank == second and rows.axis == rank - 1 else None


_RULES: dict[str, Callable[[Any, Rows], _Asks | None]] = {
    "Parameter": _parameter,
    "Concat": _concat,
    "Squeeze": _squeeze,
    "Unsqueeze": _unsqueeze,
    "Transpose": _transpose,
    "Slice": _slice,
    "Convolution": _convolution,
    "GroupConvolution": _convolution,
    "ConvolutionBackpropData": _transposed,
    "Pad": _pad,
    "Interpolate": _interpolate,
    "DepthToSpace": _depth_to_space,
    "Reshape": _reshape,
    "MatMul": _matmul,
}


def _cut(source: Any, has: Rows | None, needs: Rows | None) -> Any:
    """The rows `needs` of an output that holds the rows `has`."""
    if needs is None or needs == has:
        return source
    first = has.start if has else 0
    if has is None and needs == needs.of(0, source.get_shape()[needs.axis]):
        return source
    return ops.slice(source, [needs.start - first], [needs.stop - first], [1], [needs.axis]).output(0)


def _itself(output: Any) -> Any:
    return output.get_node()


def _with(output: Any, axis: int, size: int) -> list[int]:
    shape = list(output.get_shape())
    shape[axis] = size
    return shape


def _name(output: Any) -> str:
    return f"{output.get_node().get_name()}:{output.get_index()}"


def _numbers(node: Any, index: int) -> list[Any]:
    """The constant that an input is."""
    constant = node.input_value(index).get_node()
    return list(constant.data.flatten().tolist()) if constant.get_type_name() == "Constant" else []


def _fix_shapes(model: Any) -> None:
    """Shapes that are read in the graph become constants: nothing needs all of a tensor to know its shape."""
    for node in model.get_ordered_ops():
        if node.get_type_name() == "ShapeOf":
            kind, shape = node.output(0).get_element_type(), list(node.input(0).get_shape())
            node.output(0).replace(ov.op.Constant(kind, ov.Shape([len(shape)]), shape).output(0))


def _multiplications(model: Any) -> float:
    total = 0.0
    for node in model.get_ordered_ops():
        if node.get_type_name() in _CONVOLUTIONS:
            transposed = node.get_type_name() == "ConvolutionBackpropData"
            places = math.prod(node.input(0).get_shape()[2:] if transposed else node.output(0).get_shape()[2:])
            total += places * math.prod(node.input(1).get_shape())
    return total
