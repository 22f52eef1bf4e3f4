"""An MP4 file that is being written: H.264 video and AAC sound, through PyAV.

One picture and one sound give one file, bit for bit: x264 and FFmpeg's AAC encoder are deterministic as long as the
number of x264's threads stays, so it is a constant and not the number of cores. It is one: more would push the
painter's threads aside, each of which waits for the others. `cymatic render` calls from a thread that stands back.
"""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path
from typing import Any, Self

import av
import av.codec.codec
import numpy as np
from av.video.reformatter import ColorRange, Colorspace
from numpy.typing import NDArray

from engine.errors import CymaticError

QUALITY = {"preset": "superfast", "crf": "18"}
THREADS = 1
BT709 = 1  # in the tables of ITU-T H.273
AUDIO_BITS = 192_000
AUDIO_RATE = 48_000
"""For sound whose own rate AAC does not have."""


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
        try:
            rate = Fraction(fps).limit_denominator(1001)
            self._video: Any = self._file.add_stream("libx264", rate, options=dict(QUALITY))
            self._audio: Any = self._file.add_stream("aac", _aac_rate(sample_rate), layout=self._layout)
        except av.codec.codec.UnknownCodecError:
            self._file.close()
            raise CymaticError("this PyAV was built without x264: install its own wheel, pip install av") from None
        self._video.height, self._video.width = self._height, self._width
        self._video.pix_fmt = "yuv420p"
        context = self._video.codec_context
        context.time_base = 1 / rate
        context.thread_count = THREADS
        # Said in the file, since players guess it from the size: small pictures would come out in other colours.
        context.colorspace = context.color_primaries = context.color_trc = BT709
        context.color_range = ColorRange.MPEG
        self._audio.codec_context.bit_rate = AUDIO_BITS

    def picture(self, rgba: NDArray[np.uint8]) -> None:
        """The next picture, uint8 `[height, width, 4]`, copied."""
        shown = np.ascontiguousarray(rgba[: self._height, : self._width])
        frame = av.VideoFrame.from_ndarray(shown, format="rgba").reformat(
            format="yuv420p", dst_colorspace=Colorspace.ITU709, dst_color_range=ColorRange.MPEG
        )
        frame.pts, frame.time_base = self._pictures, self._video.codec_context.time_base
        self._pictures += 1
        self._file.mux(self._video.encode(frame))

    def sound(self, block: NDArray[np.float32]) -> None:
        """More sound, float32 `[n, channels]`, copied."""
        frame = av.AudioFrame.from_ndarray(np.ascontiguousarray(block.T), format="fltp", layout=self._layout)
        frame.sample_rate, frame.time_base = self._sample_rate, Fraction(1, self._sample_rate)
        frame.pts = self._samples
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


def _aac_rate(sample_rate: int) -> int:
    rates = av.codec.Codec("aac", "w").audio_rates or []
    return sample_rate if sample_rate in rates else AUDIO_RATE
