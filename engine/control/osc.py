"""OSC in and out: one port, UDP and TCP, that moves the desk, answers whoever asks and tells those who listen.

    /cymatic/NAME value [fade_s]        move a control (values in the control's own unit, see `registry`)
    /cymatic/NAME/OPTION [1 [fade_s]]   choose, for buttons that cannot send a name: /cymatic/preset/go/3
    /cymatic/NAME "?"                   answered with /cymatic/NAME value
    /cymatic/error text                 sent, a few times a second at most, to whoever sent what cannot be used

and what `METHODS` lists.

Answers go to where the question came from, or to the port that the sender has subscribed with (`subscribers`). Nobody
is told of their own moves.

Anyone on the network may send anything, so every packet is measured before it is read (`packet`), an address means
itself, a bundle is applied at once and whole whatever its time tag says, and a string is only ever compared with known
names, never used as a path. OSC has no passwords: the server listens on the loopback interface unless it is told
otherwise, and may be given the addresses that are listened to.
"""

from __future__ import annotations

import importlib.metadata
import logging
import selectors
import socket
import threading
import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from functools import cache

from engine.control.desk import Desk
from engine.control.packet import Argument, Malformed, pack, unpack
from engine.control.registry import PREFIX, Control, Value, finite
from engine.control.subscribers import SUBSCRIBERS, Subscribers
from engine.control.throttle import Budgets, Throttle
from engine.control.transport import Peer, Sender, TcpPeer, UdpPeer, gate, open_port
from engine.errors import ControlError

DEFAULT_PORT = 9123
"""Not 7000, 8000, 9000 or 11000, which other stage programs on the same machine use."""

DRAIN = 512  # datagrams read before everything else has its turn
BREATH_S = 0.004
"""Pause after reading: a storm of messages is taken in handfuls, so that it cannot take a core from the picture."""
POLL_S = 0.1
FEEDBACK_S = 1 / 30  # between two tellings of what has moved
STATUS_S = 0.1  # between two tellings of how the show is doing
CONNECTIONS = 16
NOTES = 32  # lines and senders remembered
SKEW_S = 1.0  # clocks that differ by more are told to the performer

ERROR = PREFIX + "error"
STATUS = PREFIX + "status/"

METHODS = {
    PREFIX + "ping": ("nothing", "answered with `/cymatic/pong` and the version"),
    PREFIX + "sync": ("nothing", "answered with every control's value, one message each"),
    PREFIX + "subscribe": (
        "nothing, or a port",
        "from now on told what others move, and the status; for ten minutes after the last message, over TCP as long "
        f"as the connection lasts; of more than {SUBSCRIBERS} the one unheard for longest gives way",
    ),
    PREFIX + "unsubscribe": ("nothing", "ends that"),
}
"""Addresses that are no controls: what they take, what they do."""
STATUS_KEYS = {
    "fps": "pictures a second",
    "late": "pictures that came late so far",
    "quality": 'why there are fewer pictures a second than there should be, "" when there are not',
    "audio/rms": "loudness of the last 20 ms, dBFS",
    "audio/clip": "1 while the sound is at full scale",
    "audio/state": "running, or what is wrong: moved, silent, stalled, lost",
    "beat": "1 to 4 in the bar; 0 without a beat",
    "bpm": "tempo; 0 without one",
    "clock": 'whose beat counts: Link, MIDI clock, tap or heard; "" without one',
    "record/seconds": "length of the recording that runs; 0 while there is none",
    "record/dropped": "pictures of it that were shown and are not in the film",
    "loading": "1 until the engine plays",
    "error": 'what is wrong, "" when nothing is',
}
"""What `publish` is given."""

logger = logging.getLogger(__name__)

Reply = tuple[str, Value]


