"""What a storm of OSC does to a show: late pictures, lost triggers, memory, and how soon control answers.

    python benchmarks/osc_storm.py [--bundle landscape] [--seconds 30] [--rate 10000] [--mutated 1000000]

A stage plays the demo headless with its engine in a process of its own, as `cymatic live --headless` does. Two other
processes send, one after the other:

1. nothing, for so many seconds: the rate of late pictures at rest;
2. `--rate` messages a second over UDP, a fifth of them in bundles stamped an hour ahead or behind, and meanwhile 1,000
   numbered triggers over TCP. None may be lost or out of order, and the rate of late pictures may rise by two points;
3. mutated datagrams: real ones with bytes exchanged, cut and inserted. Nothing may raise, and a question put on the
   way is answered within 50 ms.

Exit code 1 when one of these does not hold. Run it on a quiet machine: the sender takes a core of its own.
"""

from __future__ import annotations

import argparse
import json
import logging
import random
import socket
import statistics
import struct
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psutil

from cymatic.stage import EngineOptions, Stage
from engine import heap
from engine.bundle import Bundle, find_bundle, load_bundle
from engine.control.packet import frame, pack
from engine.control.registry import REGISTRY
from engine.errors import CymaticError
from presets.store import PresetStore

TRIGGERS = 1000
BUNDLED = 10  # messages in a bundle
HANDFUL_S = 0.005
LOOK_S = 0.004
WITHIN_S = 0.050
MAY_RISE = 0.02
MAY_GROW_MIB = 20.0
NTP_EPOCH_S = 2_208_988_800


# ---- The senders, each in a process of its own


def send_storm(port: int, rate: float, seconds: float) -> int:
    """`rate` messages a second for so many seconds; returns how many went out."""
    faders = [control for control in REGISTRY if control.kind == "float" and control.name != "seed"]
    rng, sent, began = random.Random(0), 0, time.perf_counter()
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as udp:
        udp.connect(("127.0.0.1", port))
        while (passed := time.perf_counter() - began) < seconds:
            while sent < rate * passed:
                messages = [_move(rng.choice(faders), rng) for _ in range(BUNDLED)]
                if rng.random() < 0.2:
                    udp.send(_bundle(messages, time.time() + rng.choice((-3600.0, 3600.0))))
                else:
                    for message in messages:
                        udp.send(message)
                sent += BUNDLED
            time.sleep(HANDFUL_S)
    return sent


def send_triggers(port: int, count: int, seconds: float, preset: str) -> int:
    """`count` calls of a preset over TCP, evenly over so many seconds, numbered by their fade times."""
    with socket.create_connection(("127.0.0.1", port)) as tcp:
        began = time.perf_counter()
        for number in range(count):
            time.sleep(max(0.0, began + number * seconds / count - time.perf_counter()))
            tcp.sendall(frame(pack("/cymatic/preset/go", preset, number / 1000)))
        tcp.sendall(frame(pack("/cymatic/ping")))
        tcp.recv(64)  # all of them have been taken
    return count


def send_mutated(port: int, count: int) -> int:
    """`count` damaged datagrams, in handfuls that the receiver's buffer holds: each ends with a question."""
    rng = random.Random(1)
    seeds = [
        pack("/cymatic/master", 0.5),
        pack("/cymatic/preset/go", "ember", 1.5),
        pack("/cymatic/text", "a storm"),
        pack("/cymatic/sync"),
        pack("/cymatic/subscribe"),
        _bundle([pack("/cymatic/speed", 1.0), pack("/cymatic/panic", 1)], time.time() + 3600),
        _bundle([_bundle([pack("/cymatic/freeze", 1)], 0.0)], 0.0),
        b"#bundle\0" + b"\0" * 8 + struct.pack(">i", -16),
        pack("/cymatic/" + "*" * 40, 1.0),
    ]
    with (
        socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as udp,
        socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as asking,
    ):
        udp.connect(("127.0.0.1", port))
        asking.connect(("127.0.0.1", port))
        asking.settimeout(5.0)
        for number in range(count):
            data = bytearray(rng.choice(seeds))
            for _ in range(rng.randrange(1, 5)):
                at = rng.randrange(len(data) + 1)
                data[at : at + rng.randrange(9)] = rng.randbytes(rng.randrange(9))
            udp.send(data or b"\0")
            if number % 200 == 199:
                asking.send(pack("/cymatic/master", "?"))
                asking.recv(1 << 16)
    return count


