"""A look at the world: a sheet of its scenes at four strengths, captions, and films with sound."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image, ImageDraw
from torch import Tensor

from training.run import seeded
from training.world import captions, factors, fields
from training.world.film import Film, textures
from training.world.music import synthesise_music
from training.world.picture import render
from training.world.sound import SAMPLE_RATE, synthesise

STRENGTHS = (0.3, 0.55, 0.8, 1.0)
PEAK = 0.7  # of a film's sound
STROKE = 1.2  # `flash` as the sheet shows it: lightning and eruption at their height
STRIP = 24  # pixels below a picture, for its label


def scene_vectors(seed: int) -> Tensor:
    """Factors `[9, 4, COUNT]`: one landscape a scene, the scene at each of `STRENGTHS`."""
    count = len(factors.SCENES)
    vectors = factors.draw(count, seeded(seed, 70), calm=1.0)[:, None].repeat(1, len(STRENGTHS), 1)
    vectors[..., factors.INDEX["flash"]] = STROKE
    for row in range(count):
        vectors[row, :, factors.SCENE_SLICE.start + row] = torch.tensor(STRENGTHS)
    return vectors


def write_sheet(path: Path, seed: int, size: tuple[int, int]) -> Path:
    """A PNG with a row for each scene, a column for each strength, labels below the pictures."""
    height, width = size
    vectors, tiles = scene_vectors(seed), textures(size)
    sheet = Image.new("RGB", (width * len(STRENGTHS), (height + STRIP) * len(factors.SCENES)), (16, 16, 16))
    draw = ImageDraw.Draw(sheet)
    for row, scene in enumerate(factors.SCENES):
        offsets = torch.rand(1, fields.COUNT, 2, generator=seeded(seed, 72, row)).expand(len(STRENGTHS), -1, -1)
        pictures = render(vectors[row], fields.scroll(tiles, offsets))
        pixels = (pictures.permute(0, 2, 3, 1) * 255).round().byte().numpy()
        for column, strength in enumerate(STRENGTHS):
            left, top = column * width, row * (height + STRIP)
            sheet.paste(Image.fromarray(pixels[column]), (left, top))
            draw.text((left + 6, top + height + 6), f"{scene} {strength:.2f}", fill=(210, 210, 210))
    sheet.save(path)
    return path


def write_captions(path: Path, seed: int) -> Path:
    """One line for each picture of the sheet."""
    lines = []
    for row, (scene, vectors) in enumerate(zip(factors.SCENES, scene_vectors(seed), strict=True)):
        for column, strength in enumerate(STRENGTHS):
            said = captions.caption(vectors[column], seeded(seed, 71, row, column))
            lines.append(f"{scene} {strength:.2f}: {said}\n")
    path.write_text("".join(lines), encoding="utf-8")
    return path


def film(
    seed: int, scene: int, tiles: Tensor, fps: float, seconds: float, music: bool = False
) -> Iterator[tuple[NDArray[np.uint8], NDArray[np.float32]]]:
    """Frames uint8 RGBA `[H, W, 4]`, of the size of `tiles`, each with its sound: `[n, 1]` at `SAMPLE_RATE`.

    The clip is the same at every size and rate. Its sound is brought to `PEAK`, so that no scene is too soft to judge.
    """
    draws = seeded(seed, 73, scene)
    clip = Film.draw(seconds, draws, scene)
    sound = (synthesise_music if music else synthesise)(clip.tracks, draws, SAMPLE_RATE)
    sound = sound * (PEAK / sound.abs().max().clamp(min=1e-6))
    times = torch.arange(max(1, round(seconds * fps)), dtype=torch.float64) / fps
    edges = [round(i * SAMPLE_RATE / fps) for i in range(len(times))] + [len(sound)]
    for i, picture in enumerate(clip.pictures(times.float(), tiles)):
        opaque = torch.cat([picture, torch.ones(1, *picture.shape[1:])])
        pixels = (opaque.permute(1, 2, 0) * 255).round().byte().numpy()
        yield pixels, sound[edges[i] : edges[i + 1], None].numpy()
