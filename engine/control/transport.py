"""The sockets under OSC: one port for UDP and TCP, the peers behind it, and who is let in. Nothing here waits."""

from __future__ import annotations

import errno
import socket
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from ipaddress import IPv4Network, ip_address

from engine.control.packet import Deframer, frame
from engine.errors import ControlError

RECEIVE_BUFFER = 1 << 20  # bytes; the usual 200 KiB lose most of a burst of 5,000 messages
BACKLOG = 1 << 18  # bytes that a TCP client may be behind
SILENT_S, ASKED = 15, 3  # a silent TCP client is asked for after so long, and so often, until it counts as gone
TRIES = 20  # ports looked at until one is free for UDP and TCP alike

Sender = tuple[str, int]
_KEPT_ALIVE = {
    "TCP_KEEPIDLE": SILENT_S,
    "TCP_KEEPALIVE": SILENT_S,  # as macOS calls it
    "TCP_KEEPINTVL": SILENT_S,
    "TCP_KEEPCNT": ASKED,
    "TCP_USER_TIMEOUT": 1000 * SILENT_S * ASKED,  # for one that is told things which it does not acknowledge
}
"""Options of TCP, as far as a platform has them."""


@dataclass(frozen=True, slots=True)
class UdpPeer:
    """Whoever sends from one address and port; answers go to the same, or to another port of that host."""

    sock: socket.socket
    sender: Sender
    answers_to: int

    @property
    def name(self) -> str:
        """What tells it from every other peer: "10.0.0.7:53012"."""
        return f"{self.sender[0]}:{self.sender[1]}"

    @property
    def host(self) -> str:
        return self.sender[0]

    @property
    def place(self) -> str:
        """Where it listens."""
        return f"{self.sender[0]}:{self.answers_to}"

    def answered_at(self, port: int) -> UdpPeer:
        """The same, listening at another port."""
        return replace(self, answers_to=port)

    def send(self, packet: bytes) -> None:
        """Send one packet. OSError; one for which there is no room is lost, as UDP has it."""
        self.sock.sendto(packet, (self.sender[0], self.answers_to))


class TcpPeer:
    """One TCP client: SLIP packets in and out. OSError for one that is gone already.

    A tablet that falls asleep says nothing any more, so it is asked for.
    """

    def __init__(self, sock: socket.socket, sender: Sender) -> None:
        sock.setblocking(False)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        for name, value in _KEPT_ALIVE.items():
            if (option := getattr(socket, name, None)) is not None:
                sock.setsockopt(socket.IPPROTO_TCP, option, value)
        self.sock = sock
        self.host = sender[0]
        self.name = self.place = f"tcp:{sender[0]}:{sender[1]}"
        self._deframer = Deframer()
        self._unsent = b""

    def answered_at(self, port: int) -> TcpPeer:
        """Itself: a stream goes back where it came from."""
        return self

    def receive(self) -> list[bytes] | None:
        """The packets that have come; None when the client has gone. `Malformed` for no SLIP, OSError."""
        try:
            data = self.sock.recv(1 << 16)
        except BlockingIOError:
            return []
        return self._deframer.feed(data) if data else None

    def send(self, packet: bytes) -> None:
        """Send one packet, the rest of it later when there is no room. OSError."""
        self._unsent += frame(packet)
        self.flush()

    def flush(self) -> None:
        """Send what there is room for. OSError when the client is gone or reads nothing of what it asked for."""
        if self._unsent:
            try:
                self._unsent = self._unsent[self.sock.send(self._unsent) :]
            except BlockingIOError:
                if len(self._unsent) > BACKLOG:
                    raise OSError(errno.ENOBUFS, "it does not read what it asked for") from None


Peer = UdpPeer | TcpPeer


def open_port(host: str, port: int) -> tuple[socket.socket, socket.socket]:
    """The same port for UDP and TCP, listening; 0 takes any that is free. `ControlError`, one line."""
    if not 0 <= port <= 65535:
        raise ControlError(f"port {port} is not between 0 and 65535: choose another with --osc-port")
    for left in range(TRIES - 1, -1, -1):
        udp, tcp = (socket.socket(socket.AF_INET, kind) for kind in (socket.SOCK_DGRAM, socket.SOCK_STREAM))
        try:
            if hasattr(socket, "SO_EXCLUSIVEADDRUSE"):  # Windows would otherwise share the port with a second server
                for sock in (udp, tcp):
                    sock.setsockopt(socket.SOL_SOCKET, socket.SO_EXCLUSIVEADDRUSE, 1)
            else:  # connections of an earlier show that have not quite ended do not keep the port
                tcp.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            udp.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, RECEIVE_BUFFER)
            udp.bind((host, port))
            tcp.bind((host, udp.getsockname()[1]))
            tcp.listen()
        except OSError as error:
            udp.close()
            tcp.close()
            if port == 0 and left and error.errno == errno.EADDRINUSE:
                continue
            raise ControlError(_why(error, host, port)) from None
        udp.setblocking(False)
        tcp.setblocking(False)
        return udp, tcp
    raise AssertionError("the last try has raised")


def gate(allowed: Sequence[str]) -> Callable[[str], bool]:
    """Whether a sender's address is let in. `allowed`: addresses and networks; empty lets everybody in.

    This machine is always let in. `ControlError` for what is neither.
    """
    networks: list[IPv4Network] = []
    for text in allowed:
        try:
            networks.append(IPv4Network(text, strict=False))
        except ValueError:
            raise ControlError(
                f"--osc-allow {text}: wants an address or a network, as 10.0.0.7 or 10.0.0.0/24"
            ) from None

    @lru_cache(maxsize=256)
    def admits(host: str) -> bool:
        address = ip_address(host)
        return not networks or address.is_loopback or any(address in network for network in networks)

    return admits


def _why(error: OSError, host: str, port: int) -> str:
    if isinstance(error, socket.gaierror):
        return f"cannot listen for OSC on {host!r}: this machine has no such address"
    if error.errno == errno.EADDRINUSE:
        return f"port {port} is in use by another program: choose another with --osc-port"
    return f"cannot listen for OSC on {host}:{port}: {error.strerror}; choose another with --osc-port"
