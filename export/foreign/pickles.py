"""A pickle, walked instead of run.

A pickle is a program: its opcodes look up functions by name and call them. Here its opcodes are followed by hand, and
what they may leave behind is None, numbers, strings, bytes (views of the file), tuples, lists and dictionaries. A name
is only ever a `Name`, two strings; what a call of it stands for is decided by `rebuild`, from a table of names that
checkpoints hold (`export.foreign.torch_files`). No other name is let in, nothing is imported and nothing is called.

Opcodes that no writer of checkpoints emits (protocols 0 and 1, extension codes, out-of-band buffers) are refused, and
so is whatever could make reading expensive: too many opcodes, numbers of many digits, keys that are not plain.
"""

from __future__ import annotations

import struct
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NoReturn

from engine.errors import CheckpointRefused

MOST_STEPS = 1_000_000  # opcodes and members of archives in one file; NVIDIA's largest have about 100,000
LONGEST_INTEGER = 16  # bytes; torch's own magic number has ten
LARGEST_KEY = 1 << 60  # integers beyond it could be chosen to collide in a dictionary

_U8, _U16, _U32, _U64, _I32, _F64 = (struct.Struct(layout) for layout in ("<B", "<H", "<I", "<Q", "<i", ">d"))

OTHER_OPCODES = {
    0x28: "MARK", 0x2E: "STOP", 0x32: "DUP", 0x46: "FLOAT", 0x49: "INT", 0x4C: "LONG", 0x50: "PERSID", 0x53: "STRING",
    0x54: "BINSTRING", 0x55: "SHORT_BINSTRING", 0x56: "UNICODE", 0x64: "DICT", 0x67: "GET", 0x69: "INST", 0x6C: "LIST",
    0x6F: "OBJ", 0x70: "PUT", 0x82: "EXT1", 0x83: "EXT2", 0x84: "EXT4", 0x8B: "LONG4", 0x92: "NEWOBJ_EX",
    0x96: "BYTEARRAY8", 0x97: "NEXT_BUFFER", 0x98: "READONLY_BUFFER",
}  # fmt: skip
"""Names of the opcodes that are not followed, for the message."""


@dataclass(frozen=True, slots=True)
class Name:
    """What a pickle calls a function or class: two strings, and nothing behind them."""

    module: str
    name: str

    def __str__(self) -> str:
        return f"{self.module}.{self.name}"


class Skipped:
    """Stands where an object stood that is not rebuilt; takes in whatever the pickle does to it and keeps nothing."""

    __slots__ = ()


SKIPPED = Skipped()


class Budget:
    """How many steps reading one file may still take, whatever lies inside whatever."""

    def __init__(self, steps: int = MOST_STEPS) -> None:
        self.left = steps

    def spend(self, steps: int = 1) -> None:
        """Raises `CheckpointRefused` when nothing is left."""
        self.left -= steps
        if self.left < 0:
            raise CheckpointRefused(f"the file takes more than {MOST_STEPS:,} steps to read: no checkpoint does")


Rebuild = Callable[[Name, tuple[Any, ...]], Any]
"""What a call of a name with these arguments stands for. Raises ValueError, one line, for what it does not accept."""
Known = Callable[[Name], bool]
Persistent = Callable[[Any], Any]
"""What a persistent id stands for; raises ValueError likewise."""


def walk(
    data: memoryview,
    start: int,
    budget: Budget,
    known: Known,
    rebuild: Rebuild,
    persistent: Persistent | None = None,
) -> tuple[Any, int]:
    """The value of the pickle that begins at byte `start` of `data`, and the byte after its end.

    `known` says which names may stand in it at all. Raises `CheckpointRefused`, which names the opcode and its byte.
    """
    return _Walk(data, start, known, rebuild, persistent).run(budget)


