"""Graphs on the CPU through OpenVINO.

Why the settings are as they are:

- *Precision is always stated*: left alone, OpenVINO computes in bf16 wherever the CPU can, with visible error.
- *No pinning of threads*: the audio callback and the window share these cores, and a pinned thread waits for them.
- *Pictures in strips*: a generator is cut into one graph a thread, see `engine.runtime.strips`.
- *No compiled-model cache*: reading and compiling the ONNX of a 5 GFLOP generator takes 0.1 s, in int8 half a second; a
  cached blob halved the 0.1 s and gave as much back at the first run.
- *Denormals are left alone*: flushing them changes the arithmetic of the thread that opens the session, for good.
- *Inputs are bound, outputs alternate*: `InferRequest.infer` with a dictionary costs a tenth of a millisecond or two a
  call. Binding each array once and starting the request costs half, and two requests that take turns keep the last
  outputs untouched while the next are made.
- *Convolutions of constants are computed before compiling*: the CPU plugin (2026.4) computes one once, fuses a sum that
  follows into it, and adds in place: the second run starts from the first one's result, and every picture after the
  first is wrong. A generator that begins with a learned constant has such convolutions.
- *No telemetry*: importing `openvino` reports to an analytics server unless the user has opted out. A show makes no
  network access, so the reporting package is hidden and OpenVINO falls back to its own stub.
"""

from __future__ import annotations

import contextlib
import sys
import threading
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray

if "openvino" not in sys.modules:
    sys.modules["openvino_telemetry"] = None  # type: ignore[assignment]  # makes its import fail; see above

import openvino as ov
from openvino.frontend import FrontEndManager

from engine.contract import TensorSpec
from engine.errors import BundleError, RuntimeUnavailable
from engine.runtime.session import Precision, Runtime, Tensors, check_feed, first_line, tensor_spec
from engine.runtime.strips import Strip, strips, whole

MOST_STRIPS = 4
LOOK_MS = 4
"""How often a run that may be given up asks."""

_graphs = threading.Lock()
"""One thread looks into graphs at a time: two that ask for a constant's numbers for the first time wait for each other
for ever, the one for what the binding sets up once, the other for Python's lock (2026.4)."""


class OpenVinoSession:
    """A graph compiled for the CPU. See `engine.runtime.session.Session`."""

    runtime: Runtime = "openvino"

    def __init__(self, path: Path, precision: Precision, threads: int) -> None:
        if precision == "bf16" and not supports_bf16():
            raise RuntimeUnavailable("this CPU has no bf16 arithmetic: use precision f32")
        self.precision: Precision = precision
        settings = {
            "PERFORMANCE_HINT": "LATENCY",
            "INFERENCE_PRECISION_HINT": "bf16" if precision == "bf16" else "f32",
            "NUM_STREAMS": 1,
            "ENABLE_CPU_PINNING": False,
            "CPU_DENORMALS_OPTIMIZATION": False,
        }
        try:
            with _graphs:
                model = _read(path)
                cut = strips(model, _strip_count(threads)) or [whole(model)]
            settings["INFERENCE_NUM_THREADS"] = threads // len(cut)
            core = ov.Core()
            with ThreadPoolExecutor(len(cut)) as pool:
                compiled = list(pool.map(lambda strip: core.compile_model(strip.model, "CPU", settings), cut))
        except Exception as error:  # noqa: BLE001  # its exceptions share no base class
            raise BundleError(f"graph {path}: OpenVINO cannot load it: {first_line(error)}") from None
        with _graphs:
            self.inputs = _specs(path, model.inputs)
            self.outputs = _specs(path, model.outputs)
            self._requests = [_Request(cut, compiled, self.inputs, self.outputs) for _ in range(2)]

    def run(self, feeds: Mapping[str, NDArray[Any]]) -> Tensors:
        """See `Session.run`."""
        self._requests.reverse()
        self._requests[0].start(feeds)
        return self._requests[0].wait()

    def run_unless(self, feeds: Mapping[str, NDArray[Any]], better: Callable[[], bool]) -> Tensors | None:
        """See `Interruptible.run_unless`. The operation that runs is finished: half a millisecond."""
        self._requests.reverse()
        request = self._requests[0]
        request.start(feeds)
        while not request.done_within(LOOK_MS):
            if better():
                request.cancel()
                self._requests.reverse()  # the next run writes where this one did
                return None
        return request.wait()

    def close(self) -> None:
        """See `Session.close`."""
        self._requests.clear()