def _move(control: Any, rng: random.Random) -> bytes:
    return pack(control.address(), rng.uniform(control.minimum, control.maximum))


def _bundle(messages: list[bytes], when: float) -> bytes:
    seconds, fraction = divmod(when + NTP_EPOCH_S, 1.0)
    head = b"#bundle\0" + struct.pack(">II", int(seconds) & 0xFFFFFFFF, int(fraction * 2**32))
    return head + b"".join(struct.pack(">i", len(message)) + message for message in messages)


# ---- The show


class Show:
    """A stage that plays, moved on as the headless loop does it, with every trigger written down."""

    def __init__(self, bundle: Bundle, store: PresetStore, options: EngineOptions) -> None:
        self.stage = Stage(bundle, store, options, osc_port=0)
        self.numbers: list[int] = []
        obey = self.stage._obey

        def noted(trigger: Any, now: float) -> None:
            if trigger.fade_s is not None:
                self.numbers.append(round(1000 * trigger.fade_s))
            obey(trigger, now)

        self.stage._obey = noted  # type: ignore[method-assign]

    def play(self, goes_on: Callable[[], bool]) -> dict[str, float]:
        """Plays while `goes_on`; how many pictures came and how many of them late, and the memory at its end."""
        frames, late = self._counts()
        while goes_on():
            self.stage.tick()
            self.stage.newest_frame()
            time.sleep(LOOK_S)
        until = time.perf_counter() + 0.3  # the engine's last word
        while time.perf_counter() < until:
            self.stage.tick()
            time.sleep(LOOK_S)
        now_frames, now_late = self._counts()
        pictures = max(now_frames - frames, 1)
        rss = psutil.Process().memory_info().rss / 2**20
        return {"frames": pictures, "late": now_late - late, "late_rate": (now_late - late) / pictures, "rss_mib": rss}

    def _counts(self) -> tuple[int, int]:
        return int(self.stage.status.get("frames", 0)), self.stage.late_frames

    def play_for(self, seconds: float) -> dict[str, float]:
        end = time.perf_counter() + seconds
        return self.play(lambda: time.perf_counter() < end)

    def play_while(self, *senders: tuple[str, ...]) -> dict[str, float]:
        """Plays until all of these senders have ended; also how much the first has sent."""
        processes = [_start(self.stage.osc_port, *sender) for sender in senders]
        try:
            played = self.play(lambda: any(process.poll() is None for process in processes))
        finally:
            for process in processes:
                process.kill()
            said = [process.communicate()[0] for process in processes]
        assert all(process.returncode == 0 for process in processes), "a sender has failed"
        return played | {"sent": int(said[0])}

    def open_the_text_graph(self) -> None:
        """Once for all, as the first typed word does: what it takes is no leak."""
        for words in ("a storm", ""):
            self.stage.desk.set("text", words, "benchmark")
            self.stage.tick()


def _start(port: int, *arguments: str) -> subprocess.Popen[bytes]:
    command = [sys.executable, __file__, "--send", str(port), *arguments]
    return subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE)


class Asker(threading.Thread):
    """Asks for a control every 50 ms and measures how long the answers take."""

    def __init__(self, port: int) -> None:
        super().__init__(name="asker", daemon=True)
        self.waits_s: list[float] = []
        self.ends = threading.Event()
        self._socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._socket.connect(("127.0.0.1", port))
        self._socket.settimeout(5.0)

    def run(self) -> None:
        with self._socket:
            while not self.ends.wait(0.05):
                began = time.perf_counter()
                self._socket.send(pack("/cymatic/master", "?"))
                try:
                    while not self._socket.recv(1 << 16).startswith(b"/cymatic/master"):
                        pass
                except TimeoutError:
                    self.waits_s.append(float("inf"))
                else:
                    self.waits_s.append(time.perf_counter() - began)


class Tracebacks(logging.Handler):
    """Counts log records that carry an exception."""

    def __init__(self) -> None:
        super().__init__()
        self.count = 0

    def emit(self, record: logging.LogRecord) -> None:
        self.count += record.exc_info is not None


