"""`cymatic bench`: every runtime on a bundle, in one run, and which of them a show will take."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Iterator
from typing import Any

from cymatic.arguments import seconds


def add_parser(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> argparse.ArgumentParser:
    """Register the subcommand."""
    parser = subparsers.add_parser(
        "bench",
        help="measure every runtime on a bundle",
        description="Run the graphs of a bundle in every runtime that is here, taking turns, and print a Markdown "
        "table. With torch and onnx installed they are compared with eager torch, else with ONNX Runtime.",
    )
    parser.add_argument("bundle", metavar="BUNDLE", help="a folder or a shipped name")
    parser.add_argument("--json", action="store_true", help="print every figure as JSON instead")
    parser.add_argument(
        "--seconds", type=seconds, default=3.0, metavar="N", help="of the generator in each runtime (default: 3)"
    )
    parser.add_argument("--threads", type=int, metavar="N", help="CPU threads (default: all physical cores)")
    return parser


def run(args: argparse.Namespace) -> int:
    """Measure and print."""
    from engine.bundle import find_bundle, load_bundle
    from export.measure import measure

    bundle = load_bundle(find_bundle(args.bundle))
    report = measure(bundle, args.seconds, args.threads, lambda line: print(line, file=sys.stderr))
    if args.json:
        print(json.dumps(report, indent=1))
    else:
        print("\n".join(table(report)))
    return 0


def table(report: dict[str, Any]) -> Iterator[str]:
    """The report in Markdown."""
    height, width = report["size"]
    machine = report["machine"]
    versions = ", ".join(f"{name} {version}" for name, version in report["versions"].items())
    peak = ", ".join(f"{device} {value:.0f}" for device, value in report["peak_gflops"].items()) or "not measured"
    yield f"Bundle `{report['bundle']}` at {height}×{width}, {report['threads']} threads, {versions}."
    yield f"{machine['cpu']}, {machine['cores']} cores, GPU: {machine['gpu']}; convolution peak (GFLOP/s): {peak}."
    yield ""
    yield "| graph | runtime | ms p50 | p95 | runs/s | GFLOP/s | of the peak | × eager | × ORT | grey, mean / max |"
    yield "|---|---|---|---|---|---|---|---|---|---|"
    for graph, measured in report["graphs"].items():
        for label, row in measured["runtimes"].items():
            if "error" in row:
                yield f"| {graph} | {label} | {row['error']} | | | | | | | |"
                continue
            yield (
                f"| {graph} | {label} | {row['p50_ms']:.2f} | {row['p95_ms']:.2f} | {row['per_second']:.0f} | "
                f"{_of(row, 'gflops', '.0f')} | {_of(row, 'share_of_peak', '.0%')} | "
                f"{_of(row, 'times_as_fast_as_eager', '.2f')} | {_of(row, 'times_as_fast_as_onnxruntime', '.2f')} | "
                f"{row['mean_grey']:.3f} / {row['max_grey']:.0f} |"
            )
    yield ""
    memory = ", ".join(f"{label} {mib:.0f}" for label, mib in report["memory_mib"].items())
    yield f"Memory of a process with all graphs opened, MiB: {memory}."
    live = report["live"]
    chosen = ", ".join(f"{graph} {choice['runtime']} {choice['precision']}" for graph, choice in live.items())
    yield f"`cymatic live` takes: {chosen}."
    if faster := _accelerated(report):
        yield f"While it plays, {faster[0]} gets ready and takes over."


def _of(row: dict[str, Any], key: str, form: str) -> str:
    return format(row[key], form) if key in row else "-"


def _accelerated(report: dict[str, Any]) -> list[str]:
    """Accelerated runtimes that are faster on the generator than what the show begins with, the fastest first."""
    from engine.runtime.choose import WORTH_MS
    from engine.runtime.session import ACCELERATED

    rows = report["graphs"]["generator"]["runtimes"]
    begin = report["live"]["generator"]
    limit = rows.get(f"{begin['runtime']} {begin['precision']}", {}).get("p50_ms", 0.0) - WORTH_MS
    found = [
        (row["p50_ms"], label) for label, row in rows.items() if label.split()[0] in ACCELERATED and "p50_ms" in row
    ]
    return [label for ms, label in sorted(found) if ms < limit]
