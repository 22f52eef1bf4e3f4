"""The picture for other programs on this Windows machine, by SpoutGL (API of its version 0.1.1).

Written from the library's own example and bindings; it has not been run on Windows.
"""

from __future__ import annotations

import numpy as np
import SpoutGL
import SpoutGL.enums
from numpy.typing import NDArray

from engine.sinks import NAME


class Spout:
    """A Spout sender, which brings its own OpenGL context."""

    name = f"Spout as {NAME!r}"

    def __init__(self, height: int, width: int) -> None:
        self._size = width, height
        self._sender = SpoutGL.SpoutSender()
        self._sender.setSenderName(NAME)

    def send(self, rgba: NDArray[np.uint8]) -> None:
        """RuntimeError when the graphics driver refuses."""
        # pixels, width, height, format, whether to turn it upside down, frame buffer
        if not self._sender.sendImage(rgba, *self._size, SpoutGL.enums.GL_RGBA, False, 0):
            raise RuntimeError("the graphics driver takes no picture")
        self._sender.setFrameSync(NAME)

    def close(self) -> None:
        self._sender.releaseSender()


def open_sink(height: int, width: int, fps: float) -> Spout:
    """A Spout sender; the rate is not announced."""
    return Spout(height, width)
