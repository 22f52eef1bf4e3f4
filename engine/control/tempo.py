"""Whose beat counts: Ableton Link, then MIDI clock, then taps, then what is heard.

Each clock answers `beat_at(now)` with a `Beat`, or None while it does not run, and `Clocks` takes the first that
answers. All times are `time.perf_counter()` in seconds, so that the engine can go on counting from a beat it was told.
Four beats are a bar; the first beat of a bar is where `count` is a multiple of four. What the performer corrects, a
clock keeps until it begins anew: a row of taps, MIDI start, a beat that is found again.
"""

from __future__ import annotations

import math
import threading
import time
from collections import deque
from collections.abc import Sequence
from typing import Any, Protocol

import numpy as np

from engine.audio.tempo import Beat
from engine.errors import ControlError

__all__ = ["BAR", "Clock", "Clocks", "HeardClock", "LinkClock", "MidiClock", "TapClock"]

BAR = 4
SLOWEST, FASTEST = 20.0, 400.0  # bpm that a clock may tell
PULSES = 24  # of MIDI clock in a beat
MIDI_FIT, MIDI_LEAST = 2 * PULSES, 8  # pulses that the straight line goes through, and without which there is none
MIDI_LOST_S = 0.5  # a clock that is silent for so long has stopped
TAPS, TAP_LOST_S = 8, 3.0  # taps that count together; a longer pause begins anew
HEARD_LOST_S = 2.0


class Clock(Protocol):
    """What gives a beat. `name` for the performer."""

    name: str

    def beat_at(self, now: float) -> Beat | None:
        """Where the music is at this time; None while the clock does not run."""

    def move(self, beats: float) -> None:
        """Be so many beats further on, until the clock begins anew."""


class LinkClock:
    """The session of Ableton Link on this network (extra `link`). It is followed, never told a tempo.

    Alone in the session it gives no beat. The constructor raises `ControlError` when the extra is not installed. Link
    has threads of its own until `stop`.
    """

    name = "Link"

    def __init__(self) -> None:
        try:
            import link
        except ImportError:
            raise ControlError("Ableton Link needs an extra: pip install 'cymatic[link]'") from None
        self._link: Any = link.Link(120.0)
        self._link.enabled = True

    @property
    def peers(self) -> int:
        """Others in the session."""
        return int(self._link.numPeers())

    def beat_at(self, now: float) -> Beat | None:
        """As `Clock.beat_at`. Link's phase 0 is the first beat of a bar for everyone."""
        if not self.peers:
            return None
        state = self._link.captureSessionState()
        micros = self._link.clock().micros() + round(1e6 * (now - time.perf_counter()))
        return Beat(float(state.beatAtTime(micros, float(BAR))), float(state.tempo()))

    def move(self, beats: float) -> None:
        """Does nothing: the session belongs to everyone."""

    def stop(self) -> None:
        """Leave the session."""
        self._link.enabled = False


class MidiClock:
    """MIDI clock: `pulse` for every 0xF8, `start` for 0xFA, `go_on` for 0xFB, `halt` for 0xFC, `locate` for 0xF2; from
    any thread.

    A pulse comes late by what USB and the operating system please, so beat and tempo are those of the straight line
    through the last two beats of pulses.
    """

    name = "MIDI clock"

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._pulses: deque[float] = deque(maxlen=MIDI_FIT)
        self._number = 0  # of the next pulse
        self._runs = True  # clocks that send no start, as many do, run from their first pulse
        self._moved = 0.0  # beats

    def pulse(self, now: float) -> None:
        """One 24th of a beat has passed; while it halts, none has."""
        with self._lock:
            if not self._runs:
                return
            if self._pulses and now - self._pulses[-1] > MIDI_LOST_S:
                self._pulses.clear()
            self._pulses.append(now)
            self._number += 1

    def start(self) -> None:
        """The next pulse is the first beat of a bar."""
        with self._lock:
            self._number, self._runs, self._moved = 0, True, 0.0
            self._pulses.clear()

    def go_on(self) -> None:
        """Goes on where it halted, at whatever tempo comes now."""
        with self._lock:
            if not self._runs:
                self._runs = True
                self._pulses.clear()

    def locate(self, sixteenths: int) -> None:
        """The next pulse is so many sixteenth notes into the song (MIDI 1.0, Song Position Pointer)."""
        with self._lock:
            self._number, self._moved = PULSES // 4 * sixteenths, 0.0

    def halt(self) -> None:
        """Stands still, though pulses may go on."""
        with self._lock:
            self._runs = False

    def beat_at(self, now: float) -> Beat | None:
        """As `Clock.beat_at`."""
        with self._lock:
            pulses, last, moved = np.array(self._pulses), self._number - 1, self._moved
        if not self._runs or len(pulses) < MIDI_LEAST or now - pulses[-1] > MIDI_LOST_S:
            return None
        number = np.arange(len(pulses)) - (len(pulses) - 1)
        passed = pulses - pulses[-1]
        spread = number - number.mean()
        period = float((spread * passed).sum() / (spread * spread).sum())  # seconds a pulse
        if not SLOWEST <= 60.0 / max(period * PULSES, 1e-9) <= FASTEST:
            return None
        newest = pulses[-1] + float(passed.mean()) - period * float(number.mean())  # where the line has the last pulse
        return Beat((last + (now - newest) / period) / PULSES + moved, 60.0 / (period * PULSES))

    def move(self, beats: float) -> None:
        """As `Clock.move`."""
        with self._lock:
            self._moved += beats


