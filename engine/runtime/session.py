"""One way to run a graph, whichever runtime runs it.

`open_session` loads an ONNX file into the runtime that is named; nothing heavy is imported before that.
`verify_session` compares what the file really takes and gives with what the bundle's manifest says.
"""

from __future__ import annotations

import ctypes
import functools
import importlib.util
import os
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Literal, Protocol, get_args, runtime_checkable

import psutil
from numpy.typing import NDArray
from pydantic import ValidationError

from engine.bundle import Bundle, GraphSpec
from engine.contract import TensorSpec, compare_tensors
from engine.errors import BundleError, RuntimeUnavailable

Runtime = Literal[
    "openvino",
    "onnxruntime",
    "tensorrt",
    "torch-cuda",
    "onnxruntime-tensorrt-rtx",
    "onnxruntime-cuda",
    "onnxruntime-coreml",
    "onnxruntime-directml",
]
Precision = Literal["f32", "bf16", "int8"]
"""int8: of the convolutions that the bundle's graph of that name has in integers; all else is f32."""
Tensors = dict[str, NDArray[Any]]

RUNTIMES: tuple[Runtime, ...] = get_args(Runtime)
CPU_RUNTIMES: tuple[Runtime, ...] = ("openvino", "onnxruntime")
"""They open a graph in a moment, and so play from the start; the others may have to build first."""
ACCELERATED: tuple[Runtime, ...] = tuple(runtime for runtime in RUNTIMES if runtime not in CPU_RUNTIMES)
PIP_PACKAGES: dict[Runtime, str] = {
    "openvino": "openvino",
    "onnxruntime": "onnxruntime",
    "tensorrt": "'cymatic[tensorrt]'",
    "torch-cuda": "torch onnx",
    "onnxruntime-tensorrt-rtx": "onnxruntime-ep-nv-tensorrt-rtx-cu13",
    "onnxruntime-cuda": "onnxruntime-gpu",
    "onnxruntime-coreml": "onnxruntime",
    "onnxruntime-directml": "onnxruntime-directml",
}
_IMPORTED: dict[Runtime, tuple[tuple[str, ...], ...]] = {
    "openvino": (("openvino",),),
    "onnxruntime": (("onnxruntime",),),
    "tensorrt": (("tensorrt_rtx", "tensorrt"), ("cuda",)),
    "torch-cuda": (("torch",), ("onnx",)),
    "onnxruntime-tensorrt-rtx": (("onnxruntime",), ("onnxruntime_ep_nv_tensorrt_rtx",)),
}
"""What must be there to be imported: one of each row. The other runtimes are providers of ONNX Runtime."""


class Session(Protocol):
    """A loaded graph. One thread at a time; different sessions may run at once.

    `inputs` and `outputs` are what the file really holds, `precision` is what it computes in.
    """

    runtime: Runtime
    precision: Precision
    inputs: dict[str, TensorSpec]
    outputs: dict[str, TensorSpec]

    def run(self, feeds: Mapping[str, NDArray[Any]]) -> Tensors:
        """Run the graph once, blocking.

        `feeds` are only read, and only during the call; a C-contiguous array is used where it lies, without a copy. The
        arrays given out may belong to the session: they stay as they are during the next run, so an output can be fed
        back as an input, and are overwritten by the one after it. Copy what must live longer.
        A missing input or one of another shape or type is a `ValueError`.
        """
        ...

    def close(self) -> None:
        """Free the graph. Arrays given out before stay valid."""
        ...


@runtime_checkable
class Interruptible(Session, Protocol):
    """A session whose run can be given up halfway."""

    def run_unless(self, feeds: Mapping[str, NDArray[Any]], better: Callable[[], bool]) -> Tensors | None:
        """As `run`, but asks every few milliseconds whether there is something better to do. Then None, at once: what
        was given out before stays as it is."""
        ...


