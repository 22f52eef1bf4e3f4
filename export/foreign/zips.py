"""The zip archives that `torch.save` writes: members that lie in the file as they are.

Only the central directory is believed, and only where the members agree with it. Torch compresses nothing, so nothing
is ever inflated, and members that overlap, leave the file or come twice are refused. APPNOTE 6.3.10 has the format.
"""

from __future__ import annotations

import itertools
import struct
from typing import NoReturn

from engine.errors import CheckpointRefused
from export.foreign.pickles import Budget

END = b"PK\x05\x06"
END_64 = b"PK\x06\x06"
LOCATOR_64 = b"PK\x06\x07"
ENTRY = b"PK\x01\x02"
MEMBER = b"PK\x03\x04"
WIDE, SHORT_WIDE = 0xFFFFFFFF, 0xFFFF  # "look into the zip64 extra field"


def members(data: memoryview, budget: Budget) -> dict[str, memoryview]:
    """The content of every member by name. Raises `CheckpointRefused`, which names the byte."""
    count, size, start = _directory(data)
    budget.spend(count)
    if start + size > len(data):
        _refuse(start, "the archive's directory leaves the file")
    found: dict[str, memoryview] = {}
    taken: list[tuple[int, int]] = []
    position = start
    for _ in range(count):
        fields = _unpack("<4sHHHHHHIIIHHHHHII", data, position)
        signature, flags, method = fields[0], fields[3], fields[4]
        stored, length = fields[8], fields[9]
        name_length, extra_length, comment_length, offset = fields[10], fields[11], fields[12], fields[16]
        if signature != ENTRY:
            _refuse(position, "there is no entry of the archive's directory")
        name_at = position + 46
        name = _name(data, name_at, name_length)
        extra = _slice(data, name_at + name_length, extra_length)
        length, stored, offset = _widened(extra, position, length, stored, offset)
        if method != 0 or length != stored:
            _refuse(position, f"member {name!r} is compressed, which torch never does")
        if flags & 0x41:
            _refuse(position, f"member {name!r} is encrypted")
        if name in found:
            _refuse(position, f"member {name!r} comes twice")
        found[name] = _content(data, offset, name, length)
        taken.append((offset, offset + 30 + name_length + length))
        position = name_at + name_length + extra_length + comment_length
    taken.sort()
    for (_, end), (begin, _) in itertools.pairwise(taken):
        if begin < end:
            _refuse(begin, "members of the archive overlap")
    if taken and taken[-1][1] > start:
        _refuse(start, "a member overlaps the archive's directory")
    return found


def _directory(data: memoryview) -> tuple[int, int, int]:
    """Number of members, size and first byte of the central directory."""
    tail = max(0, len(data) - 22 - SHORT_WIDE)
    end = bytes(data[tail:]).rfind(END)
    if end < 0:
        _refuse(len(data), "the archive has no directory")
    end += tail
    fields = _unpack("<4sHHHHIIH", data, end)
    count, size, start = fields[4], fields[5], fields[6]
    if end >= 20 and bytes(data[end - 20 : end - 16]) == LOCATOR_64:
        (at,) = _unpack("<Q", data, end - 12)
        wide = _unpack("<4sQHHIIQQQQ", data, at)
        if wide[0] != END_64:
            _refuse(at, "the archive's wide directory is not where it should be")
        count, size, start = wide[7], wide[8], wide[9]
    return count, size, start


def _widened(extra: memoryview, position: int, length: int, stored: int, offset: int) -> tuple[int, int, int]:
    """Sizes and place of a member with those of its zip64 field in the place of what did not fit."""
    values = [length, stored, offset]
    at = 0
    while at + 4 <= len(extra):
        kind, size = _unpack("<HH", extra, at)
        if kind == 1:
            field = _slice(extra, at + 4, size)
            wide = [index for index, value in enumerate(values) if value == WIDE]
            if len(field) < 8 * len(wide):
                _refuse(position, "a member's size is missing")
            for number, index in enumerate(wide):
                (values[index],) = _unpack("<Q", field, 8 * number)
            break
        at += 4 + size
    return values[0], values[1], values[2]


def _content(data: memoryview, offset: int, name: str, length: int) -> memoryview:
    fields = _unpack("<4sHHHHHIIIHH", data, offset)
    if fields[0] != MEMBER or _name(data, offset + 30, fields[9]) != name:
        _refuse(offset, f"member {name!r} is not where the archive's directory says")
    return _slice(data, offset + 30 + fields[9] + fields[10], length)


def _name(data: memoryview, position: int, length: int) -> str:
    try:
        return str(_slice(data, position, length), "utf-8")
    except UnicodeDecodeError:
        _refuse(position, "a member's name is not text")


def _slice(data: memoryview, position: int, length: int) -> memoryview:
    if position + length > len(data):
        _refuse(position, "a member of the archive leaves the file")
    return data[position : position + length]


def _unpack(layout: str, data: memoryview, position: int) -> tuple:
    return struct.unpack(layout, _slice(data, position, struct.calcsize(layout)))


def _refuse(position: int, why: str) -> NoReturn:
    raise CheckpointRefused(f"zip archive at byte {position}: {why}")
