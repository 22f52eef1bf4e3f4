"""Whether a picture is painted sooner in strips: the same generator whole and cut, taking turns in one run.

    python benchmarks/strips.py [--bundle landscape] [--threads 2] [--seconds 60] [--report strips.json]

Both take the same threads and the same inputs, three pictures each and a pause, again and again: where two cores are
far apart, which a virtual machine may be for seconds at a time, only turns in one run are a comparison. Told are the
quantiles of both, how far apart their bytes are, and how long strips took while the whole took half as long again as
at best. Exit code 1 when bytes are more than a level apart.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from pathlib import Path

import numpy as np

import engine.runtime.openvino as runtime
from engine.bundle import find_bundle, load_bundle
from engine.runtime.choose import random_feeds
from engine.runtime.machine import cpu_name
from engine.runtime.session import Session, default_threads, open_graph

PICTURES, PAUSE_S = 3, 0.03
QUANTILES = (5, 50, 95, 99)
SLOW = 1.5


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--bundle", default="landscape")
    parser.add_argument("--threads", type=int, default=default_threads())
    parser.add_argument("--seconds", type=float, default=60.0)
    parser.add_argument("--report", type=Path)
    args = parser.parse_args()
    bundle = load_bundle(find_bundle(args.bundle))
    precision = "int8" if bundle.manifest.graphs["generator"].int8 else "f32"
    sessions: dict[str, Session] = {}
    for name, most in (("whole", 1), ("strips", runtime.MOST_STRIPS)):
        runtime.MOST_STRIPS = most
        sessions[name] = open_graph(bundle, "generator", "openvino", precision, args.threads)
    feeds = random_feeds(sessions["whole"].inputs, np.random.default_rng(0))
    pictures = [session.run(feeds)["rgba"].astype(np.int16) for session in sessions.values()]
    apart = int(np.abs(pictures[0] - pictures[1]).max())

    took: dict[str, list[float]] = {name: [] for name in sessions}
    ends_at = time.perf_counter() + args.seconds
    while time.perf_counter() < ends_at:
        for name, session in sessions.items():
            session.run(feeds)  # whose features then lie in the caches
            for _ in range(PICTURES):
                begun_at = time.perf_counter()
                session.run(feeds)
                took[name].append(1000.0 * (time.perf_counter() - begun_at))
        time.sleep(PAUSE_S)
    whole, strips = (np.array(took[name]) for name in ("whole", "strips"))
    slow = whole > SLOW * np.percentile(whole, QUANTILES[0])
    told = {
        "machine": cpu_name(),
        "threads": args.threads,
        "precision": precision,
        "apart": apart,
        "ms": {name: dict(zip(map(str, QUANTILES), np.percentile(ms, QUANTILES).round(1).tolist(), strict=True))
               for name, ms in (("whole", whole), ("strips", strips))},
        "whole_slow_share": round(float(slow.mean()), 3),
        "whole_slow_ms": round(float(np.median(whole[slow])), 1) if slow.any() else None,
        "strips_then_ms": round(float(np.median(strips[slow])), 1) if slow.any() else None,
    }  # fmt: skip
    print(json.dumps(told, indent=2))
    if args.report:
        args.report.write_text(json.dumps(told, indent=2) + "\n")
    return 0 if apart <= 1 else 1


if __name__ == "__main__":
    sys.exit(main())
