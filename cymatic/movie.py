"""An MP4 file that is being written: H.264 video and AAC sound, through PyAV.

One picture and one sound give one file, bit for bit: x264 and FFmpeg's AAC encoder are deterministic as long as the
number of x264's threads stays, so it is a constant and not the number of cores. It is one: more would push the
painter's threads aside, each of which waits for the others. `cymatic render` calls from a thread that stands back.
"""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path
from typing import Self

import av
import numpy as np
from numpy.typing import NDArray

from engine.codec import aac_rate, add_sound, add_video, picture_frame, sound_frame

QUALITY = {"preset": "superfast", "crf": "18"}
THREADS = 1


class Movie:
    """Pictures and sound to a file, each in its own order and as they come; a context manager. One thread.

    Pictures are `height` × `width`, an odd last row or column is left out (H.264 counts colour in twos). `channels`: 1
    or 2. The sound may run ahead of the pictures or behind them by seconds, which are held in memory. Raises OSError or
    `av.FFmpegError` when the file cannot be written, `CymaticError` when this PyAV has no x264.
    """

    def __init__(self, path: Path, height: int, width: int, fps: float, sample_rate: int, channels: int) -> None:
        self._height, self._width = height - height % 2, width - width % 2
        self._sample_rate = sample_rate
        self._layout = "mono" if channels == 1 else "stereo"
        self._pictures = self._samples = 0
        self._file = av.open(str(path), "w", format="mp4")
        rate = Fraction(fps).limit_denominator(1001)
        try:
            self._video = add_video(self._file, self._height, self._width, rate, 1 / rate, dict(QUALITY), THREADS)
            self._audio = add_sound(self._file, aac_rate(sample_rate), self._layout)
        except BaseException:
            self._file.close()
            raise

    def picture(self, rgba: NDArray[np.uint8]) -> None:
        """The next picture, uint8 `[height, width, 4]`, copied."""
        frame = picture_frame(rgba, self._height, self._width)
        frame.pts, frame.time_base = self._pictures, self._video.codec_context.time_base
        self._pictures += 1
        self._file.mux(self._video.encode(frame))

    def sound(self, block: NDArray[np.float32]) -> None:
        """More sound, float32 `[n, channels]`, copied."""
        frame = sound_frame(block, self._sample_rate, self._layout, self._samples)
        self._samples += len(block)
        self._file.mux(self._audio.encode(frame))

    def close(self) -> None:
        """Write what the encoders still hold, and the index."""
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
