"""Faster sessions for a show that is already playing: opened, built and warmed up on a thread of their own.

A graphics card's runtime may build for minutes before its first answer. So the show begins with a runtime that opens at
once, and here the other one gets ready; the player takes what is ready between two frames and gives back what it
replaced. Who asked for a runtime by name gets it, however fast it is; else a successor must save `WORTH_MS` a run.
"""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Mapping, Sequence

import numpy as np

from engine.bundle import Bundle
from engine.errors import CymaticError
from engine.runtime.choose import GLANCE_S, WORTH_MS, median_ms, random_feeds
from engine.runtime.session import ACCELERATED, Session, can_run, open_graph

GRAPHS = ("generator", "encoder", "recurrent", "reader")
"""The graphs that run again and again, the one that takes most of a frame first."""
WAIT_S = 0.1


class Successors:
    """`start`, then `lines`, `take` and `retire` from the player's thread, at the end `stop`.

    `playing`: milliseconds of a run of each graph that plays now. `wanted`: the runtime that was asked for by name, or
    "auto" for every accelerated one that is here.
    """

    def __init__(self, bundle: Bundle, playing: Mapping[str, float], wanted: str, threads: int | None = None) -> None:
        self._bundle, self._threads = bundle, threads
        self._playing = dict(playing)
        self._asked_for = wanted != "auto"
        runtimes: Sequence[str] = (wanted,) if self._asked_for else [name for name in ACCELERATED if can_run(name)]
        self.runtimes = tuple(runtimes)
        self._lock = threading.Lock()
        self._ready: dict[str, Session] = {}
        self._lines: deque[str] = deque()
        self._retired: deque[Session] = deque()
        self._opened: list[Session] = []
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name="successors", daemon=True)

    def start(self) -> None:
        """Begin, if there is any runtime to try."""
        if self.runtimes:
            self._thread.start()

    def lines(self) -> list[str]:
        """What to tell the performer since the last call."""
        with self._lock:
            lines = list(self._lines)
            self._lines.clear()
        return lines

    def take(self) -> dict[str, Session]:
        """Sessions that are warm, by graph; each is given once, and stays open until `stop`."""
        with self._lock:
            ready, self._ready = self._ready, {}
        return ready

    def retire(self, session: Session) -> None:
        """Close a session that was replaced, soon and elsewhere: freeing a graph takes longer than a frame has."""
        self._retired.append(session)

    def stop(self, timeout: float = 1.0) -> bool:
        """End and close everything; no session may be running. False when a build goes on and was left behind."""
        self._stopping.set()
        if self._thread.is_alive():
            self._thread.join(timeout)
        if self._thread.is_alive():
            return False
        self._close_retired()
        for session in self._opened:
            session.close()
        self._opened.clear()
        return True

    def _run(self) -> None:
        for runtime in self.runtimes:
            for graph in GRAPHS:
                if self._stopping.is_set():
                    return
                try:
                    self._try(graph, runtime)
                except CymaticError as error:
                    self._say(f"{runtime} does not take over: {error}")
                    break
                except Exception as error:  # noqa: BLE001 - a driver may fail in any way, the show goes on
                    self._say(f"{runtime} does not take over: {type(error).__name__}: {error}")
                    break
                self._close_retired()
        while not self._stopping.wait(WAIT_S):
            self._close_retired()

    def _try(self, graph: str, runtime: str) -> None:
        """Open and measure one; offer it if it is better."""
        begun_at = time.perf_counter()
        if graph == GRAPHS[0]:
            self._say(f"{runtime} is getting ready; the show goes on meanwhile")
        session = open_graph(self._bundle, graph, runtime, threads=self._threads)
        self._opened.append(session)
        feeds = random_feeds(session.inputs, np.random.default_rng(0))
        ms = median_ms(lambda: session.run(feeds), GLANCE_S)
        if not self._asked_for and ms + WORTH_MS > self._playing[graph]:
            self._opened.remove(session)
            session.close()
            self._say(f"{graph} stays: {runtime} takes {ms:.2f} ms, it takes {self._playing[graph]:.2f}")
            return
        self._playing[graph] = ms
        self._say(f"{graph}: {runtime} is ready after {time.perf_counter() - begun_at:.1f} s, {ms:.2f} ms a run")
        with self._lock:
            unwanted = self._ready.pop(graph, None)
            self._ready[graph] = session
        if unwanted is not None:  # an earlier one that no frame has taken yet
            self.retire(unwanted)

    def _close_retired(self) -> None:
        while self._retired:
            session = self._retired.popleft()
            session.close()
            if session in self._opened:
                self._opened.remove(session)

    def _say(self, line: str) -> None:
        with self._lock:
            self._lines.append(line)


def plays_at_once(wanted: str) -> str:
    """The runtime to begin a show with: what was asked for, unless that may have to build first."""
    return "auto" if wanted in ACCELERATED else wanted
