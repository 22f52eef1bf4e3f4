"""An MP4 file at an even frame rate: what `cymatic render` writes, from a thread that stands back.

One picture and one sound give one file, bit for bit: x264, with its one thread, and FFmpeg's AAC encoder are
deterministic.
"""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from engine.codec import Film

QUALITY = {"preset": "superfast", "crf": "18"}


class Movie(Film):
    """Pictures and sound to a file. `channels`: 1 or 2. The sound may run ahead of the pictures or behind them by
    seconds, which are held in memory."""

    def __init__(self, path: Path, height: int, width: int, fps: float, sample_rate: int, channels: int) -> None:
        rate = Fraction(fps).limit_denominator(1001)
        super().__init__(
            path, height, width, rate, 1 / rate, sample_rate, "mono" if channels == 1 else "stereo", QUALITY
        )
        self._pictures = 0

    def picture(self, rgba: NDArray[np.uint8]) -> None:
        """The next picture, uint8 `[height, width, 4]`, copied."""
        self._write_picture(rgba, self._pictures)
        self._pictures += 1
