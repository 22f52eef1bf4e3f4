"""What goes wrong in a soak: how each fault is done, how it is undone, and how to see that the show has come back."""

from __future__ import annotations

import contextlib
import importlib.util
import shutil
import sys
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import ClassVar

import psutil

from cymatic.trial.room import VirtualMicrophone
from cymatic.trial.show import Show
from cymatic.trial.traffic import Traffic
from cymatic.trial.watched import Row
from engine.errors import CymaticError

BACK_S = 5.0
SEEN_S = 1.0
STANDSTILL_S = 1.0
"""What leaves the engine alone must not stop the picture for longer."""
IN_FLIGHT_S = 0.05
"""A picture that was being published when the engine was stopped."""
HEARD_DB = -70.0
"""Sound comes through the microphone again, not only zeros."""


@dataclass
class Trial:
    """What a fault may lay hands on. `row` is the newest of the show; `bundle` a copy that it plays; `films` is where
    it records to."""

    show: Show
    microphone: VirtualMicrophone | None
    traffic: Traffic
    bundle: Path
    films: Path
    row: Row
    harmed: list[psutil.Process] = field(default_factory=list)

    def engine(self) -> psutil.Process:
        """The engine's process; psutil.NoSuchProcess while there is none."""
        pid = self.row["pid"]
        if pid is None:
            raise psutil.NoSuchProcess(0)
        return psutil.Process(pid)


class Fault:
    """One kind of harm. `begin`, after `lasts_s` seconds `end`; then the show is looked at until it is `back`."""

    name: ClassVar[str]
    lasts_s: ClassVar[float] = 0.0
    seen_limit_s: ClassVar[float | None] = None
    """It must be told within this time; None: nothing to tell."""
    stops_engine: ClassVar[bool] = False
    """The picture may stand until the engine is back, and a new engine's memory begins anew."""
    needs_sound_server: ClassVar[bool] = False

    def possible(self, trial: Trial) -> str | None:
        """Why it cannot be done here, or None."""
        if self.needs_sound_server and trial.microphone is None:
            return "PulseAudio is not installed"
        return None

    def begin(self, trial: Trial) -> None:
        """Does the harm; `psutil.Error` when there is nothing to harm at the moment."""

    def end(self, trial: Trial) -> None:
        """Undoes it."""

    def seen(self, row: Row) -> bool:
        """Whether the show tells of it."""
        return False

    def back(self, trial: Trial, row: Row, begun_at: float, ended_at: float) -> float | None:
        """When the show was as before, at this row; None: not yet. The first picture after the beginning."""
        return next((frame[4] for frame in row["frames"] if frame[4] > begun_at + IN_FLIGHT_S), None)


class EngineKilled(Fault):
    """kill -9: a crash, or the system's answer to a lack of memory."""

    name = "engine-kill"
    stops_engine = True

    def begin(self, trial: Trial) -> None:
        trial.engine().kill()


class EngineFrozen(Fault):
    """SIGSTOP: a driver that never comes back."""

    name = "engine-freeze"
    stops_engine = True

    def begin(self, trial: Trial) -> None:
        engine = trial.engine()
        engine.suspend()
        trial.harmed.append(engine)


