"""Films as others read them, and pictures that can be told apart after they have been compressed."""

from __future__ import annotations

import contextlib
from dataclasses import dataclass
from pathlib import Path

import av
import numpy as np

from engine.finish import Shown

BITS = 16
FREE = Shown(np.empty(0, np.uint8), 0.0, limit=False).numbers
"""What comes with a record that may flash, as numbers do."""


@dataclass(frozen=True)
class Film:
    """`pictures`: uint8 RGB `[n, H, W, 3]`, shown at `times` (s). `stereo`: sound `[m, 2]` from time 0, at
    `rate`."""

    pictures: np.ndarray
    times: np.ndarray
    stereo: np.ndarray
    rate: int

    @property
    def sound(self) -> np.ndarray:
        """Both sides mixed, `[m]`."""
        return self.stereo.mean(axis=1)


def read_film(path: Path) -> Film:
    """The whole film, decoded by FFmpeg; up to where it breaks off."""
    frames, blocks = [], []
    with av.open(str(path)) as file, contextlib.suppress(av.InvalidDataError):
        for frame in file.decode(video=0):
            frames.append((float(frame.time), frame.to_ndarray(format="rgb24")))
    with av.open(str(path)) as file, contextlib.suppress(av.InvalidDataError):
        rate = file.streams.audio[0].rate
        for block in file.decode(audio=0):
            blocks.append((float(block.time), block.to_ndarray().T))
    sound = np.concatenate([block for _, block in blocks])
    early = round(-blocks[0][0] * rate)  # where the encoder began before the film did
    sound = sound[early:] if early > 0 else np.concatenate([np.zeros((-early, 2), np.float32), sound])
    return Film(np.stack([picture for _, picture in frames]), np.array([time for time, _ in frames]), sound, rate)


def numbered(number: int, height: int = 32, width: int = 64) -> np.ndarray:
    """A picture, uint8 RGBA `[H, W, 4]`, that says its number in bars of black and white."""
    bits = number >> np.arange(BITS) & 1
    picture = np.full((height, width, 4), 255, np.uint8)
    picture[..., :3] = np.where(bits[np.arange(width) * BITS // width], 220, 30)[None, :, None]
    return picture


def number_of(picture: np.ndarray) -> int:
    """What `numbered` wrote, read from a decoded picture `[H, W, 3]`."""
    columns = picture.mean(axis=(0, 2)).reshape(BITS, -1).mean(axis=1)
    return int(np.sum((columns > 125) << np.arange(BITS)))
