"""What is shown and what is heard, for processes beside the show: rings in shared memory, one writer, any readers.

    header                                            how many records, how large, newest index
    N × (sequence, index, time, value, more | data)   one picture or one block of sound each

`engine.slot` serves one reader who wants the newest picture; who records wants all of them in order. So a reel keeps
the newest N, and the writer goes round them without ever waiting. A record's sequence number is odd while it is
written (a seqlock), so a reader that was overtaken sees that, and counts what it has lost.
"""

from __future__ import annotations

import mmap
from collections.abc import Sequence
from dataclasses import dataclass
from multiprocessing.shared_memory import SharedMemory
from typing import Any

import numpy as np
from numpy.typing import NDArray

from engine import memory

CHANNELS = 2
"""Sound is kept as stereo, whatever comes."""
SOUND_BLOCK = 2048
SOUND_BYTES = SOUND_BLOCK * CHANNELS * 4
"""Most frames, and bytes, in one record of sound."""
MORE = 8
"""So many numbers may come with a record."""
SOUND_RECORDS = 512
"""Records of sound: more than eight seconds of a show at 60 frames a second."""

_MAGIC = 0x63796D32  # "cym2"
_HEADER = np.dtype([("magic", "<u8"), ("records", "<u8"), ("capacity", "<u8"), ("newest", "<u8")])
_RECORD = np.dtype(
    [("sequence", "<u8"), ("index", "<u8"), ("at", "<f8"), ("value", "<f8"), ("size", "<u8"), ("more", "<f4", (MORE,))]
)
_ALIGN = 128


@dataclass(frozen=True, slots=True)
class Record:
    """One picture or one block of sound.

    `index`: 1 for the first of a reel, then one more each. `at`: `perf_counter` time at which the picture was shown, or
    the newest sample captured. `value`: the picture's level 0..1 (see `engine.present`), or frames a second. `more`:
    `MORE` numbers, of a picture its look (see `engine.finish`). `data`: the reader's own copy, uint8 `[n]`.
    """

    index: int
    at: float
    value: float
    more: tuple[float, ...]
    data: NDArray[np.uint8]

    @property
    def sound(self) -> NDArray[np.float32]:
        """A record of sound as float32 `[n, CHANNELS]`."""
        return self.data.view(np.float32).reshape(-1, CHANNELS)


