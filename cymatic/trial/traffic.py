"""OSC as a performer sends it, and a storm as no performer would."""

from __future__ import annotations

import contextlib
import random
import socket
import threading
import time

from engine.control.packet import pack
from engine.control.registry import CONTROLS, PREFIX

MOVE_S, PRESET_S, WORDS_S, PING_S = 0.05, 7.0, 11.0, 0.25
MOVED = (
    "sound/weight", "text/weight", "sound/gain", "reactivity", "truncation", "speed", "gain/coarse", "gain/mid",
    "gain/fine", "smoothing", "noise",
)  # fmt: skip
"""What may make a picture dark is left alone: every picture that is black is a fault."""
WORDS = ("thunder over the sea", "fire", "rain in the night", "")
STORM_RATE, STORM_BURST = 5000.0, 25


def free_port() -> int:
    """A UDP port that nobody uses."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


class Traffic:
    """A controller on the desk's port. One thread, which calls `step` often; the storm has its own."""

    def __init__(self, port: int, seed: int = 0) -> None:
        self._port = port
        self._random = random.Random(seed)
        self._socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._socket.connect(("127.0.0.1", port))
        self._socket.setblocking(False)
        self._due = {self._move: 0.0, self._preset: time.perf_counter() + PRESET_S, self._words: 0.0, self._ping: 0.0}
        self._every = {self._move: MOVE_S, self._preset: PRESET_S, self._words: WORDS_S, self._ping: PING_S}
        self._storm: threading.Thread | None = None
        self._calm = threading.Event()
        self.sent = 0
        self.answered_at = 0.0
        """When the stage last answered a question that was asked after everything sent before it."""

    def step(self) -> None:
        """Sends what is due and hears the answers."""
        now = time.perf_counter()
        for action, due in self._due.items():
            if now >= due:
                self._due[action] = now + self._every[action]
                action()
        with contextlib.suppress(OSError):  # nothing there, or nobody listens for a moment
            while b"pong" in self._socket.recv(4096):
                self.answered_at = now

    def send(self, name: str, *values: float | bool | str) -> None:
        """One control."""
        self.sent += 1
        with contextlib.suppress(OSError):
            self._socket.send(pack(PREFIX + name, *values))

    def storm(self) -> None:
        """Some thousands of messages a second from now on, until `calm`."""
        self._calm.clear()
        self._storm = threading.Thread(target=self._blow, name="trial-storm")
        self._storm.start()

    def calm(self) -> None:
        """The storm is over. Safe to call twice."""
        self._calm.set()
        if self._storm is not None:
            self._storm.join()
            self._storm = None

    def close(self) -> None:
        """Ends all of it."""
        self.calm()
        self._socket.close()

    def _move(self) -> None:
        self.send(*self._fader(self._random))

    def _preset(self) -> None:
        self.send("preset/next")

    def _words(self) -> None:
        self.send("text", self._random.choice(WORDS))

    def _ping(self) -> None:
        self.send("ping")

    @staticmethod
    def _fader(drawn: random.Random) -> tuple[str, float]:
        control = CONTROLS[drawn.choice(MOVED)]
        return control.name, control.at(drawn.random())

    def _blow(self) -> None:
        drawn, began, sent = random.Random(1), time.perf_counter(), 0
        messages = [pack(PREFIX + name, value) for name, value in (self._fader(drawn) for _ in range(1000))]
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as udp:
            udp.connect(("127.0.0.1", self._port))
            while not self._calm.wait(STORM_BURST / STORM_RATE):
                behind = STORM_RATE * (time.perf_counter() - began) - sent
                for _ in range(min(round(behind), 10 * STORM_BURST)):
                    with contextlib.suppress(OSError):
                        udp.send(drawn.choice(messages))
                    sent += 1
        self.sent += sent
