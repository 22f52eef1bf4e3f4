"""Who is told what others move: one subscription a place, for as long as its lease lasts."""

from __future__ import annotations

from dataclasses import dataclass, field

from engine.control.registry import Value
from engine.control.transport import Peer, UdpPeer
from engine.errors import ControlError

__all__ = ["LEASE_S", "SUBSCRIBERS", "Subscribers", "Subscription"]

LEASE_S = 600.0
"""How long it lasts after the last message of its sender; over TCP as long as the connection."""
SUBSCRIBERS = 16


@dataclass(slots=True)
class Subscription:
    """`heard_at`: when its sender was heard last. `told`: the status, as it was told of it."""

    peer: Peer
    heard_at: float
    told: dict[str, Value] = field(default_factory=dict)


class Subscribers:
    """All subscriptions, at most `SUBSCRIBERS`. One thread, that of OSC; times are `time.perf_counter()`."""

    def __init__(self) -> None:
        self._by_sender: dict[str, Subscription] = {}

    def __len__(self) -> int:
        return len(self._by_sender)

    def of(self, peer: Peer) -> Subscription | None:
        """The subscription of this sender, if it has one."""
        return self._by_sender.get(peer.name)

    def add(self, peer: Peer, now: float) -> Peer | None:
        """Subscribe it instead of whoever listened there before: a client that begins anew sends from another port.

        When there are too many, the one by UDP that was unheard for longest gives way and is returned. `ControlError`
        when there is none: connections last.
        """
        for name in [name for name, other in self._by_sender.items() if other.peer.place == peer.place]:
            del self._by_sender[name]
        gone = None
        if peer.name not in self._by_sender and len(self._by_sender) >= SUBSCRIBERS:
            leased = [other for other in self._by_sender.values() if isinstance(other.peer, UdpPeer)]
            if not leased:
                raise ControlError(f"subscribe: {SUBSCRIBERS} are subscribed already")
            gone = min(leased, key=lambda other: other.heard_at).peer
            self.drop(gone)
        self._by_sender[peer.name] = Subscription(peer, now)
        return gone

    def drop(self, peer: Peer) -> None:
        """End the subscription of this sender, if it has one."""
        self._by_sender.pop(peer.name, None)

    def current(self, now: float) -> list[Subscription]:
        """Those whose lease lasts; the others are forgotten."""
        for other in list(self._by_sender.values()):
            if isinstance(other.peer, UdpPeer) and now - other.heard_at > LEASE_S:
                self.drop(other.peer)
        return list(self._by_sender.values())
