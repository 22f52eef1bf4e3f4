"""The demo soundscape: one walk through the nine scenes, each natural first and then taken up by music."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import soundfile
import torch
from torch import Tensor

from training.world.dsp import Take, soft_limit
from training.world.factors import INDEX, SCENES, Tracks, draw_tracks
from training.world.music import STYLES, Song
from training.world.music import TRIM_DB as STYLE_TRIM_DB
from training.world.sound import SAMPLE_RATE, VOICES
from training.world.sound import TRIM_DB as VOICE_TRIM_DB

# From quiet to loud and back, so that neighbours differ.
JOURNEY = ("wind", "rain", "thunder", "waterfall", "splash", "underwater", "mud", "fire", "explosion")
OVERLAP = 0.12  # of a scene's time, shared with its neighbour
LEVEL_DB = -2.0
BLOCK = 1 << 14  # libsndfile's Vorbis encoder has been seen to crash on very large single writes


def _scene(scene: str, seconds: float, generator: torch.Generator, sample_rate: int) -> Tensor:
    """One stop of the journey: intensity rises, music comes in past the middle and takes over."""
    tracks = draw_tracks(seconds, generator, scene=SCENES.index(scene))
    arc = torch.linspace(0.0, 1.0, tracks.values.shape[0])
    values = tracks.values.clone()
    values[:, INDEX[scene]] = (0.45 * values[:, INDEX[scene]] + 0.2 + 0.4 * arc).clamp(0.2, 1.0)
    take = Take(Tracks(values, tracks.rate, tracks.scene), generator, sample_rate)
    natural = VOICES[scene](take, take.factor(scene)) * 10.0 ** (VOICE_TRIM_DB[scene] / 20.0)
    music = STYLES[scene](Song(take), take.factor(scene)) * 10.0 ** (STYLE_TRIM_DB[scene] / 20.0)
    share = ((torch.linspace(0.0, 1.0, take.samples) - 0.45) / 0.25).clamp(0.0, 1.0)
    return soft_limit(natural * (1.0 - 0.75 * share) + music * share)


def demo_soundscape(
    seconds: float = 90.0, seed: int = 0, sample_rate: int = SAMPLE_RATE, scenes: Sequence[str] = JOURNEY
) -> Tensor:
    """The journey as mono float32 `[round(seconds · sample_rate)]` within ±0.98, from silence to silence: it loops."""
    generator = torch.Generator().manual_seed(seed)
    total = round(seconds * sample_rate)
    stop = total / len(scenes)
    fade = max(1, round(OVERLAP * stop))
    sound = torch.zeros(total)
    for i, scene in enumerate(scenes):
        start, end = max(0, round(i * stop) - fade), min(total, round((i + 1) * stop))
        part = _scene(scene, (end - start) / sample_rate + 0.1, generator, sample_rate)[: end - start]
        ramp = torch.sin(torch.linspace(0.0, torch.pi / 2.0, fade))
        part[:fade] *= ramp
        part[-fade:] *= ramp.flip(0)
        sound[start : start + part.shape[0]] += part
    return soft_limit(10.0 ** (LEVEL_DB / 20.0) * sound)


def write_demo(path: Path, seconds: float = 90.0, seed: int = 0, sample_rate: int = SAMPLE_RATE) -> None:
    """Write the journey to `path` as mono Ogg Vorbis."""
    sound = demo_soundscape(seconds, seed, sample_rate).numpy()
    with soundfile.SoundFile(path, "w", sample_rate, 1, format="OGG", subtype="VORBIS") as file:
        for start in range(0, len(sound), BLOCK):
            file.write(sound[start : start + BLOCK])