class TapClock:
    """A tempo that was tapped or set as a number, until `release`. One thread."""

    name = "tap"

    def __init__(self) -> None:
        self._taps: deque[float] = deque(maxlen=TAPS)
        self._bpm: float | None = None
        self._count, self._at = 0.0, 0.0

    def tap(self, now: float) -> None:
        """A beat is now. The first tap of a row says where a bar begins; from the second on there is a tempo."""
        if self._taps and now - self._taps[-1] > TAP_LOST_S:
            self._taps.clear()
        beat = None if self._bpm is None else self.beat_at(now)
        self._taps.append(now)
        if len(self._taps) >= 2:
            bpm = 60.0 * (len(self._taps) - 1) / (self._taps[-1] - self._taps[0])
            self._bpm = min(max(bpm, SLOWEST), FASTEST)
        if len(self._taps) == 1 or beat is None:
            self._count, self._at = float(len(self._taps) - 1), now
        else:
            self._count, self._at = float(round(beat.count)), now

    def set_bpm(self, bpm: float, now: float) -> None:
        """Go on from here at this tempo; 0 lets go."""
        if bpm <= 0.0:
            self.release()
            return
        beat = self.beat_at(now)
        self._count, self._at = (0.0 if beat is None else beat.count), now
        self._bpm = min(max(bpm, SLOWEST), FASTEST)

    def release(self) -> None:
        """Forget the tempo, so that a lesser clock counts."""
        self._taps.clear()
        self._bpm = None

    def beat_at(self, now: float) -> Beat | None:
        """As `Clock.beat_at`."""
        if self._bpm is None:
            return None
        return Beat(self._count, self._bpm).after(now - self._at)

    def move(self, beats: float) -> None:
        """As `Clock.move`."""
        self._count += beats


class HeardClock:
    """What the engine hears (`engine.audio.tempo`), told now and then. One thread.

    `moved`: beats by which the performer has corrected it.
    """

    name = "heard"

    def __init__(self) -> None:
        self.moved = 0.0
        self._beat: Beat | None = None
        self._at = -math.inf

    def hear(self, beat: Beat | None, at: float) -> None:
        """The engine's newest beat and its time."""
        if beat is None or (self._beat is not None and beat.count < self._beat.count):
            self.moved = 0.0  # a tracker never goes back: it has lost the beat and found another, or is a new one
        self._beat, self._at = beat, at

    def beat_at(self, now: float) -> Beat | None:
        """As `Clock.beat_at`."""
        if self._beat is None or now - self._at > HEARD_LOST_S:
            return None
        beat = self._beat.after(now - self._at)
        return Beat(beat.count + self.moved, beat.bpm, beat.confidence)

    def move(self, beats: float) -> None:
        """As `Clock.move`."""
        self.moved += beats


class Clocks:
    """The first clock that runs, and what the performer corrects in it. One thread."""

    def __init__(self, clocks: Sequence[Clock]) -> None:
        self._clocks = tuple(clocks)

    def beat_at(self, now: float) -> tuple[str, Beat] | None:
        """Whose beat counts, and where it is; None when no clock runs."""
        found = self._running(now)
        return None if found is None else (found[0].name, found[1])

    def resync(self, now: float) -> None:
        """A bar begins now."""
        if (found := self._running(now)) is not None:
            clock, beat = found
            clock.move(BAR * round(beat.count / BAR) - beat.count)

    def nudge(self, seconds: float, now: float) -> None:
        """The beat comes so much earlier; later below 0."""
        if (found := self._running(now)) is not None:
            clock, beat = found
            clock.move(seconds * beat.bpm / 60.0)

    def _running(self, now: float) -> tuple[Clock, Beat] | None:
        beats = ((clock, clock.beat_at(now)) for clock in self._clocks)
        return next(((clock, beat) for clock, beat in beats if beat is not None), None)