class _Walk:
    def __init__(
        self, data: memoryview, start: int, known: Known, rebuild: Rebuild, persistent: Persistent | None
    ) -> None:
        self.data, self.position, self.begin = data, start, start
        self.known, self.rebuild, self.persistent = known, rebuild, persistent
        self.stack: list[Any] = []
        self.marks: list[int] = []
        self.memo: dict[int, Any] = {}
        self.opcode = ""

    def run(self, budget: Budget) -> tuple[Any, int]:
        data, end = self.data, len(self.data)
        while True:
            budget.spend()
            self.begin = self.position
            if self.position >= end:
                self.opcode = "the end of the file"
                self.refuse("comes before the opcode STOP")
            code = data[self.position]
            self.position += 1
            if code == 0x2E:
                self.opcode = "STOP"
                value = self.pop()
                if self.stack or self.marks:
                    self.refuse("leaves more than one value")
                return value, self.position
            found = _FOLLOWED.get(code)
            if found is None:
                self.opcode = OTHER_OPCODES.get(code, f"opcode 0x{code:02x}")
                self.refuse("is not part of any checkpoint")
            self.opcode, follow = found
            follow(self)

    def refuse(self, why: str) -> NoReturn:
        raise CheckpointRefused(f"{self.opcode} at byte {self.begin} {why}")

    # What opcodes are made of

    def take(self, count: int) -> memoryview:
        """The next bytes."""
        if count > len(self.data) - self.position:
            self.refuse("runs over the end of the file")
        piece = self.data[self.position : self.position + count]
        self.position += count
        return piece

    def number(self, layout: struct.Struct) -> Any:
        return layout.unpack(self.take(layout.size))[0]

    def text(self, count: int) -> str:
        try:
            return str(self.take(count), "utf-8")
        except UnicodeDecodeError:
            self.refuse("is not text")

    def line(self) -> str:
        """Up to the next newline, of which a name has one within a few hundred bytes."""
        found = bytes(self.data[self.position : self.position + 512]).find(b"\n")
        if found < 0:
            self.refuse("has no end")
        line = self.text(found)
        self.position += 1
        return line

    def pop(self) -> Any:
        if len(self.stack) <= (self.marks[-1] if self.marks else 0):
            self.refuse("takes from an empty stack")
        return self.stack.pop()

    def top(self) -> Any:
        value = self.pop()
        self.stack.append(value)
        return value

    def marked(self) -> list[Any]:
        """All that was pushed since the last mark, which is gone with it."""
        if not self.marks:
            self.refuse("has no mark before it")
        start = self.marks.pop()
        values = self.stack[start:]
        del self.stack[start:]
        return values

    # What they do

    def global_(self, name: Name) -> None:
        if not self.known(name):
            self.refuse(f"names {str(name)[:120]!r}, which no checkpoint of a StyleGAN needs")
        self.stack.append(name)

    def call(self) -> None:
        """REDUCE and NEWOBJ: what the name on the stack makes of the tuple above it."""
        arguments, name = self.pop(), self.pop()
        if not isinstance(name, Name) or not isinstance(arguments, tuple):
            self.refuse("calls what is not a name")
        try:
            self.stack.append(self.rebuild(name, arguments))
        except (ValueError, CheckpointRefused) as error:
            self.refuse(f"calls {str(name)[:120]}: {error}")

    def persistent_id(self) -> None:
        if self.persistent is None:
            self.refuse("refers to something outside of this pickle")
        try:
            self.stack.append(self.persistent(self.pop()))
        except ValueError as error:
            self.refuse(str(error))

    def put(self, index: int) -> None:
        self.memo[index] = self.top()

    def get(self, index: int) -> None:
        if index not in self.memo:
            self.refuse(f"asks for entry {index}, which was never made")
        self.stack.append(self.memo[index])

    def append(self, values: list[Any]) -> None:
        target = self.top()
        if isinstance(target, list):
            target.extend(values)
        elif target is not SKIPPED:
            self.refuse("adds to what is not a list")

    def set_items(self, values: list[Any]) -> None:
        target = self.top()
        if len(values) % 2:
            self.refuse("has a key without a value")
        if target is SKIPPED:
            return
        if not isinstance(target, dict):
            self.refuse("adds to what is not a dictionary")
        for key, value in zip(values[::2], values[1::2], strict=True):
            # Hashing deep or chosen keys is where reading could be made to crash or hang.
            if not (type(key) is str or (type(key) is int and abs(key) < LARGEST_KEY)):
                self.refuse("has a key that is neither text nor a small number")
            target[key] = value

    def add_to_set(self) -> None:
        self.marked()
        if self.top() is not SKIPPED:
            self.refuse("adds to what is not a set")

    def build(self) -> None:
        """State of an object: hooks and the like, which nothing here has."""
        self.pop()
        if not (self.top() is SKIPPED or isinstance(self.top(), dict)):
            self.refuse("gives state to what has none")

    def integer(self) -> None:
        count = self.number(_U8)
        if count > LONGEST_INTEGER:
            self.refuse(f"is a number of {count} bytes")
        self.stack.append(int.from_bytes(self.take(count), "little", signed=True))

    def tuple_of(self, count: int) -> None:
        values = [self.pop() for _ in range(count)]
        self.stack.append(tuple(reversed(values)))

    def stack_global(self) -> None:
        name, module = self.pop(), self.pop()
        if not (isinstance(name, str) and isinstance(module, str)):
            self.refuse("has no name")
        self.global_(Name(module, name))

    def protocol(self) -> None:
        if not 2 <= (version := self.number(_U8)) <= 5:
            self.refuse(f"announces protocol {version}; checkpoints have 2 to 5")

    def frame(self) -> None:
        if self.number(_U64) > len(self.data) - self.position:
            self.refuse("runs over the end of the file")


