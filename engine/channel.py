"""Small dictionaries from one process to the other, of which only the newest matters (control snapshots, status).

Two halves of a shared memory block are written in turn as JSON with a checksum; neither side ever waits. A reader that
was overtaken in the middle sees a wrong checksum, gets None, and finds the newer value at its next look.
"""

from __future__ import annotations

import json
import zlib
from multiprocessing.shared_memory import SharedMemory
from typing import Any

import numpy as np
from numpy.typing import NDArray

from engine import memory

_HEADER = np.dtype([("newest", "<u8"), ("capacity", "<u8")])
_VALUE = np.dtype([("index", "<u8"), ("length", "<u8"), ("checksum", "<u8"), ("spare", "<u8")])


class LatestValue:
    """One end of a channel: `create` on the stage (which owns the memory), `attach` in the engine.

    One side writes, the other reads, one thread each.
    """

    def __init__(self, block: SharedMemory, owner: bool) -> None:
        self._block = block
        self._owner = owner
        self._barrier = memory.Barrier()
        self._header = np.frombuffer(memory.view(block), _HEADER, count=1)
        self.capacity = int(self._header["capacity"][0])

    @classmethod
    def create(cls, capacity: int = 1 << 16) -> LatestValue:
        """A new channel for dictionaries of at most `capacity` bytes of JSON."""
        block = memory.create(_HEADER.itemsize + 2 * (_VALUE.itemsize + capacity))
        np.frombuffer(memory.view(block), _HEADER, count=1)[0] = (0, capacity)
        return cls(block, owner=True)

    @classmethod
    def attach(cls, name: str) -> LatestValue:
        """The channel that the other process created; FileNotFoundError when it is gone."""
        return cls(memory.attach(name), owner=False)

    @property
    def name(self) -> str:
        """What `attach` needs."""
        return self._block.name

    def put(self, value: dict[str, Any]) -> int:
        """Makes `value` the newest and returns its index (1, 2, ...). ValueError when its JSON exceeds `capacity`."""
        data = json.dumps(value, separators=(",", ":")).encode()
        if len(data) > self.capacity:
            raise ValueError(f"{len(data)} bytes do not fit into a channel of {self.capacity}")
        index = int(self._header["newest"][0]) + 1
        head, at = self._half(index)
        head[0] = (index, len(data), zlib.crc32(data, index & 0xFFFFFFFF), 0)
        memory.view(self._block)[at : at + len(data)] = data
        self._barrier()
        self._header["newest"] = index
        return index

    def get(self, after: int = 0) -> tuple[int, dict[str, Any]] | None:
        """(index, value) of the newest value above `after`; None when there is none or it was just being written."""
        newest = int(self._header["newest"][0])
        if newest <= after:
            return None
        self._barrier()
        head, at = self._half(newest)
        index, length, checksum, _ = head[0].tolist()
        if length > self.capacity:
            return None
        data = bytes(memory.view(self._block)[at : at + length])
        if index < newest or zlib.crc32(data, index & 0xFFFFFFFF) != checksum:
            return None
        value: dict[str, Any] = json.loads(data)
        return index, value

    def _half(self, index: int) -> tuple[NDArray[Any], int]:
        """Head (one record) and byte position of the JSON of the half that holds value `index`."""
        at = _HEADER.itemsize + (index % 2) * (_VALUE.itemsize + self.capacity)
        return np.frombuffer(memory.view(self._block), _VALUE, count=1, offset=at), at + _VALUE.itemsize

    def close(self) -> None:
        """Lets go of the memory; the creator also unlinks it. Safe to call twice."""
        self._header = np.zeros(1, _HEADER)  # the block cannot be closed while an array looks at it
        self._block.close()
        if self._owner:
            self._owner = False
            self._block.unlink()
