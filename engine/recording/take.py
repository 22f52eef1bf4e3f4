"""The file of one take: pictures with the times at which they were shown, sound that runs through.

H.264 and AAC in a fragmented MP4, which every second is whole again: wherever its making breaks off, it plays up to
there. The frame rate is variable, each picture standing at the very time it was shown; a constant rate would have
to move every picture by up to half a frame, double some and leave others out, and would hide what was late.
"""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from engine.codec import Film

QUALITY = {"preset": "superfast", "crf": "20", "bf": "0", "g": "120"}
"""Without pictures that wait for later ones (`bf`), so that what has been shown is in the file at once."""
USUAL_RATE = Fraction(60)
TIME_BASE = Fraction(1, 90_000)
FRAGMENT = {"movflags": "+delay_moov+default_base_moof", "frag_duration": "1000000", "flush_packets": "1"}
"""The head is written with the first fragment (`delay_moov`), when it is known by how much AAC begins early."""


class Take(Film):
    """Pictures and sound to one file. `path`: a file that is there and may be written over. The sound is stereo at
    `sample_rate`, which AAC must have (`engine.codec.aac_rate`). All methods raise OSError (which `av.FFmpegError` is,
    too, when a disk is full) as soon as the file cannot be written.
    """

    def __init__(self, path: Path, height: int, width: int, sample_rate: int) -> None:
        super().__init__(path, height, width, USUAL_RATE, TIME_BASE, sample_rate, "stereo", QUALITY, FRAGMENT)
        self._pts = -1

    @property
    def seconds(self) -> float:
        """When the newest picture was shown."""
        return float(max(self._pts, 0) * TIME_BASE)

    def picture(self, rgba: NDArray[np.uint8], seconds: float) -> None:
        """The next picture, uint8 `[height, width, 4]`, shown `seconds` after the take began; copied."""
        self._pts = max(round(seconds / TIME_BASE), self._pts + 1)
        self._write_picture(rgba, self._pts)
