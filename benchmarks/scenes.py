"""Takes README's sheet of the nine scenes: a real show hears each scene's sound and its picture is kept.

    python benchmarks/scenes.py docs/images/scenes.png [--bundle landscape] [--preset NAME]

Sounds come from the synthetic world's held-out seeds (extra `train`). Nothing is retouched; of eruptions and
lightning the picture with the strongest light is kept, since they do not wait for a photographer.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from pathlib import Path

import numpy as np
import soundfile
import torch
from PIL import Image, ImageDraw

from cymatic.stage import EngineOptions, Stage
from engine.bundle import find_bundle, load_bundle
from presets.store import PresetStore
from training.clips import SPLITS
from training.run import seeded
from training.world.factors import SCENES, draw_tracks
from training.world.sound import SAMPLE_RATE, synthesise

SOUND_S, WARM_S, SHOW_S = 30.0, 3.0, 8.0
STRIKING = ("explosion", "thunder")
OSC_PORT = 9179
SIZE = (288, 512)  # of each picture on the sheet
COLUMNS = 3


def strike(rgb: np.ndarray) -> float:
    """How far the brightest pixels stand above the usual one."""
    light = rgb.mean(2)
    return float(np.percentile(light, 99.7) - np.median(light))


def picture_of(sound: Path, bundle: str, preset: str | None, striking: bool) -> np.ndarray:
    """RGB of a show that hears `sound`: its last picture, or the most striking one."""
    said: list[str] = []
    stage = Stage(
        load_bundle(find_bundle(bundle)),
        PresetStore.standard(),
        EngineOptions(source=str(sound), fps=30.0),
        preset=preset,
        osc_port=OSC_PORT,
        say=said.append,
    )
    kept, best, first_at = None, -1.0, None
    try:
        stage.start()
        while (first_at is None or time.perf_counter() < first_at + SHOW_S) and not stage.closing:
            stage.tick()
            frame = stage.newest_frame()
            if frame is None:
                time.sleep(0.004)
                continue
            first_at = first_at or time.perf_counter()
            value = strike(frame.rgba[..., :3]) if striking else 0.0
            if time.perf_counter() > first_at + WARM_S and value >= best:
                kept, best = frame.rgba[..., :3].copy(), value
    finally:
        stage.stop()
    if kept is None:
        raise SystemExit(f"no picture for {sound}: {'; '.join(said)}")
    return kept


def main() -> None:
    """Nine shows, one after the other, and their sheet."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("sheet", type=Path)
    parser.add_argument("--bundle", default="landscape")
    parser.add_argument("--preset", help="where the pictures rest (default: the show's own default)")
    parser.add_argument("--seed", type=int, default=3, help="which sounds (default: 3)")
    args = parser.parse_args()
    torch.set_num_threads(1)
    pictures = []
    with tempfile.TemporaryDirectory() as folder:
        for number, scene in enumerate(SCENES):
            draws = seeded(args.seed, SPLITS["test"].start, number)
            sound = Path(folder) / f"{scene}.wav"
            track = draw_tracks(SOUND_S, draws, scene=number)
            soundfile.write(sound, synthesise(track, draws).numpy(), SAMPLE_RATE)
            pictures.append(picture_of(sound, args.bundle, args.preset, scene in STRIKING))
    height, width = SIZE
    rows = -(-len(pictures) // COLUMNS)
    sheet = Image.new("RGB", (COLUMNS * width, rows * height))
    pen = ImageDraw.Draw(sheet)
    for i, (scene, picture) in enumerate(zip(SCENES, pictures, strict=True)):
        corner = (i % COLUMNS * width, i // COLUMNS * height)
        sheet.paste(Image.fromarray(picture).resize((width, height), Image.Resampling.LANCZOS), corner)
        place = (corner[0] + 12, corner[1] + height - 26)
        pen.text((place[0] + 1, place[1] + 1), scene, fill=(0, 0, 0), font_size=16)
        pen.text(place, scene, fill=(255, 255, 255), font_size=16)
    args.sheet.parent.mkdir(parents=True, exist_ok=True)
    sheet.save(args.sheet, optimize=True)


if __name__ == "__main__":
    main()