_FOLLOWED: dict[int, tuple[str, Callable[[_Walk], Any]]] = {
    0x80: ("PROTO", _Walk.protocol),
    0x95: ("FRAME", _Walk.frame),
    0x28: ("MARK", lambda w: w.marks.append(len(w.stack))),
    0x30: ("POP", _Walk.pop),
    0x31: ("POP_MARK", _Walk.marked),
    0x4E: ("NONE", lambda w: w.stack.append(None)),
    0x88: ("NEWTRUE", lambda w: w.stack.append(True)),
    0x89: ("NEWFALSE", lambda w: w.stack.append(False)),
    0x4A: ("BININT", lambda w: w.stack.append(w.number(_I32))),
    0x4B: ("BININT1", lambda w: w.stack.append(w.number(_U8))),
    0x4D: ("BININT2", lambda w: w.stack.append(w.number(_U16))),
    0x8A: ("LONG1", _Walk.integer),
    0x47: ("BINFLOAT", lambda w: w.stack.append(w.number(_F64))),
    0x58: ("BINUNICODE", lambda w: w.stack.append(w.text(w.number(_U32)))),
    0x8C: ("SHORT_BINUNICODE", lambda w: w.stack.append(w.text(w.number(_U8)))),
    0x8D: ("BINUNICODE8", lambda w: w.stack.append(w.text(w.number(_U64)))),
    0x42: ("BINBYTES", lambda w: w.stack.append(w.take(w.number(_U32)))),
    0x43: ("SHORT_BINBYTES", lambda w: w.stack.append(w.take(w.number(_U8)))),
    0x8E: ("BINBYTES8", lambda w: w.stack.append(w.take(w.number(_U64)))),
    0x29: ("EMPTY_TUPLE", lambda w: w.stack.append(())),
    0x74: ("TUPLE", lambda w: w.stack.append(tuple(w.marked()))),
    0x85: ("TUPLE1", lambda w: w.tuple_of(1)),
    0x86: ("TUPLE2", lambda w: w.tuple_of(2)),
    0x87: ("TUPLE3", lambda w: w.tuple_of(3)),
    0x5D: ("EMPTY_LIST", lambda w: w.stack.append([])),
    0x61: ("APPEND", lambda w: w.append([w.pop()])),
    0x65: ("APPENDS", lambda w: w.append(w.marked())),
    0x7D: ("EMPTY_DICT", lambda w: w.stack.append({})),
    0x73: ("SETITEM", lambda w: w.set_items([w.pop(), w.pop()][::-1])),
    0x75: ("SETITEMS", lambda w: w.set_items(w.marked())),
    0x8F: ("EMPTY_SET", lambda w: w.stack.append(SKIPPED)),
    0x90: ("ADDITEMS", _Walk.add_to_set),
    0x91: ("FROZENSET", lambda w: (w.marked(), w.stack.append(SKIPPED))),
    0x63: ("GLOBAL", lambda w: w.global_(Name(w.line(), w.line()))),
    0x93: ("STACK_GLOBAL", _Walk.stack_global),
    0x52: ("REDUCE", _Walk.call),
    0x81: ("NEWOBJ", _Walk.call),
    0x62: ("BUILD", _Walk.build),
    0x51: ("BINPERSID", _Walk.persistent_id),
    0x71: ("BINPUT", lambda w: w.put(w.number(_U8))),
    0x72: ("LONG_BINPUT", lambda w: w.put(w.number(_U32))),
    0x94: ("MEMOIZE", lambda w: w.put(len(w.memo))),
    0x68: ("BINGET", lambda w: w.get(w.number(_U8))),
    0x6A: ("LONG_BINGET", lambda w: w.get(w.number(_U32))),
}
"""Every opcode that is followed: all that pickle's own writer emits for these files in protocols 2 to 5."""
