"""A controller for the tests, built on python-osc. `oscsend`, Pure Data and SuperCollider, elsewhere, are not."""

from __future__ import annotations

import socket
import struct
import time
from collections.abc import Callable

from pythonosc import slip
from pythonosc.osc_bundle_builder import IMMEDIATELY, OscBundleBuilder
from pythonosc.osc_message import OscMessage
from pythonosc.osc_message_builder import OscMessageBuilder

DEADLINE_S = 20.0


def until(true: Callable[[], bool]) -> None:
    """Wait for it; generous, for a busy machine."""
    end = time.monotonic() + DEADLINE_S
    while not true():
        assert time.monotonic() < end, "nothing came"
        time.sleep(0.005)


def message(address: str, *arguments: object) -> bytes:
    builder = OscMessageBuilder(address)
    for argument in arguments:
        builder.add_arg(argument)
    return builder.build().dgram


def bundle(*contents: bytes, when: float = IMMEDIATELY) -> bytes:
    head = OscBundleBuilder(when).build().dgram
    return head + b"".join(struct.pack(">i", len(content)) + content for content in contents)


class Client:
    """A controller: sends from a port of its own and hears what comes back to it."""

    def __init__(self, port: int) -> None:
        self.socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.socket.settimeout(DEADLINE_S)
        self.socket.connect(("127.0.0.1", port))

    @property
    def port(self) -> int:
        return int(self.socket.getsockname()[1])

    def send(self, address: str, *arguments: object) -> None:
        self.send_packet(message(address, *arguments))

    def send_packet(self, packet: bytes) -> None:
        self.socket.send(packet)

    def hear_packet(self) -> bytes:
        return self.socket.recv(65536)

    def hear(self) -> tuple[str, list[object]]:
        heard = OscMessage(self.hear_packet())
        return heard.address, heard.params

    def hear_address(self, address: str) -> list[object]:
        """The arguments of the next message to that address; complaints before it are passed over."""
        while True:
            heard, arguments = self.hear()
            if heard == address:
                return arguments

    def settle(self) -> None:
        """Return when the server has dealt with everything sent before: it answers in order."""
        self.send("/cymatic/ping")
        self.hear_address("/cymatic/pong")

    def silent(self, seconds: float = 0.3) -> bool:
        """Whether nothing comes for a while."""
        self.socket.settimeout(seconds)
        try:
            self.hear_packet()
        except TimeoutError:
            return True
        finally:
            self.socket.settimeout(DEADLINE_S)
        return False

    def close(self) -> None:
        self.socket.close()


class TcpClient(Client):
    """The same over TCP, framed by SLIP."""

    def __init__(self, port: int) -> None:
        self.socket = socket.create_connection(("127.0.0.1", port), DEADLINE_S)
        self._heard = b""

    def send_packet(self, packet: bytes) -> None:
        self.socket.sendall(slip.encode(packet))

    def hear_packet(self) -> bytes:
        while True:
            begun, middle, rest = self._heard.lstrip(slip.END).partition(slip.END)
            if middle:
                self._heard = rest
                return slip.decode(slip.END + begun + slip.END)
            data = self.socket.recv(65536)
            assert data, "the server has hung up"
            self._heard += data
