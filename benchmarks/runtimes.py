"""How long each graph of a bundle takes in each runtime, measured side by side in one run.

    python benchmarks/runtimes.py BUNDLE [--threads N] [--seconds S] [--json FILE]

The runtimes take turns run by run, so that whatever else the machine does falls on all of them alike: read the ratios
(each runtime's median against the first one's), the milliseconds are only context.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np

from engine.bundle import GRAPHS, Bundle, find_bundle, load_bundle
from engine.errors import CymaticError, RuntimeUnavailable
from engine.runtime import Session, open_graph
from engine.runtime.choose import random_feeds
from engine.runtime.session import default_threads

CANDIDATES = (("openvino", "f32"), ("openvino", "bf16"), ("onnxruntime", "f32"))
WARM_UP_S = 0.3


def main() -> int:
    parser = argparse.ArgumentParser(description="Times each graph of a bundle in each runtime.")
    parser.add_argument("bundle", help="name or path of a bundle")
    parser.add_argument("--threads", type=int, default=default_threads())
    parser.add_argument("--seconds", type=float, default=2.0, help="for each graph, shared by the runtimes")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the numbers here too")
    options = parser.parse_args()
    try:
        bundle = load_bundle(find_bundle(options.bundle))
        graphs = {name: measure(bundle, name, options.threads, options.seconds) for name in GRAPHS}
    except CymaticError as error:
        print(f"runtimes: {error}", file=sys.stderr)
        return 2
    report = {"bundle": bundle.manifest.name, "threads": options.threads, "graphs": graphs}
    show(report)
    if options.json is not None:
        options.json.write_text(json.dumps(report, indent=1) + "\n")
    return 0


def measure(bundle: Bundle, name: str, threads: int, seconds: float) -> dict[str, dict[str, float]]:
    """Per runtime: median and 95th percentile of a run in ms, number of runs, median against the first."""
    sessions: dict[str, Session] = {}
    for runtime, precision in CANDIDATES:
        with contextlib.suppress(RuntimeUnavailable):  # what this machine has not is not in the table
            sessions[f"{runtime} {precision}"] = open_graph(bundle, name, runtime, precision, threads)
    if not sessions:
        raise RuntimeUnavailable("no inference runtime is installed: pip install openvino")
    durations: dict[str, list[float]] = {label: [] for label in sessions}
    feeds = random_feeds(bundle.manifest.graphs[name].inputs, np.random.default_rng(0))
    begin = time.perf_counter()
    while (elapsed := time.perf_counter() - begin) < WARM_UP_S + seconds:
        for label, session in sessions.items():
            start = time.perf_counter()
            session.run(feeds)
            if elapsed > WARM_UP_S:
                durations[label].append(1e3 * (time.perf_counter() - start))
    for session in sessions.values():
        session.close()
    reference = float(np.median(next(iter(durations.values()))))
    return {
        label: {
            "p50_ms": float(np.percentile(times, 50)),
            "p95_ms": float(np.percentile(times, 95)),
            "runs": len(times),
            "ratio": float(np.median(times)) / reference,
        }
        for label, times in durations.items()
    }


def show(report: dict[str, Any]) -> None:
    print(f"bundle {report['bundle']}, {report['threads']} threads")
    print(f"{'graph':<10} {'runtime':<16} {'p50 ms':>9} {'p95 ms':>9} {'ratio':>6} {'runs':>6}")
    for graph, runtimes in report["graphs"].items():
        for label, row in runtimes.items():
            numbers = f"{row['p50_ms']:9.3f} {row['p95_ms']:9.3f} {row['ratio']:6.2f} {row['runs']:6d}"
            print(f"{graph:<10} {label:<16} {numbers}")


if __name__ == "__main__":
    sys.exit(main())
