"""How much is said to whom, so that nobody can make the program talk without end."""

from __future__ import annotations

import time
from collections.abc import Callable

from engine.control.transport import Peer

PEERS = 64  # that have a budget of their own


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

    @property
    def rested(self) -> bool:
        """True if it has been left alone for long enough to be as new."""
        return self._left + (self._clock() - self._seen) * self._rate >= self._burst


class Budgets:
    """A throttle for every peer, so that one that asks too much leaves the others theirs. One thread.

    Ports of a distant host share one, for a forger may name any port; programs on this machine have one each. Beyond
    `PEERS` at a time, newcomers share.
    """

    def __init__(self, rate: float, burst: float) -> None:
        self._rate, self._burst = rate, burst
        self._shared = Throttle(rate, burst)
        self._known: dict[str, Throttle] = {}

    def of(self, peer: Peer) -> Throttle:
        """The throttle of this peer."""
        key = peer.name if peer.host.startswith("127.") else peer.host
        if key not in self._known:
            if len(self._known) >= PEERS:
                self._known = {name: throttle for name, throttle in self._known.items() if not throttle.rested}
            if len(self._known) >= PEERS:
                return self._shared
            self._known[key] = Throttle(self._rate, self._burst)
        return self._known[key]
