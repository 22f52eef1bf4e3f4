"""`cymatic export`: a bundle's graphs for other runtimes and in other precisions, proven against the original."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from engine.errors import CymaticError

TARGETS = ("onnx", "tensorrt", "openvino")
PRECISIONS = ("fp32", "fp16", "bf16", "int8")


def add_parser(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> argparse.ArgumentParser:
    """Register the subcommand."""
    parser = subparsers.add_parser(
        "export",
        help="convert a bundle for other runtimes and precisions",
        description="Convert the graphs of a bundle and prove that they still paint the same. docs/export.md.",
    )
    parser.add_argument("bundle", metavar="BUNDLE", help="a folder or a shipped name")
    parser.add_argument("--to", required=True, choices=TARGETS, help="onnx makes a bundle that plays")
    parser.add_argument("--precision", choices=PRECISIONS, default="fp32", help="default: fp32")
    parser.add_argument(
        "--sm",
        type=_capabilities,
        default=(),
        metavar="N,N",
        help="for TensorRT: compute capabilities such as 86,89",
    )
    parser.add_argument("--out", type=Path, metavar="FOLDER", help="default: NAME-TARGET-PRECISION, here")
    return parser


def run(args: argparse.Namespace) -> int:
    """Export, print one line a graph and where the folder is."""
    try:
        import onnx  # noqa: F401
    except ImportError as error:
        raise CymaticError("exporting needs onnx: pip install 'cymatic[tensorrt]' or 'cymatic[train]'") from error
    from engine.bundle import find_bundle, load_bundle
    from export.deploy import export_bundle

    bundle = load_bundle(find_bundle(args.bundle))
    folder = args.out or Path(f"{bundle.manifest.name}-{args.to}-{args.precision}")

    def say(line: str) -> None:
        sys.stderr.write(line + "\n")

    record = export_bundle(bundle, args.to, args.precision, folder, args.sm, say)
    sys.stdout.write(f"{'graph':<10} {'inputs':<8} {'mean':>8} {'max':>5}   grey levels from {record['reference']}\n")
    for graph, row in record["graphs"].items():
        for inputs, parity in row["parity"].items():
            name = graph if inputs == "random" else ""
            sys.stdout.write(f"{name:<10} {inputs:<8} {parity['mean']:8.4f} {parity['max']:5.0f}\n")
    sys.stdout.write(f"export: {folder}\n")
    return 0


def _capabilities(text: str) -> tuple[int, ...]:
    parts = text.split(",")
    if not all(part.isdecimal() and 50 <= int(part) <= 999 for part in parts):
        raise argparse.ArgumentTypeError(f"{text!r} is not a list of compute capabilities such as 86,89,120")
    return tuple(dict.fromkeys(int(part) for part in parts))
