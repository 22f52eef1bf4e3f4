"""Graphs in torch, operator by operator: on an NVIDIA GPU as one CUDA graph, for a machine that has torch already.

On a CPU the same is eager torch on the bundle's own weights: too slow to play, and what the other runtimes are compared
with (`cymatic bench`, `cymatic export`). Whatever depends on no input is computed once, when the graph is opened, and
every value is freed after its last use, as in a network written by hand.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import onnx
import torch
import torch.nn.functional as nnf
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper
from torch import Tensor

from engine.contract import TensorSpec
from engine.errors import BundleError, RuntimeUnavailable
from engine.runtime.session import Precision, Runtime, Tensors, check_feed, first_line, tensor_spec

Attributes = dict[str, Any]
Operator = Callable[[list[Any], Attributes], Any]

_DTYPES = {
    TensorProto.FLOAT: torch.float32,
    TensorProto.FLOAT16: torch.float16,
    TensorProto.BFLOAT16: torch.bfloat16,
    TensorProto.UINT8: torch.uint8,
    TensorProto.INT32: torch.int32,
    TensorProto.INT64: torch.int64,
    TensorProto.BOOL: torch.bool,
}


class TorchSession:
    """A graph run by torch on `device`. See `engine.runtime.session.Session`."""

    runtime: Runtime = "torch-cuda"

    def __init__(self, path: Path, precision: Precision, device: Literal["cuda", "cpu"]) -> None:
        if precision != "f32":
            raise RuntimeUnavailable(f"torch computes in f32 or as the graph says, not in {precision}")
        if device == "cuda" and not torch.cuda.is_available():
            raise RuntimeUnavailable("runtime torch-cuda cannot be used: torch finds no GPU")
        self.precision: Precision = precision
        try:
            model = onnx.load(path)
            self._steps, self._constants = _compile(model, torch.device(device))
        except BundleError as error:
            raise BundleError(f"graph {path}: {error}") from None
        except Exception as error:  # noqa: BLE001  # a damaged file fails in protobuf, numpy or torch alike
            raise BundleError(f"graph {path}: torch cannot load it: {first_line(error)}") from None
        self.inputs = _specs(path, model.graph.input)
        self.outputs = _specs(path, model.graph.output)
        self._device = device
        self._given: dict[str, Tensor] = {}
        self._captured: Any = None
        if device == "cuda":
            self._capture()

    @torch.no_grad()
    def run(self, feeds: Mapping[str, NDArray[Any]]) -> Tensors:
        """See `Session.run`. The arrays given out are the caller's own."""
        arrays: dict[str, NDArray[Any]] = {}
        for name, spec in self.inputs.items():
            array = feeds.get(name)
            if array is None:
                raise ValueError(f"input {name} is missing")
            check_feed(name, array, spec)
            arrays[name] = np.require(array, requirements=["C", "W"])  # torch warns of what it may not write to
        if self._captured is None:
            results = self._compute({name: torch.from_numpy(array) for name, array in arrays.items()})
        else:
            for name, array in arrays.items():
                self._given[name].copy_(torch.from_numpy(array))
            self._captured.replay()
            results = self._results
        return {name: tensor.cpu().numpy() for name, tensor in results.items()}

    def close(self) -> None:
        """See `Session.close`."""
        self._captured, self._steps, self._constants, self._given = None, [], {}, {}

    @torch.no_grad()
    def _capture(self) -> None:
        """One CUDA graph from inputs that stay where they are; warmed up on a stream of its own, as torch asks."""
        for name, spec in self.inputs.items():
            self._given[name] = torch.zeros(spec.shape, dtype=getattr(torch, spec.dtype), device="cuda")
        stream: Any = torch.cuda.Stream()  # type: ignore[no-untyped-call]
        stream.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(stream):
            for _ in range(3):
                self._compute(self._given)
        torch.cuda.current_stream().wait_stream(stream)
        self._captured = torch.cuda.CUDAGraph()
        with torch.cuda.graph(self._captured):
            self._results = self._compute(self._given)

    def _compute(self, inputs: Mapping[str, Tensor]) -> dict[str, Tensor]:
        return _run(self._steps, self._constants, inputs, self.outputs)


def open_function(path: Path, device: torch.device) -> Callable[[Mapping[str, Tensor]], dict[str, Tensor]]:
    """A graph as a function of tensors on `device` that gradients pass through: for what learns to steer it.

    A gradient passes bytes as if they had never been rounded: an output of bytes is then one of floats, 0..255.
    """
    model = onnx.load(path)
    steps, constants = _compile(model, device)
    outputs = [output.name for output in model.graph.output]
    return lambda inputs: _run(steps, constants, inputs, outputs)


@dataclass(frozen=True, slots=True)
class _Step:
    operator: Operator
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    attributes: Attributes
    last_use_of: tuple[str, ...]


