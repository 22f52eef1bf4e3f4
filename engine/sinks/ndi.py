"""The picture as an NDI source on the network, by cyndilib (API of its version 0.1.3)."""

from __future__ import annotations

from fractions import Fraction

import numpy as np
from cyndilib.sender import Sender
from cyndilib.video_frame import VideoSendFrame
from cyndilib.wrapper.ndi_structs import FourCC
from numpy.typing import NDArray

from engine.sinks import NAME


class Ndi:
    """An NDI source. The library compresses each picture before `send` comes back."""

    def __init__(self, height: int, width: int, fps: float) -> None:
        frame = VideoSendFrame()
        frame.set_resolution(width, height)
        frame.set_frame_rate(Fraction(fps).limit_denominator(1001))
        frame.set_fourcc(FourCC.RGBA)
        self._sender = Sender(NAME, clock_video=False)  # the show has a clock of its own
        self._sender.set_video_frame(frame)
        self._sender.open()
        self.name = f"NDI as {NAME!r}"

    def send(self, rgba: NDArray[np.uint8]) -> None:
        self._sender.write_video(rgba.reshape(-1))

    def close(self) -> None:
        self._sender.close()


def open_sink(height: int, width: int, fps: float) -> Ndi:
    """An NDI source."""
    return Ndi(height, width, fps)
