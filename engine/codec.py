"""How pictures and sound become H.264 and AAC, for films and recordings alike. Needs PyAV."""

from __future__ import annotations

from fractions import Fraction
from typing import Any

import av
import av.codec.codec
import numpy as np
from av.video.reformatter import ColorRange, Colorspace
from numpy.typing import NDArray

from engine.errors import CymaticError

AUDIO_RATE = 48_000
"""For sound whose own rate AAC does not have."""
_BT709 = 1  # in the tables of ITU-T H.273
_AUDIO_BITS = 192_000


def add_video(
    file: Any, height: int, width: int, rate: Fraction, time_base: Fraction, options: dict[str, str], threads: int
) -> Any:
    """A stream of H.264 in a file that is being written. `CymaticError` when this PyAV has no x264."""
    try:
        stream = file.add_stream("libx264", rate, options=options)
    except av.codec.codec.UnknownCodecError:
        raise CymaticError("this PyAV was built without x264: install its own wheel, pip install av") from None
    stream.height, stream.width = height, width
    stream.pix_fmt = "yuv420p"
    context = stream.codec_context
    context.time_base = time_base
    context.thread_count = threads
    # Said in the file, since players guess it from the size: small pictures would come out in other colours.
    context.colorspace = context.color_primaries = context.color_trc = _BT709
    context.color_range = ColorRange.MPEG
    return stream


def add_sound(file: Any, rate: int, layout: str) -> Any:
    """A stream of AAC in a file that is being written; `layout`: "mono" or "stereo"."""
    stream = file.add_stream("aac", rate, layout=layout)
    stream.codec_context.bit_rate = _AUDIO_BITS
    return stream


def picture_frame(rgba: NDArray[np.uint8], height: int, width: int) -> av.VideoFrame:
    """The picture uint8 `[H, W, 4]` as x264 takes it, cut to `height` × `width`; a copy."""
    shown = np.ascontiguousarray(rgba[:height, :width])
    return av.VideoFrame.from_ndarray(shown, format="rgba").reformat(
        format="yuv420p", dst_colorspace=Colorspace.ITU709, dst_color_range=ColorRange.MPEG
    )


def sound_frame(block: NDArray[np.float32], rate: int, layout: str, begin: int) -> av.AudioFrame:
    """Sound float32 `[n, channels]` that begins at sample `begin`; a copy."""
    frame = av.AudioFrame.from_ndarray(np.ascontiguousarray(block.T), format="fltp", layout=layout)
    frame.sample_rate, frame.time_base = rate, Fraction(1, rate)
    frame.pts = begin
    return frame


def aac_rate(sample_rate: int) -> int:
    """The rate itself where AAC has it, else `AUDIO_RATE`."""
    rates = av.codec.Codec("aac", "w").audio_rates or []
    return sample_rate if sample_rate in rates else AUDIO_RATE