def storm(
    bundle: Bundle,
    store: PresetStore,
    options: EngineOptions,
    *,
    seconds: float,
    rate: float,
    triggers: int = TRIGGERS,
    mutated: int,
) -> dict[str, Any]:
    """The whole of it; the report."""
    tracebacks = Tracebacks()
    logging.getLogger().addHandler(tracebacks)
    raised: list[str] = []
    before, threading.excepthook = threading.excepthook, lambda args: raised.append(repr(args.exc_value))
    show = Show(bundle, store, options)
    try:
        show.stage.start()
        show.play(lambda: show.stage.status.get("state") != "playing" or show.stage.fps == 0.0)
        show.open_the_text_graph()
        show.play_for(min(seconds, 3.0))  # the first pictures choose the rate
        rest = show.play_for(seconds)
        preset = show.stage.preset or store.names()[0]
        shape = ("storm", str(rate), str(seconds)), ("triggers", str(triggers), str(seconds), preset)
        stormy = show.play_while(*shape)
        osc = show.stage._osc.counters
        heard, numbers = osc["messages"], list(show.numbers)
        asker = Asker(show.stage.osc_port)
        asker.start()
        damaged = show.play_while(("mutated", str(mutated)))
        asker.ends.set()
        asker.join()
        end = show.stage._osc.counters
    finally:
        show.stage.stop()
        threading.excepthook = before
        logging.getLogger().removeHandler(tracebacks)
    waits = sorted(asker.waits_s)
    return {
        "machine": {"cores": psutil.cpu_count(), "load_1min": psutil.getloadavg()[0]},
        "at_rest": rest,
        "storm": stormy | {
            "asked_messages_per_s": rate,
            "heard": heard,
            "heard_messages_per_s": heard / seconds,
            "late_rise": stormy["late_rate"] - rest["late_rate"],
        },
        "triggers": {"sent": triggers, "taken": len(numbers), "in_order": numbers == list(range(triggers))},
        "mutated": damaged | {
            "datagrams": end["datagrams"] - osc["datagrams"],
            "malformed": end["malformed"] - osc["malformed"],
            "errors": end["errors"],
            "tracebacks": tracebacks.count + len(raised),
            "raised": raised,
            "answers": len(waits),
            "answer_ms": {
                "median": 1000 * statistics.median(waits),
                "p99": 1000 * waits[min(int(0.99 * len(waits)), len(waits) - 1)],
                "longest": 1000 * waits[-1],
            },
        },
        "holds": {
            "late": stormy["late_rate"] - rest["late_rate"] <= MAY_RISE,
            "triggers": numbers == list(range(triggers)),
            "memory": damaged["rss_mib"] - rest["rss_mib"] <= MAY_GROW_MIB,
            "answers": waits[-1] <= WITHIN_S,
            "tracebacks": tracebacks.count + len(raised) + end["errors"] == 0,
        },
    }  # fmt: skip


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--bundle", default="landscape")
    parser.add_argument("--source", default="demo", help="demo or a sound file")
    parser.add_argument("--seconds", type=float, default=30.0)
    parser.add_argument("--rate", type=float, default=10_000.0, help="messages a second")
    parser.add_argument("--mutated", type=int, default=1_000_000, help="damaged datagrams")
    parser.add_argument("--report", type=Path, help="write the figures here as JSON")
    parser.add_argument("--send", nargs="+", help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.send:
        port, what, *rest = args.send
        senders: dict[str, Callable[..., int]] = {"storm": _storm, "triggers": _triggers, "mutated": _mutated}
        print(senders[what](int(port), *rest))
        return 0
    heap.settle()  # as `cymatic live` does
    try:
        bundle = load_bundle(find_bundle(args.bundle))
        told = storm(
            bundle,
            PresetStore.standard(),
            EngineOptions(args.source),
            seconds=args.seconds,
            rate=args.rate,
            mutated=args.mutated,
        )
    except CymaticError as error:
        print(f"osc_storm: {error}", file=sys.stderr)
        return 2
    text = json.dumps(told, indent=1)
    print(text)
    if args.report:
        args.report.write_text(text + "\n")
    return 0 if all(told["holds"].values()) else 1


def _storm(port: int, rate: str, seconds: str) -> int:
    return send_storm(port, float(rate), float(seconds))


def _triggers(port: int, count: str, seconds: str, preset: str) -> int:
    return send_triggers(port, int(count), float(seconds), preset)


def _mutated(port: int, count: str) -> int:
    return send_mutated(port, int(count))


if __name__ == "__main__":
    sys.exit(main())
