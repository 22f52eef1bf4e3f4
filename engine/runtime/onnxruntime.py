"""Graphs on the CPU through ONNX Runtime.

Spinning is off: waiting threads that spin would take the cores from the audio callback between two frames. Denormals
are left alone: flushing them (`session.set_denormal_as_zero`) changes the arithmetic of the thread that opens the
session, for good, and the noise of the recurrent step keeps its state from decaying that far.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime as ort
from numpy.typing import NDArray

from engine.bundle import TensorSpec
from engine.errors import BundleError, RuntimeUnavailable
from engine.runtime.session import Precision, Runtime, Tensors, check_feed, first_line, tensor_spec

_NUMPY_NAMES = {"tensor(float)": "float32", "tensor(uint8)": "uint8", "tensor(int64)": "int64"}
_ONLY_FATAL = 4  # what fails is raised; the log would say it a second time


class OnnxRuntimeSession:
    """A graph loaded for the CPU. See `engine.runtime.session.Session`."""

    runtime: Runtime = "onnxruntime"

    def __init__(self, path: Path, precision: Precision, threads: int) -> None:
        if precision != "f32":
            raise RuntimeUnavailable(f"ONNX Runtime computes in f32 on a CPU, not in {precision}")
        self.precision: Precision = precision
        options = ort.SessionOptions()
        options.intra_op_num_threads = threads
        options.inter_op_num_threads = 1
        options.execution_mode = ort.ExecutionMode.ORT_SEQUENTIAL
        options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_ENABLE_ALL
        options.log_severity_level = _ONLY_FATAL
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        try:
            self._session: Any = ort.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
        except Exception as error:  # noqa: BLE001  # its exceptions share no base class
            raise BundleError(f"graph {path}: ONNX Runtime cannot load it: {first_line(error)}") from None
        self.inputs = _specs(path, self._session.get_inputs())
        self.outputs = _specs(path, self._session.get_outputs())
        self._output_names = list(self.outputs)

    def run(self, feeds: Mapping[str, NDArray[Any]]) -> Tensors:
        """See `Session.run`."""
        arrays = {}
        for name, spec in self.inputs.items():
            array = feeds.get(name)
            if array is None:
                raise ValueError(f"input {name} is missing")
            check_feed(name, array, spec)
            arrays[name] = np.ascontiguousarray(array)
        return dict(zip(self._output_names, self._session.run(self._output_names, arrays), strict=True))

    def close(self) -> None:
        """See `Session.close`."""
        self._session = None


def _specs(path: Path, ports: Any) -> dict[str, TensorSpec]:
    return {
        port.name: tensor_spec(path, port.name, tuple(port.shape), _NUMPY_NAMES.get(port.type, port.type))
        for port in ports
    }
