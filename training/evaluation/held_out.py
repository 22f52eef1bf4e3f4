"""What a bundle is judged by: clips, tracks of music and wordings that no training has met, all drawn from `SEED`.

A clip is the world's: factor tracks, the sound that follows from them, and the world's own film of them. Natural sound
and music stand in the shares in which the world mixes them.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from training.evaluation.train_judge import thinned
from training.pictures import FieldTiles
from training.run import seeded
from training.world import factors, fields
from training.world.dsp import Take, soft_limit
from training.world.factors import SCENES, Tracks, draw_tracks
from training.world.film import Film
from training.world.music import STYLES, TRIM_DB, Song, groove, synthesise_any
from training.world.picture import render
from training.world.sound import SAMPLE_RATE, record, synthesise

SEED = 9_260_517  # of the proof alone
SECONDS = 6.0
SWEEP, SWEEP_S = (0.15, 1.0), 8.0
FULL_SIZE = (288, 512)  # world pictures for comparison are drawn at this size, whatever the bundle's
BEATS_A_SECTION = 16
SLOWEST, FASTEST = 84.0, 150.0  # beats a minute
SECTIONS = 6  # a track
JOIN_S = 0.02
GROOVE_DB = -14.0


@dataclass(frozen=True, slots=True)
class Clip:
    """One held-out sound: mono float32 at `SAMPLE_RATE`, the factors behind it, its scene."""

    number: int
    scene: int
    music: bool
    tracks: Tracks
    sound: NDArray[np.float32]


def draw_clip(scene: int, number: int, count: int, seconds: float = SECONDS) -> Clip:
    """Clip `number` of `count` of a scene; the last third is music, or music and natural sound at once."""
    draws = seeded(SEED, 1, scene, number)
    music = number >= round(count * 2 / 3)
    tracks = draw_tracks(seconds, draws, scene=scene)
    sound = synthesise_any(tracks, draws, SAMPLE_RATE, music=1.0 if music else 0.0)
    return Clip(number, scene, music, tracks, sound.numpy())


def draw_sweep(scene: int, number: int) -> Clip:
    """Natural sound of a scene whose intensity goes through its whole range, `SWEEP` in `SWEEP_S` seconds."""
    draws = seeded(SEED, 7, scene, number)
    tracks = draw_tracks(SWEEP_S, draws, scene=scene)
    intensity = tracks.values[:, factors.SCENE_SLICE.start + scene]
    low, high = intensity.min(), intensity.max()
    intensity[:] = SWEEP[0] + (SWEEP[1] - SWEEP[0]) * (intensity - low) / (high - low).clamp(min=1e-3)
    if SCENES[scene] in factors.STROKES:
        tracks.values[:, factors.INDEX["flash"]] = factors.strokes(intensity, tracks.rate, SCENES[scene], draws)
    return Clip(number, scene, False, tracks, synthesise(tracks, draws, SAMPLE_RATE).numpy())


@dataclass(frozen=True, slots=True)
class Music:
    """One held-out track: `sections` are (scene, begin, end) in seconds, `beats` the time of each."""

    sound: NDArray[np.float32]
    sections: tuple[tuple[int, float, float], ...]
    beats: NDArray[np.float64]


def draw_music(number: int) -> Music:
    """Track `number`: six sections of four bars at one tempo; nine scenes take turns through the tracks."""
    draws = seeded(SEED, 2, number)
    tempo = SLOWEST * (FASTEST / SLOWEST) ** float(torch.rand(1, generator=draws))
    beat_s = 60.0 / tempo
    length = BEATS_A_SECTION * beat_s
    order = torch.randperm(len(SCENES), generator=seeded(SEED, 3)).tolist()
    # A stride of two, prime to nine, so that each pair of neighbours comes once.
    scenes = [order[(2 * (number * SECTIONS + i)) % len(SCENES)] for i in range(SECTIONS)]
    parts, values = [], []
    for scene in scenes:
        tracks = draw_tracks(length, draws, scene=scene)
        values.append(tracks.values)
        parts.append(_section(tracks, beat_s, draws))
    whole = Tracks(torch.cat(values), 30.0, -1)
    sound = record(Take(whole, draws, SAMPLE_RATE), _joined(parts, length, whole.seconds))
    sections = tuple((scene, i * length, (i + 1) * length) for i, scene in enumerate(scenes))
    return Music(sound.numpy(), sections, np.arange(SECTIONS * BEATS_A_SECTION) * beat_s)


def _section(tracks: Tracks, beat_s: float, draws: torch.Generator) -> Tensor:
    """A scene's style over a quiet groove, on the beat from its first sample: `[samples]`."""
    name = SCENES[tracks.scene]
    take = Take(tracks, draws, SAMPLE_RATE)
    song = Song(take)
    song.beat_s, song.offset_s = beat_s, 0.0
    intensity = take.factor(name)
    played = STYLES[name](song, intensity) * 10.0 ** (TRIM_DB[name] / 20.0)
    return soft_limit(played + groove(song, intensity) * 10.0 ** (GROOVE_DB / 20.0), 0.5, 0.95)


def _joined(parts: list[Tensor], length_s: float, whole_s: float) -> Tensor:
    """Sections one after the other with a short fade at each join."""
    sound = torch.zeros(round(whole_s * SAMPLE_RATE))
    ramp = torch.linspace(0.0, 1.0, round(JOIN_S * SAMPLE_RATE))
    for i, part in enumerate(parts):
        start = round(i * length_s * SAMPLE_RATE)
        part = part[: len(sound) - start].clone()
        part[: len(ramp)] *= ramp
        part[-len(ramp) :] *= ramp.flip(0)
        sound[start : start + len(part)] += part
    return sound


class World:
    """The world's own films of held-out clips, for comparison."""

    def __init__(self) -> None:
        self._tiles = FieldTiles(FULL_SIZE)

    def film(self, clip: Clip, times: Tensor, rows: int, *, smooth: bool = False) -> Tensor:
        """Frames `[T, 3, rows, w]` in 0..1 at `times` (s): points of the full size; `smooth`: of averaged texture."""
        tiles = self._tiles.at(rows) if smooth else thinned(self._tiles, rows)
        start = torch.rand(fields.COUNT, 2, generator=seeded(SEED, 4, clip.scene, clip.number))
        return torch.stack(list(Film(clip.tracks, start).pictures(times, tiles)))

    @torch.no_grad()
    def pictures(self, clip: Clip, times: Tensor) -> Tensor:
        """Full-size pictures `[N, 3, H, W]` in 0..1: the clip's scene at `times`, each in a landscape of its own."""
        draws = seeded(SEED, 5, clip.scene, clip.number)
        vectors = clip.tracks.at(times)
        vectors[:, factors.AMBIENT_SLICE] = torch.randn(len(times), factors.AMBIENT_SLICE.stop, generator=draws)
        offsets = torch.rand(len(times), fields.COUNT, 2, generator=draws)
        moments = zip(vectors.split(1), offsets.split(1), strict=True)
        return torch.cat([render(vector, fields.scroll(self._tiles.full, offset)) for vector, offset in moments])
