"""Frames from the engine to the stage: a triple buffer in shared memory in which the newest picture wins.

    header                                       size, newest index
    3 × (sequence, index, times, stages | RGBA8) one picture each

The engine writes pictures round the three buffers and then moves `newest`; neither side ever waits. A buffer's sequence
number is odd while it is written (a seqlock), so a reader that was overtaken sees that and takes the newer picture: it
never shows half of one picture and half of another.
"""

from __future__ import annotations

import time
import zlib
from dataclasses import dataclass
from multiprocessing.shared_memory import SharedMemory

import numpy as np
from numpy.typing import NDArray

from engine import memory

BUFFERS = 3
ATTEMPTS = 4
STAGES = ("mel", "encoder", "recurrent", "blend", "generator")
"""What the engine measures of every frame, in the order of `Frame.stats`, in milliseconds. `mel` is all that is done to
the new sound: gain and gate, mel columns, level, onset and beat."""
LOOKS = 5
"""How many faders of the look a picture may move: `engine.look.FADERS`."""
CHECKED = 127
"""Every so many pixels one goes into the checksum: eight in a row of 1024, at another place in each."""

_MAGIC = 0x63796D31  # "cym1"
_HEADER = np.dtype([("magic", "<u8"), ("height", "<u8"), ("width", "<u8"), ("newest", "<u8")])
_PICTURE = np.dtype(
    [
        ("sequence", "<u8"),
        ("index", "<u8"),
        ("captured_at", "<f8"),
        ("started_at", "<f8"),
        ("written_at", "<f8"),
        ("published_at", "<f8"),
        ("onset_at", "<f8"),
        ("check", "<u8"),
        ("stats", "<f8", (len(STAGES),)),
        ("look", "<f4", (LOOKS,)),
    ]
)
_ALIGN = 64


@dataclass(frozen=True, slots=True)
class Frame:
    """One picture. All times are `time.perf_counter()` seconds, which every process of the machine shares."""

    index: int
    """1 for the first picture in this slot, then one more each; a restarted engine counts on."""
    rgba: NDArray[np.uint8]
    """The reader's own copy, [H, W, 4]."""
    captured_at: float
    """When the newest sound sample in this picture was captured."""
    started_at: float
    """When the engine began to work on it."""
    written_at: float
    """When the generator was done and the copy into the slot began."""
    published_at: float
    """When it could first be seen in the slot."""
    stats: tuple[float, ...]
    """Milliseconds of each of `STAGES`; NaN for a stage that did not run for this picture."""
    check: int = 0
    """`checksum` of the picture as the engine painted it."""
    onset_at: float = 0.0
    """When the sound was captured by which the newest onset in this picture was known; 0 before the first."""
    look: tuple[float, ...] = (0.0,) * LOOKS
    """How far the sound moves each of `engine.look.FADERS` for this picture, by the maps of the preset."""

    @property
    def whole(self) -> bool:
        """Whether this is the picture that was painted, and not parts of two."""
        return checksum(self.rgba) == self.check


def checksum(rgba: NDArray[np.uint8]) -> int:
    """Of one in `CHECKED` pixels of `[H, W, 4]`, spread over the whole picture; 10 µs at 576 × 1024."""
    return zlib.crc32(np.ascontiguousarray(rgba).reshape(-1).view(np.uint32)[::CHECKED].tobytes())


