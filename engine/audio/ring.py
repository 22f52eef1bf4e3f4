"""The hand-over of sound out of the driver's callback: one writer, one reader, no lock.

The writer never waits and never fails; a reader that comes late gets the newest frames and learns how many it missed.
Safe because each side owns its positions and publishes them by replacing one attribute, which Python does atomically.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from engine.audio.mel import Float32

__all__ = ["Ring"]


class Ring:
    """Float32 frames [n, channels] from one writing thread to one reading thread, newest wins.

    Parameters
    ----------
    frames : how many of the newest frames a read can give; blocks of any size may be written, larger ones too.
    channels : width of a frame.
    """

    def __init__(self, frames: int, channels: int) -> None:
        self.frames = frames
        # Twice what a read may give: the writer can run a whole `frames` ahead before it touches what is being copied.
        self._buffer = np.zeros((2 * frames, channels), np.float32)
        self._reserved = 0  # writer: end of the block that is being written
        self._head = (0, 0.0)  # writer: frames written so far, and the time stamp of the newest; replaced as one
        self._read = 0  # reader: position of the next frame
        self.lost = 0  # reader: frames overwritten before they were read

    @property
    def stamp(self) -> float:
        """Time stamp of the newest block, 0 before the first one."""
        return self._head[1]

    def write(self, block: npt.NDArray[np.float32], stamp: float) -> None:
        """Copy a block [n, channels] in; `stamp` is the time of its last frame. Writer's thread."""
        size = len(self._buffer)
        end = self._head[0] + len(block)
        block = block[-size:]
        self._reserved = end
        at = (end - len(block)) % size
        first = min(len(block), size - at)
        self._buffer[at : at + first] = block[:first]
        self._buffer[: len(block) - first] = block[first:]
        self._head = (end, stamp)

    def read(self) -> tuple[Float32, float]:
        """All new frames [n, channels], at most the newest `frames`, and the newest one's stamp. Reader's thread."""
        size = len(self._buffer)
        end, stamp = self._head
        start = max(self._read, end - self.frames)
        at, count = start % size, end - start
        first = min(count, size - at)
        block = np.concatenate([self._buffer[at : at + first], self._buffer[: count - first]])
        # What the writer reached meanwhile is torn; it can only be the oldest part.
        torn = min(max(self._reserved - size - start, 0), count)
        self.lost += start - self._read + torn
        self._read = end
        return block[torn:], stamp
