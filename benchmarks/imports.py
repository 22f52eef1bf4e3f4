"""Checkpoints of full size: imported, held against the published equations in float64, and played.

    python benchmarks/imports.py [NAME ...] [--seconds S] [--keep FOLDER] [--json FILE]

Writes a checkpoint in NVIDIA's own layout with random weights, one after the other, runs `cymatic import` on it, paints
one latent with the bundle and with the independent implementation of `tests/stylegan_reference.py`, and lets `cymatic
live --headless` play the bundle with nothing in its cache. Needs the extra `train`, up to 12 GiB of memory and, on two
cores, minutes for each. Exit code 1 when a picture is off by more than half a grey level or no pictures come.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT / "tests"), str(ROOT)]

from checkpoint_files import Tensors, stylegan2_tensors, stylegan3_tensors, write_nvidia  # noqa: E402
from stylegan_reference import grey_levels  # noqa: E402
from stylegan_reference import paint as paint_reference  # noqa: E402

from engine.bundle import Bundle, load_bundle  # noqa: E402
from engine.runtime.machine import describe_machine  # noqa: E402
from engine.runtime.session import CPU_RUNTIMES, open_graph  # noqa: E402

WIDE = {"dim": 512, "z_dim": 512}
NETWORKS: dict[str, Callable[[], Tensors]] = {
    # Channels as the repositories' own configurations have them for these sizes.
    "stylegan2-256": lambda: stylegan2_tensors(256, most=512, base=32768, **WIDE),
    "stylegan2-1024": lambda: stylegan2_tensors(1024, most=512, base=32768, **WIDE),
    "stylegan3-t-256": lambda: stylegan3_tensors("T", 256, most=512, base=16384, **WIDE),
    "stylegan3-r-256": lambda: stylegan3_tensors("R", 256, most=1024, base=32768, **WIDE),
}
MOST_GREY = 0.5
COLOUR = 0.5  # of the random weights of the last layers, or most of the picture would be cut off at black and white
PLAYED_S = 15.0


@dataclass(frozen=True, slots=True)
class Ran:
    """What a command took, of the clock and of processors, and the largest of its processes."""

    seconds: float
    processor_s: float
    peak_gib: float


def main() -> int:
    parser = argparse.ArgumentParser(description="Full-size checkpoints: import, compare, play.")
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"of {', '.join(NETWORKS)} (default: all)")
    parser.add_argument("--seconds", type=float, default=PLAYED_S, help=f"of playing each (default: {PLAYED_S:g})")
    parser.add_argument("--keep", type=Path, metavar="FOLDER", help="leave the bundles there")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the figures here too")
    options = parser.parse_args()
    if unknown := set(options.names) - set(NETWORKS):
        parser.error(f"no network {', '.join(sorted(unknown))}: choose of {', '.join(NETWORKS)}")
    rows = []
    for name in options.names or NETWORKS:
        with tempfile.TemporaryDirectory() as scratch:
            rows.append(measure(name, Path(scratch), options.keep or Path(scratch), options.seconds))
        print(table(rows)[-1] if len(rows) > 1 else "\n".join(table(rows)), flush=True)
    if options.json is not None:
        options.json.write_text(json.dumps({"machine": describe_machine(), "networks": rows}, indent=1) + "\n")
    return 0 if all(row["grey"]["mean"] < MOST_GREY and row["frames"] > 1 for row in rows) else 1


def measure(name: str, scratch: Path, folder: Path, seconds: float) -> dict[str, Any]:
    """One network from its file to the show."""
    tensors = NETWORKS[name]()
    for key in tensors:
        if key.endswith("torgb.weight"):
            tensors[key] *= COLOUR
    checkpoint = write_nvidia(scratch / f"{name}.pkl", tensors)
    imported = command("import", checkpoint, folder / name, "--quiet", cache=scratch)
    bundle = load_bundle(folder / name)
    report = scratch / "report.json"
    played = command(
        "live", "--headless", "--bundle", folder / name, "--source", "demo", "--seconds", seconds, "--osc-port", 0,
        "--report", report, cache=scratch,
    )  # fmt: skip
    told = json.loads(report.read_text())
    runtime = told["runtime"].get("generator", {})
    return {
        "name": name,
        "file_mb": round(checkpoint.stat().st_size / 1e6),
        "import_s": round(imported.seconds, 1),
        "import_processor_s": round(imported.processor_s, 1),
        "import_peak_gib": round(imported.peak_gib, 2),
        "parity_grey": bundle.manifest.provenance["parity"]["generator"]["mean"],
        "grey": difference(bundle, tensors),
        "first_frame_s": told["first_frame_s"],
        "frames": told["frames"],
        "fps": told["fps"],
        "generator_ms": told["stages_ms"]["generator"],
        "runtime": f"{runtime.get('name')} {runtime.get('precision')}",
        "live_peak_gib": round(played.peak_gib, 2),
        "restarts": sum("starting it again" in event["event"] for event in told["events"]),
    }


def command(*arguments: object, cache: Path) -> Ran:
    """Run `cymatic` in a process of its own that remembers nothing of earlier runs."""
    begun_at = time.perf_counter()
    environment = {**os.environ, "XDG_CACHE_HOME": str(cache)}
    process = subprocess.Popen([sys.executable, "-m", "cymatic", *map(str, arguments)], cwd=ROOT, env=environment)
    _, status, usage = os.wait4(process.pid, 0)
    if status:
        raise SystemExit(f"cymatic {' '.join(map(str, arguments))} ended with {os.waitstatus_to_exitcode(status)}")
    return Ran(time.perf_counter() - begun_at, usage.ru_utime + usage.ru_stime, usage.ru_maxrss / 2**20)


def difference(bundle: Bundle, tensors: Tensors) -> dict[str, float]:
    """One latent's picture in each runtime, in float32, against the published equations: the worst of them."""
    z = np.random.default_rng(4).standard_normal((1, bundle.manifest.z_dim), np.float32)
    with torch.no_grad():
        expected = grey_levels(paint_reference(tensors, torch.from_numpy(z[0]))).numpy().astype(int)
    found: dict[str, float] = {"mean": 0.0, "max": 0.0}
    for runtime in CPU_RUNTIMES:
        place, painter = (open_graph(bundle, graph, runtime) for graph in ("mapping", "generator"))
        off = np.abs(painter.run({"w_plus": place.run({"z": z})["w"]})["rgba"][..., :3].astype(int) - expected)
        found = {"mean": max(found["mean"], float(off.mean())), "max": max(found["max"], float(off.max()))}
        place.close()
        painter.close()
    return {**{key: round(value, 4) for key, value in found.items()}, "spread": round(float(expected.std()), 1)}


def table(rows: Sequence[dict[str, Any]]) -> list[str]:
    """The figures as Markdown."""
    lines = [
        "| network | file | import (CPU) | peak memory | error | largest | first picture | pictures/s | generator |",
        "|---|---|---|---|---|---|---|---|---|",
    ]
    for row in rows:
        lines.append(
            f"| {row['name']} | {row['file_mb']} MB | {row['import_processor_s']:.0f} s "
            f"| {row['import_peak_gib']:.1f} GiB | {row['grey']['mean']:.3f} | {row['grey']['max']:.0f} "
            f"| {row['first_frame_s']:.0f} s | {row['fps']:.1f} | {row['generator_ms']:.0f} ms, {row['runtime']} |"
        )
    return lines


if __name__ == "__main__":
    sys.exit(main())