class _Request:
    """One inference request, a part for each strip of the graph, with the arrays that are bound to it."""

    def __init__(
        self,
        cut: Sequence[Strip],
        compiled: Sequence[Any],
        inputs: dict[str, TensorSpec],
        outputs: dict[str, TensorSpec],
    ) -> None:
        self._parts = [(strip, each.create_infer_request()) for strip, each in zip(cut, compiled, strict=True)]
        self._inputs = inputs
        self._bound: dict[str, NDArray[Any]] = {}
        # Memory of our own: what was given out outlives the session.
        self._outputs: Tensors = {name: np.zeros(spec.shape, spec.dtype) for name, spec in outputs.items()}
        for name, array in self._outputs.items():
            for strip, request in self._parts:
                request.set_tensor(name, ov.Tensor(strip.of_output(array), shared_memory=True))

    def start(self, feeds: Mapping[str, NDArray[Any]]) -> None:
        for name, spec in self._inputs.items():
            array = feeds.get(name)
            if array is None:
                raise ValueError(f"input {name} is missing")
            if self._bound.get(name) is not array:
                check_feed(name, array, spec)
                contiguous = np.ascontiguousarray(array)
                for strip, request in self._parts:
                    request.set_tensor(name, ov.Tensor(strip.of_input(name, contiguous), shared_memory=True))
                # A copy must be made anew every run, so only the array itself counts as bound.
                self._bound[name] = contiguous
        for _, request in self._parts:
            request.start_async()

    def done_within(self, ms: int) -> bool:
        return all(request.wait_for(ms) for _, request in self._parts)

    def wait(self) -> Tensors:
        for _, request in self._parts:
            request.wait()
        return dict(self._outputs)

    def cancel(self) -> None:
        for _, request in self._parts:
            request.cancel()
        for _, request in self._parts:
            with contextlib.suppress(RuntimeError):  # that it was cancelled
                request.wait()


def _strip_count(threads: int) -> int:
    """A strip a thread, or one for as many threads each; thinner strips compute more twice."""
    return next(count for count in range(MOST_STRIPS, 0, -1) if threads % count == 0)


def save_ir(path: Path, target: Path, half: bool) -> None:
    """Write an ONNX file as OpenVINO's own format: `target`, an .xml, and a .bin beside it. `half`: weights in fp16."""
    try:
        ov.save_model(_read(path), target, compress_to_fp16=half)
    except Exception as error:  # noqa: BLE001  # its exceptions share no base class
        raise BundleError(f"graph {path}: OpenVINO cannot convert it: {first_line(error)}") from None


def _read(path: Path) -> Any:
    # By name: left to guess, a damaged file is tried as seven other formats, each with its own complaint.
    reader = FrontEndManager().load_by_framework("ir" if path.suffix == ".xml" else "onnx")
    model = reader.convert(reader.load(str(path)))
    _fold_convolutions(model)
    return model


def _fold_convolutions(model: Any) -> None:
    """Put its value in the place of every convolution that depends on no input; see above."""
    variable: set[str] = set()
    for node in model.get_ordered_ops():
        sources = (port.get_source_output().get_node().get_name() for port in node.inputs())
        if node.get_type_name() == "Parameter" or not variable.isdisjoint(sources):
            variable.add(node.get_name())
        elif "Convolution" in node.get_type_name():
            once = ov.compile_model(ov.Model([node.output(0)], []), "CPU", {"INFERENCE_PRECISION_HINT": "f32"})
            node.output(0).replace(ov.op.Constant(once({})[0].copy()).output(0))


def supports_bf16() -> bool:
    """Whether this CPU computes in bf16."""
    return "BF16" in cast(list[str], ov.Core().get_property("CPU", "OPTIMIZATION_CAPABILITIES"))


def _specs(path: Path, ports: Any) -> dict[str, TensorSpec]:
    specs = {}
    for port in ports:
        name = port.get_any_name()
        if port.get_partial_shape().is_dynamic:
            raise BundleError(f"graph {path}: {name} has a shape that is not fixed: {port.get_partial_shape()}")
        dtype = np.dtype(port.get_element_type().to_dtype()).name
        specs[name] = tensor_spec(path, name, tuple(port.get_shape()), dtype)
    return specs
