"""The little of CUDA that a native TensorRT session needs: memory, copies, a stream, a captured graph.

Every call of `cuda.bindings` answers with a status first; here a status that is not success is `RuntimeUnavailable`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from cuda.bindings import runtime as cudart
from numpy.typing import NDArray

from engine.errors import RuntimeUnavailable


def call(function: Callable[..., tuple[Any, ...]], *arguments: Any) -> Any:
    """The result of a CUDA call: None, the one value, or a tuple of them."""
    status, *values = function(*arguments)
    if status != cudart.cudaError_t.cudaSuccess:
        raise RuntimeUnavailable(f"CUDA: {function.__name__} failed: {status.name}")
    return values[0] if len(values) == 1 else tuple(values) or None


def gpu() -> tuple[str, int]:
    """Name and compute capability of the first GPU, such as ("NVIDIA GeForce RTX 4070", 89)."""
    count = call(cudart.cudaGetDeviceCount)
    if count < 1:
        raise RuntimeUnavailable("CUDA: no GPU")
    properties = call(cudart.cudaGetDeviceProperties, 0)
    name = properties.name.decode(errors="replace") if isinstance(properties.name, bytes) else str(properties.name)
    return name, 10 * properties.major + properties.minor


class Buffer:
    """Memory on the GPU, the size of one array."""

    def __init__(self, like: NDArray[Any]) -> None:
        self.size = like.nbytes
        self.address: int = int(call(cudart.cudaMalloc, self.size))

    def free(self) -> None:
        call(cudart.cudaFree, self.address)


class HostArray:
    """An array whose pages stay in place, so that copies to it need no detour. `array` outlives the pinning."""

    def __init__(self, shape: tuple[int, ...], dtype: str) -> None:
        self.array: NDArray[Any] = np.zeros(shape, dtype)
        call(cudart.cudaHostRegister, self.array.ctypes.data, self.array.nbytes, 0)
        self._writable = self.array
        self.array = self._writable.view()
        self.array.flags.writeable = False  # whoever is given it cannot make it differ from what the GPU holds

    def free(self) -> None:
        call(cudart.cudaHostUnregister, self._writable.ctypes.data)


class Stream:
    """Work in order. Nothing has happened before `wait`."""

    def __init__(self) -> None:
        self._stream = call(cudart.cudaStreamCreateWithFlags, cudart.cudaStreamNonBlocking)
        self.handle = int(self._stream)

    def to_gpu(self, array: NDArray[Any], buffer: Buffer) -> None:
        self._copy(buffer.address, array.ctypes.data, buffer.size, cudart.cudaMemcpyKind.cudaMemcpyHostToDevice)

    def on_gpu(self, source: Buffer, target: Buffer) -> None:
        kind = cudart.cudaMemcpyKind.cudaMemcpyDeviceToDevice
        self._copy(target.address, source.address, target.size, kind)

    def to_host(self, buffer: Buffer, host: HostArray) -> None:
        kind = cudart.cudaMemcpyKind.cudaMemcpyDeviceToHost
        self._copy(host.array.ctypes.data, buffer.address, buffer.size, kind)

    def capture(self, work: Callable[[], None]) -> Any:
        """What `work` puts on this stream, as a graph for `launch`."""
        mode = cudart.cudaStreamCaptureMode.cudaStreamCaptureModeThreadLocal
        call(cudart.cudaStreamBeginCapture, self._stream, mode)
        try:
            work()
        finally:
            graph = call(cudart.cudaStreamEndCapture, self._stream)
        return call(cudart.cudaGraphInstantiate, graph, 0)

    def launch(self, graph: Any) -> None:
        call(cudart.cudaGraphLaunch, graph, self._stream)

    def wait(self) -> None:
        call(cudart.cudaStreamSynchronize, self._stream)

    def free(self) -> None:
        call(cudart.cudaStreamDestroy, self._stream)

    def _copy(self, target: int, source: int, size: int, kind: Any) -> None:
        call(cudart.cudaMemcpyAsync, target, source, size, kind, self._stream)
