"""What leaves the house besides the windows: recordings, stills, and the picture for other programs.

The stage hands every picture it shows to a reel in shared memory (`engine.reel`), in the size in which it was painted
and with the look and the level of the master fade beside it; processes of their own do the rest. So all that a
recording costs the stage is one copy of each picture, and nothing here waits for a disk or a driver.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import platformdirs

from cymatic.stills import Stills
from engine.control.desk import Desk
from engine.finish import Shown
from engine.look import Look
from engine.outlet import Outlet
from engine.present import apply_output, draw_test_card
from engine.reel import Reel
from engine.sinks import SinkName
from engine.slot import Frame

REEL_BYTES = 48 << 20
"""Memory for pictures that wait to be written down: a third of a second at 1024×576 and 60 frames a second."""
REEL_RECORDS = (4, 64)
USUAL_RATE = 48_000
USUAL_FPS = 60.0
STILL_S = 5.0
"""A process that gives no sign of life for so long is worth a line."""
FINISH_S = 3.0
"""How long the end of the show waits for a recording to be finished; it plays even if it is not."""


class Outlets:
    """Recordings, stills and sinks of one show. Every method belongs to the stage's thread; none waits but `stop`.

    `sound`: the reel that the engine fills. `folder`: where recordings and stills go, None for the user's own folders
    of videos and pictures. `fps`: the rate that sinks announce. `tell` hears a line whenever something happened.
    """

    def __init__(
        self,
        desk: Desk,
        size: tuple[int, int],
        sound: Reel,
        tell: Callable[[str], None],
        folder: Path | None = None,
        share: Sequence[SinkName] = (),
        fps: float | None = None,
    ) -> None:
        self._desk, self._size, self._sound, self._tell = desk, size, sound, tell
        self._films = folder or platformdirs.user_videos_path() / "cymatic"
        self._stills = Stills(folder or platformdirs.user_pictures_path() / "cymatic", tell)
        self._wanted, self._fps = tuple(share), fps or USUAL_FPS
        self._held: Frame | None = None
        self._pictures: Reel | None = None
        self._newest: Shown | None = None
        self._written: Shown | None = None
        self._take: Outlet | None = None
        self._told_path = False
        self._finishing: list[Outlet] = []
        self._sinks: dict[SinkName, Outlet] = {}
        self._where: dict[SinkName, str] = {}

    @property
    def recording(self) -> Mapping[str, Any] | None:
        """`path`, `seconds`, `pictures`, `dropped`, `gaps` and `mib` of the recording that runs, or None."""
        return None if self._take is None else {**_NOTHING, **self._take.status}

    def start(self) -> None:
        """Opens the sinks that were asked for."""
        for name in self._wanted:
            outlet = self._open("engine.sinks", {"sink": name, "fps": self._fps})
            if outlet is not None:
                self._sinks[name] = outlet

    def follow(self, frame: Frame | None) -> None:
        """Takes note of the newest picture, and hands on what the audience sees now if that has changed."""
        if self._held is None or not self._desk.get("freeze"):
            self._held = frame
        if self._held is None:
            return
        followed = self._pictures is not None and bool(self._take or self._sinks)
        if not followed and not self._desk.get("look/trails"):
            self._stills.forget()
            return
        shown = self._shown(self._held)
        self._stills.follow(shown)
        if followed and self._pictures is not None and shown is not self._written:
            self._written = shown
            self._pictures.write(shown.rgba, shown.at, shown.level, shown.numbers)

    def present(self) -> np.ndarray | None:
        """What the audience sees now, but for the look: uint8 RGBA [H, W, 4]; None before the first picture."""
        if self._held is None:
            return None
        shown = self._shown(self._held)
        return apply_output(shown.rgba, shown.level, blackout=shown.level <= 0.0, test_card=False)

    def take_still(self) -> None:
        """Writes what the audience sees now as a PNG file, on a thread of its own."""
        self._stills.take(None if self._held is None else self._shown(self._held))

    def tick(self, sample_rate: int | None) -> None:
        """Follows the control `record` and what the processes tell; `sample_rate` of the sound, once it is known."""
        wanted = self._desk.get("record")
        if wanted and self._take is None:
            self._begin_take(sample_rate or USUAL_RATE)
        elif not wanted and self._take is not None:
            self._take.finish()
            self._finishing.append(self._take)
            self._take = None
        if self._take is not None:
            self._watch_take(self._take)
        for take in [take for take in self._finishing if take.poll() is not None]:
            self._finishing.remove(take)
            self._tell(_outcome(take))
            take.stop(0.0)
        for name, sink in list(self._sinks.items()):
            self._watch_sink(name, sink)
        self._stills.tick()

    def finish(self) -> None:
        """Asks every process to come to its end, while the rest of the stage does."""
        if self._take is not None:
            self._finishing.append(self._take)
            self._take = None
        for outlet in (*self._finishing, *self._sinks.values()):
            outlet.finish()

    def stop(self) -> None:
        """Ends every process and thread, and frees the memory. Safe to call twice."""
        self.finish()
        for take in self._finishing:
            take.stop(FINISH_S)
            self._tell(_outcome(take))
        for sink in self._sinks.values():
            sink.stop(FINISH_S / 2)
        self._finishing.clear()
        self._sinks.clear()
        self._stills.stop(FINISH_S)
        if self._pictures is not None:
            self._pictures.close()
            self._pictures = None

    def _shown(self, held: Frame) -> Shown:
        """What is shown now, since when, by the rule of `engine.present`; the test card has no look."""
        desk, now = self._desk, time.perf_counter()
        limit = bool(desk.get("flash/limit"))
        if desk.get("testcard") and not desk.get("blackout"):
            shown = Shown(draw_test_card(*self._size), now, limit=limit)
        else:
            level = 0.0 if desk.get("blackout") else float(desk.get("master"))
            look = Look.of(desk).moved(held.look)
            shown = Shown(held.rgba, now, level, look, limit)
        if self._newest is None or not shown.same_as(self._newest):
            self._newest = shown
        return self._newest

    def _open(self, module: str, options: Mapping[str, Any]) -> Outlet | None:
        """A started process that sees the pictures; None, and a line, when the system refuses."""
        height, width = self._size
        try:
            if self._pictures is None:
                fewest, most = REEL_RECORDS
                records = min(max(REEL_BYTES // (4 * height * width), fewest), most)
                self._pictures = Reel.create(records, 4 * height * width)
            outlet = Outlet(module, {**options, "pictures": self._pictures.name, "height": height, "width": width})
        except OSError as error:
            self._tell(f"no picture can be handed on: {error.strerror}")
            return None
        try:
            outlet.start()
        except OSError as error:
            outlet.stop(0.0)
            self._tell(f"{module} cannot be started: {error.strerror}")
            return None
        self._written = None  # the newcomer wants to see what stands
        return outlet

    def _begin_take(self, sample_rate: int) -> None:
        options = {"sound": self._sound.name, "folder": str(self._films), "sample_rate": sample_rate}
        self._take = self._open("engine.recording", options)
        self._told_path = False
        if self._take is None:
            self._desk.show("record", False)

    def _watch_take(self, take: Outlet) -> None:
        code = take.poll()
        if code is not None:  # by itself, so something is wrong
            self._take = None
            self._desk.show("record", False)
            self._tell(_outcome(take))
            take.stop(0.0)
            return
        if not self._told_path and take.status.get("path"):
            self._told_path = True
            self._tell(f"recording to {take.status['path']}")
        if take.fell_silent(STILL_S):
            what = "stands still" if self._told_path else "does not begin"
            self._tell(f"the recording {what}: its disk, or a machine that is too busy, does not let it go on")

    def _watch_sink(self, name: SinkName, sink: Outlet) -> None:
        code = sink.poll()
        where = sink.status.get("where")
        if code is not None:
            del self._sinks[name]
            self._where.pop(name, None)
            self._tell(sink.status.get("error") or f"{name} ended ({_reason(code)})")
            sink.stop(0.0)
        elif where is not None and name not in self._where:
            self._where[name] = str(where)
            self._tell(f"the picture is shared by {where}")
        elif sink.fell_silent(STILL_S):
            what = "does not begin" if where is None else "stands still"
            self._tell(f"{where or name} {what}: its driver, or a machine that is too busy, does not let it go on")


_NOTHING = {"path": "", "seconds": 0.0, "pictures": 0, "dropped": 0, "gaps": 0, "mib": 0.0}


def _outcome(take: Outlet) -> str:
    """One line on a recording that has ended."""
    code, status = take.poll(), {**_NOTHING, **take.status}
    if status.get("error"):
        return str(status["error"])
    minutes, seconds = divmod(int(status["seconds"]), 60)
    length = f"{minutes}:{seconds:02}"
    if code != 0:
        kept = f"; {status['path']} plays up to about {length}" if status["path"] else ""
        return f"the recording ended ({_reason(code)}){kept}"
    faults = ((status["dropped"], "picture{} dropped"), (status["gaps"], "gap{} in the sound"))
    told = "".join(f", {count} {what.format('s' * (count > 1))}" for count, what in faults if count)
    return f"recorded {length} to {status['path']}{told}"


def _reason(code: int | None) -> str:
    if code is None:  # stuck in a driver or a network folder
        return "its process cannot be ended"
    return f"signal {-code}" if code < 0 else f"exit code {code}"
