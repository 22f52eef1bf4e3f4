"""The stage process: what the audience and the performer touch, and the engine that it keeps playing.

The stage owns the desk, OSC, presets, the shared memory and the engine process. It has no loop of its own: a window's timer
or the headless loop calls `tick`. Blackout, freeze, master fade and test card act here, so they work while the engine is
dead; until a new one plays, the last picture stays.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from engine.bundle import Bundle
from engine.control.desk import Desk, Trigger
from engine.control.osc import DEFAULT_PORT, OscServer
from engine.errors import ControlError, CymaticError, PresetError
from engine.links import Links
from engine.present import apply_output
from engine.slot import Frame
from engine.supervisor import Supervisor

if TYPE_CHECKING:
    from presets import Preset, PresetStore

EVENTS_KEPT = 200
ERRORS_SHOWN = 20
RATE_OVER_S = 1.0


@dataclass(frozen=True, slots=True)
class EngineOptions:
    """What the engine is asked to play; see the flags of `cymatic live`."""

    source: str = "mic"
    device: str | None = None
    runtime: str = "auto"
    fps: float | None = None
    threads: int | None = None


class Stage:
    """One show. Every method belongs to one thread. Implements `engine.view.StageView`.

    `preset`: the one to begin with; None takes the store's first, or a calm landscape when there is none. The constructor
    raises `PresetError` when it cannot be played and leaves nothing behind; `start` raises `ControlError` when the OSC
    port is taken.
    """

    def __init__(
        self,
        bundle: Bundle,
        store: PresetStore,
        options: EngineOptions,
        preset: str | None = None,
        osc_host: str = "127.0.0.1",
        osc_port: int = DEFAULT_PORT,
    ) -> None:
        self.bundle = bundle
        self.desk = Desk()
        self.closing = False
        self.fatal: str | None = None
        """Why the engine could not even begin; one line. The show then ends."""
        self.status: Mapping[str, Any] = {"state": "loading"}
        self.events: deque[tuple[float, str]] = deque(maxlen=EVENTS_KEPT)
        """(perf_counter time, line) of everything worth telling, oldest first."""
        self._store = store
        self._names = list(store.names())
        self.desk.set_options("preset/go", self._names)
        first = self._load(preset) if preset is not None else self._load(self._names[0]) if self._names else None
        image = bundle.manifest.image
        self.image_size = (image.height, image.width)
        self._links = Links.create(image.height, image.width)
        self._osc = OscServer(self.desk, osc_host, osc_port)
        self._supervisor = Supervisor(
            {
                "bundle": str(bundle.folder.absolute()),
                "source": options.source,
                "device": options.device,
                "runtime": options.runtime,
                "fps": options.fps,
                "threads": options.threads,
                "links": self._links.names,
            }
        )
        self.preset = ""
        self._preset_serial = 0
        self._controls: dict[str, Any] = {}
        self._status_index = 0
        self._heard_until = 0.0
        self._late_before = self._late_now = 0
        self._restarts = 0
        self._frame: Frame | None = None
        self._held: Frame | None = None
        self._arrivals: deque[tuple[float, int]] = deque(maxlen=256)
        if first is None:
            self._send_preset("", {"seed": 1}, None, 0.0)
        else:
            self._play(first, 0.0)

    def start(self) -> None:
        """Opens the OSC port and starts the engine. `ControlError` when the port cannot be had."""
        self._osc.start()
        self._send_controls()
        self._supervisor.start()

    def stop(self) -> None:
        """Ends the engine and OSC and frees the shared memory; within two seconds. Safe to call twice."""
        self._osc.stop()
        self._supervisor.stop()
        self._osc.join()
        self._links.close()

    def close(self) -> None:
        """Asks the show to end, at the next look at `closing`. May be called from a signal handler."""
        self.closing = True

    # -- what goes on

    def tick(self) -> None:
        """Moves the stage on: triggers, controls, status, the engine's health. Never blocks, never raises."""
        for trigger in self.desk.take_triggers():
            self._obey(trigger)
        self._send_controls()
        self._read_status()
        line = self._supervisor.poll(self._status_index, loading=self.status.get("state") == "loading")
        if line is not None:
            self.tell(line)
            self.status = {**self.status, "state": "error", "error": line}
            self._late_before += self._late_now
            self._late_now = 0
        if self._supervisor.restarts != self._restarts:
            self._restarts = self._supervisor.restarts
            self.status = {**self.status, "state": "loading"}

    def newest_frame(self) -> Frame | None:
        """The newest picture since the last call, or None when there is no newer one."""
        frame = self._links.slot.newest(0 if self._frame is None else self._frame.index)
        if frame is not None:
            self._frame = frame
            self._arrivals.append((frame.published_at, frame.index))
        return frame

    def present(self) -> np.ndarray | None:
        """What the audience sees now, uint8 RGBA [H, W, 4]: freeze, test card, master and blackout applied to the newest
        picture. None before the first one."""
        if self._held is None or not self.desk.get("freeze"):
            self._held = self._frame
        if self._held is None:
            return None
        desk = self.desk
        return apply_output(
            self._held.rgba, float(desk.get("master")), bool(desk.get("blackout")), bool(desk.get("testcard"))
        )

    def tell(self, line: str) -> None:
        """Notes a line for the performer and the report."""
        self.events.append((time.perf_counter(), line))

    # -- what a window asks

    @property
    def errors(self) -> list[str]:
        """The newest lines for the performer, oldest first."""
        return [line for _, line in list(self.events)[-ERRORS_SHOWN:]]

    @property
    def fps(self) -> float:
        """Pictures a second that reached the slot during the last second."""
        while self._arrivals and self._arrivals[0][0] < time.perf_counter() - RATE_OVER_S:
            self._arrivals.popleft()
        if len(self._arrivals) < 2:
            return 0.0
        (begins, first), (ends, last) = self._arrivals[0], self._arrivals[-1]
        return (last - first) / (ends - begins)

    @property
    def late_frames(self) -> int:
        """Late pictures of the whole show, over all restarts."""
        return self._late_before + self._late_now

    @property
    def engine_pid(self) -> int | None:
        """Process id of the engine."""
        return self._supervisor.pid

    @property
    def osc_port(self) -> int:
        """The port that OSC listens on."""
        return self._osc.port

    def preset_names(self) -> list[str]:
        """Names in the order of `preset/next` and of the 1-based `preset/go`."""
        return self._names

    # -- inside

    def _obey(self, trigger: Trigger) -> None:
        try:
            if trigger.name == "preset/go":
                self._go(str(trigger.value), trigger.fade_s)
            elif trigger.name in ("preset/next", "preset/prev") and self._names:
                step = 1 if trigger.name == "preset/next" else -1
                here = self._names.index(self.preset) if self.preset in self._names else -1
                self._go(self._names[(here + step) % len(self._names)], trigger.fade_s)
            elif trigger.name == "panic":
                self.tell("panic: every control is at its default")
        except (PresetError, ControlError) as error:
            self.tell(str(error))

    def _go(self, name: str, fade_s: float | None) -> None:
        preset = self._load(name)
        if fade_s is None:
            fade_s = float(self.desk.get("fade")) if preset.fade_s is None else preset.fade_s
        self._play(preset, fade_s)

    def _load(self, name: str) -> Preset:
        return self._store.load(name)

    def _play(self, preset: Preset, fade_s: float) -> None:
        """Puts a preset on the desk and sends its place in W+ to the engine."""
        raise NotImplementedError

    def _send_preset(self, name: str, base: dict[str, Any], offset: list[list[float]] | None, fade_s: float) -> None:
        self._preset_serial += 1
        self._links.preset.put(
            {"serial": self._preset_serial, "name": name, "base": base, "offset": offset, "fade_s": fade_s}
        )
        self.preset = name
        if name:
            self.desk.show("preset/go", name)

    def _send_controls(self) -> None:
        controls = self.desk.snapshot()
        if controls != self._controls:
            self._controls = controls
            self._links.controls.put({"controls": controls})

    def _read_status(self) -> None:
        newest = self._links.status.get(self._status_index)
        if newest is None:
            return
        self._status_index, status = newest
        # What an earlier engine told of its sound and speed stays to be seen while a new one loads.
        self.status = {**self.status, **status} if status["state"] != "playing" else status
        for at, line in status.get("events", ()):
            if at > self._heard_until:
                self._heard_until = at
                self.events.append((at, line))
        self._late_now = status.get("late_frames", self._late_now)
        if status.get("fatal") and self._frame is None and self._links.slot.newest_index == 0:
            self.fatal = str(status["error"])
            self.closing = True


def open_stage(
    bundle: str,
    options: EngineOptions,
    preset: str | None = None,
    osc_host: str = "127.0.0.1",
    osc_port: int = DEFAULT_PORT,
) -> Stage:
    """A stage with the bundle and the presets of these names. Raises `CymaticError` with one line."""
    raise CymaticError
