"""The engine process: `python -m engine`, started by `engine.supervisor` and by nobody else.

One line of JSON on standard input says what to play (`Options`); after it the input stays open as the lifeline. Its end
means stop, so whatever becomes of the stage, no engine is left behind. Everything else crosses in shared memory.
"""

from __future__ import annotations

import contextlib
import faulthandler
import json
import logging
import os
import signal
import sys
import threading
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from engine import heap
from engine.errors import AudioError, CymaticError
from engine.links import Links

if TYPE_CHECKING:
    from engine.audio.sources import Source

STOP_S = 1.0
"""After the lifeline's end the process is gone within this time, even when a driver holds its main thread."""
AMPLE_MS = 8.0
"""A machine that takes longer for a picture may not hold its rate: small ones can then be painted from the beginning.
To make them ready in the middle of a show makes some of its pictures late."""


@dataclass(frozen=True, slots=True)
class Options:
    """What the stage asks of its engine. `links` are the names of the shared memory.

    `heard`: the microphone that an engine before this one heard, `{"device", "sample_rate", "channels"}`; it is waited
    for when it is away. `accelerate`: whether runtimes that need a graphics card may take over. `channel`: the one of
    the input, from 1, that has to be there; 0 for any. `held`: the frames a second that an engine before this one held,
    `small` if with small pictures.
    """

    bundle: str
    source: str
    device: str | None
    runtime: str
    fps: float | None
    threads: int | None
    links: dict[str, str]
    heard: dict[str, Any] | None = None
    accelerate: bool = True
    channel: int = 0
    held: float | None = None
    small: bool = False


def main() -> int:
    """Plays until the lifeline ends. Exit code 2 after an error, which the status channel and stderr tell in a line."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C in a terminal reaches both processes; the stage decides
    faulthandler.enable()
    heap.settle()
    logging.basicConfig(level=logging.WARNING, format="%(name)s: %(message)s")
    options = Options(**json.loads(sys.stdin.buffer.readline()))
    stop = threading.Event()
    threading.Thread(target=_watch_lifeline, args=(stop,), name="lifeline", daemon=True).start()
    try:
        links = Links.attach(options.links)
    except FileNotFoundError:
        return 0  # the stage has gone already
    with contextlib.closing(links):
        _progress(links, "starting")
        try:
            _play(options, links, stop)
            return 0
        except CymaticError as error:
            told = str(error)
        except MemoryError:
            told = "there is not enough memory: close other programs, or play a smaller bundle"
        logging.getLogger("engine").error("%s", told)
        links.status.put({"state": "error", "error": told, "fatal": True})
    return 2


def _play(options: Options, links: Links, stop: threading.Event) -> None:
    """Opens everything, plays until `stop`, closes everything. `CymaticError` when something cannot be opened."""
    from engine.bundle import load_bundle
    from engine.canvas import Canvas
    from engine.painter import GRAPHS
    from engine.player import Player
    from engine.runtime.choose import choose_runtime
    from engine.runtime.session import CPU_RUNTIMES, open_graph
    from engine.runtime.spare import Spare
    from engine.runtime.successors import Successors, plays_at_once
    from engine.runtime.timed import Timed

    bundle = load_bundle(options.bundle)
    with contextlib.ExitStack() as opened:
        _progress(links, "opening the source of sound")
        source, events = _open_source(options)
        opened.callback(source.stop)
        _progress(links, "choosing a runtime")
        choices = choose_runtime(bundle, plays_at_once(options.runtime), options.threads)
        painting, begins, spare = choices["generator"], options.held is None, None
        if bundle.manifest.image.small is not None:

            def small() -> Canvas:
                exact = painting.precision == "int8" and bundle.manifest.graph("small").int8 is None
                precision = "f32" if exact else painting.precision
                session = open_graph(bundle, "small", painting.runtime, precision, options.threads)
                return Canvas(bundle, Timed(session), small=True)

            spare = Spare(small, lambda canvas: canvas.session.close())
            opened.callback(spare.stop)
            if begins and painting.ms > AMPLE_MS:
                spare.ask()
        sessions = {}
        for name in GRAPHS:
            _progress(links, f"opening {name}")
            choice = choices[name]
            session = open_graph(bundle, name, choice.runtime, choice.precision, options.threads)
            opened.callback(session.close)
            sessions[name] = session
        successors = None
        if options.accelerate and options.runtime not in CPU_RUNTIMES:
            playing = {name: choice.ms for name, choice in choices.items()}
            successors = Successors(bundle, playing, options.runtime, options.threads)
            opened.callback(successors.stop)
            successors.start()
        if spare is not None and painting.ms > AMPLE_MS:
            spare.ask()  # only now after a failure: the audience waits for the next picture
            if begins:
                spare.wait()
        player = Player(
            bundle, sessions, source, links, options.fps, events, successors, options.held, spare, options.small
        )
        player.run(stop)


def _progress(links: Links, doing: str) -> None:
    """A beat for the supervisor, and what to tell who waits."""
    links.status.put({"state": "loading", "doing": doing})


def _open_source(options: Options) -> tuple[Source, tuple[str, ...]]:
    """The started source, and what to say about it. Without any microphone, and none was named, the demo plays."""
    from engine.audio.sources import open_source

    kind, device = options.source, options.device
    if kind == "mic" and options.heard is not None:
        from engine.audio.microphone import Microphone

        source: Source = Microphone(device, heard=options.heard, channel=options.channel)
        source.start()
        return source, ()
    try:
        source = open_source(kind, device, options.channel)
        source.start()
        return source, ()
    except AudioError as error:
        if kind != "mic" or device is not None or options.channel:
            raise
        source = open_source("demo")
        source.start()
        return source, (f"playing the built-in demo: {error}",)


def _watch_lifeline(stop: threading.Event) -> None:
    while os.read(0, 1024):
        pass
    stop.set()
    threading.Event().wait(STOP_S)
    os._exit(0)


if __name__ == "__main__":
    sys.exit(main())
