"""The picture for other programs on this Mac, by syphon-python (API of its versions 0.1.1 and 0.2).

Written from the library's own documentation and source; it has not been run on a Mac.
"""

from __future__ import annotations

import numpy as np
import syphon
from numpy.typing import NDArray
from syphon.utils.numpy import copy_image_to_mtl_texture
from syphon.utils.raw import create_mtl_texture

from engine.sinks import NAME


class Syphon:
    """A Syphon server that publishes a Metal texture."""

    name = f"Syphon as {NAME!r}"

    def __init__(self, height: int, width: int) -> None:
        self._server = syphon.SyphonMetalServer(NAME)
        self._texture = create_mtl_texture(self._server.device, width, height)

    def send(self, rgba: NDArray[np.uint8]) -> None:
        copy_image_to_mtl_texture(rgba, self._texture)
        self._server.publish_frame_texture(self._texture)  # Metal, too, has its first row at the top

    def close(self) -> None:
        self._server.stop()


def open_sink(height: int, width: int, fps: float) -> Syphon:
    """A Syphon server; the rate is not announced."""
    return Syphon(height, width)