class OscServer:
    """Listens on one port, UDP and TCP (SLIP, OSC 1.1), on its own thread "osc", and moves the desk.

    `port` 0 takes any free port; `self.port` then tells which. `allow`: addresses or networks ("10.0.0.0/24") that are
    listened to besides this machine; empty means everyone whom `host` lets in. `admits(address)` tells, on any thread.
    `counters`: `datagrams`, `packets` (of TCP), `messages`, `malformed`, `strangers` (not allowed), `unknown`
    (addresses), `refused` (values), `errors` (anything else that went wrong), `replies`, `unanswered` (throttled).
    """

    def __init__(
        self, desk: Desk, host: str = "127.0.0.1", port: int = DEFAULT_PORT, allow: Sequence[str] = ()
    ) -> None:
        self.host, self.port = host, port
        self._desk = desk
        self.admits = gate(allow)
        self._version = _version()
        self._controls = {control.address(): control for control in desk.controls}
        self._stopping = threading.Event()
        self._thread: threading.Thread | None = None
        self._counters = dict.fromkeys(
            (
                "datagrams", "packets", "messages", "malformed", "strangers", "unknown", "refused", "errors",
                "replies", "unanswered",
            ),
            0,
        )  # fmt: skip
        self._subscribers = Subscribers()
        self._connections: set[TcpPeer] = set()
        self._status: Mapping[str, Value] = {}
        self._notes: deque[str] = deque(maxlen=NOTES)
        self._noted: set[str] = set()
        self._serial = 0
        self._fed_at = self._told_at = 0.0
        # Answers are limited so that a forged sender address cannot turn the server against somebody else.
        self._answers = Budgets(rate=500, burst=500)
        self._complaints = Throttle(rate=4, burst=8)
        self._lines = Throttle(rate=0.5, burst=5)

    @property
    def counters(self) -> dict[str, int]:
        """What has come in and gone out so far; they only grow."""
        return dict(self._counters)

    def publish(self, status: Mapping[str, Value]) -> None:
        """How the show is doing, for the subscribers: `fps` goes out as `/cymatic/status/fps`. Any thread."""
        self._status = status

    def take_notes(self) -> list[str]:
        """Lines that the performer should read, each told once. Any thread."""
        notes: list[str] = []
        while self._notes:
            notes.append(self._notes.popleft())
        return notes

    def start(self) -> None:
        """Open the port and listen. Raises `ControlError`, one line, if the port or the host cannot be had."""
        udp, tcp = open_port(self.host, self.port)
        self.port = udp.getsockname()[1]
        self._serial, _ = self._desk.changes_since(0)
        self._stopping.clear()
        self._thread = threading.Thread(target=self._serve, args=(udp, tcp), name="osc", daemon=True)
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

    # -- sockets

    def _serve(self, udp: socket.socket, tcp: socket.socket) -> None:
        with selectors.DefaultSelector() as selector, udp, tcp:
            selector.register(udp, selectors.EVENT_READ)
            selector.register(tcp, selectors.EVENT_READ)
            try:
                while not self._stopping.is_set():
                    ready = selector.select(FEEDBACK_S if self._subscribers else POLL_S)
                    for key, _ in ready:
                        if key.fileobj is udp:
                            self._read_datagrams(udp)
                        elif key.fileobj is tcp:
                            self._accept(tcp, selector)
                        else:
                            self._read_stream(key.data, selector)
                    self._feed(time.perf_counter())
                    for connection in [c for c in self._connections if not self._flushed(c)]:
                        self._drop(connection, selector)
                    if ready:
                        self._stopping.wait(BREATH_S)
            finally:
                for connection in self._connections:
                    connection.sock.close()
                self._connections.clear()
                self._subscribers = Subscribers()

    def _read_datagrams(self, udp: socket.socket) -> None:
        for _ in range(DRAIN):
            try:
                datagram, sender = udp.recvfrom(1 << 16)
            except BlockingIOError:
                return
            except OSError as error:  # e.g. Windows reports that an earlier answer found nobody
                self._count("errors", f"receiving: {error}")
                return
            self._counters["datagrams"] += 1
            if self._known(sender):
                self._take(datagram, UdpPeer(udp, sender, sender[1]))

    def _accept(self, tcp: socket.socket, selector: selectors.BaseSelector) -> None:
        try:
            sock, sender = tcp.accept()
            connection = TcpPeer(sock, sender)
        except OSError as error:
            self._count("errors", f"accepting: {error}")
            return
        if not self._known(sender):
            sock.close()
            return
        if len(self._connections) >= CONNECTIONS:
            full = f"{CONNECTIONS} are connected already"
            self._reply(connection, ERROR, full)
            self._note(f"OSC by TCP from {sender[0]} is refused: {full}", f"tcp:{sender[0]}")
            sock.close()
            return
        self._connections.add(connection)
        selector.register(sock, selectors.EVENT_READ, connection)

    def _read_stream(self, connection: TcpPeer, selector: selectors.BaseSelector) -> None:
        try:
            packets = connection.receive()
        except Malformed as error:
            self._count("malformed", f"from {connection.name}: {error}")
            packets = None
        except OSError:
            packets = None
        if packets is None:
            self._drop(connection, selector)
            return
        for packet in packets:
            self._counters["packets"] += 1
            self._take(packet, connection)

    def _flushed(self, connection: TcpPeer) -> bool:
        try:
            connection.flush()
        except OSError as error:
            self._count("errors", f"answering {connection.name}: {error}")
            return False
        return True

    def _drop(self, connection: TcpPeer, selector: selectors.BaseSelector) -> None:
        if connection in self._connections:
            self._connections.remove(connection)
            self._subscribers.drop(connection)
            selector.unregister(connection.sock)
            connection.sock.close()

    def _known(self, sender: Sender) -> bool:
        if self.admits(sender[0]):
            return True
        self._counters["strangers"] += 1
        self._note(f"OSC from {sender[0]} is not listened to: it is not in --osc-allow", sender[0])
        return False

    # -- what is said

    def _take(self, data: bytes, peer: Peer) -> None:
        """One packet, whole or not at all. Never raises: a dead thread would take the performer's hands away."""
        try:
            packet = unpack(data)
            if packet.stamped is not None:
                self._compare_clocks(peer.host, packet.stamped - time.time())
            self._counters["messages"] += len(packet.messages)
            replies: list[Reply] = []
            with self._desk.together():
                for message in packet.messages:
                    replies += self._handle(message.address, message.arguments, peer)
            if (subscription := self._subscribers.of(peer)) is not None:
                subscription.heard_at = time.perf_counter()
                peer = subscription.peer
            for reply in replies:  # sent and logged only now: the stage must not wait for the network
                self._reply(peer, *reply)
        except Malformed as error:
            self._count("malformed", f"from {peer.name}: {error}")
        except Exception as error:  # noqa: BLE001
            self._count("errors", f"from {peer.name}: {error!r}")

    def _handle(self, address: str, arguments: tuple[Argument, ...], peer: Peer) -> list[Reply]:
        control = self._controls.get(address)
        try:
            if control is not None:
                if arguments == ("?",):
                    return [(address, self._desk.get(control.name))]
                self._move(control, arguments, self._origin(peer))
                return []
            if (method := _HANDLERS.get(address)) is not None:
                return method(self, arguments, peer)
            if (choice := self._controls.get(address.rpartition("/")[0])) is not None and choice.kind == "choice":
                self._press(choice, address.rpartition("/")[2], arguments, self._origin(peer))
                return []
        except ControlError as error:
            self._counters["refused"] += 1
            return [(ERROR, str(error)[:200])]
        self._counters["unknown"] += 1
        return [(ERROR, f"no control at {address[:60]}")]

    def _move(self, control: Control, arguments: tuple[Argument, ...], origin: str) -> None:
        if not arguments and control.kind != "trigger":
            raise ControlError(f'{control.name}: wants a value, or "?" to be told it')
        value, fade_s = _with_fade(control.name, arguments)
        self._desk.set(control.name, value, origin, fade_s)

    def _press(self, choice: Control, option: str, arguments: tuple[Argument, ...], origin: str) -> None:
        """A button of its own for one option, by name or 1-based position: fires on the press, not on the release."""
        edge, fade_s = _with_fade(choice.name, arguments)
        if not arguments or finite(edge, f"{choice.name}/{option[:60]}") > 0.5:
            by_position = option.isdecimal() and option not in self._desk.options(choice.name)
            self._desk.set(choice.name, int(option[:9]) if by_position else option, origin, fade_s)

    def _origin(self, peer: Peer) -> str:
        """Where it listens, by which it is known again when it sends from another port."""
        subscription = self._subscribers.of(peer)
        return f"osc:{(peer if subscription is None else subscription.peer).place}"

    def _ping(self, arguments: tuple[Argument, ...], peer: Peer) -> list[Reply]:
        return [(PREFIX + "pong", self._version)]

    def _sync(self, arguments: tuple[Argument, ...], peer: Peer) -> list[Reply]:
        return [(address, self._desk.get(control.name)) for address, control in self._controls.items()]

    def _subscribe(self, arguments: tuple[Argument, ...], peer: Peer) -> list[Reply]:
        if arguments:
            port = finite(arguments[0], "subscribe")
            if not port.is_integer() or not 1 <= port <= 65535:
                raise ControlError(f"subscribe: {port:g} is no port")
            peer = peer.answered_at(int(port))
        gone = self._subscribers.add(peer, time.perf_counter())
        if gone is not None:
            self._note(f"OSC: {gone.name} is told nothing more, for {SUBSCRIBERS} others have subscribed", gone.name)
        return self._sync((), peer)

    def _unsubscribe(self, arguments: tuple[Argument, ...], peer: Peer) -> list[Reply]:
        self._subscribers.drop(peer)
        return []

    # -- who is told

    def _feed(self, now: float) -> None:
        """What has moved since the last time, and at times the status, to all who subscribed."""
        if now - self._fed_at < FEEDBACK_S:
            return
        self._fed_at = now
        with self._desk.together():
            self._serial, changed = self._desk.changes_since(self._serial)
            moved = [(PREFIX + name, value, self._desk.mover(name)) for name, value in changed.items()]
        packed = cache(pack)  # once for all who are told
        status: Mapping[str, Value] = {}
        if now - self._told_at >= STATUS_S:
            self._told_at, status = now, self._status
        for subscription in self._subscribers.current(now):
            news = [(address, value) for address, value, mover in moved if mover != self._origin(subscription.peer)]
            news += [(STATUS + key, value) for key, value in status.items() if subscription.told.get(key) != value]
            subscription.told.update(status)
            for address, value in news:
                self._send(subscription.peer, packed(address, value))

    def _reply(self, peer: Peer, address: str, value: Value) -> None:
        if address == ERROR:
            self._log(f"from {peer.name}: {value}")
        if (self._complaints if address == ERROR else self._answers.of(peer)).passes():
            self._send(peer, pack(address, value))
        else:
            self._counters["unanswered"] += 1

    def _send(self, peer: Peer, packet: bytes) -> None:
        try:
            peer.send(packet)
        except OSError as error:
            self._count("errors", f"answering {peer.name}: {error}")
        else:
            self._counters["replies"] += 1

    # -- what is noticed

    def _compare_clocks(self, host: str, ahead_s: float) -> None:
        self._desk.compare_clock(host, ahead_s)
        if abs(ahead_s) > SKEW_S:
            by = f"{abs(ahead_s):.0f} s {'ahead' if ahead_s > 0 else 'behind'}"
            self._note(f"OSC bundles from {host} are stamped {by} of this machine's clock; they count at once", host)

    def _note(self, line: str, about: str) -> None:
        """Tell the performer, once a sender."""
        if about not in self._noted and len(self._noted) < NOTES:
            self._noted.add(about)
            self._notes.append(line)

    def _count(self, counter: str, text: str) -> None:
        self._counters[counter] += 1
        self._log(text)

    def _log(self, text: str) -> None:
        if self._lines.passes():
            logger.warning("OSC %s", text)


_HANDLERS: Mapping[str, Callable[[OscServer, tuple[Argument, ...], Peer], list[Reply]]] = {
    PREFIX + "ping": OscServer._ping,
    PREFIX + "sync": OscServer._sync,
    PREFIX + "subscribe": OscServer._subscribe,
    PREFIX + "unsubscribe": OscServer._unsubscribe,
}


def _with_fade(name: str, arguments: tuple[Argument, ...]) -> tuple[Argument, Argument]:
    """The value and the seconds to fade, None for what was not sent."""
    if len(arguments) > 2:
        raise ControlError(f"{name}: takes a value and at most a fade time")
    value, fade_s = (*arguments, None, None)[:2]
    return value, fade_s


def _version() -> str:
    try:
        return importlib.metadata.version("cymatic")
    except importlib.metadata.PackageNotFoundError:  # run from a copied folder
        return "unknown"
