"""`cymatic import`: a StyleGAN of somebody else's becomes a bundle that plays."""

from __future__ import annotations

import argparse
import re
import sys
from pathlib import Path

from engine.errors import CymaticError

NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")


def add_parser(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> argparse.ArgumentParser:
    """Register the subcommand."""
    parser = subparsers.add_parser(
        "import",
        help="make a bundle of a StyleGAN2 or StyleGAN3 checkpoint",
        description="Make a bundle of a StyleGAN2 or StyleGAN3 checkpoint: NVIDIA's .pkl, rosinality's .pt, or "
        ".safetensors. Nothing in the file is executed. `cymatic live --bundle OUT_BUNDLE` plays it.",
    )
    parser.add_argument("checkpoint", type=Path, metavar="CHECKPOINT", help="the file to read")
    parser.add_argument("out", type=Path, metavar="OUT_BUNDLE", help="the folder to write")
    parser.add_argument(
        "--class", dest="label", type=int, metavar="N", help="which class it shows, from 0, if it has any"
    )
    parser.add_argument("--name", help="name written into the bundle (default: the file's)")
    parser.add_argument("--licence", metavar="TEXT", help="licence of the checkpoint, written into the bundle")
    parser.add_argument("--quiet", action="store_true", help="no progress bar")
    return parser


def run(args: argparse.Namespace) -> int:
    """Read, look, export, print where the bundle is."""
    try:
        import onnxscript  # noqa: F401
        import torch  # noqa: F401
        from tqdm import tqdm
    except ImportError as error:
        raise CymaticError(f"importing needs {error.name}: pip install 'cymatic[train]'") from None
    from export.foreign.bundle import import_checkpoint
    from export.foreign.directions import pictures_painted

    name = args.name or re.sub(r"[^A-Za-z0-9._-]+", "-", args.checkpoint.stem).strip("-._") or "imported"
    if not NAME.fullmatch(name):
        raise CymaticError(f"--name {name!r}: only letters, digits, '.', '_' and '-', and a letter or digit first")
    tqdm.monitor_interval = 0  # a thread to wake up slow bars
    with tqdm(total=pictures_painted(), desc="looking for directions", disable=args.quiet or None) as bar:
        foreign = import_checkpoint(args.checkpoint, args.out, name, args.label, args.licence, bar.update)
    sys.stdout.write(f"{foreign.kind}, {foreign.resolution}×{foreign.resolution}\nbundle: {args.out}\n")
    return 0
