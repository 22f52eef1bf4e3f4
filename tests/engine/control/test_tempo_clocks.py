"""Clocks: each on its own, and who counts when several run."""

from __future__ import annotations

import time

import numpy as np
import pytest

from engine.audio.tempo import Beat
from engine.control.tempo import BAR, Clocks, HeardClock, LinkClock, MidiClock, TapClock


def pulses(clock: MidiClock, bpm: float, beats: float, begins: float = 0.0, jitter_s: float = 0.0) -> float:
    """Plays so many beats of clock; the time of the last pulse as it should have been."""
    rng = np.random.default_rng(1)
    times = begins + np.arange(round(24 * beats) + 1) * 60.0 / bpm / 24.0
    for at in times:
        clock.pulse(at + abs(jitter_s * rng.standard_normal()))
    return float(times[-1])


@pytest.mark.parametrize("bpm", [60.0, 127.5, 180.0])
def test_midi_clock_is_steadied(bpm: float):
    clock = MidiClock()
    clock.start()
    last = pulses(clock, bpm, 8, jitter_s=0.002)
    beat = clock.beat_at(last + 0.01)
    assert beat.bpm == pytest.approx(bpm, rel=0.01)
    assert beat.count == pytest.approx(8 + 0.01 * bpm / 60, abs=0.02), "a line through jitter, which is only ever late"
    assert beat.after(0.1).count == pytest.approx(clock.beat_at(last + 0.11).count)


def test_midi_clock_stops_and_starts():
    clock = MidiClock()
    assert clock.beat_at(0.0) is None
    last = pulses(clock, 120, 2)
    assert clock.beat_at(last) is not None, "without a start message too"
    clock.halt()
    assert clock.beat_at(last) is None
    clock.go_on()
    last = pulses(clock, 120, 1 - 1 / 24, begins=last + 0.3)
    assert clock.beat_at(last).count == pytest.approx(3)
    assert clock.beat_at(last + 1) is None, "unplugged"
    last = pulses(clock, 60, 1, begins=last + 5)
    assert clock.beat_at(last).bpm == pytest.approx(60), "the pause is no pulse"
    clock.start()
    assert clock.beat_at(last) is None
    assert clock.beat_at(pulses(clock, 120, 1, begins=last + 0.3)).count == pytest.approx(1)


def test_midi_clock_goes_on_where_it_halted_though_pulses_went_on():
    clock = MidiClock()
    clock.start()
    last = pulses(clock, 120, 2)
    clock.halt()
    last = pulses(clock, 120, 1.25, begins=last + 60 / 120 / 24)
    clock.go_on()
    last = pulses(clock, 90, 1 - 1 / 24, begins=last + 60 / 120 / 24)
    beat = clock.beat_at(last)
    assert (beat.count, beat.bpm) == (pytest.approx(3), pytest.approx(90)), "and nothing before counts for the tempo"


def test_midi_clock_goes_on_from_where_it_is_put():
    """A performer clicks into the arrangement; 16 bars and a half beat are 258 sixteenths."""
    clock = MidiClock()
    clock.start()
    last = pulses(clock, 120, 2)
    clock.move(0.25)
    clock.halt()
    clock.locate(258)
    clock.go_on()
    last = pulses(clock, 120, 3, begins=last + 1.0)
    assert clock.beat_at(last).count == pytest.approx(64.5 + 3)
    clock.locate(16)  # while it runs, as a loop is closed
    beat = clock.beat_at(pulses(clock, 120, 1, begins=last + 60 / 120 / 24))
    assert (beat.count, beat.bpm) == (pytest.approx(4 + 1), pytest.approx(120))


def test_a_flood_is_no_clock():
    clock = MidiClock()
    for number in range(100):
        clock.pulse(1e-6 * number)
    assert clock.beat_at(1e-4) is None


def test_taps():
    clock = TapClock()
    assert clock.beat_at(0.0) is None
    clock.tap(10.0)
    assert clock.beat_at(10.0) is None, "one tap is no tempo"
    for number in range(1, 5):
        clock.tap(10.0 + 0.5 * number)
    beat = clock.beat_at(12.25)
    assert (beat.bpm, beat.count) == (pytest.approx(120), pytest.approx(4.5))
    clock.set_bpm(60.0, 12.25)
    assert clock.beat_at(13.25).count == pytest.approx(5.5)
    clock.tap(20.0)
    assert clock.beat_at(20.0).count == 0.0, "a new row of taps begins a bar"
    assert clock.beat_at(20.0).bpm == 60.0
    clock.set_bpm(0.0, 21.0)
    assert clock.beat_at(21.0) is None