def _run(
    steps: list[_Step], constants: Mapping[str, Tensor], inputs: Mapping[str, Tensor], outputs: Iterable[str]
) -> dict[str, Tensor]:
    values: dict[str, Any] = {**constants, **inputs}
    for step in steps:
        found = step.operator([values[name] if name else None for name in step.inputs], step.attributes)
        values.update(zip(step.outputs, found if isinstance(found, tuple) else (found,), strict=True))
        for name in step.last_use_of:
            del values[name]
    return {name: values[name].contiguous() for name in outputs}


@torch.no_grad()
def _compile(model: onnx.ModelProto, device: torch.device) -> tuple[list[_Step], dict[str, Tensor]]:
    """The steps that depend on an input, and everything else as values. Unknown operators: `BundleError`."""
    graph = model.graph
    unknown = sorted({node.op_type for node in graph.node if node.op_type not in _OPERATORS})
    if unknown:
        raise BundleError(f"torch is not told how to compute {', '.join(unknown)}")
    known = {tensor.name: _from_stored(tensor) for tensor in graph.initializer}
    variable = []
    for node in graph.node:
        attributes = {a.name: helper.get_attribute_value(a) for a in node.attribute}
        attributes["outputs"] = len(node.output)
        if all(name in known or not name for name in node.input):
            found = _OPERATORS[node.op_type]([known[name] if name else None for name in node.input], attributes)
            known.update(zip(node.output, found if isinstance(found, tuple) else (found,), strict=True))
        else:
            variable.append((node, attributes))
    steps: list[_Step] = []
    kept = {output.name for output in graph.output}
    for node, attributes in reversed(variable):
        ends = dict.fromkeys(n for n in (*node.input, *node.output) if n and n not in kept and n not in known)
        kept.update(ends)
        operator = _OPERATORS[node.op_type]
        steps.append(_Step(operator, tuple(node.input), tuple(node.output), attributes, tuple(ends)))
    read = {name for step in steps for name in step.inputs} | {output.name for output in graph.output}
    # Shapes, axes and limits are read by Python, at every run: they stay where Python can see them.
    plain = {
        name
        for node, _ in variable
        for place, name in enumerate(node.input)
        if place in _READ_BY_PYTHON.get(node.op_type, ())
    }
    constants = {
        name: value.contiguous().to("cpu" if name in plain or value.ndim == 0 else device)
        for name, value in known.items()
        if name in read
    }
    return steps[::-1], constants


def _from_stored(tensor: TensorProto) -> Tensor:
    array = numpy_helper.to_array(tensor)
    if tensor.data_type == TensorProto.BFLOAT16:
        return torch.from_numpy(array.view(np.int16).copy()).view(torch.bfloat16)
    return torch.from_numpy(array.copy())


def _specs(path: Path, values: Any) -> dict[str, TensorSpec]:
    specs = {}
    for value in values:
        kind = value.type.tensor_type
        shape = tuple(dimension.dim_value for dimension in kind.shape.dim)
        dtype = helper.tensor_dtype_to_np_dtype(kind.elem_type).name
        specs[value.name] = tensor_spec(path, value.name, shape, dtype)
    return specs


# Operators: values (None where an optional input is missing) and attributes, as ONNX defines them


_READ_BY_PYTHON = {
    "Clip": (1, 2), "Expand": (1,), "Pad": (1, 2), "ReduceL2": (1,), "ReduceMax": (1,), "ReduceMean": (1,),
    "ReduceSum": (1,), "Reshape": (1,), "Resize": (1, 2, 3), "Slice": (1, 2, 3, 4), "Split": (1,), "Squeeze": (1,),
    "Tile": (1,), "Unsqueeze": (1,),
}  # fmt: skip
"""Which inputs of an operator are not values to compute with."""


def _ints(value: Any) -> list[int]:
    return [int(v) for v in value.tolist()]


def _padding(a: Attributes, spatial: int) -> tuple[list[int], list[int]]:
    pads = list(a.get("pads", [0] * 2 * spatial))
    return pads[:spatial], pads[spatial:]


def _conv(v: list[Any], a: Attributes) -> Any:
    x, weight, bias = (*v, None)[:3]
    begin, end = _padding(a, x.ndim - 2)
    if begin != end:
        x = nnf.pad(x, [p for pair in zip(begin[::-1], end[::-1], strict=True) for p in pair])
        begin = [0] * len(begin)
    run = (nnf.conv1d, nnf.conv2d)[x.ndim - 3]
    unit = [1] * (x.ndim - 2)
    return run(x, weight, bias, a.get("strides", unit), begin, a.get("dilations", unit), a.get("group", 1))