class EngineOutOfMemory(Fault):
    """No new memory for the engine: what it allocates fails, and what plays well allocates nothing."""

    name = "engine-memory"
    lasts_s = 5.0
    stops_engine = True

    def possible(self, trial: Trial) -> str | None:
        return None if sys.platform.startswith("linux") else "the limit of another process is set on Linux only"

    def begin(self, trial: Trial) -> None:
        engine = trial.engine()
        _, most = engine.rlimit(psutil.RLIMIT_AS)
        # Under what it holds, or else it would get again what it gives back.
        engine.rlimit(psutil.RLIMIT_AS, (engine.memory_info().vms // 2, most))
        trial.harmed.append(engine)

    def end(self, trial: Trial) -> None:
        with contextlib.suppress(psutil.Error):
            engine = trial.harmed.pop()
            _, most = engine.rlimit(psutil.RLIMIT_AS)
            engine.rlimit(psutil.RLIMIT_AS, (most, most))

    def back(self, trial: Trial, row: Row, begun_at: float, ended_at: float) -> float | None:
        return super().back(trial, row, ended_at, ended_at)


class BundleBroken(Fault):
    """A graph of the bundle is damaged, and the engine must be started again."""

    name = "bundle"
    lasts_s = 10.0
    stops_engine = True

    def begin(self, trial: Trial) -> None:
        engine = trial.engine()
        graph = trial.bundle / "generator.onnx"
        shutil.copy(graph, graph.with_suffix(".whole"))
        with graph.open("r+b") as file:
            file.seek(graph.stat().st_size // 2)
            file.write(b"damaged" * 64)
        engine.kill()

    def end(self, trial: Trial) -> None:
        graph = trial.bundle / "generator.onnx"
        graph.with_suffix(".whole").replace(graph)


class SoundFault(Fault):
    """Something happens to the microphone; the picture goes on."""

    seen_limit_s: ClassVar[float | None] = SEEN_S
    needs_sound_server = True

    def seen(self, row: Row) -> bool:
        return row["audio"] != "running"

    def back(self, trial: Trial, row: Row, begun_at: float, ended_at: float) -> float | None:
        running = row["at"] > ended_at and row["audio"] == "running" and row["rms_db"] > HEARD_DB
        return row["at"] if running else None


class Unplugged(SoundFault):
    """The microphone is taken away and comes back under its name."""

    name = "microphone"
    lasts_s = 4.0

    def begin(self, trial: Trial) -> None:
        _microphone(trial).unplug()

    def end(self, trial: Trial) -> None:
        _microphone(trial).plug()


class Suspended(SoundFault):
    """The sound server stops the device, which stays open."""

    name = "microphone-suspend"
    lasts_s = 4.0

    def begin(self, trial: Trial) -> None:
        _microphone(trial).suspend(True)

    def end(self, trial: Trial) -> None:
        _microphone(trial).suspend(False)


class ServerKilled(SoundFault):
    """kill -9 of the sound server, which is started again."""

    name = "sound-server"
    lasts_s = 3.0

    def begin(self, trial: Trial) -> None:
        _microphone(trial).kill_server()

    def end(self, trial: Trial) -> None:
        _microphone(trial).start_server()


class ServerFrozen(SoundFault):
    """SIGSTOP of the sound server, then SIGCONT."""

    name = "sound-server-freeze"
    lasts_s = 4.0

    def begin(self, trial: Trial) -> None:
        _microphone(trial).freeze()

    def end(self, trial: Trial) -> None:
        _microphone(trial).thaw()


class OscStorm(Fault):
    """Thousands of messages a second."""

    name = "osc-storm"
    lasts_s = 5.0

    def begin(self, trial: Trial) -> None:
        trial.traffic.storm()

    def end(self, trial: Trial) -> None:
        trial.traffic.calm()

    def back(self, trial: Trial, row: Row, begun_at: float, ended_at: float) -> float | None:
        answered_at = trial.traffic.answered_at
        return answered_at if answered_at > ended_at else None


class RecorderKilled(Fault):
    """kill -9 of a recording, six seconds after it was begun."""

    name = "recorder"
    lasts_s = 6.0

    def possible(self, trial: Trial) -> str | None:
        return None if importlib.util.find_spec("av") else "PyAV is not installed"

    def begin(self, trial: Trial) -> None:
        shutil.rmtree(trial.films, ignore_errors=True)  # the one before
        trial.films.mkdir()
        trial.traffic.send("record", True)

    def end(self, trial: Trial) -> None:
        for child in psutil.Process(trial.show.pid).children():
            with contextlib.suppress(psutil.Error):
                if "engine.recording" in child.cmdline():
                    child.kill()

    def back(self, trial: Trial, row: Row, begun_at: float, ended_at: float) -> float | None:
        """The performer is told that it has ended; the control is off again by then."""
        told = row["at"] > ended_at and any("the recording ended" in line for line in row["lines"])
        return row["at"] if told else None


FAULTS: tuple[Fault, ...] = (
    EngineKilled(), Unplugged(), EngineFrozen(), ServerKilled(), EngineOutOfMemory(), OscStorm(), BundleBroken(),
    ServerFrozen(), RecorderKilled(), Suspended(),
)  # fmt: skip
"""In the order in which they are done: between two that stop the engine lies one that does not, so that the engine
does not fail three times within a minute unless a fault means it to."""


def choose(names: str) -> tuple[Fault, ...]:
    """The faults of a list like `engine-kill,microphone`, `all` or `none`. `CymaticError` names what is not known."""
    if names in ("all", "none"):
        return FAULTS if names == "all" else ()
    known = {fault.name: fault for fault in FAULTS}
    wanted = [name.strip() for name in names.split(",") if name.strip()]
    unknown = [name for name in wanted if name not in known]
    if unknown:
        raise CymaticError(f"no fault is called {unknown[0]!r}; there are {', '.join(known)}")
    return tuple(known[name] for name in wanted)


def release(processes: Sequence[psutil.Process]) -> None:
    """Lets go on what was stopped and has not been replaced."""
    for process in processes:
        with contextlib.suppress(psutil.Error):
            process.resume()


def _microphone(trial: Trial) -> VirtualMicrophone:
    assert trial.microphone is not None
    return trial.microphone