def test_the_first_that_runs_counts():
    midi, tap, heard = MidiClock(), TapClock(), HeardClock()
    clocks = Clocks((midi, tap, heard))
    assert clocks.beat_at(0.0) is None
    heard.hear(Beat(3.0, 100.0, 0.6), 0.0)
    assert clocks.beat_at(0.6) == ("heard", Beat(4.0, 100.0, 0.6))
    tap.set_bpm(90.0, 0.5)
    assert clocks.beat_at(0.5)[0] == "tap"
    last = pulses(midi, 130, 1, begins=1.0)
    assert clocks.beat_at(last)[0] == "MIDI clock"
    assert clocks.beat_at(last + 1.0)[0] == "tap"
    tap.release()
    assert clocks.beat_at(1.99)[0] == "heard"
    assert clocks.beat_at(10.0) is None, "the engine has not told of any beat for seconds"


def test_resync_and_nudge():
    heard = HeardClock()
    clocks = Clocks((heard,))
    clocks.resync(0.0)
    clocks.nudge(0.1, 0.0)
    heard.hear(Beat(6.3, 120.0), 0.0)
    clocks.resync(0.0)
    assert clocks.beat_at(0.0)[1].count % BAR == pytest.approx(0.0, abs=1e-9)
    clocks.nudge(0.015, 0.0)
    assert clocks.beat_at(0.0)[1].count % BAR == pytest.approx(0.03)


def told(clocks: Clocks, now: float) -> float:
    """Where in the bar it is told to be."""
    return clocks.beat_at(now)[1].count % BAR


def test_a_tap_is_a_beat_whatever_was_corrected_before():
    tap = TapClock()
    clocks = Clocks((tap,))
    for number in range(3):
        tap.tap(0.5 * number)
    clocks.resync(1.3)
    assert told(clocks, 1.3) == pytest.approx(0.0, abs=1e-9)
    tap.tap(1.5)
    assert told(clocks, 1.5) % 1.0 == pytest.approx(0.0, abs=1e-9), "in the same row"
    clocks.nudge(0.1, 1.5)
    for number in range(3):
        tap.tap(20.0 + 0.5 * number)
    assert told(clocks, 21.0) == pytest.approx(2.0), "a new row begins a bar"
    clocks.nudge(0.1, 21.0)
    tap.release()
    tap.set_bpm(120.0, 30.0)
    assert told(clocks, 30.0) == 0.0


def test_midi_start_is_a_bar_whatever_was_corrected_before():
    midi = MidiClock()
    clocks = Clocks((midi,))
    clocks.resync(pulses(midi, 120, 2.3))
    midi.start()
    assert told(clocks, pulses(midi, 120, 1, begins=2.0)) == pytest.approx(1.0)


def test_a_tracker_that_begins_anew_is_not_corrected():
    heard = HeardClock()
    clocks = Clocks((heard,))
    heard.hear(Beat(6.3, 120.0), 0.0)
    clocks.resync(0.0)
    heard.hear(Beat(6.5, 120.0), 0.1)
    assert told(clocks, 0.1) == pytest.approx(0.2), "it goes on"
    heard.hear(Beat(0.25, 120.0), 0.5)
    assert told(clocks, 0.5) == pytest.approx(0.25)


def test_link_belongs_to_everyone_and_is_not_corrected(monkeypatch: pytest.MonkeyPatch):
    link = LinkClock.__new__(LinkClock)
    monkeypatch.setattr(LinkClock, "beat_at", lambda self, now: Beat(1.5, 120.0))
    clocks = Clocks((link,))
    clocks.resync(0.0)
    clocks.nudge(0.1, 0.0)
    assert told(clocks, 0.0) == 1.5


def test_link_follows_another_peer():
    link = pytest.importorskip("link", reason="the extra link is not installed")
    other = link.Link(133.0)
    other.enabled = True
    ours = LinkClock()
    try:
        assert ours.beat_at(time.perf_counter()) is None or ours.peers, "alone it gives no beat"
        deadline = time.perf_counter() + 30.0
        while not ours.peers and time.perf_counter() < deadline:
            time.sleep(0.05)
        if not ours.peers:
            pytest.skip("this machine lets no multicast through")
        state = other.captureSessionState()
        state.setTempo(133.0, other.clock().micros())
        other.commitSessionState(state)
        while abs(ours.beat_at(time.perf_counter()).bpm - 133.0) > 0.01 and time.perf_counter() < deadline:
            time.sleep(0.05)
        before, now, after = other.clock().micros(), time.perf_counter(), other.clock().micros()
        beat, state = ours.beat_at(now), other.captureSessionState()
        assert beat.bpm == pytest.approx(133.0, abs=0.01)
        early, late = (state.beatAtTime(micros, float(BAR)) for micros in (before, after))
        assert early - 0.05 < beat.count < late + 0.05
    finally:
        ours.stop()
        other.enabled = False