def _conv_transpose(v: list[Any], a: Attributes) -> Any:
    x, weight, bias = (*v, None)[:3]
    begin, end = _padding(a, x.ndim - 2)
    if begin != end:
        raise BundleError("a transposed convolution with uneven pads is not told to torch")
    zero, unit = [0] * (x.ndim - 2), [1] * (x.ndim - 2)
    return nnf.conv_transpose2d(
        x, weight, bias, a.get("strides", unit), begin, a.get("output_padding", zero), a.get("group", 1),
        a.get("dilations", unit),
    )  # fmt: skip


def _gemm(v: list[Any], a: Attributes) -> Any:
    left = v[0].t() if a.get("transA") else v[0]
    right = v[1].t() if a.get("transB") else v[1]
    alpha, beta = a.get("alpha", 1.0), a.get("beta", 1.0)
    if len(v) > 2 and v[2] is not None:
        return torch.addmm(v[2], left, right, beta=beta, alpha=alpha)
    return alpha * (left @ right)


def _slice(v: list[Any], a: Attributes) -> Any:
    x, starts, ends = v[0], _ints(v[1]), _ints(v[2])
    axes = _ints(v[3]) if len(v) > 3 and v[3] is not None else list(range(len(starts)))
    steps = _ints(v[4]) if len(v) > 4 and v[4] is not None else [1] * len(starts)
    for axis, start, end, step in zip(axes, starts, ends, steps, strict=True):
        if step < 0:
            raise BundleError("a slice backwards is not told to torch")
        index: list[slice] = [slice(None)] * x.ndim
        index[axis] = slice(start, end, step)
        x = x[tuple(index)]
    return x


def _reshape(v: list[Any], a: Attributes) -> Any:
    x, shape = v[0], _ints(v[1])
    return x.reshape([x.shape[i] if size == 0 and not a.get("allowzero") else size for i, size in enumerate(shape)])


def _unsqueeze(v: list[Any], a: Attributes) -> Any:
    x = v[0]
    axes = _ints(v[1].reshape(-1))
    for axis in sorted(axis % (x.ndim + len(axes)) for axis in axes):
        x = x.unsqueeze(axis)
    return x


def _squeeze(v: list[Any], a: Attributes) -> Any:
    return v[0].squeeze(tuple(_ints(v[1].reshape(-1)))) if len(v) > 1 else v[0].squeeze()


def _gather(v: list[Any], a: Attributes) -> Any:
    axis = a.get("axis", 0) % v[0].ndim
    if v[1].ndim == 0 and v[1].device.type == "cpu":
        return v[0].select(axis, int(v[1]))
    index = v[1].to(v[0].device)
    return v[0].index_select(axis, index.reshape(-1)).reshape(*v[0].shape[:axis], *index.shape, *v[0].shape[axis + 1 :])


def _gather_nd(v: list[Any], a: Attributes) -> Any:
    if a.get("batch_dims", 0):
        raise BundleError("GatherND with batch dimensions is not told to torch")
    return v[0][tuple(v[1].to(v[0].device).unbind(-1))]