class Reel:
    """One end of a reel: `create` on the stage (which owns the memory), `attach` elsewhere.

    One thread of one process writes; any number read, each thread with a `Follower` of its own.
    """

    def __init__(self, block: SharedMemory, owner: bool) -> None:
        self._block = block
        self._owner = owner
        self._barrier = memory.Barrier()
        data = memory.view(block)
        self._header = np.frombuffer(data, _HEADER, count=1)
        self.records, self.capacity = (int(self._header[field][0]) for field in ("records", "capacity"))
        self._heads: list[NDArray[Any]] = []
        self._data: list[NDArray[np.uint8]] = []
        for at in range(_ALIGN, _ALIGN + self.records * _stride(self.capacity), _stride(self.capacity)):
            self._heads.append(np.frombuffer(data, _RECORD, count=1, offset=at))
            self._data.append(np.frombuffer(data, np.uint8, count=self.capacity, offset=at + _ALIGN))

    @classmethod
    def create(cls, records: int, capacity: int) -> Reel:
        """A new empty reel of `records` records with up to `capacity` bytes each. OSError when memory is short."""
        block = memory.create(_ALIGN + records * _stride(capacity))
        np.frombuffer(memory.view(block), _HEADER, count=1)[0] = (_MAGIC, records, capacity, 0)
        return cls(block, owner=True)

    @classmethod
    def attach(cls, name: str) -> Reel:
        """The reel that the stage created; FileNotFoundError when it is gone, ValueError when it is something else.

        All of its memory is touched at once: a page that came with the first long block of sound would cost a fault in
        the middle of a frame, and the process would seem to grow for as long as blocks grow longer.
        """
        block = memory.attach(name)
        if int(np.frombuffer(memory.view(block), _HEADER, count=1)["magic"][0]) != _MAGIC:
            block.close()
            raise ValueError(f"shared memory {name!r} is not a reel")
        np.frombuffer(memory.view(block), np.uint8)[:: mmap.PAGESIZE].sum()
        return cls(block, owner=False)

    @property
    def name(self) -> str:
        """What `attach` needs."""
        return self._block.name

    @property
    def newest_index(self) -> int:
        """Index of the newest record, 0 when there is none."""
        return int(self._header["newest"][0])

    def write(self, data: NDArray[Any], at: float, value: float, more: Sequence[float] = ()) -> int:
        """Adds a record and returns its index. Writing thread only; never waits. ValueError for too much data.

        Those of `MORE` numbers that are not given are 0.
        """
        size = data.nbytes
        if size > self.capacity:
            raise ValueError(f"{size} bytes do not fit into a record of {self.capacity}")
        index = self.newest_index + 1
        head, place = self._heads[index % self.records], self._data[index % self.records]
        sequence = int(head["sequence"][0]) | 1  # still odd when a writer died in the middle
        head["sequence"] = sequence
        self._barrier()
        place[:size] = np.ascontiguousarray(data).reshape(-1).view(np.uint8)
        head[0] = (sequence, index, at, value, size, (*more, *[0.0] * (MORE - len(more))))
        self._barrier()
        head["sequence"] = sequence + 1
        self._barrier()
        self._header["newest"] = index
        return index

    def write_sound(self, sound: NDArray[np.float32], at: float, rate: float) -> None:
        """Adds sound `[n]` or `[n, channels]` at `rate` frames a second, whose newest frame was captured at `at`.

        Mono goes to both sides, and so does the mean of more than two channels.
        """
        if sound.ndim > 1 and sound.shape[1] > CHANNELS:
            sound = sound.mean(axis=1)
        if sound.ndim == 1 or sound.shape[1] < CHANNELS:
            sound = np.repeat(sound.reshape(-1, 1), CHANNELS, axis=1)
        for begin in range(0, len(sound), SOUND_BLOCK):
            part = sound[begin : begin + SOUND_BLOCK]
            self.write(part, at - (len(sound) - begin - len(part)) / rate, rate)

    def read(self, index: int) -> Record | None:
        """The record of that index, or None when it has been overwritten or was never there."""
        head, place = self._heads[index % self.records], self._data[index % self.records]
        sequence = int(head["sequence"][0])
        if sequence % 2:
            return None
        self._barrier()
        _, there, at, value, size, more = head.copy()[0].tolist()
        if there != index or size > self.capacity:
            return None
        data = place[:size].copy()
        self._barrier()
        return Record(index, at, value, tuple(more), data) if int(head["sequence"][0]) == sequence else None

    def close(self) -> None:
        """Lets go of the memory; the creator also unlinks it. Safe to call twice."""
        del self._heads[:], self._data[:]
        self._header = np.zeros(1, _HEADER)  # the block cannot be closed while an array looks at it
        self._block.close()
        if self._owner:
            self._owner = False
            self._block.unlink()


class Follower:
    """One reader's place in a reel; begins with the newest record. One thread.

    `lost` counts the records that were overwritten before they were read.
    """

    def __init__(self, reel: Reel) -> None:
        self._reel = reel
        self._read = max(reel.newest_index - 1, 0)
        self.lost = 0

    @property
    def behind(self) -> int:
        """How many records wait to be read; more than the reel holds when some are lost already."""
        return self._reel.newest_index - self._read

    def next(self) -> Record | None:
        """The next record, or None when all have been read. Never waits."""
        while self.behind > 0:
            oldest = self._reel.newest_index - self._reel.records + 2  # the one before may be under the writer's hands
            if self._read + 1 < oldest:
                self.lost += oldest - self._read - 1
                self._read = oldest - 1
            self._read += 1
            record = self._reel.read(self._read)
            if record is not None:
                return record
            self.lost += 1
        return None

    def newest(self) -> Record | None:
        """The newest record unless it has been read; those before it are passed over."""
        self.skip(max(self.behind - 1, 0))
        return self.next()

    def skip(self, count: int) -> None:
        """Passes over so many records, which do not count as lost."""
        self._read = min(self._read + count, self._reel.newest_index)


def _stride(capacity: int) -> int:
    return _ALIGN + -(-capacity // _ALIGN) * _ALIGN


assert max(_RECORD.itemsize, _HEADER.itemsize) <= _ALIGN
