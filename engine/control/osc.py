"""OSC in: a UDP server that moves the desk, and answers whoever asks.

    /cymatic/NAME value [fade_s]   move a control (values in the control's own unit, see `registry`)
    /cymatic/NAME "?"              answered with /cymatic/NAME value, to the port that asked
    /cymatic/ping                  answered with /cymatic/pong VERSION
    /cymatic/sync                  answered with every control's value, one message each
    /cymatic/error text            sent, a few times a second at most, to whoever sent what cannot be used

Anyone on the network may send anything, so every datagram is measured before python-osc sees it (it hangs on a bundle
element of negative size, builds regular expressions from addresses and sleeps until a bundle's time tag). Here an
address means itself, a bundle is applied at once whatever its time tag says, and a datagram is applied whole or not
at all. A string from OSC is only ever compared with known names, never used as a path. OSC has no passwords: the
server listens on the loopback interface unless it is told otherwise.
"""

from __future__ import annotations

import errno
import importlib.metadata
import logging
import socket
import struct
import threading
import time
from collections.abc import Callable

from pythonosc.osc_message import OscMessage, ParseError
from pythonosc.osc_message_builder import OscMessageBuilder

from engine.control.desk import Desk
from engine.control.registry import PREFIX, Control, Value
from engine.errors import ControlError

DEFAULT_PORT = 9123
"""Not 7000, 8000, 9000 or 11000, which other stage programs on the same machine use."""

MAX_DATAGRAM = 65507  # the largest UDP payload over IPv4
RECEIVE_BUFFER = 1 << 20  # bytes; the usual 200 KiB lose most of a burst of 5,000 messages
MAX_DEPTH = 4  # bundles within bundles
MAX_ADDRESS = 255
MAX_ARGUMENTS = 16
POLL_S = 0.1

ERROR = PREFIX + "error"

_BUNDLE = b"#bundle\0"
_SIZES = {
    ord(tag): size for tag, size in {"i": 4, "f": 4, "h": 8, "d": 8, "s": 4, "T": 0, "F": 0, "N": 0, "I": 0}.items()
}
"""Bytes that an argument takes at least, by its type tag."""

logger = logging.getLogger(__name__)

Sender = tuple[str, int]


class Malformed(ValueError):
    """A datagram that is not OSC, or not the OSC that a control could use."""


def unpack(datagram: bytes, depth: int = 0) -> list[OscMessage]:
    """All messages of a datagram, bundles flattened in order. Raises `Malformed`; takes time linear in its size."""
    if len(datagram) % 4 or not datagram:
        raise Malformed("length is not a multiple of four bytes")
    if not datagram.startswith(_BUNDLE):
        return [_message(datagram)]
    if depth >= MAX_DEPTH:
        raise Malformed(f"bundles nested more than {MAX_DEPTH} deep")
    messages: list[OscMessage] = []
    start = len(_BUNDLE) + 8  # the time tag is not looked at
    if len(datagram) < start:
        raise Malformed("bundle without a time tag")
    while start < len(datagram):
        size: int = struct.unpack_from(">i", datagram, start)[0]
        start += 4
        if not 0 < size <= len(datagram) - start:
            raise Malformed("bundle element of impossible size")
        messages += unpack(datagram[start : start + size], depth + 1)
        start += size
    return messages


def _message(data: bytes) -> OscMessage:
    end = data.find(b"\0")
    address = data[:end]
    if end < 0 or end > MAX_ADDRESS or not address.startswith(b"/") or not all(32 < byte < 127 for byte in address):
        raise Malformed("no usable address")
    first = (end | 3) + 1
    last = data.find(b"\0", first)
    if first < len(data):
        tags = data[first:last]
        if last < 0 or not tags.startswith(b",") or len(tags) > 1 + MAX_ARGUMENTS or not _SIZES.keys() >= set(tags[1:]):
            raise Malformed("arguments that no control takes")
        # python-osc reads a float that is cut off as 0.0, and a master at 0.0 is a black stage.
        if len(data) < (last | 3) + 1 + sum(_SIZES[tag] for tag in tags[1:]):
            raise Malformed("arguments are cut off")
        # "Impulse" presses a button, as true does; python-osc knows only true.
        data = data[:first] + tags.replace(b"I", b"T") + data[last:]
    try:
        return OscMessage(data)
    except (ParseError, UnicodeDecodeError) as error:
        raise Malformed("an argument is cut off or not text") from error


class Throttle:
    """Lets `rate` things a second pass, and `burst` at once after a pause. One thread."""

    def __init__(self, rate: float, burst: float, clock: Callable[[], float] = time.perf_counter) -> None:
        self._rate, self._burst, self._clock = rate, burst, clock
        self._left, self._seen = burst, clock()

    def passes(self) -> bool:
        """True if this one may pass."""
        now = self._clock()
        self._left = min(self._left + (now - self._seen) * self._rate, self._burst)
        self._seen = now
        if self._left < 1.0:
            return False
        self._left -= 1.0
        return True