def open_session(
    path: str | Path, runtime: str = "openvino", precision: Precision = "f32", threads: int | None = None
) -> Session:
    """Load an ONNX file. `threads`: None uses every physical core that this process may use.

    Raises `RuntimeUnavailable` when the runtime is unknown, not installed or cannot do `precision` here, `BundleError`
    (one line) when the file is missing or the runtime cannot load it.
    """
    path = Path(path)
    if runtime not in RUNTIMES:
        raise RuntimeUnavailable(f"no runtime {runtime!r}: choose one of {', '.join(RUNTIMES)}")
    if not path.is_file():
        raise BundleError(f"graph {path} does not exist")
    threads = threads or default_threads()
    try:
        if runtime == "openvino":
            from engine.runtime.openvino import OpenVinoSession

            return OpenVinoSession(path, precision, threads)
        if runtime == "tensorrt":
            from engine.runtime.tensorrt_session import TensorRtSession

            return TensorRtSession(path, precision)
        if runtime == "torch-cuda":
            from engine.runtime.torch_cuda import TorchSession

            return TorchSession(path, precision, "cuda")
        from engine.runtime.onnxruntime import OnnxRuntimeSession

        return OnnxRuntimeSession(path, precision, threads, runtime)
    except ImportError as error:
        package = PIP_PACKAGES[runtime]
        reason = first_line(error)
        raise RuntimeUnavailable(f"runtime {runtime} cannot be used ({reason}): pip install {package}") from error


def verify_session(session: Session, spec: GraphSpec) -> None:
    """Raise `BundleError` unless the opened graph takes and gives exactly what `spec` says."""
    try:
        compare_tensors(f"graph {spec.file}, input", spec.inputs, session.inputs)
        compare_tensors(f"graph {spec.file}, output", spec.outputs, session.outputs)
    except ValueError as error:
        raise BundleError(str(error)) from None


def open_graph(
    bundle: Bundle, name: str, runtime: str = "openvino", precision: Precision = "f32", threads: int | None = None
) -> Session:
    """Open one of the bundle's graphs and verify it. Raises as `open_session` and `verify_session` do.

    `threads` are those of the graphs that paint: the others take a millisecond on one, and to share that out takes
    longer where cores are far apart.
    """
    threads = threads if name in ("generator", "small") else 1
    session = open_session(bundle.graph_path(name, precision == "int8"), runtime, precision, threads)
    try:
        verify_session(session, bundle.manifest.graphs[name])
    except BundleError:
        session.close()
        raise
    return session


def can_run(runtime: Runtime) -> bool:
    """Whether this machine has what the runtime needs, as far as can be told without opening a graph."""
    if runtime in _IMPORTED:
        installed = all(any(importlib.util.find_spec(name) for name in row) for row in _IMPORTED[runtime])
        return installed and (runtime in CPU_RUNTIMES or has_nvidia_gpu())
    if importlib.util.find_spec("onnxruntime") is None:
        return False
    from engine.runtime.onnxruntime import PROVIDERS, providers

    return PROVIDERS[runtime] in providers() and (runtime != "onnxruntime-cuda" or has_nvidia_gpu())


@functools.cache
def has_nvidia_gpu() -> bool:
    """Whether NVIDIA's driver is there and knows a GPU."""
    try:
        driver = ctypes.CDLL("nvcuda.dll" if sys.platform == "win32" else "libcuda.so.1")
    except OSError:
        return False
    count = ctypes.c_int()
    return driver.cuInit(0) == 0 and driver.cuDeviceGetCount(ctypes.byref(count)) == 0 and count.value > 0


def default_threads() -> int:
    """Physical cores that this process may run on: hyper-threads share the vector units that inference lives on."""
    physical = psutil.cpu_count(logical=False) or os.cpu_count() or 1
    allowed = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else physical
    return max(1, min(physical, allowed))


def check_feed(name: str, array: NDArray[Any], spec: TensorSpec) -> None:
    """Raise ValueError unless the array is what the graph's input takes."""
    if array.shape != spec.shape or array.dtype != spec.dtype:
        raise ValueError(f"input {name} is {array.dtype}{list(array.shape)}, the graph takes {spec}")


def first_line(error: BaseException) -> str:
    """The telling line of a runtime's many-line message: the last that is not empty."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return lines[-1] if lines else type(error).__name__


def tensor_spec(path: Path, name: str, shape: tuple[Any, ...], dtype: str) -> TensorSpec:
    """The spec of one port of an opened file; `BundleError` when no bundle may hold such a tensor."""
    try:
        return TensorSpec.model_validate({"shape": shape, "dtype": dtype})
    except ValidationError:
        raise BundleError(f"graph {path}: {name} is {dtype}{list(shape)}, not a tensor of fixed shape") from None
