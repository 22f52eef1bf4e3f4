"""`cymatic adapt`: sounds and words learn to steer an imported generator."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from engine.errors import CymaticError


def add_parser(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> argparse.ArgumentParser:
    """Register the subcommand."""
    parser = subparsers.add_parser(
        "adapt",
        help="train the encoders of an imported bundle on a folder of sounds",
        description="Train sound and text encoders for a bundle that `cymatic import` made, with the joint embedding. "
        "Stop it at any time; the same command goes on where it was. docs/import.md.",
    )
    parser.add_argument("bundle", type=Path, metavar="BUNDLE", help="the imported bundle; it stays as it is")
    parser.add_argument("--sounds", type=Path, required=True, metavar="FOLDER", help="sound files, in folders or not")
    parser.add_argument("--out", type=Path, metavar="BUNDLE", help="the folder to write (default: BUNDLE-adapted)")
    parser.add_argument("--run", type=Path, metavar="FOLDER", help="run folder (default: runs/NAME-adapted)")
    parser.add_argument("--steps", type=_count, default=800, metavar="N", help="default: 800")
    parser.add_argument("--batch", type=_count, default=8, metavar="N", help="sounds a step (default: 8)")
    parser.add_argument("--clip", type=Path, metavar="FOLDER", help="a CLIP model of transformers; needs --clap")
    parser.add_argument("--clap", type=Path, metavar="FOLDER", help="a CLAP model of transformers; needs --clip")
    parser.add_argument("--threads", type=_count, metavar="N", help="CPU threads (default: all)")
    parser.add_argument("--quiet", action="store_true", help="no progress bars")
    return parser


def run(args: argparse.Namespace) -> int:
    """Hear, train, export, print how it went and where the bundle is."""
    try:
        import onnxscript  # noqa: F401
        import torch
        from tqdm import tqdm
    except ImportError as error:
        raise CymaticError(f"adapting needs {error.name}: pip install 'cymatic[train]'") from None
    from engine.audio.mel import MelConfig
    from engine.bundle import find_bundle, load_bundle
    from export.bundle import check_target
    from export.foreign.adapted import open_easel, write_adapted
    from training.adaptation import read_clips, train
    from training.device import pick
    from training.run import Run, keep_memory
    from training.towers import own_towers

    if (args.clip is None) != (args.clap is None):
        raise CymaticError("--clip and --clap belong together: one looks and reads, the other hears")
    if args.threads:
        torch.set_num_threads(args.threads)
    tqdm.monitor_interval = 0  # a thread to wake up slow bars
    bundle = load_bundle(find_bundle(args.bundle))
    name = f"{bundle.manifest.name}-adapted"
    out = args.out or bundle.folder.with_name(f"{bundle.folder.name}-adapted")
    check_target(out)
    device, progress = pick(), not args.quiet
    easel = open_easel(bundle, device)
    if args.clip:
        from training.clip_towers import clip_towers

        towers = clip_towers(args.clip, args.clap, device)
    else:
        towers = own_towers(device)
    clips = read_clips(args.sounds, towers, MelConfig(), progress)
    folder = args.run or Path("runs") / name
    try:
        run_folder = Run(folder)
    except OSError as error:
        raise CymaticError(f"run folder {folder} cannot be made: {error.strerror}") from error
    keep_memory()
    of = {"generator": bundle.manifest.graph("generator").sha256}
    adapted = train(run_folder, easel, clips, towers, args.steps, args.batch, of, device=device, progress=progress)
    rows = [row for row in run_folder.rows("adaptation") if "found" in row]
    told = {key: [row[key] for row in (rows[0], rows[-1])] for key in ("cos", "shuffled_cos", "found", "apart")}
    provenance = {
        "sounds": len(clips.rows), "windows": len(clips.mels), "sha256": clips.sha256, "steps": args.steps,
        "batch": args.batch, "towers": towers.name, "towers_sha256": towers.sha256, "before_and_after": told,
    }  # fmt: skip
    write_adapted(out, bundle, adapted, name, provenance)
    before, after = told["found"]
    sys.stdout.write(
        f"{len(clips.rows)} sounds; closest to the picture of their own: {before:.0%} before, {after:.0%} after\n"
        f"bundle: {out}\n"
    )
    return 0


def _count(text: str) -> int:
    value = int(text)
    if not 1 <= value <= 1_000_000:
        raise argparse.ArgumentTypeError(f"{text} is not between 1 and 1000000")
    return value
