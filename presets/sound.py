"""A sound clip into a pull on the latent: what a bundle's inversion encoder hears in it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from engine.audio.mel import mel_windows
from engine.audio.sources import SoundFile
from engine.bundle import Bundle
from engine.errors import PresetError
from presets.recipe import anchor
from presets.schema import Anchor
from presets.text import Encoded, Session

__all__ = ["GRAPHS", "SoundEncoder", "hear", "sound_anchor", "sound_encoder"]

LONGEST_S = 60.0
"""Of a clip, what comes later is not heard."""
EVERY_S = 0.5
FAINT_DB = -55.0
"""Half a second below this says nothing about the clip."""

SoundEncoder = Callable[[Path], Encoded]


GRAPHS = ("encoder", "reader")
"""Of a bundle, opened, are what hears."""


def sound_encoder(sessions: Mapping[str, Session], bundle: Bundle) -> SoundEncoder:
    """What the bundle's opened `GRAPHS` hear in the first `LONGEST_S` of a file, as `hear` does.

    The encoder raises `AudioError` for a file that cannot be read and `PresetError` for one in which there is nothing
    to hear.
    """

    def encode(path: Path) -> Encoded:
        clip = SoundFile(path)
        rate, parts, length = clip.sample_rate, [], 0
        for block in clip.mono():
            parts.append(block[: int(LONGEST_S * rate) - length])
            length += len(parts[-1])
            if length >= int(LONGEST_S * rate):
                break
        encoded = hear(sessions, bundle, np.concatenate(parts) if parts else np.empty(0, np.float32), rate)
        if encoded is None:
            raise PresetError(f"there is nothing to hear in {path}")
        return encoded

    return encode


def hear(
    sessions: Mapping[str, Session], bundle: Bundle, sound: NDArray[np.float32], sample_rate: int
) -> Encoded | None:
    """What the bundle's opened `GRAPHS` hear in a sound, mono `[n]`: the mean over its windows, half a second apart.

    Silent stretches do not count; None where there is nothing else.
    """
    config, step = bundle.manifest.mel, int(EVERY_S * sample_rate)
    window = int(config.columns * config.hop_s * sample_rate)
    first = max(min(window + step, len(sound)), step)  # with a whole window before it, where the clip is long enough
    ends = range(first, max(len(sound), first) + 1, step)
    ends_s = [end / sample_rate for end in ends if _loud(sound[max(end - step, 0) : end])]
    if not ends_s:
        return None
    shape = bundle.manifest.latents.layers, bundle.manifest.latents.dim
    delta, embedding = np.zeros(shape, np.float32), np.zeros(bundle.manifest.embedding_dim, np.float32)
    for mel in mel_windows(sound, sample_rate, ends_s, config):
        delta += sessions["encoder"].run({"mel": mel[None]})["delta"][0]
        embedding += sessions["reader"].run({"mel": mel[None]})["embedding"][0]
    length_of_mean = max(float(np.linalg.norm(embedding)), 1e-12)
    return Encoded(delta / np.float32(len(ends_s)), embedding / np.float32(length_of_mean), ())


def _loud(sound: NDArray[np.float32]) -> bool:
    return len(sound) > 0 and float(np.mean(np.square(sound, dtype=np.float64))) > 10.0 ** (FAINT_DB / 10.0)


def sound_anchor(path: Path, weight: float, encoded: Encoded, graph_hash: str) -> Anchor:
    """An anchor for a clip that the encoder graph with that SHA-256 has heard; it keeps the file's name, no path."""
    return anchor("sound", path.name, weight, encoded, graph_hash)
