"""`cymatic world`: look at and listen to the synthetic landscape world that the networks learn from."""

from __future__ import annotations

import argparse
import math
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

from engine.errors import CymaticError

SIZE = (180, 320)
FPS = 24.0
SECONDS = 8.0
MUSIC = "music"


def add_parser(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> argparse.ArgumentParser:
    """Register the subcommand."""
    parser = subparsers.add_parser(
        "world",
        help="look at the synthetic landscape world",
        description="The world pairs picture, sound and caption of nine scenes; every bundle is trained on it.",
    )
    kinds = parser.add_subparsers(dest="kind", required=True, metavar="KIND")
    preview = kinds.add_parser("preview", help="a sheet of pictures, captions, and a film with sound of every scene")
    preview.add_argument(
        "--out", type=Path, default=Path("world-preview"), metavar="FOLDER", help="default: world-preview"
    )
    preview.add_argument("--seed", type=int, default=1, metavar="N", help="another number, another world (default: 1)")
    preview.add_argument(
        "--size", type=_size, default=SIZE, metavar="HxW", help="height × width of one picture (default: 180x320)"
    )
    preview.add_argument(
        "--fps",
        type=_number(1.0, 120.0),
        default=FPS,
        metavar="F",
        help=f"frames a second of a film (default: {FPS:g})",
    )
    preview.add_argument(
        "--seconds",
        type=_number(1.0, 60.0),
        default=SECONDS,
        metavar="S",
        help=f"length of a film (default: {SECONDS:g})",
    )
    preview.add_argument("--sheet-only", action="store_true", help="no films")
    demo = kinds.add_parser("demo", help="a walk through the nine scenes, as the demo soundscape was made")
    demo.add_argument("out", type=Path, metavar="OUT.ogg", help="the file to write")
    demo.add_argument("--seconds", type=_number(9.0, 3600.0), default=90.0, metavar="S", help="length (default: 90)")
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


def _number(least: float, most: float) -> Callable[[str], float]:
    """A number within these bounds, for argparse."""

    def number(text: str) -> float:
        try:
            value = float(text)
        except ValueError:
            value = math.nan
        if not least <= value <= most:
            raise argparse.ArgumentTypeError(f"{text!r} is not a number from {least:g} to {most:g}")
        return value

    return number


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
    """`world.png`, `captions.txt` and, unless only the sheet is wanted, `SCENE.mp4` for each scene and one of music."""
    from training.world import factors, preview

    args.out.mkdir(parents=True, exist_ok=True)
    paths = [preview.write_sheet(args.out / "world.png", args.seed, args.size)]
    paths.append(preview.write_captions(args.out / "captions.txt", args.seed))
    if not args.sheet_only:
        played = args.seed % len(factors.SCENES)
        films = [(scene, name, False) for scene, name in enumerate(factors.SCENES)] + [(played, MUSIC, True)]
        paths += _films(args, films)
    return paths


def _films(args: argparse.Namespace, films: Sequence[tuple[int, str, bool]]) -> list[Path]:
    """`NAME.mp4` for each `(scene, name, whether it is music)`, with a bar of all their frames on a terminal."""
    try:
        import av
    except ImportError:
        raise CymaticError("films need PyAV: pip install 'cymatic[render]', or ask for --sheet-only") from None
    from tqdm import tqdm

    from cymatic.movie import Movie
    from engine.files import replacing
    from training.world import preview
    from training.world.film import textures
    from training.world.sound import SAMPLE_RATE

    tiles, paths = textures(args.size), []
    total = len(films) * max(1, round(args.seconds * args.fps))
    with tqdm(total=total, desc="films", unit="frame", disable=None) as bar:
        for scene, name, music in films:
            path = args.out / f"{name}.mp4"
            shown = preview.film(args.seed, scene, tiles, args.fps, args.seconds, music)
            try:
                with replacing(path) as temporary, Movie(temporary, *args.size, args.fps, SAMPLE_RATE, 1) as movie:
                    for picture, sound in shown:
                        movie.sound(sound)
                        movie.picture(picture)
                        bar.update()
            except av.FFmpegError as error:
                raise CymaticError(f"{path} cannot be written: {error.strerror or error}") from error
            paths.append(path)
    return paths
