"""The file of one take: pictures with the times at which they were shown, sound that runs through.

H.264 and AAC in a fragmented MP4, which every second is whole again: wherever its making breaks off, it plays up to
there. The frame rate is variable, each picture standing at the very time it was shown; a constant rate would have
to move every picture by up to half a frame, double some and leave others out, and would hide what was late.
"""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path
from typing import Self

import av
import numpy as np
from numpy.typing import NDArray

from engine.codec import add_sound, add_video, picture_frame, sound_frame

QUALITY = {"preset": "superfast", "crf": "20", "bf": "0", "g": "120"}
"""Without pictures that wait for later ones (`bf`), so that what has been shown is in the file at once."""
THREADS = 1
USUAL_RATE = Fraction(60)
TIME_BASE = Fraction(1, 90_000)
FRAGMENT = {"movflags": "+delay_moov+default_base_moof", "frag_duration": "1000000", "flush_packets": "1"}
"""The head is written with the first fragment (`delay_moov`), when it is known by how much AAC begins early."""


class Take:
    """Pictures and sound to one file, each in its own order; a context manager. One thread.

    `path`: a file that is there and may be written over. Pictures are `height` × `width`, an odd last row or column is
    left out. The sound is stereo at `sample_rate`, which AAC must have (`engine.codec.aac_rate`). All methods raise
    OSError (which `av.FFmpegError` is, too, when a disk is full) as soon as the file cannot be written.
    """

    def __init__(self, path: Path, height: int, width: int, sample_rate: int) -> None:
        self._height, self._width = height - height % 2, width - width % 2
        self._sample_rate = sample_rate
        self._pts = -1
        self._samples = 0
        self._file = av.open(str(path), "w", format="mp4", options=dict(FRAGMENT))
        try:
            self._video = add_video(
                self._file, self._height, self._width, USUAL_RATE, TIME_BASE, dict(QUALITY), THREADS
            )
            self._audio = add_sound(self._file, sample_rate, "stereo")
        except BaseException:
            self._file.close()
            raise

    @property
    def seconds(self) -> float:
        """When the newest picture was shown."""
        return float(max(self._pts, 0) * TIME_BASE)

    def picture(self, rgba: NDArray[np.uint8], seconds: float) -> None:
        """The next picture, uint8 `[height, width, 4]`, shown `seconds` after the take began; copied."""
        frame = picture_frame(rgba, self._height, self._width)
        self._pts = max(round(seconds / TIME_BASE), self._pts + 1)
        frame.pts, frame.time_base = self._pts, TIME_BASE
        self._file.mux(self._video.encode(frame))

    def sound(self, samples: NDArray[np.float32]) -> None:
        """More sound `[n, 2]`, copied."""
        if len(samples):
            frame = sound_frame(samples, self._sample_rate, "stereo", self._samples)
            self._samples += len(samples)
            self._file.mux(self._audio.encode(frame))

    def close(self) -> None:
        """Writes what the encoders still hold."""
        try:
            for stream in (self._video, self._audio):
                self._file.mux(stream.encode(None))
        finally:
            self._file.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: object, trace: object) -> None:
        if kind is None:
            self.close()
        else:
            self._file.close()
