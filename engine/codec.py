"""How pictures and sound become a file of H.264 and AAC, for films and recordings alike. Needs PyAV."""

from __future__ import annotations

from collections.abc import Mapping
from fractions import Fraction
from pathlib import Path
from types import MappingProxyType
from typing import Any, Self

import av
import av.codec.codec
import numpy as np
from av.video.reformatter import ColorRange, Colorspace
from numpy.typing import NDArray

from engine.errors import CymaticError

AUDIO_RATE = 48_000
"""For sound whose own rate AAC does not have."""
THREADS = 1
"""Of x264: more would push the painter's threads aside, each of which waits for the others. And x264 is deterministic
only as long as their number stays."""
_BT709 = 1  # in the tables of ITU-T H.273
_AUDIO_BITS = 192_000
_NOTHING: Mapping[str, str] = MappingProxyType({})


class Film:
    """An MP4 file that is being written, in the way that its kinds say; a context manager. One thread.

    Pictures and sound each come in their own order. Pictures are `height` × `width`, an odd last row or column is left
    out (H.264 counts colour in twos); `rate` of them a second are announced, and their times count in `time_base`. The
    sound is at `sample_rate`, `layout` "mono" or "stereo". `quality` is x264's, `container` the muxer's. Raises OSError
    or `av.FFmpegError` when the file cannot be written, `CymaticError` when this PyAV has no x264.
    """

    def __init__(
        self,
        path: Path,
        height: int,
        width: int,
        rate: Fraction,
        time_base: Fraction,
        sample_rate: int,
        layout: str,
        quality: Mapping[str, str],
        container: Mapping[str, str] = _NOTHING,
    ) -> None:
        self._height, self._width = height - height % 2, width - width % 2
        self._time_base = time_base
        self._sample_rate, self._layout = sample_rate, layout
        self._samples = 0
        self._file = av.open(str(path), "w", format="mp4", options=dict(container))
        try:
            self._video = self._add_video(rate, quality)
            self._audio = self._file.add_stream("aac", aac_rate(sample_rate), layout=layout)
            self._audio.codec_context.bit_rate = _AUDIO_BITS
        except BaseException:
            self._file.close()
            raise

    def _add_video(self, rate: Fraction, quality: Mapping[str, str]) -> Any:
        try:
            stream = self._file.add_stream("libx264", rate, options=dict(quality))
        except av.codec.codec.UnknownCodecError:
            raise CymaticError("this PyAV was built without x264: install its own wheel, pip install av") from None
        stream.height, stream.width = self._height, self._width
        stream.pix_fmt = "yuv420p"
        context = stream.codec_context
        context.time_base = self._time_base
        context.thread_count = THREADS
        # Said in the file, since players guess it from the size: small pictures would come out in other colours.
        context.colorspace = context.color_primaries = context.color_trc = _BT709
        context.color_range = ColorRange.MPEG
        return stream

    def _write_picture(self, rgba: NDArray[np.uint8], pts: int) -> None:
        """The next picture, uint8 `[height, width, 4]`, at `pts` times the time base; copied."""
        shown = np.ascontiguousarray(rgba[: self._height, : self._width])
        frame = av.VideoFrame.from_ndarray(shown, format="rgba").reformat(
            format="yuv420p", dst_colorspace=Colorspace.ITU709, dst_color_range=ColorRange.MPEG
        )
        frame.pts, frame.time_base = pts, self._time_base
        self._file.mux(self._video.encode(frame))

    def sound(self, block: NDArray[np.float32]) -> None:
        """More sound, float32 `[n, channels]`, n may be 0; copied."""
        if not len(block):
            return
        frame = av.AudioFrame.from_ndarray(np.ascontiguousarray(block.T), format="fltp", layout=self._layout)
        frame.sample_rate, frame.time_base = self._sample_rate, Fraction(1, self._sample_rate)
        frame.pts = self._samples
        self._samples += len(block)
        self._file.mux(self._audio.encode(frame))

    def close(self) -> None:
        """Writes what the encoders still hold, and what the file ends with."""
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


def aac_rate(sample_rate: int) -> int:
    """The rate itself where AAC has it, else `AUDIO_RATE`."""
    rates = av.codec.Codec("aac", "w").audio_rates or []
    return sample_rate if sample_rate in rates else AUDIO_RATE