def _split(v: list[Any], a: Attributes) -> Any:
    axis = a.get("axis", 0)
    if len(v) > 1 and v[1] is not None:
        return v[0].split(_ints(v[1]), axis)
    return v[0].split(-(-v[0].shape[axis] // a["outputs"]), axis)


def _pad(v: list[Any], a: Attributes) -> Any:
    x, pads = v[0], _ints(v[1])
    begin, end = pads[: x.ndim], pads[x.ndim :]
    mode = {"constant": "constant", "edge": "replicate", "reflect": "reflect", "wrap": "circular"}[
        a.get("mode", b"constant").decode()
    ]
    first = 0 if mode == "constant" else 2  # torch pads the other ways in space only
    if any(begin[:first]) or any(end[:first]):
        raise BundleError(f"padding channels by {mode} is not told to torch")
    widths = [p for pair in zip(begin[first:][::-1], end[first:][::-1], strict=True) for p in pair]
    value = float(v[2]) if len(v) > 2 and v[2] is not None else 0.0
    return nnf.pad(x, widths, mode, value) if mode == "constant" else nnf.pad(x, widths, mode)


def _resize(v: list[Any], a: Attributes) -> Any:
    if a.get("mode") != b"linear" or a.get("coordinate_transformation_mode", b"half_pixel") != b"half_pixel":
        raise BundleError("resizing other than bilinear by half pixels is not told to torch")
    scales, sizes = (*v[2:], None, None)[:2]
    if sizes is not None:
        return nnf.interpolate(v[0], size=_ints(sizes)[2:], mode="bilinear", align_corners=False)
    factors = scales.tolist()[2:]
    return nnf.interpolate(v[0], scale_factor=factors, mode="bilinear", align_corners=False)


def _average_pool(v: list[Any], a: Attributes) -> Any:
    begin, end = _padding(a, 2)
    if begin != end:
        raise BundleError("pooling with uneven pads is not told to torch")
    return nnf.avg_pool2d(
        v[0], a["kernel_shape"], a.get("strides", [1, 1]), begin, bool(a.get("ceil_mode", 0)),
        bool(a.get("count_include_pad", 0)),
    )  # fmt: skip


def _depth_to_space(v: list[Any], a: Attributes) -> Any:
    if a.get("mode", b"DCR") == b"CRD":
        return nnf.pixel_shuffle(v[0], a["blocksize"])
    batch, channels, height, width = v[0].shape
    size = a["blocksize"]
    parts = v[0].reshape(batch, size, size, channels // size**2, height, width).permute(0, 3, 4, 1, 5, 2)
    return parts.reshape(batch, channels // size**2, height * size, width * size)


def _reduce(name: str) -> Operator:
    def reduce(v: list[Any], a: Attributes) -> Any:
        x, keep = v[0], bool(a.get("keepdims", 1))
        axes = _ints(v[1]) if len(v) > 1 and v[1] is not None else list(a.get("axes", ())) or list(range(x.ndim))
        if name == "l2":
            return torch.linalg.vector_norm(x, dim=axes, keepdim=keep)
        return getattr(torch, name)(x, dim=axes, keepdim=keep)

    return reduce


def _instance_norm(v: list[Any], a: Attributes) -> Any:
    return nnf.instance_norm(v[0], weight=v[1], bias=v[2], eps=a.get("epsilon", 1e-5))


def _expand(v: list[Any], a: Attributes) -> Any:
    """Unlike torch's own, ONNX's lets a 1 in the shape leave a size as it is."""
    shape = _ints(v[1])
    own = [1] * (len(shape) - v[0].ndim) + list(v[0].shape)
    return v[0].expand([have if want == 1 else want for have, want in zip(own[-len(shape) :], shape, strict=True)])


def _clip(v: list[Any], a: Attributes) -> Any:
    low, high = (*v[1:], None, None)[:2]
    return v[0].clamp(None if low is None else float(low), None if high is None else float(high))


def _cast(v: list[Any], a: Attributes) -> Any:
    if a["to"] not in _DTYPES:
        raise BundleError(f"element type {a['to']} is not told to torch")
    dtype = _DTYPES[a["to"]]
    return v[0] if v[0].requires_grad and not dtype.is_floating_point else v[0].to(dtype)


def _plain(function: Any) -> Operator:
    return lambda v, a: function(*v)


_OPERATORS: dict[str, Operator] = {
    "AveragePool": _average_pool,
    "Cast": _cast,
    "Clip": _clip,
    "Concat": lambda v, a: torch.cat(v, a["axis"]),
    "Conv": _conv,
    "ConvTranspose": _conv_transpose,
    "DepthToSpace": _depth_to_space,
    "Expand": _expand,
    "Gather": _gather,
    "GatherND": _gather_nd,
    "Gemm": _gemm,
    "InstanceNormalization": _instance_norm,
    "LeakyRelu": lambda v, a: nnf.leaky_relu(v[0], a.get("alpha", 0.01)),
    "LpNormalization": lambda v, a: nnf.normalize(v[0], p=a.get("p", 2), dim=a.get("axis", -1)),
    "Pad": _pad,
    "ReduceL2": _reduce("l2"),
    "ReduceMax": _reduce("amax"),
    "ReduceMean": _reduce("mean"),
    "ReduceSum": _reduce("sum"),
    "Reshape": _reshape,
    "Resize": _resize,
    "Slice": _slice,
    "Softmax": lambda v, a: torch.softmax(v[0], a.get("axis", -1)),
    "Split": _split,
    "Squeeze": _squeeze,
    "Tile": lambda v, a: v[0].repeat(_ints(v[1])),
    "Transpose": lambda v, a: v[0].permute(a.get("perm", list(range(v[0].ndim))[::-1])),
    "Unsqueeze": _unsqueeze,
}
_OPERATORS |= {
    kind: _plain(function)
    for kind, function in {
        "Abs": torch.abs, "Add": torch.add, "And": torch.logical_and, "Cos": torch.cos, "Div": torch.div,
        "Equal": torch.eq, "Erf": torch.erf, "Exp": torch.exp, "Floor": torch.floor, "Greater": torch.gt,
        "Less": torch.lt, "Log": torch.log, "MatMul": torch.matmul, "Max": torch.maximum, "Min": torch.minimum,
        "Mul": torch.mul, "Neg": torch.neg, "Pow": torch.pow, "Reciprocal": torch.reciprocal, "Relu": torch.relu,
        "Round": torch.round, "Sigmoid": torch.sigmoid, "Sign": torch.sign, "Sin": torch.sin, "Sqrt": torch.sqrt,
        "Sub": torch.sub, "Tanh": torch.tanh, "Where": torch.where,
    }.items()
}  # fmt: skip
