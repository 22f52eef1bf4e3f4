"""Which runtime runs which graph: measured once per machine and bundle, then remembered.

Every candidate (runtime and precision) is opened, warmed up and timed on the real graph; the fastest median wins. bf16
and int8 are candidates only for the generator, the one where the CPU computes in it and the other where the bundle has
one, and only if their pictures stay within `MAX_GREY_ERROR` of the f32 ones. The generator, which takes most of a
frame, chooses first; the other graphs follow it unless another runtime saves them `WORTH_MS`, because a second runtime
costs memory, threads and time to start.

Measurements, not choices, are kept (`runtimes.json` in the user's cache folder), so that asking for one runtime later
measures nothing again. A cache that cannot be read or written costs a new measurement, never an error.
"""

from __future__ import annotations

import functools
import importlib.metadata
import logging
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import platformdirs
from pydantic import BaseModel, ConfigDict, NonNegativeFloat, PositiveFloat, TypeAdapter, ValidationError

from engine.bundle import Bundle, GraphSpec
from engine.cells import colours
from engine.contract import TensorSpec
from engine.errors import BundleError, RuntimeUnavailable
from engine.fields import FieldFlow
from engine.files import replace_file
from engine.runtime.machine import cpu_name
from engine.runtime.session import (
    CPU_RUNTIMES,
    PIP_PACKAGES,
    RUNTIMES,
    Precision,
    Runtime,
    Session,
    Tensors,
    can_run,
    default_threads,
    open_graph,
)

MAX_GREY_ERROR = 1.0
"""Mean absolute error, in grey levels of 255, up to which less exact pictures pass for the same."""
WORTH_MS = 0.2
PARITY_PICTURES = 3
WARM_UP_RUNS = 3
MEASURE_S, GLANCE_S = 0.2, 0.02
"""Seconds of runs, for the generator and for the others: a performer waits for the first picture meanwhile."""
FEWEST_RUNS, MOST_RUNS = 5, 200
REMEMBERED = 100  # graphs; the oldest are forgotten

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Choice:
    """How one graph is run: `ms` is the median of a run, `grey_error` what its pictures are off, if it is not f32."""

    runtime: Runtime
    precision: Precision
    ms: float
    grey_error: float | None = None


