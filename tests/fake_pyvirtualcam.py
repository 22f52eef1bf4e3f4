"""Stands in for pyvirtualcam 0.15, with its signatures, in a sink's process: what is sent goes to a file, as JSON."""

from __future__ import annotations

import enum
import json
import os
import pathlib

import numpy as np


class PixelFormat(enum.Enum):
    RGB = "RGB"


class Camera:
    def __init__(self, width, height, fps, *, fmt=PixelFormat.RGB, device=None, backend=None, print_fps=False, **kw):
        if os.environ.get("NO_CAMERA"):
            raise RuntimeError("'v4l2loopback' backend: No v4l2 loopback device found.\nDid you run 'modprobe'?")
        self.shape, self.device, self.sent = (height, width, 3), "/dev/video9", 0
        self.log = pathlib.Path(os.environ["CAMERA_LOG"])

    def send(self, frame):
        if not isinstance(frame, np.ndarray) or frame.shape != self.shape or frame.dtype != np.uint8:
            raise ValueError(f"unexpected frame {frame.shape}")
        self.sent += 1
        if os.environ.get("CAMERA_FAILS_AT") == str(self.sent):
            raise OSError("the device was unplugged")
        with self.log.open("a") as log:
            log.write(json.dumps(frame[0, 0].tolist()) + "\n")

    def close(self):
        with self.log.open("a") as log:
            log.write('"closed"\n')
