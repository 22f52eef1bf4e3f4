"""Graphs on an NVIDIA GPU through TensorRT, without anything in between.

- *Addresses never change*, so a run is one CUDA graph: TensorRT-RTX captures its own, for the classic one it is
  captured here.
- *State stays on the GPU*: an array that the last run gave out and that comes back as an input, such as a hidden state,
  is copied there and not sent again.
- *Outputs alternate* between two arrays each, so the last ones stay untouched while the next are made.
"""

from __future__ import annotations

import contextlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from engine.contract import TensorSpec
from engine.errors import RuntimeUnavailable
from engine.runtime import cuda
from engine.runtime.session import Precision, Runtime, Tensors, check_feed, tensor_spec
from engine.runtime.tensorrt import TensorRt, cached_engine


class TensorRtSession:
    """A graph built for the GPU here, on first use, which takes from seconds to minutes. See `Session`."""

    runtime: Runtime = "tensorrt"

    def __init__(self, path: Path, precision: Precision) -> None:
        if precision != "f32":
            raise RuntimeUnavailable("TensorRT takes precision from the graph: cymatic export --precision fp16")
        self.precision: Precision = precision
        trt = TensorRt()
        name, sm = cuda.gpu()
        plan = cached_engine(trt, path, f"sm{sm}", (sm,)) if trt.portable else cached_engine(trt, path, name)
        with contextlib.ExitStack() as opened:
            self._trt = trt
            self._engine = trt.load(plan)
            self._context = trt.context(self._engine)
            self.inputs, self.outputs = self._specs(path)
            self._stream = cuda.Stream()
            opened.callback(self._stream.free)
            self._buffers: dict[str, cuda.Buffer] = {}
            for tensor, spec in (self.inputs | self.outputs).items():
                self._buffers[tensor] = cuda.Buffer(np.zeros(spec.shape, spec.dtype))
                opened.callback(self._buffers[tensor].free)
                if not self._context.set_tensor_address(tensor, self._buffers[tensor].address):
                    raise trt.failure(f"bind {tensor}")
            self._turns: list[dict[str, cuda.HostArray]] = []
            for _ in range(2):
                hosts = {}
                for tensor, spec in self.outputs.items():
                    hosts[tensor] = cuda.HostArray(spec.shape, spec.dtype)
                    opened.callback(hosts[tensor].free)
                self._turns.append(hosts)
            self._graph = self._warm_up()
            self._opened = opened.pop_all()

    def run(self, feeds: Mapping[str, NDArray[Any]]) -> Tensors:
        """See `Session.run`."""
        last, hosts = self._turns
        held = []  # copies must live until the stream has read them
        for name, spec in self.inputs.items():
            array = feeds.get(name)
            if array is None:
                raise ValueError(f"input {name} is missing")
            given = next((output for output, host in last.items() if host.array is array), None)
            if given is not None and self.outputs[given] == spec:
                self._stream.on_gpu(self._buffers[given], self._buffers[name])
                continue
            check_feed(name, array, spec)
            held.append(np.ascontiguousarray(array))
            self._stream.to_gpu(held[-1], self._buffers[name])
        if self._graph is None:
            self._execute()
        else:
            self._stream.launch(self._graph)
        for name, host in hosts.items():
            self._stream.to_host(self._buffers[name], host)
        self._stream.wait()
        self._turns.reverse()
        return {name: host.array for name, host in hosts.items()}

    def close(self) -> None:
        """See `Session.close`."""
        self._context = self._engine = None
        self._opened.close()

    def _warm_up(self) -> Any:
        """Run once, then capture; None where TensorRT captures by itself."""
        for name, spec in self.inputs.items():
            self._stream.to_gpu(np.zeros(spec.shape, spec.dtype), self._buffers[name])
        self._execute()
        self._stream.wait()
        if self._trt.portable:
            return None
        return self._stream.capture(self._execute)

    def _execute(self) -> None:
        if not self._context.execute_async_v3(self._stream.handle):
            raise self._trt.failure("run the engine")

    def _specs(self, path: Path) -> tuple[dict[str, TensorSpec], dict[str, TensorSpec]]:
        trt, engine = self._trt.module, self._engine
        inputs: dict[str, TensorSpec] = {}
        outputs: dict[str, TensorSpec] = {}
        for index in range(engine.num_io_tensors):
            name = engine.get_tensor_name(index)
            dtype = np.dtype(trt.nptype(engine.get_tensor_dtype(name))).name
            spec = tensor_spec(path, name, tuple(engine.get_tensor_shape(name)), dtype)
            is_input = engine.get_tensor_mode(name) == trt.TensorIOMode.INPUT
            (inputs if is_input else outputs)[name] = spec
        return inputs, outputs