class FrameSlot:
    """One end of the slot: `create` on the reading side (which owns the memory), `attach` on the writing side.

    One thread a side. Between two pictures of the same buffer lie two others, so a reader is overtaken only when its
    copy takes longer than two frames.
    """

    def __init__(self, block: SharedMemory, owner: bool) -> None:
        self._block = block
        self._owner = owner
        self._barrier = memory.Barrier()
        data = memory.view(block)
        self._header = np.frombuffer(data, _HEADER, count=1)
        self.height = int(self._header["height"][0])
        self.width = int(self._header["width"][0])
        stride = _picture_stride(self.height, self.width)
        self._heads = []
        self._pixels = []
        for buffer in range(BUFFERS):
            at = _ALIGN + buffer * stride
            self._heads.append(np.frombuffer(data, _PICTURE, count=1, offset=at))
            pixels = np.frombuffer(data, np.uint8, count=self.height * self.width * 4, offset=at + 2 * _ALIGN)
            self._pixels.append(pixels.reshape(self.height, self.width, 4))

    @classmethod
    def create(cls, height: int, width: int) -> FrameSlot:
        """A new empty slot for pictures of height × width."""
        block = memory.create(_ALIGN + BUFFERS * _picture_stride(height, width))
        np.frombuffer(memory.view(block), _HEADER, count=1)[0] = (_MAGIC, height, width, 0)
        return cls(block, owner=True)

    @classmethod
    def attach(cls, name: str) -> FrameSlot:
        """The slot that the stage created; FileNotFoundError when it is gone, ValueError when it is something else."""
        block = memory.attach(name)
        if int(np.frombuffer(memory.view(block), _HEADER, count=1)["magic"][0]) != _MAGIC:
            block.close()
            raise ValueError(f"shared memory {name!r} is not a frame slot")
        return cls(block, owner=False)

    @property
    def name(self) -> str:
        """What `attach` needs."""
        return self._block.name

    @property
    def newest_index(self) -> int:
        """Index of the newest picture, 0 when there is none."""
        return int(self._header["newest"][0])

    def publish(
        self,
        rgba: NDArray[np.uint8],
        captured_at: float,
        stats: tuple[float, ...],
        started_at: float | None = None,
        onset_at: float = 0.0,
        look: tuple[float, ...] = (0.0,) * LOOKS,
    ) -> int:
        """Shows `rgba` [H, W, 4] to the reader and returns its index. Writing thread only; never waits."""
        written_at = time.perf_counter()
        index = self.newest_index + 1
        head, pixels = self._heads[index % BUFFERS], self._pixels[index % BUFFERS]
        sequence = int(head["sequence"][0]) | 1  # still odd when a writer died in the middle
        head["sequence"] = sequence
        self._barrier()
        check = checksum(rgba)  # of what was painted, so that it tells when the copy is not the same
        pixels[...] = rgba
        started_at = written_at if started_at is None else started_at
        published_at = time.perf_counter()
        head[0] = (sequence, index, captured_at, started_at, written_at, published_at, onset_at, check, stats, look)
        self._barrier()
        head["sequence"] = sequence + 1
        self._barrier()
        self._header["newest"] = index
        return index

    def newest(self, after_index: int = 0) -> Frame | None:
        """The newest picture if its index is above `after_index`, else None. Reading thread only; never waits."""
        for _ in range(ATTEMPTS):
            newest = self.newest_index
            if newest <= after_index:
                return None
            self._barrier()
            frame = self._read(newest % BUFFERS)
            if frame is not None and frame.index >= newest:
                return frame
        return None

    def _read(self, buffer: int) -> Frame | None:
        """The picture in this buffer, or None when it was being written meanwhile."""
        head, pixels = self._heads[buffer], self._pixels[buffer]
        sequence = int(head["sequence"][0])
        if sequence % 2:
            return None
        self._barrier()
        rgba = pixels.copy()
        # A copy: `tolist` alone leaves `stats` looking into the shared memory, past the check below.
        _, index, captured, started, written, published, onset, check, stats, look = head.copy()[0].tolist()
        self._barrier()
        if int(head["sequence"][0]) != sequence:
            return None
        ms, moves = tuple(map(float, stats)), tuple(map(float, look))
        return Frame(index, rgba, captured, started, written, published, ms, check, onset, moves)

    def close(self) -> None:
        """Lets go of the memory; the creator also unlinks it. Safe to call twice."""
        del self._heads[:], self._pixels[:]
        self._header = np.zeros(1, _HEADER)  # the block cannot be closed while an array looks at it
        self._block.close()
        if self._owner:
            self._owner = False
            self._block.unlink()


def _picture_stride(height: int, width: int) -> int:
    size = 2 * _ALIGN + height * width * 4
    return -(-size // _ALIGN) * _ALIGN


assert _PICTURE.itemsize <= 2 * _ALIGN