class OscServer:
    """Listens on one UDP port, on its own thread "osc", and moves the desk.

    `port` 0 takes any free port; `self.port` then tells which. `counters`: `datagrams`, `malformed`, `unknown`
    (addresses), `refused` (values), `errors` (anything else that went wrong), `replies`, `unanswered` (throttled).
    """

    def __init__(self, desk: Desk, host: str = "127.0.0.1", port: int = DEFAULT_PORT) -> None:
        self.host, self.port = host, port
        self._desk = desk
        self._version = _version()
        self._controls = {control.address(): control for control in desk.controls}
        self._stopping = threading.Event()
        self._thread: threading.Thread | None = None
        self._counters = dict.fromkeys(
            ("datagrams", "malformed", "unknown", "refused", "errors", "replies", "unanswered"), 0
        )
        # Answers are limited so that a forged sender address cannot turn the server against somebody else.
        self._answers = Throttle(rate=500, burst=500)
        self._complaints = Throttle(rate=4, burst=8)
        self._lines = Throttle(rate=0.5, burst=5)

    @property
    def counters(self) -> dict[str, int]:
        """What has come in and gone out so far; they only grow."""
        return dict(self._counters)

    def start(self) -> None:
        """Open the port and listen. Raises `ControlError`, one line, if the port or the host cannot be had."""
        if not 0 <= self.port <= 65535:
            raise ControlError(f"port {self.port} is not between 0 and 65535: choose another with --osc-port")
        server = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        try:
            if hasattr(socket, "SO_EXCLUSIVEADDRUSE"):  # Windows would otherwise share the port with a second server
                server.setsockopt(socket.SOL_SOCKET, socket.SO_EXCLUSIVEADDRUSE, 1)
            server.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, RECEIVE_BUFFER)
            server.settimeout(POLL_S)
            server.bind((self.host, self.port))
        except OSError as error:
            server.close()
            raise ControlError(_why(error, self.host, self.port)) from None
        self.port = server.getsockname()[1]
        self._stopping.clear()
        self._thread = threading.Thread(target=self._serve, args=(server,), name="osc", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """Ask the thread to end; it does within `POLL_S`."""
        self._stopping.set()

    def join(self, timeout: float = 2.0) -> bool:
        """Wait for the thread to end and the port to be free; False if it still runs after `timeout` seconds."""
        if self._thread is None:
            return True
        self._thread.join(timeout)
        return not self._thread.is_alive()

    def _serve(self, server: socket.socket) -> None:
        with server:
            while not self._stopping.is_set():
                try:
                    datagram, sender = server.recvfrom(MAX_DATAGRAM)
                except TimeoutError:
                    continue
                except OSError as error:  # e.g. Windows reports that an earlier answer found nobody
                    self._count("errors", f"receiving: {error}")
                    self._stopping.wait(0.01)
                    continue
                self._counters["datagrams"] += 1
                try:
                    self._take(server, datagram, sender)
                except Malformed as error:
                    self._count("malformed", f"from {_name(sender)}: {error}")
                except Exception as error:  # noqa: BLE001  # a dead thread would take the performer's hands away
                    self._count("errors", f"from {_name(sender)}: {error!r}")

    def _take(self, server: socket.socket, datagram: bytes, sender: Sender) -> None:
        messages = unpack(datagram)
        replies: list[tuple[str, Value]] = []
        with self._desk.together():
            for message in messages:
                replies += self._handle(message.address, message.params)
        for address, value in replies:  # sent and logged only now: the stage must not wait for the network
            self._reply(server, sender, address, value)

    def _handle(self, address: str, arguments: list[object]) -> list[tuple[str, Value]]:
        control = self._controls.get(address)
        if control is not None:
            if arguments == ["?"]:
                return [(address, self._desk.get(control.name))]
            try:
                self._move(control, arguments)
            except ControlError as error:
                self._counters["refused"] += 1
                return [(ERROR, str(error)[:200])]
            return []
        if address == PREFIX + "ping":
            return [(PREFIX + "pong", self._version)]
        if address == PREFIX + "sync":
            return [(address, self._desk.get(control.name)) for address, control in self._controls.items()]
        self._counters["unknown"] += 1
        return [(ERROR, f"no control at {address[:60]}")]

    def _move(self, control: Control, arguments: list[object]) -> None:
        if not arguments and control.kind != "trigger":
            raise ControlError(f'{control.name}: wants a value, or "?" to be told it')
        if len(arguments) > 2:
            raise ControlError(f"{control.name}: takes a value and at most a fade time")
        value, fade_s = (*arguments, None, None)[:2]
        self._desk.set(control.name, value, "osc", fade_s)

    def _reply(self, server: socket.socket, sender: Sender, address: str, value: Value) -> None:
        if address == ERROR:
            self._log(f"from {_name(sender)}: {value}")
        if not (self._complaints if address == ERROR else self._answers).passes():
            self._counters["unanswered"] += 1
            return
        message = OscMessageBuilder(address)
        # Many controllers know neither T nor F, so on and off are 1 and 0.
        message.add_arg(int(value) if isinstance(value, bool) else value)
        try:
            server.sendto(message.build().dgram, sender)
        except OSError as error:
            self._count("errors", f"answering {_name(sender)}: {error}")
        else:
            self._counters["replies"] += 1

    def _count(self, counter: str, text: str) -> None:
        self._counters[counter] += 1
        self._log(text)

    def _log(self, text: str) -> None:
        if self._lines.passes():
            logger.warning("OSC %s", text)


def _name(sender: Sender) -> str:
    return f"{sender[0]}:{sender[1]}"


def _why(error: OSError, host: str, port: int) -> str:
    if isinstance(error, socket.gaierror):
        return f"cannot listen for OSC on {host!r}: this machine has no such address"
    if error.errno == errno.EADDRINUSE:
        return f"port {port} is in use by another program: choose another with --osc-port"
    return f"cannot listen for OSC on {host}:{port}: {error.strerror}; choose another with --osc-port"


def _version() -> str:
    try:
        return importlib.metadata.version("cymatic")
    except importlib.metadata.PackageNotFoundError:  # run from a copied folder
        return "unknown"