class _Measured(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    runtime: Runtime
    precision: Precision
    ms: PositiveFloat
    grey_error: NonNegativeFloat | None = None


_Cache = TypeAdapter(dict[str, list[_Measured]])


def choose_runtime(
    bundle: Bundle, wanted: str = "auto", threads: int | None = None, cache: Path | None = None
) -> dict[str, Choice]:
    """The faster runtime for each of the bundle's graphs, from the cache or measured now (a second or two). None for
    `small`, which few shows ever open: it goes with the generator.

    `wanted`: "auto", which tries the runtimes that play at once, on the CPU, or the name of one. `cache`: the file to
    remember in, by default one of the user's.
    Raises `RuntimeUnavailable` when the wanted runtime, or every runtime, is missing; `BundleError` when no runtime can
    load a graph.
    """
    runtimes = _available(wanted)
    threads = threads or default_threads()
    cache = cache or Path(platformdirs.user_cache_dir("cymatic", appauthor=False)) / "runtimes.json"
    remembered = _load(cache)
    fit: dict[str, list[_Measured]] = {}
    news = False
    for name in (name for name in bundle.manifest.graphs if name != "small"):
        key = _key(bundle.manifest.graphs[name], threads)
        known = remembered.pop(key, [])
        candidates = list(known)
        failure: BundleError | RuntimeUnavailable | None = None
        for runtime in runtimes:
            if any(found.runtime == runtime for found in known):
                continue
            try:
                candidates += _measure(bundle, name, runtime, threads)
                news = True
            except (BundleError, RuntimeUnavailable) as error:
                _log.warning("%s", error)
                failure = error
        remembered[key] = candidates
        fit[name] = [
            found
            for found in candidates
            if found.runtime in runtimes and (found.grey_error is None or found.grey_error <= MAX_GREY_ERROR)
        ]
        if not fit[name]:
            raise failure or BundleError(f"graph {name} of bundle {bundle.folder} cannot be run")
    if news:
        _save(cache, remembered)
    home = min(fit["generator"], key=lambda found: found.ms).runtime
    return {name: _best(found, home) for name, found in fit.items()}


def median_ms(run: Callable[[], object], seconds: float = MEASURE_S) -> float:
    """Median duration of a call in milliseconds: three to warm up, then runs for so many seconds."""
    for _ in range(WARM_UP_RUNS):
        run()
    durations: list[float] = []
    while len(durations) < FEWEST_RUNS or (sum(durations) < seconds and len(durations) < MOST_RUNS):
        start = time.perf_counter()
        run()
        durations.append(time.perf_counter() - start)
    return float(np.median(durations)) * 1e3


def random_feeds(inputs: dict[str, TensorSpec], rng: np.random.Generator) -> Tensors:
    """Inputs as a graph may meet them: standard normal floats, fractions in 0..1, any byte, tokens 0 and 1."""
    feeds: Tensors = {}
    for name, spec in inputs.items():
        if spec.dtype == "uint8":
            feeds[name] = rng.integers(0, 256, spec.shape, np.uint8)
        elif spec.dtype == "int64":
            feeds[name] = rng.integers(0, 2, spec.shape, np.int64)
        elif name.endswith("fraction"):
            feeds[name] = rng.random(spec.shape, np.float32)
        else:
            feeds[name] = rng.standard_normal(spec.shape, np.float32)
    return feeds


def _best(fit: list[_Measured], home: Runtime) -> Choice:
    best = min(fit, key=lambda found: found.ms + (0.0 if found.runtime == home else WORTH_MS))
    return Choice(best.runtime, best.precision, best.ms, best.grey_error)


def _available(wanted: str) -> tuple[Runtime, ...]:
    if wanted == "auto":
        installed = tuple(runtime for runtime in CPU_RUNTIMES if can_run(runtime))
        if not installed:
            raise RuntimeUnavailable("no inference runtime is installed: pip install openvino")
        return installed
    for runtime in RUNTIMES:
        if runtime == wanted:
            if not can_run(runtime):
                needs = "" if runtime in CPU_RUNTIMES else " on a machine with the hardware for it"
                raise RuntimeUnavailable(f"runtime {wanted} is not here: pip install {PIP_PACKAGES[runtime]}{needs}")
            return (runtime,)
    raise RuntimeUnavailable(f"no runtime {wanted!r}: choose auto or one of {', '.join(RUNTIMES)}")


def _measure(bundle: Bundle, name: str, runtime: Runtime, threads: int) -> list[_Measured]:
    rng = np.random.default_rng(0)
    session = open_graph(bundle, name, runtime, "f32", threads)
    feeds = random_feeds(session.inputs, rng)
    seconds = MEASURE_S if name == "generator" else GLANCE_S
    found = [_Measured(runtime=runtime, precision="f32", ms=median_ms(lambda: session.run(feeds), seconds))]
    shorter = _shorter(bundle, runtime) if name == "generator" else []
    pictures = _pictures(bundle, session.inputs, runtime, rng) if shorter else []
    for precision in shorter:
        short = open_graph(bundle, name, runtime, precision, threads)
        error = _grey_error(session, short, pictures)
        ms = median_ms(functools.partial(short.run, feeds))
        found.append(_Measured(runtime=runtime, precision=precision, ms=ms, grey_error=error))
        short.close()
    session.close()
    return found


def _shorter(bundle: Bundle, runtime: Runtime) -> list[Precision]:
    """What else than f32 this runtime can paint in here."""
    found: list[Precision] = []
    if runtime == "openvino" and _has_bf16():
        found.append("bf16")
    if runtime in CPU_RUNTIMES and bundle.manifest.graphs["generator"].int8 is not None:
        found.append("int8")
    return found


def _has_bf16() -> bool:
    from engine.runtime.openvino import supports_bf16

    return supports_bf16()


def _pictures(
    bundle: Bundle, inputs: dict[str, TensorSpec], runtime: Runtime, rng: np.random.Generator
) -> list[Tensors]:
    """Generator inputs as on stage: `w_plus` from the mapping graph, the bundle's own fields."""
    mapping = open_graph(bundle, "mapping", runtime)
    textures = FieldFlow.of(bundle).sample() if bundle.manifest.fields else {}
    pictures = []
    for _ in range(PARITY_PICTURES):
        w_plus = mapping.run(random_feeds(mapping.inputs, rng))["w"].copy()
        pictures.append(random_feeds(inputs, rng) | textures | {"w_plus": w_plus})
    mapping.close()
    return pictures


def _grey_error(exact: Session, short: Session, pictures: list[Tensors]) -> float:
    def apart(feeds: Tensors) -> float:
        return float(np.abs(colours(exact.run(feeds)["rgba"]) - colours(short.run(feeds)["rgba"])).mean())

    return float(np.mean([apart(feeds) for feeds in pictures]))


def _key(graph: GraphSpec, threads: int) -> str:
    hashes = [graph.sha256, *([graph.int8.sha256] if graph.int8 else [])]
    versions = [f"{package} {_version(package)}" for package in CPU_RUNTIMES]
    return " | ".join([*hashes, cpu_name(), f"{threads} threads", *versions])


def _version(package: str) -> str:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return "missing"


def _load(cache: Path) -> dict[str, list[_Measured]]:
    try:
        return _Cache.validate_json(cache.read_bytes())
    except FileNotFoundError:
        return {}
    except (OSError, ValidationError) as error:
        _log.info("measuring anew, %s cannot be read: %s", cache, type(error).__name__)
        return {}


def _save(cache: Path, remembered: dict[str, list[_Measured]]) -> None:
    newest = dict(list(remembered.items())[-REMEMBERED:])
    try:
        cache.parent.mkdir(parents=True, exist_ok=True)
        replace_file(cache, _Cache.dump_json(newest, indent=1))
    except OSError as error:
        _log.info("runtimes will be measured again, %s cannot be written: %s", cache, error)
