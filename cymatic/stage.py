"""The stage process: what the audience and the performer touch, and the engine that it keeps playing.

The stage owns the desk, OSC, presets, the shared memory and the engine process. It has no loop of its own: a window's
timer or the headless loop calls `tick`. Blackout, freeze, master fade and test card act here, so they work while the
engine is dead; until a new one plays, the last picture stays.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from cymatic.briefing import briefing
from cymatic.calls import Calls
from cymatic.keeper import Keeper
from cymatic.outlets import Outlets
from cymatic.shows import midi_file
from cymatic.tempo import Tempo
from engine.bundle import Bundle
from engine.control.desk import Desk, Trigger
from engine.control.midi import Midi
from engine.control.midi_ports import open_midi
from engine.control.osc import DEFAULT_PORT, OscServer
from engine.control.oscquery import Advertisement, OscQuery
from engine.errors import ControlError
from engine.links import Links
from engine.sinks import SinkName
from engine.slot import Frame

if TYPE_CHECKING:
    from presets.store import Bank, PresetStore

EVENTS_KEPT = 200
ERRORS_SHOWN = 20
RATE_OVER_S = 1.0
BRIEF_S = 0.1
"""How often those who subscribed by OSC may be told how the show is doing."""


@dataclass(frozen=True, slots=True)
class EngineOptions:
    """What the engine is asked to play; see the flags of `cymatic live`."""

    source: str = "mic"
    device: str | None = None
    runtime: str = "auto"
    fps: float | None = None
    threads: int | None = None
    channel: int = 0


class Stage:
    """One show. Every method belongs to one thread. Implements `engine.view.StageView`.

    `preset`: the one to begin with; see `cymatic.calls.Calls` for None. `say` hears every line for the performer as it
    comes up. The constructor raises `PresetError` when the preset cannot be played and leaves nothing behind; `start`
    `ControlError` when a port that was asked for is taken.
    """

    def __init__(
        self,
        bundle: Bundle,
        store: PresetStore,
        options: EngineOptions,
        preset: str | None = None,
        osc_host: str = "127.0.0.1",
        osc_port: int = DEFAULT_PORT,
        osc_allow: Sequence[str] = (),
        oscquery_port: int | None = None,
        advertise: bool = False,
        link: bool = False,
        midi: str | None = None,
        record_to: Path | None = None,
        share: Sequence[SinkName] = (),
        say: Callable[[str], None] = lambda line: None,
    ) -> None:
        self.bundle = bundle
        self.desk = Desk()
        self.fatal: str | None = None
        """Why the engine could not even begin; one line. The show then ends."""
        self.events: deque[tuple[float, str]] = deque(maxlen=EVENTS_KEPT)
        """(perf_counter time, line) of everything worth telling, oldest first."""
        self.closing = False
        self.on_close: Callable[[], None] = lambda: None
        """Called by every `tick` once the show is to end, so that no loop misses it that begins late."""
        self._say = say
        self._tempo = Tempo(self.desk, link)
        self._calls = Calls(self.desk, store, bundle, preset, self._tempo, self.tell)
        self._midi_name = midi
        self._midi = Midi(self.desk, tell=self.tell)  # until a controller is opened nothing plays on this one
        self._briefed_at = 0.0
        self._told: dict[str, Any] = {}
        self._controls: dict[str, Any] = {}
        self._frame: Frame | None = None
        self._arrivals: deque[tuple[float, int]] = deque(maxlen=256)

        image = bundle.manifest.image
        self.image_size = (image.height, image.width)
        self._links = Links.create(image.height, image.width)
        self._outlets = Outlets(self.desk, self.image_size, self._links.sound, self.tell, record_to, share, options.fps)
        self._osc = OscServer(self.desk, osc_host, osc_port, osc_allow)
        self._osc_port, self._oscquery_port = osc_port, oscquery_port
        self._query: OscQuery | None = None
        self._advertisement: Advertisement | None = None
        self._advertise = advertise or not osc_host.startswith("127.")
        self.desk.show("sound/channel", float(options.channel))
        self._keeper = Keeper(asdict(options), self._links, bundle, self.tell, self._change_bundle)
        self._send()

    def start(self) -> None:
        """Opens the OSC port and starts the engine. `ControlError` when the port cannot be had."""
        if self._midi_name is not None:
            self._midi = open_midi(self._midi_name, self.desk, midi_file(), self._tempo.midi_clock, self.tell)
        self._osc.start()
        self._answer_queries()
        self._keeper.start()
        self._calls.start()
        self._outlets.start()
        if self._advertise and self._query is not None:  # takes a second, in which the engine loads
            self._advertisement = Advertisement(self._osc.host, self._osc.port, self._query.port)
            try:
                self._advertisement.start()
            except ControlError as error:
                self.tell(str(error))

    def stop(self) -> None:
        """Ends the engine and OSC and frees the shared memory; within two seconds, five if a recording cannot be
        finished at once. Safe to call twice."""
        self._outlets.finish()
        self._osc.stop()
        self._midi.stop()
        self._tempo.stop()
        self._keeper.stop()
        for told in (self._advertisement, self._query):
            if told is not None:
                told.stop()
        self._outlets.stop()
        self._osc.join()
        self._calls.stop()
        self._links.close()

    def close(self) -> None:
        """Asks the show to end. May be called from a signal handler."""
        self.closing = True

    # -- what goes on

    def tick(self) -> None:
        """Moves the stage on: triggers, controls, status, the engine's health. Never blocks, never raises."""
        if self.closing:
            self.on_close()
        now = time.perf_counter()
        for trigger in self.desk.take_triggers():
            self._obey(trigger, now)
        self._midi.tick()
        self._calls.tick(now)
        self._tempo.follow(self.status, now)
        self._send()
        for line in self._osc.take_notes():
            self.tell(line)
        self._brief()
        self._outlets.tick(self.status.get("audio", {}).get("sample_rate"))
        self._keeper.tick(now)
        if self._keeper.fatal is not None and self.fatal is None:  # nothing to show and there will be nothing
            self.fatal = self._keeper.fatal
            self.close()

    def newest_frame(self) -> Frame | None:
        """The newest picture since the last call, or None when there is no newer one."""
        frame = self._links.slot.newest(0 if self._frame is None else self._frame.index)
        if frame is not None:
            self._frame = frame
            self._arrivals.append((frame.published_at, frame.index))
        self._outlets.follow(self._frame)
        return frame

    def present(self) -> np.ndarray | None:
        """What the audience sees now, uint8 RGBA [H, W, 4]: freeze, test card, master and blackout applied to the
        newest picture. None before the first one."""
        self._outlets.follow(self._frame)
        return self._outlets.present()

    def tell(self, line: str, at: float | None = None) -> None:
        """Notes a line for the performer and the report; `at` is its perf_counter time, None for now."""
        self.events.append((time.perf_counter() if at is None else at, line))
        self._say(line)

    # -- what a window asks

    @property
    def status(self) -> Mapping[str, Any]:
        """Newest status of the engine; see docs/architecture.md."""
        return self._keeper.status

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
        return self._keeper.late_frames

    @property
    def controls_received(self) -> int:
        """Control messages from outside, refused ones too; what presets put on the desk does not count."""
        counters = self.desk.counters
        return counters["received"] - counters.get("received/preset", 0)

    @property
    def engine_pid(self) -> int | None:
        """Process id of the engine."""
        return self._keeper.pid

    @property
    def osc_port(self) -> int:
        """The port that OSC listens on."""
        return self._osc.port

    @property
    def recording(self) -> Mapping[str, Any] | None:
        """`path`, `seconds`, `pictures`, `dropped`, `gaps` and `mib` of the recording that runs, or None."""
        return self._outlets.recording

    @property
    def preset(self) -> str:
        """Name of the preset that plays or is being faded to; "" without one."""
        return self._calls.preset

    def preset_names(self) -> list[str]:
        """Names in the order of `preset/next` and of the 1-based `preset/go`."""
        return self._calls.names

    @property
    def tempo(self) -> Mapping[str, Any]:
        """`beat`, `bpm` and `clock`, as those who listen by OSC are told."""
        return self._tempo.brief(time.perf_counter())

    @property
    def midi(self) -> Midi:
        """The MIDI controller; one without ports where none is open."""
        return self._midi

    @property
    def inputs(self) -> list[str]:
        """What the show can be steered by besides its windows."""
        return [f"OSC {self._osc.host}:{self._osc.port}", *(f"MIDI {name}" for name in self._midi.names)]

    def listen(self, device: str, channel: int = 0) -> None:
        """Hear another input from now on, or "demo", and one of its channels, from 1, or the mean of all; for another
        input the engine begins anew."""
        heard, before = self.status.get("audio") or {}, self.desk.get("sound/channel")
        there = self.status["state"] == "playing" and device == heard.get("device") and channel <= heard["channels"]
        if not there or channel == before:
            self._keeper.listen(device, channel, lambda: self.desk.show("sound/channel", before))
        self.desk.show("sound/channel", float(channel))

    def banks(self) -> list[Bank]:
        """All banks of presets."""
        return self._calls.banks

    @property
    def oscquery_port(self) -> int | None:
        """The port that OSCQuery answers on; None when it could not be had."""
        return None if self._query is None else self._query.port

    # -- inside

    def _answer_queries(self) -> None:
        """OSCQuery on the port after OSC's. That it is taken is worth a line, unless this port was asked for."""
        port = self._oscquery_port
        if port is None:
            port = self._osc.port + 1 if self._osc_port else 0
        query = OscQuery(self.desk, self._osc.host, port, self._osc.port, self._osc.admits)
        try:
            query.start()
        except ControlError as error:
            if self._oscquery_port is not None:
                raise
            self.tell(str(error))
        else:
            self._query = query

    def _obey(self, trigger: Trigger, now: float) -> None:
        if trigger.name.startswith("midi/"):
            self._midi.obey(trigger.name)
            return
        self._midi.touched(trigger)
        if trigger.name == "panic":
            self._calls.panic()
            self.tell("panic: the picture is back, lit and at its defaults")
        elif trigger.name == "still":
            self._outlets.take_still()
        elif trigger.name.startswith("preset/"):
            self._calls.obey(trigger, now)
        else:
            self._tempo.obey(trigger.name, now)

    def _brief(self) -> None:
        now = time.perf_counter()
        if now - self._briefed_at >= BRIEF_S:
            self._briefed_at = now
            self._osc.publish(briefing(self))

    def _send(self) -> None:
        """Tells the engine what has changed."""
        if self._calls.told is not self._told:
            self._told = self._calls.told
            self._links.preset.put(self._told)
        clock = self._tempo.for_engine(time.perf_counter())
        told = {"controls": self.desk.snapshot(), "clock": clock, "preset": self._told["serial"]}
        if told != self._controls:
            self._controls = told
            self._links.controls.put(told)

    def _change_bundle(self, bundle: Bundle) -> None:
        self.bundle = bundle
        self._calls.change_bundle(bundle)
        self._send()
