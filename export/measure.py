"""Every runtime that is here on the graphs of one bundle, in one run: speed, memory, and whether the picture is right.

The runtimes take turns, `TURN` runs each of which the first is not counted, so that whatever else the machine does
falls on all of them alike, and none pays for the caches and spinning threads of the one before it.
"""

from __future__ import annotations

import concurrent.futures
import contextlib
import importlib.metadata
import importlib.util
import multiprocessing
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import psutil

from engine.bundle import Bundle, load_bundle
from engine.errors import CymaticError
from engine.painter import GRAPHS as PLAYED
from engine.runtime import CPU_RUNTIMES, RUNTIMES, Precision, Session, Tensors, open_session
from engine.runtime.choose import choose_runtime, random_feeds
from engine.runtime.machine import describe_machine
from engine.runtime.session import can_run, default_threads
from export.parity import Reference, open_eager, open_reference

EAGER, DEFAULTS = "eager torch f32", "onnxruntime f32, its defaults"
TURN = 6
LIGHT_SHARE = 0.2
"""Of the generator's time, for each of the other graphs."""
PEAK_CHANNELS, PEAK_GRID, PEAK_LAYERS, PEAK_S = 64, (72, 128), 4, 0.5

Open = Callable[[Path], Session]


@dataclass(frozen=True, slots=True)
class Candidate:
    """One way to run a graph."""

    label: str
    device: str  # cpu or gpu
    open: Open
    int8: bool = False

    def takes(self, bundle: Bundle, graph: str) -> bool:
        """Whether the bundle has this graph for it."""
        return not self.int8 or bundle.manifest.graphs[graph].int8 is not None

    def session(self, bundle: Bundle, graph: str) -> Session:
        """A graph of the bundle, opened this way; one that it has in f32 alone, so."""
        return self.open(bundle.graph_path(graph, self.int8 and self.takes(bundle, graph)))


def candidates(threads: int) -> list[Candidate]:
    """What this machine can run graphs with, eager torch and plain ONNX Runtime first."""
    found = []
    if all(importlib.util.find_spec(name) for name in ("torch", "onnx")):
        found.append(Candidate(EAGER, "cpu", open_eager))
    if can_run("onnxruntime"):
        found.append(Candidate(DEFAULTS, "cpu", lambda path: _plain_onnxruntime(path, threads)))
    for runtime in RUNTIMES:
        if can_run(runtime):
            device = "cpu" if runtime in CPU_RUNTIMES else "gpu"
            found.append(Candidate(f"{runtime} f32", device, _opener(runtime, "f32", threads)))
    if can_run("openvino"):
        from engine.runtime.openvino import supports_bf16

        if supports_bf16():
            found.append(Candidate("openvino bf16", "cpu", _opener("openvino", "bf16", threads)))
    for runtime in CPU_RUNTIMES:
        if can_run(runtime):
            found.append(Candidate(f"{runtime} int8", "cpu", _opener(runtime, "int8", threads), int8=True))
    return found


def measure(
    bundle: Bundle, seconds: float, threads: int | None = None, say: Callable[[str], None] = lambda line: None
) -> dict[str, Any]:
    """Everything that `cymatic bench` tells, as plain values. `seconds` of runs for the generator in each runtime."""
    threads = threads or default_threads()
    ways = candidates(threads)
    say("measuring what a convolution can reach")
    peaks = _peaks(ways)
    report: dict[str, Any] = {
        "bundle": bundle.manifest.name,
        "generator": bundle.manifest.graphs["generator"].sha256,
        "size": [bundle.manifest.image.height, bundle.manifest.image.width],
        "machine": describe_machine(),
        "threads": threads,
        "versions": _versions(),
        "peak_gflops": peaks,
        "graphs": {},
        "memory_mib": {},
    }
    with _threads_of_torch(threads), open_reference(bundle, threads) as reference:
        report["reference"] = reference.name
        for graph in PLAYED:
            say(f"measuring {graph}")
            share = 1.0 if graph == "generator" else LIGHT_SHARE
            report["graphs"][graph] = _measure_graph(bundle, graph, ways, peaks, reference, share * seconds)
    say("measuring memory")
    for way in ways:
        with contextlib.suppress(CymaticError):
            report["memory_mib"][way.label] = memory_mib(bundle.folder, way.label, threads)
    report["live"] = {
        graph: {"runtime": choice.runtime, "precision": choice.precision}
        for graph, choice in choose_runtime(bundle, threads=threads).items()
        if graph in PLAYED
    }
    return report


def _measure_graph(
    bundle: Bundle,
    graph: str,
    ways: list[Candidate],
    peaks: Mapping[str, float],
    reference: Reference,
    seconds: float,
) -> dict[str, Any]:
    """GFLOP of one run, and a row for each way that opens the graph."""
    work = _gflop(bundle.graph_path(graph))
    feeds = reference.feeds(graph)
    with contextlib.ExitStack() as opened:
        sessions: dict[str, Session] = {}
        rows: dict[str, Any] = {}
        for way in (way for way in ways if way.takes(bundle, graph)):
            try:
                sessions[way.label] = way.session(bundle, graph)
                opened.callback(sessions[way.label].close)
                parity = reference.compare(graph, sessions[way.label])
            except CymaticError as error:
                sessions.pop(way.label, None)
                rows[way.label] = {"error": str(error)}
                continue
            rows[way.label] = {
                "mean_grey": max(each.mean for each in parity.values()),
                "max_grey": max(each.max for each in parity.values()),
            }
        durations = _take_turns(sessions, feeds, seconds)
    devices = {way.label: way.device for way in ways}
    for label, times in durations.items():
        median = float(np.median(times))
        rows[label] |= {
            "p50_ms": median,
            "p95_ms": float(np.percentile(times, 95)),
            "runs": len(times),
            "per_second": 1e3 / median,
        }
        if work is not None:
            rate = work / median * 1e3
            rows[label] |= {"gflops": rate}
            if not label.endswith("int8"):  # the peak is one of floats
                rows[label] |= {"share_of_peak": rate / peaks[devices[label]]}
        for name, other in (("eager", EAGER), ("onnxruntime", DEFAULTS)):
            if other in durations:
                rows[label][f"times_as_fast_as_{name}"] = float(np.median(durations[other])) / median
    return {"gflop": work, "runtimes": rows}


