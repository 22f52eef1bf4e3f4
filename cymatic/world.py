"""`cymatic world`: look at and listen to the synthetic landscape world that the networks learn from."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from engine.errors import CymaticError

SIZE = (180, 320)


def add_parser(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> argparse.ArgumentParser:
    """Register the subcommand."""
    parser = subparsers.add_parser(
        "world",
        help="look at the synthetic landscape world",
        description="The world pairs picture, sound and caption of nine scenes; every bundle is trained on it.",
    )
    kinds = parser.add_subparsers(dest="kind", required=True, metavar="KIND")
    preview = kinds.add_parser("preview", help="a sheet of pictures, six seconds of sound a scene, and captions")
    preview.add_argument(
        "--out", type=Path, default=Path("world-preview"), metavar="FOLDER", help="default: world-preview"
    )
    preview.add_argument("--seed", type=int, default=1, metavar="N", help="another number, another world (default: 1)")
    preview.add_argument(
        "--size", type=_size, default=SIZE, metavar="HxW", help="height × width of one picture (default: 180x320)"
    )
    preview.add_argument("--sheet-only", action="store_true", help="pictures, no sound")
    demo = kinds.add_parser("demo", help="a walk through the nine scenes, as the demo soundscape was made")
    demo.add_argument("out", type=Path, metavar="OUT.ogg", help="the file to write")
    demo.add_argument("--seconds", type=_seconds, default=90.0, metavar="S", help="length (default: 90)")
    demo.add_argument("--seed", type=int, default=7, metavar="N", help="another number, another walk (default: 7)")
    return parser


def run(args: argparse.Namespace) -> int:
    """Write the files and print their paths. Raises CymaticError without torch or where a path cannot be written."""
    try:
        import torch  # noqa: F401
    except ImportError as error:
        raise CymaticError("the world needs torch: pip install 'cymatic[train]'") from error
    try:
        paths = _demo(args) if args.kind == "demo" else _preview(args)
    except OSError as error:
        raise CymaticError(f"{error.filename or args.out} cannot be written: {error.strerror or error}") from error
    for path in paths:
        sys.stdout.write(f"{path}\n")
    return 0


def _size(text: str) -> tuple[int, int]:
    """`HxW` as two numbers of pixels, 16 to 2160."""
    height, _, width = text.lower().partition("x")
    if not (height.isdecimal() and width.isdecimal() and min(int(height), int(width)) >= 16):
        raise argparse.ArgumentTypeError(f"{text!r} is not a size such as 180x320, at least 16x16")
    if max(int(height), int(width)) > 2160:
        raise argparse.ArgumentTypeError(f"{text!r} is over 2160 pixels")
    return int(height), int(width)


def _seconds(text: str) -> float:
    try:
        seconds = float(text)
    except ValueError:
        seconds = 0.0
    if not 9.0 <= seconds <= 3600.0:
        raise argparse.ArgumentTypeError(f"{text!r} is not a length from 9 to 3600 seconds")
    return seconds


def _demo(args: argparse.Namespace) -> list[Path]:
    """The soundscape as Ogg Vorbis."""
    import soundfile

    from training.world.demo import write_demo

    if not args.out.parent.is_dir() or args.out.is_dir():
        raise CymaticError(f"{args.out} cannot be written: name a file in a folder that exists")
    try:
        write_demo(args.out, seconds=args.seconds, seed=args.seed)
    except soundfile.LibsndfileError as error:
        raise CymaticError(f"{args.out} cannot be written: {error.error_string}") from error
    return [args.out]


def _preview(args: argparse.Namespace) -> list[Path]:
    """`world.png`, `captions.txt` and, unless only the sheet is wanted, `SCENE.wav` for each scene."""
    from training.world import factors, preview

    args.out.mkdir(parents=True, exist_ok=True)
    paths = [preview.write_sheet(args.out / "world.png", args.seed, args.size)]
    paths.append(preview.write_captions(args.out / "captions.txt", args.seed))
    if not args.sheet_only:
        paths += [
            preview.write_sound(args.out / f"{name}.wav", args.seed, scene) for scene, name in enumerate(factors.SCENES)
        ]
    return paths
