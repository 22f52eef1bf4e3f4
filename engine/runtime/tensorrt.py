"""TensorRT behind one thin class: `tensorrt_rtx` where it is installed, else the classic `tensorrt`, by the same calls.

Nearly everything that fails in TensorRT returns None and says why in its log, so every None becomes
`RuntimeUnavailable` with the log's last errors.

- *Precision is in the graph*: TensorRT 11 has no flag for it. `cymatic export --precision fp16` writes such graphs.
- *TensorRT-RTX builds without a GPU*, for as many architectures as asked for; the classic one builds for the GPU here.
- *Engines are kept* in the user's cache folder, named by graph, version and GPU. An engine is a program: it is never
  read from a bundle or from anywhere else.
"""

from __future__ import annotations

import logging
import os
import re
from collections import deque
from collections.abc import Callable, Sequence
from pathlib import Path
from types import ModuleType
from typing import Any, cast

import platformdirs

from engine.bundle import sha256_file
from engine.errors import RuntimeUnavailable
from engine.files import replace_file

LINES_KEPT = 3
ENGINES_KEPT = 40

_log = logging.getLogger(__name__)


class TensorRt:
    """The library, its log and what can be done without a GPU: building.

    Raises `RuntimeUnavailable` when neither package is installed or the library cannot start.
    """

    def __init__(self) -> None:
        self.module = _import()
        self.name = self.module.__name__
        self.version: str = self.module.__version__
        self._lines: deque[str] = deque(maxlen=LINES_KEPT)
        self.logger = _logger(self.module, self._lines)

    @property
    def portable(self) -> bool:
        """Whether an engine can be built for GPUs that are not here."""
        return hasattr(self.module, "ComputeCapability")

    def build(self, graph: bytes, sms: Sequence[int] = ()) -> bytes:
        """An engine of an ONNX graph. `sms`: compute capabilities such as 89; none leaves the choice to TensorRT."""
        trt = self.module
        self._lines.clear()
        builder = self._made("start its builder", lambda: trt.Builder(self.logger))
        network = builder.create_network(1 << int(trt.NetworkDefinitionCreationFlag.STRONGLY_TYPED))
        parser = trt.OnnxParser(network, self.logger)
        if not parser.parse(graph):
            errors = [" ".join(str(parser.get_error(i).desc()).split()) for i in range(parser.num_errors)]
            raise RuntimeUnavailable(f"{self} cannot read the graph: {'; '.join(errors[:LINES_KEPT])}")
        config = builder.create_builder_config()
        if sms:
            capabilities = [self._capability(sm) for sm in sms]
            config.num_compute_capabilities = len(capabilities)
            for index, capability in enumerate(capabilities):
                config.set_compute_capability(capability, index)
        plan = self._made("build an engine", lambda: builder.build_serialized_network(network, config))
        return bytes(plan)

    def load(self, plan: bytes) -> Any:
        """The engine on this machine's GPU."""
        self._lines.clear()
        runtime = self._made("start", lambda: self.module.Runtime(self.logger))
        return self._made("load the engine", lambda: runtime.deserialize_cuda_engine(plan))

    def context(self, engine: Any) -> Any:
        """What runs the engine; in TensorRT-RTX with its own CUDA graphs, since it compiles kernels as it goes."""
        self._lines.clear()
        if hasattr(self.module, "CudaGraphStrategy"):
            config = self._made("configure a run", engine.create_runtime_config)
            config.cuda_graph_strategy = self.module.CudaGraphStrategy.WHOLE_GRAPH_CAPTURE
            return self._made("make a context", lambda: engine.create_execution_context(config))
        return self._made("make a context", engine.create_execution_context)

    def failure(self, what: str) -> RuntimeUnavailable:
        """The error to raise, with the log's last lines."""
        return RuntimeUnavailable(f"{self} cannot {what}: {'; '.join(self._lines) or 'it does not say why'}")

    def __str__(self) -> str:
        return f"{self.name} {self.version}"

    def _made(self, what: str, make: Callable[[], Any]) -> Any:
        try:
            made = make()
        except (TypeError, RuntimeError):  # a constructor in C++ that returned nothing
            made = None
        if made is None:
            raise self.failure(what)
        return made

    def _capability(self, sm: int) -> Any:
        if not self.portable:
            raise RuntimeUnavailable(f"{self} builds for the GPU here only: pip install tensorrt-rtx")
        known = {name: value for name, value in vars(self.module.ComputeCapability).items() if name.startswith("SM")}
        if f"SM{sm}" not in known:
            names = ", ".join(sorted((name[2:] for name in known), key=int))
            raise RuntimeUnavailable(f"{self} builds nothing for SM {sm}: choose of {names}")
        return known[f"SM{sm}"]


def cached_engine(trt: TensorRt, graph: Path, gpu: str, sms: Sequence[int] = (), cache: Path | None = None) -> bytes:
    """The engine of an ONNX file, from the cache or built now, which may take from seconds to minutes.

    `gpu`: what it is built for, part of its name in the `cache` folder, by default one of the user's. A cache that
    cannot be written costs another build, never an error.
    """
    cache = cache or Path(platformdirs.user_cache_dir("cymatic", appauthor=False)) / "engines"
    target = re.sub(r"[^A-Za-z0-9]+", "-", gpu).strip("-").lower()
    path = cache / f"{graph.stem}-{sha256_file(graph)[:24]}-{trt.name}-{trt.version}-{target}.engine"
    try:
        plan = path.read_bytes()
        os.utime(path)
        return plan
    except OSError:
        pass
    _log.info("building %s for %s with %s", graph.name, gpu, trt)
    plan = trt.build(graph.read_bytes(), sms)
    try:
        cache.mkdir(parents=True, exist_ok=True)
        replace_file(path, plan)
        for old in sorted(cache.glob("*.engine"), key=os.path.getmtime)[:-ENGINES_KEPT]:
            old.unlink(missing_ok=True)
    except OSError as error:
        _log.info("the engine will be built again, %s cannot be written: %s", path, error)
    return plan


def _import() -> ModuleType:
    try:
        import tensorrt_rtx as trt
    except ImportError:
        try:
            import tensorrt as trt
        except ImportError as error:
            reason = " ".join(str(error).split())
            raise RuntimeUnavailable(f"TensorRT cannot be used ({reason}): pip install 'cymatic[tensorrt]'") from None
    return cast(ModuleType, trt)


def _logger(trt: ModuleType, lines: deque[str]) -> Any:
    class Errors(trt.ILogger):  # type: ignore[misc, name-defined]
        """Keeps the newest errors and says nothing."""

        def __init__(self) -> None:
            trt.ILogger.__init__(self)

        def log(self, severity: Any, message: str) -> None:
            if severity in (trt.ILogger.ERROR, trt.ILogger.INTERNAL_ERROR):
                lines.append(" ".join(message.split())[:300])

    return Errors()
