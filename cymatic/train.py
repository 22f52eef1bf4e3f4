"""`cymatic train`: every stage from nothing to a bundle, resumable."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from engine.errors import CymaticError


def add_parser(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> argparse.ArgumentParser:
    """Register the subcommand."""
    parser = subparsers.add_parser(
        "train",
        help="train a bundle from the synthetic world",
        description="Train every stage; write a bundle and the run's log (RUN/log.csv, RUN/log.svg). Stop it at any "
        "time; the same command goes on where it was. For several GPUs or machines: torchrun ... -m cymatic train.",
    )
    parser.add_argument(
        "--scale",
        choices=("smoke", "landscape", "smoke-3", "landscape-3"),
        default="landscape",
        help="how long to train; -3 paints with a StyleGAN3 (default: landscape)",
    )
    parser.add_argument("--run", type=Path, metavar="FOLDER", help="run folder (default: runs/SCALE)")
    parser.add_argument("--out", type=Path, metavar="FOLDER", help="bundle folder (default: RUN/bundle)")
    parser.add_argument("--name", help="name written into the bundle (default: the scale's)")
    parser.add_argument("--threads", type=int, help="CPU threads (default: all)")
    parser.add_argument("--quiet", action="store_true", help="no progress bars")
    return parser


def run(args: argparse.Namespace) -> int:
    """Train, export, print where the bundle is."""
    try:
        import torch
    except ImportError as error:
        raise CymaticError("training needs torch: pip install 'cymatic[train]'") from error
    from export.bundle import Trained, check_target, write_bundle
    from training import distributed, pipeline
    from training.log import write_log
    from training.run import Run
    from training.scales import SCALES

    if args.threads:
        torch.set_num_threads(args.threads)
    scale = SCALES[args.scale]
    folder = args.run or Path("runs") / scale.name
    out = args.out or folder / "bundle"
    with distributed.processes():
        first = distributed.rank() == 0
        if first:
            check_target(out)
        try:
            run_folder = Run(folder)
        except OSError as error:
            raise CymaticError(f"run folder {folder} cannot be made: {error.strerror}") from error
        generator, joint, inverters, step = pipeline.train(run_folder, scale, progress=not args.quiet)
    if not first:
        return 0
    found = pipeline.write_metrics(run_folder)
    write_log(folder, folder / "log")
    provenance = {
        "data": "the synthetic world of this project, no recordings",
        "scale": scale.name,
        "seed": scale.seed,
        "metrics": found,
    }
    write_bundle(out, args.name or scale.name, Trained(generator, joint, inverters, step), provenance)
    sys.stdout.write(f"bundle: {out}\n")
    return 0
