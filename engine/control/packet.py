"""OSC packets as bytes: measured, then read and written by python-osc, and framed for TCP.

Whatever comes from a network is measured before python-osc sees it (which hangs on a bundle element of negative size,
makes regular expressions of addresses and sleeps until a bundle's time tag): sizes are positive and inside the packet,
bundles lie at most `MAX_DEPTH` deep, addresses are short and printable, every argument is there in full. Reading takes
time linear in the packet and either gives all of its messages or raises `Malformed`. Nothing here waits for a bundle's
time tag, and an address is never a pattern.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from typing import TypeAlias

from pythonosc.osc_message import OscMessage, ParseError
from pythonosc.osc_message_builder import OscMessageBuilder

Argument: TypeAlias = float | bool | str | None

MAX_PACKET = 65536
MAX_DEPTH = 4  # bundles within bundles
MAX_ADDRESS = 255
MAX_ARGUMENTS = 16

_BUNDLE = b"#bundle\0"
_IMMEDIATELY = 1  # a time tag that is no time
_NTP_EPOCH_S = 2_208_988_800  # from 1900 to 1970
_SIZES = {ord(tag): size for tag, size in {"i": 4, "f": 4, "h": 8, "d": 8, "T": 0, "F": 0, "N": 0}.items()}
"""Bytes of an argument by its type tag; a string has as many as it has."""
_STRING = ord("s")
_PLAIN = bytes.maketrans(b"IS", b"Ts")
"""Tags that python-osc does not know: "impulse", which presses a button as true does, and another kind of string."""

_END, _ESC = b"\xc0", b"\xdb"
_ESC_END, _ESC_ESC = b"\xdb\xdc", b"\xdb\xdd"


class Malformed(ValueError):
    """Bytes that are not OSC, or not the OSC that a control could use."""


@dataclass(frozen=True, slots=True)
class Message:
    """One OSC message."""

    address: str
    arguments: tuple[Argument, ...] = ()


@dataclass(frozen=True, slots=True)
class Packet:
    """What one datagram holds: its messages in order, bundles flattened.

    `stamped` is the time of the outermost bundle in seconds since 1970 by the sender's clock; None if it states none.
    """

    messages: tuple[Message, ...]
    stamped: float | None = None


def unpack(data: bytes) -> Packet:
    """Read a packet of at most `MAX_PACKET` bytes. Raises `Malformed`."""
    messages: list[Message] = []
    _collect(data, messages, 0)
    stamped = None
    if data.startswith(_BUNDLE):
        tag = int.from_bytes(data[8:16], "big")
        stamped = None if tag == _IMMEDIATELY else tag / 2**32 - _NTP_EPOCH_S
    return Packet(tuple(messages), stamped)


def pack(address: str, *values: float | bool | str) -> bytes:
    """One message. True and false are written as 1 and 0, since many controllers know no other."""
    message = OscMessageBuilder(address)
    for value in values:
        message.add_arg(int(value) if isinstance(value, bool) else value)
    built: bytes = message.build().dgram
    return built


def _collect(data: bytes, messages: list[Message], depth: int) -> None:
    if len(data) % 4 or not 0 < len(data) <= MAX_PACKET:
        raise Malformed("length is not a multiple of four bytes")
    if not data.startswith(_BUNDLE):
        messages.append(_message(data))
        return
    if depth >= MAX_DEPTH:
        raise Malformed(f"bundles nested more than {MAX_DEPTH} deep")
    at = len(_BUNDLE) + 8
    if len(data) < at:
        raise Malformed("bundle without a time tag")
    while at < len(data):
        size: int = struct.unpack_from(">i", data, at)[0]
        at += 4
        if not 0 < size <= len(data) - at:
            raise Malformed("bundle element of impossible size")
        _collect(data[at : at + size], messages, depth + 1)
        at += size


def _message(data: bytes) -> Message:
    end = data.find(b"\0")
    raw = data[:end]
    if end < 0 or end > MAX_ADDRESS or not raw.startswith(b"/") or not raw.isascii():
        raise Malformed("no usable address")
    address = raw.decode()
    if not address.isprintable() or " " in address:
        raise Malformed("no usable address")
    first = (end | 3) + 1
    if first >= len(data):
        return Message(address)  # old senders leave the type tags out
    last = data.find(b"\0", first)
    tags = data[first:last]
    if last < 0 or not tags.startswith(b",") or len(tags) > 1 + MAX_ARGUMENTS:
        raise Malformed("no usable type tags")
    plain = tags.translate(_PLAIN)
    at = (last | 3) + 1
    for tag in plain[1:]:
        if tag == _STRING:
            end = data.find(b"\0", at)
            at = len(data) + 1 if end < 0 else (end | 3) + 1
        elif tag in _SIZES:
            at += _SIZES[tag]
        else:
            raise Malformed(f"an argument of type {chr(tag)!r}, which no control takes")
        if at > len(data):
            raise Malformed("an argument is cut off")
    try:
        arguments = OscMessage(data[:first] + plain + data[last:]).params
    except (ParseError, UnicodeDecodeError):
        raise Malformed("an argument is not text") from None
    return Message(address, tuple(arguments))


def frame(packet: bytes) -> bytes:
    """A packet as OSC 1.1 sends it over a stream: SLIP (RFC 1055) with an END at either side."""
    return _END + packet.replace(_ESC, _ESC_ESC).replace(_END, _ESC_END) + _END


class Deframer:
    """Takes a SLIP stream in pieces of any size and gives its packets. One thread."""

    def __init__(self) -> None:
        self._rest = b""

    def feed(self, data: bytes) -> list[bytes]:
        """The packets that this piece completes. `Malformed` when one grows beyond `MAX_PACKET`: it is no SLIP."""
        *whole, self._rest = (self._rest + data).split(_END)
        if len(self._rest) > 2 * MAX_PACKET:  # every byte may have been escaped
            raise Malformed("a stream without packets; OSC over TCP is framed by SLIP (OSC 1.1)")
        return [part.replace(_ESC_END, _END).replace(_ESC_ESC, _ESC) for part in whole if part]
