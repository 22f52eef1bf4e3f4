"""Graphs through ONNX Runtime: on the CPU, or on what one of its other providers computes with.

On the CPU, spinning is off: waiting threads that spin would take the cores from the audio callback between two frames.
Denormals are left alone: flushing them (`session.set_denormal_as_zero`) changes the arithmetic of the thread that opens
the session, for good, and the noise of the recurrent step keeps its state from decaying that far.

ONNX Runtime falls back to the CPU without a word when a provider cannot start; here that is an error.
"""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any, cast

import numpy as np
import onnxruntime as ort
from numpy.typing import NDArray

from engine.contract import TensorSpec
from engine.errors import BundleError, RuntimeUnavailable
from engine.runtime.session import Precision, Runtime, Tensors, check_feed, first_line, tensor_spec

_NUMPY_NAMES = {"tensor(float)": "float32", "tensor(uint8)": "uint8", "tensor(int64)": "int64"}
_ONLY_FATAL = 4  # what fails is raised; the log would say it a second time
PROVIDERS: dict[Runtime, str] = {
    "onnxruntime": "CPUExecutionProvider",
    "onnxruntime-cuda": "CUDAExecutionProvider",
    "onnxruntime-coreml": "CoreMLExecutionProvider",
    "onnxruntime-directml": "DmlExecutionProvider",
    "onnxruntime-tensorrt-rtx": "NvTensorRTRTXExecutionProvider",
}


def providers() -> list[str]:
    """Providers that the installed ONNX Runtime was built with."""
    return cast(list[str], ort.get_available_providers())


class OnnxRuntimeSession:
    """A loaded graph. `runtime`: one of `PROVIDERS`; `spin`, as ONNX Runtime does by itself. See `Session`."""

    def __init__(
        self, path: Path, precision: Precision, threads: int, runtime: Runtime = "onnxruntime", spin: bool = False
    ) -> None:
        if precision == "bf16":
            raise RuntimeUnavailable("ONNX Runtime computes in f32 or as the graph says, not in bf16")
        self.runtime: Runtime = runtime
        self.precision: Precision = precision
        provider = PROVIDERS[runtime]
        options = ort.SessionOptions()
        options.intra_op_num_threads = threads
        options.inter_op_num_threads = 1
        options.execution_mode = ort.ExecutionMode.ORT_SEQUENTIAL
        options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_ENABLE_ALL
        options.log_severity_level = _ONLY_FATAL
        options.add_session_config_entry("session.intra_op.allow_spinning", str(int(spin)))
        options.enable_mem_pattern = runtime != "onnxruntime-directml"  # which does not do with it
        chosen: dict[str, Any] = {"providers": list(dict.fromkeys([provider, "CPUExecutionProvider"]))}
        if runtime == "onnxruntime-tensorrt-rtx":
            _add_tensorrt_rtx(options)
            chosen = {}
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # about a provider that is not there; said below
                self._session: Any = ort.InferenceSession(str(path), options, **chosen)
        except Exception as error:  # noqa: BLE001  # its exceptions share no base class
            raise BundleError(f"graph {path}: ONNX Runtime cannot load it: {first_line(error)}") from None
        if provider not in self._session.get_providers():
            raise RuntimeUnavailable(f"{runtime} cannot be used: ONNX Runtime could not start its {provider}")
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


def _add_tensorrt_rtx(options: Any) -> None:
    """Give the session to the TensorRT-RTX plugin, a provider that comes as a package of its own."""
    import onnxruntime_ep_nv_tensorrt_rtx as plugin

    provider = PROVIDERS["onnxruntime-tensorrt-rtx"]

    def devices() -> list[Any]:
        return [device for device in ort.get_ep_devices() if device.ep_name == provider]

    if not devices():
        try:
            ort.register_execution_provider_library(provider, plugin.get_library_path())
        except Exception as error:  # noqa: BLE001  # its exceptions share no base class
            raise RuntimeUnavailable(f"the TensorRT-RTX provider cannot be loaded: {first_line(error)}") from None
    if not devices():
        raise RuntimeUnavailable("the TensorRT-RTX provider finds no GPU that it can use")
    options.add_provider_for_devices(devices()[:1], {})


def _specs(path: Path, ports: Any) -> dict[str, TensorSpec]:
    return {
        port.name: tensor_spec(path, port.name, tuple(port.shape), _NUMPY_NAMES.get(port.type, port.type))
        for port in ports
    }
