"""The beat of a show: which clock counts, what the performer corrects, and when presets may change.

The controls `tempo/...` and `quantise` end here. What is told to the engine is a beat and the time at which it was
there; both sides count on from it by the same clock.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from engine.audio.tempo import Beat
from engine.control.desk import Desk
from engine.control.tempo import BAR, Clock, Clocks, HeardClock, LinkClock, MidiClock, TapClock

NUDGE_S = 0.015
ON_IT = 1e-6  # beats: a bar that `resync` begins is one, however the sum was rounded
DRIFT = 0.01  # beats, and beats a minute, by which the engine may be off before it is told again
EVERY = {"beat": 1, "bar": BAR}


class Tempo:
    """All clocks of a show. One thread, the stage's; all times are `time.perf_counter()`.

    `link` joins the Ableton Link session of this network; `ControlError` where the extra is missing. `midi_clock` takes
    pulses from any thread.
    """

    def __init__(self, desk: Desk, link: bool = False) -> None:
        self.midi_clock = MidiClock()
        self._desk = desk
        self._link = LinkClock() if link else None
        self._tap = TapClock()
        self._heard = HeardClock()
        clocks: list[Clock] = [self.midi_clock, self._tap, self._heard]
        self._clocks = Clocks([self._link, *clocks] if self._link is not None else clocks)
        self._bpm = 0.0  # as the fader was seen last
        self._told: dict[str, float] | None = None
        self._mark = math.inf  # the count that a call waits for

    def stop(self) -> None:
        """Leave the Link session."""
        if self._link is not None:
            self._link.stop()

    def obey(self, trigger: str, now: float) -> bool:
        """True if the trigger is one of the tempo's, and has been done."""
        if trigger == "tempo/tap":
            self._tap.tap(now)
            beat = self._tap.beat_at(now)
            if beat is not None:
                self._desk.show("tempo/bpm", beat.bpm)
                self._bpm = float(self._desk.get("tempo/bpm"))
        elif trigger == "tempo/resync":
            self._clocks.resync(now)
        elif trigger == "tempo/nudge/earlier":
            self._clocks.nudge(NUDGE_S, now)
        elif trigger == "tempo/nudge/later":
            self._clocks.nudge(-NUDGE_S, now)
        else:
            return False
        return True

    def follow(self, status: Mapping[str, Any], now: float) -> None:
        """Take in what the engine hears, and the fader `tempo/bpm` if it has been moved."""
        heard = status.get("beat")
        if heard is not None:
            self._heard.hear(Beat(heard["count"], heard["bpm"], heard["confidence"]), heard["at"])
        bpm = float(self._desk.get("tempo/bpm"))
        if bpm != self._bpm:
            self._bpm = bpm
            self._tap.set_bpm(bpm, now)

    def for_engine(self, now: float) -> dict[str, float] | None:
        """`{"count", "bpm", "at"}`, the same object until the engine would be off; None leaves it to what it hears."""
        found = self._clocks.beat_at(now)
        if found is None or (found[0] == self._heard.name and abs(self._heard.moved) < DRIFT):
            self._told = None
            return None
        _, beat = found
        if self._told is not None:
            counted = Beat(self._told["count"], self._told["bpm"]).after(now - self._told["at"])
            if abs(counted.count - beat.count) < DRIFT and abs(counted.bpm - beat.bpm) < DRIFT:
                return self._told
        self._told = {"count": beat.count, "bpm": beat.bpm, "at": now}
        return self._told

    def wait(self) -> None:
        """From now on a call waits for the next beat or bar, as `quantise` says."""
        self._mark = math.inf

    def is_time(self, now: float) -> bool:
        """Whether that has come, by the clock that counts now and with all that was corrected meanwhile; at once where
        there is none, or nothing to wait for. To be asked in every tick."""
        every = EVERY.get(str(self._desk.get("quantise")))
        found = self._clocks.beat_at(now)
        if every is None or found is None:
            return True
        count = found[1].count
        ahead = float(every * math.ceil((count - ON_IT) / every))
        self._mark = ahead if count > self._mark + 1.0 else min(self._mark, ahead)  # a beat late: another clock counts
        return count >= self._mark - ON_IT

    def brief(self, now: float) -> dict[str, float | str]:
        """For those who listen by OSC."""
        found = self._clocks.beat_at(now)
        if found is None:
            return {"beat": 0, "bpm": 0.0, "clock": ""}
        name, beat = found
        return {"beat": int(beat.count) % BAR + 1, "bpm": round(beat.bpm, 1), "clock": name}