def _take_turns(sessions: Mapping[str, Session], feeds: Tensors, seconds: float) -> dict[str, list[float]]:
    """Milliseconds of every counted run, until each session has run for so long, three turns at least."""
    durations: dict[str, list[float]] = {label: [] for label in sessions}
    turns = 0
    while turns < 3 or any(sum(times) < 1e3 * seconds for times in durations.values()):
        turns += 1
        for label, session in sessions.items():
            if turns > 3 and sum(durations[label]) >= 1e3 * seconds:
                continue
            for number in range(TURN):
                start = time.perf_counter()
                session.run(feeds)
                if number:
                    durations[label].append(1e3 * (time.perf_counter() - start))
    return durations


def _peaks(ways: list[Candidate]) -> dict[str, float]:
    """GFLOP/s of a stack of 3×3 convolutions that nothing interrupts, by device: the best that any runtime reaches.

    Without the package onnx no such graph can be written, and there is no peak.
    """
    peaks: dict[str, float] = {}
    if importlib.util.find_spec("onnx") is None:
        return peaks
    with TemporaryDirectory() as folder:
        path = Path(folder) / "peak.onnx"
        _write_stack(path)
        work = _gflop(path)
        assert work is not None
        for way in ways:
            if way.int8:
                continue
            with contextlib.suppress(CymaticError):
                session = way.open(path)
                feeds = random_feeds(session.inputs, np.random.default_rng(0))
                times = _take_turns({way.label: session}, feeds, PEAK_S)[way.label]
                session.close()
                peaks[way.device] = max(peaks.get(way.device, 0.0), work / min(times) * 1e3)
    return peaks


def _write_stack(path: Path) -> None:
    import onnx
    from onnx import TensorProto, helper, numpy_helper

    rng = np.random.default_rng(0)
    shape = (1, PEAK_CHANNELS, *PEAK_GRID)
    kernel = (PEAK_CHANNELS, PEAK_CHANNELS, 3, 3)
    scale = (9 * PEAK_CHANNELS) ** -0.5
    stored = [
        numpy_helper.from_array((scale * rng.standard_normal(kernel)).astype(np.float32), f"w{layer}")
        for layer in range(PEAK_LAYERS)
    ]
    nodes = [
        helper.make_node("Conv", [f"x{layer}", f"w{layer}"], [f"x{layer + 1}"], pads=[1, 1, 1, 1])
        for layer in range(PEAK_LAYERS)
    ]
    ends = [helper.make_tensor_value_info(f"x{end}", TensorProto.FLOAT, shape) for end in (0, PEAK_LAYERS)]
    graph = helper.make_graph(nodes, "peak", ends[:1], ends[1:], stored)
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=10), path)


def memory_mib(folder: Path, label: str, threads: int) -> float:
    """Resident memory of a process of its own that has opened the graphs of a show this way and run each."""
    context = multiprocessing.get_context("spawn")
    with concurrent.futures.ProcessPoolExecutor(1, mp_context=context) as pool:
        return pool.submit(_resident, folder, label, threads).result()


def _resident(folder: Path, label: str, threads: int) -> float:
    """Runs in the other process."""
    way = next(way for way in candidates(threads) if way.label == label)
    bundle = load_bundle(folder)
    sessions = [way.session(bundle, graph) for graph in PLAYED]
    with _threads_of_torch(threads) if label == EAGER else contextlib.nullcontext():
        for session in sessions:
            session.run(random_feeds(session.inputs, np.random.default_rng(0)))
    return psutil.Process().memory_info().rss / 2**20


def _opener(runtime: str, precision: Precision, threads: int) -> Open:
    return lambda path: open_session(path, runtime, precision, threads)


def _plain_onnxruntime(path: Path, threads: int) -> Session:
    from engine.runtime.onnxruntime import OnnxRuntimeSession

    return OnnxRuntimeSession(path, "f32", threads, spin=True)


@contextlib.contextmanager
def _threads_of_torch(threads: int) -> Iterator[None]:
    """As many threads for eager torch as for the others, where there is torch."""
    if importlib.util.find_spec("torch") is None:
        yield
        return
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    yield
    torch.set_num_threads(before)


def _gflop(path: Path) -> float | None:
    if importlib.util.find_spec("onnx") is None:
        return None
    from export.flops import gflop

    return gflop(path)


def _versions() -> dict[str, str]:
    found = {}
    for package in ("openvino", "onnxruntime", "onnxruntime-gpu", "tensorrt-rtx", "tensorrt", "torch"):
        with contextlib.suppress(importlib.metadata.PackageNotFoundError):
            found[package] = importlib.metadata.version(package)
    return found
