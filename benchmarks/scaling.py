"""How a generator's time grows with its pixels and with its channels, in each CPU runtime, in one run.

    python benchmarks/scaling.py [--seconds S] [--threads N] [--json FILE]

Untrained StyleGAN2 generators as `cymatic train` makes them, square, 128² to 1024², and at 256² with half, the same and
twice the channels. Needs the extra `train`; exporting the graphs takes a few minutes.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import torch

from engine.runtime import CPU_RUNTIMES, open_session
from engine.runtime.choose import median_ms, random_feeds
from engine.runtime.machine import describe_machine
from engine.runtime.session import can_run, default_threads
from export.bundle import export_graph
from export.flops import gflop
from export.graphs import GeneratorGraph, drawn_inputs
from training.networks.stylegan2 import Generator, GeneratorConfig
from training.scales import SCALES

CHANNELS = (64, 64, 64, 48, 32, 24, 16, 16)  # from 4×4 upwards; the picture is eight times as large as the last
SIDES = (128, 256, 512, 1024)
WIDTHS = (0.5, 1.0, 2.0)
WIDTHS_SIDE = 256


def main() -> int:
    parser = argparse.ArgumentParser(description="Time against pixels and channels.")
    parser.add_argument("--seconds", type=float, default=1.0, help="of runs for each point and runtime")
    parser.add_argument("--threads", type=int, default=default_threads())
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the curve here too")
    options = parser.parse_args()
    points = [(side, 1.0) for side in SIDES] + [(WIDTHS_SIDE, width) for width in WIDTHS if width != 1.0]
    rows = [measure(side, width, options.threads, options.seconds) for side, width in points]
    report = {"machine": describe_machine(), "threads": options.threads, "points": rows}
    for line in table(rows):
        print(line)
    if options.json is not None:
        options.json.write_text(json.dumps(report, indent=1) + "\n")
    return 0


def config(side: int, width: float) -> GeneratorConfig:
    """A generator of that side, its channels multiplied and rounded to full vectors of eight."""
    grids = (side // 32).bit_length()  # the last block's is an eighth of the side
    channels = tuple(max(8, round(width * count / 8) * 8) for count in CHANNELS[:grids])
    base = SCALES["landscape"].generator
    assert isinstance(base, GeneratorConfig)
    return dataclasses.replace(base, start=(4, 4), channels=channels, fine=channels[-1], head=3 * channels[-1])


def measure(side: int, width: float, threads: int, seconds: float) -> dict[str, Any]:
    """Median ms in each runtime, GFLOP, and what was measured."""
    chosen = config(side, width)
    assert chosen.size == (side, side)
    torch.manual_seed(0)
    network = Generator(chosen).eval().requires_grad_(False)

    inputs = drawn_inputs(network, torch.Generator().manual_seed(0))
    row: dict[str, Any] = {"side": side, "width": width, "channels": chosen.channels, "ms": {}}
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "generator.onnx"
        export_graph(GeneratorGraph(network), inputs, ["rgba"], path)
        row["gflop"] = gflop(path)
        for runtime in filter(can_run, CPU_RUNTIMES):
            session = open_session(path, runtime, threads=threads)
            feeds = random_feeds(session.inputs, np.random.default_rng(0))
            row["ms"][runtime] = median_ms(lambda s=session, f=feeds: s.run(f), seconds)
            session.close()
    print(f"{side}² × {width:g}: {row['ms']}", file=sys.stderr)
    return row


def table(rows: list[dict[str, Any]]) -> list[str]:
    """The points in Markdown; ns a pixel shows what a pixel costs as pictures grow."""
    runtimes = list(rows[0]["ms"])
    lines = [f"| side | channels × | GFLOP | {' | '.join(f'{name} ms | ns a pixel' for name in runtimes)} |"]
    lines.append("|---" * (3 + 2 * len(runtimes)) + "|")
    for row in rows:
        cells = [f"{row['ms'][name]:.1f} | {1e6 * row['ms'][name] / row['side'] ** 2:.0f}" for name in runtimes]
        lines.append(f"| {row['side']} | {row['width']:g} | {row['gflop']:.2f} | {' | '.join(cells)} |")
    return lines


if __name__ == "__main__":
    sys.exit(main())
