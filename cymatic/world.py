"""`cymatic world`: look at and listen to the synthetic landscape world that the networks learn from."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from engine.errors import CymaticError

if TYPE_CHECKING:
    import torch

SIZE = (180, 320)
STRENGTHS = (0.3, 0.55, 0.8, 1.0)
SECONDS = 6.0
STROKE = 1.2  # `flash` as the sheet shows it: lightning and eruption at their height
STRIP = 24  # pixels below a picture, for its label


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
    from training.run import seeded
    from training.world import captions, factors

    args.out.mkdir(parents=True, exist_ok=True)
    vectors = scene_vectors(args.seed)
    sheet = args.out / "world.png"
    _write_sheet(sheet, vectors, args.size, args.seed)
    lines = []
    for row, scene in enumerate(factors.SCENES):
        for strength, vector in zip(STRENGTHS, vectors[row], strict=True):
            said = captions.caption(vector, seeded(args.seed, 71, row, round(100 * strength)))
            lines.append(f"{scene} {strength:.2f}: {said}\n")
    text = args.out / "captions.txt"
    text.write_text("".join(lines), encoding="utf-8")
    sounds = [] if args.sheet_only else [_write_sound(args.out, i, args.seed) for i in range(len(factors.SCENES))]
    return [sheet, text, *sounds]


def scene_vectors(seed: int) -> torch.Tensor:
    """Factors `[9, 4, COUNT]`: one landscape a scene, the scene at each of `STRENGTHS`."""
    import torch

    from training.run import seeded
    from training.world import factors

    count = len(factors.SCENES)
    vectors = factors.draw(count, seeded(seed, 70), calm=1.0)[:, None].repeat(1, len(STRENGTHS), 1)
    vectors[..., factors.INDEX["flash"]] = STROKE
    for row in range(count):
        vectors[row, :, factors.SCENE_SLICE.start + row] = torch.tensor(STRENGTHS)
    return vectors


def _write_sheet(path: Path, vectors: torch.Tensor, size: tuple[int, int], seed: int) -> None:
    """A row for each scene, a column for each strength, labels below the pictures."""
    from PIL import Image, ImageDraw

    from training.run import seeded
    from training.world import factors, fields
    from training.world.picture import render

    height, width = size
    tiles = fields.make_tiles(height, width)
    sheet = Image.new("RGB", (width * len(STRENGTHS), (height + STRIP) * len(factors.SCENES)), (16, 16, 16))
    draw = ImageDraw.Draw(sheet)
    for row, scene in enumerate(factors.SCENES):
        offsets = _offsets(seeded(seed, 72, row))
        pictures = render(vectors[row], fields.scroll(tiles, offsets.expand(len(STRENGTHS), -1, -1)))
        pixels = (pictures.permute(0, 2, 3, 1) * 255).round().byte().numpy()
        for column, strength in enumerate(STRENGTHS):
            at = (column * width, row * (height + STRIP))
            sheet.paste(Image.fromarray(pixels[column]), at)
            draw.text((at[0] + 6, at[1] + height + 6), f"{scene} {strength:.2f}", fill=(210, 210, 210))
    sheet.save(path)


def _offsets(generator: torch.Generator) -> torch.Tensor:
    import torch

    from training.world import fields

    return torch.rand(1, fields.COUNT, 2, generator=generator)


def _write_sound(folder: Path, scene: int, seed: int) -> Path:
    """The scene's natural sound, mono, 16 bits."""
    import soundfile

    from training.run import seeded
    from training.world import factors
    from training.world.sound import SAMPLE_RATE, synthesise

    draws = seeded(seed, 73, scene)
    sound = synthesise(factors.draw_tracks(SECONDS, draws, scene=scene), draws, SAMPLE_RATE)
    path = folder / f"{factors.SCENES[scene]}.wav"
    try:
        soundfile.write(path, sound.numpy(), SAMPLE_RATE, subtype="PCM_16")
    except soundfile.LibsndfileError as error:
        raise CymaticError(f"{path} cannot be written: {error.error_string}") from error
    return path
