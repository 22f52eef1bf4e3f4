"""The picture as a camera, for video calls, browsers and OBS, by pyvirtualcam (API of its version 0.15)."""

from __future__ import annotations

import numpy as np
import pyvirtualcam
from numpy.typing import NDArray


class Camera:
    """The first virtual camera that the system has: v4l2loopback on Linux, OBS or Unity Capture elsewhere."""

    def __init__(self, height: int, width: int, fps: float) -> None:
        self._size = height - height % 2, width - width % 2  # cameras count colour in twos
        self._camera = pyvirtualcam.Camera(self._size[1], self._size[0], fps, fmt=pyvirtualcam.PixelFormat.RGB)
        self.name = f"the camera {self._camera.device}"

    def send(self, rgba: NDArray[np.uint8]) -> None:
        height, width = self._size
        self._camera.send(np.ascontiguousarray(rgba[:height, :width, :3]))

    def close(self) -> None:
        self._camera.close()


def open_sink(height: int, width: int, fps: float) -> Camera:
    """A camera. RuntimeError, which says what is missing, when the system has none."""
    return Camera(height, width, fps)
