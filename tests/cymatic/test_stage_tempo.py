"""The beat of a show: taps, the fader, corrections, what the engine hears, and presets that wait for it."""

from __future__ import annotations

import numpy as np
import pytest

from cymatic.tempo import NUDGE_S, Tempo
from engine.control.desk import Desk

NOT_YET = {"state": "loading"}


def heard(count: float, bpm: float, at: float) -> dict:
    return {"beat": {"count": count, "bpm": bpm, "confidence": 0.9, "at": at}}


@pytest.fixture
def desk() -> Desk:
    return Desk()


@pytest.fixture
def tempo(desk: Desk) -> Tempo:
    return Tempo(desk)


def tap(tempo: Tempo, *times: float) -> None:
    for at in times:
        assert tempo.obey("tempo/tap", at)


def test_without_any_beat_nothing_is_told_and_nothing_waits(tempo: Tempo, desk: Desk):
    desk.set("quantise", "bar", "test")
    tempo.follow(NOT_YET, 0.0)
    assert tempo.for_engine(0.0) is None
    tempo.wait()
    assert tempo.is_time(0.0)
    assert tempo.brief(0.0) == {"beat": 0, "bpm": 0.0, "clock": ""}
    assert not tempo.obey("preset/next", 0.0)


def test_taps_make_a_tempo_that_stands_on_the_desk(tempo: Tempo, desk: Desk):
    tap(tempo, 10.0, 10.5, 11.0)
    tempo.follow(NOT_YET, 11.0)
    assert desk.get("tempo/bpm") == pytest.approx(120.0)
    told = tempo.for_engine(11.25)
    assert told["bpm"] == pytest.approx(120.0)
    assert told["count"] % 1.0 == pytest.approx(0.5)
    assert tempo.for_engine(99.0) is told, "the engine counts on by itself"
    assert tempo.brief(11.25) == {"beat": 3, "bpm": 120.0, "clock": "tap"}


def test_taps_faster_than_the_fader_goes_count_all_the_same(tempo: Tempo, desk: Desk):
    tap(tempo, 10.0, 10.2, 10.4)
    tempo.follow(NOT_YET, 10.4)
    assert desk.get("tempo/bpm") == 240.0
    assert tempo.brief(10.4)["bpm"] == 300.0


def test_the_fader_sets_a_tempo_and_at_zero_lets_go(tempo: Tempo, desk: Desk):
    tempo.follow(heard(3.0, 100.0, 5.0), 5.0)
    desk.set("tempo/bpm", 90, "test")
    tempo.follow(NOT_YET, 5.0)
    assert tempo.brief(5.0)["clock"] == "tap"
    assert tempo.for_engine(5.0)["bpm"] == 90.0
    desk.set("panic", 1, "test")
    tempo.follow(heard(3.0, 100.0, 5.0), 5.0)
    assert tempo.brief(5.0)["clock"] == "heard"


def test_what_is_heard_needs_no_telling_until_it_is_corrected(tempo: Tempo):
    tempo.follow(heard(8.5, 120.0, 20.0), 20.1)
    assert tempo.for_engine(20.1) is None
    tempo.obey("tempo/resync", 20.1)
    assert tempo.for_engine(20.1)["count"] % 4 == pytest.approx(0.0)
    tempo.obey("tempo/nudge/earlier", 20.1)
    assert tempo.for_engine(20.1)["count"] % 4 == pytest.approx(2 * NUDGE_S)
    tempo.obey("tempo/nudge/later", 20.1)
    assert tempo.for_engine(20.1)["count"] % 4 == pytest.approx(0.0, abs=0.011)


def test_panic_lets_taps_go_and_what_was_corrected_with_them(tempo: Tempo, desk: Desk):
    tap(tempo, 10.0, 10.5)
    tempo.follow(NOT_YET, 10.5)
    tempo.obey("tempo/resync", 10.8)
    desk.set("panic", 1, "test")
    tempo.follow(NOT_YET, 11.0)
    assert tempo.brief(11.0)["clock"] == ""
    desk.set("tempo/bpm", 120, "test")
    tempo.follow(NOT_YET, 12.0)
    assert tempo.for_engine(12.0)["count"] == 0.0


def test_midi_clock_counts_before_taps(tempo: Tempo):
    tap(tempo, 10.0, 10.5)
    for pulse in range(96):
        tempo.midi_clock.pulse(10.0 + pulse * 60.0 / 140.0 / 24)
    now = 10.0 + 95 * 60.0 / 140.0 / 24
    assert tempo.brief(now)["clock"] == "MIDI clock"
    assert tempo.brief(now)["bpm"] == pytest.approx(140.0)


def comes_at(tempo: Tempo, called: float, corrected: float = 99.0, correct=lambda now: None) -> float:
    """When a call comes that was made at `called`, in steps of 10 ms; from `corrected` on `correct` was done once."""
    tempo.wait()
    for now in np.arange(called, called + 30.0, 0.01):
        if now >= corrected:
            correct(now)
            corrected = np.inf
        tempo.follow(NOT_YET, now)
        if tempo.is_time(now):
            return float(now)
    raise AssertionError("it never came")


@pytest.mark.parametrize(("quantise", "at"), [("off", 10.7), ("beat", 11.0), ("bar", 12.0)])
def test_a_call_waits_for_its_beat_or_bar(tempo: Tempo, desk: Desk, quantise: str, at: float):
    desk.set("quantise", quantise, "test")
    tap(tempo, 10.0, 10.5)
    assert comes_at(tempo, 10.7) == pytest.approx(at, abs=0.011)
    assert comes_at(tempo, 12.0) == 12.0, "on the beat nothing waits"


def test_a_call_that_waits_follows_every_correction_of_the_beat(tempo: Tempo, desk: Desk):
    def nudge(way: str, now: float) -> None:
        for _ in range(10):
            tempo.obey(f"tempo/nudge/{way}", now)

    desk.set("quantise", "bar", "test")
    tap(tempo, 10.0, 10.5)
    assert comes_at(tempo, 10.7, 11.0, lambda now: nudge("later", now)) == pytest.approx(12.15, abs=0.011)
    assert comes_at(tempo, 12.6, 13.0, lambda now: nudge("earlier", now)) == pytest.approx(14.0, abs=0.011)
    for bar in (14.6, 15.8):  # nearer to the bar before, and to the one after
        came = comes_at(tempo, bar - 0.2, bar, lambda now: tempo.obey("tempo/resync", now))
        assert came == pytest.approx(bar, abs=0.011)
    slower = comes_at(tempo, 16.0, 16.8, lambda now: desk.set("tempo/bpm", 60.0, "test"))
    assert slower == pytest.approx(18.8, abs=0.04), "the last two beats of the bar take twice as long"


def test_a_call_that_waits_goes_on_with_another_clock_and_without_one_comes_at_once(tempo: Tempo, desk: Desk):
    desk.set("quantise", "bar", "test")
    tempo.follow(heard(101.0, 120.0, 20.0), 20.0)
    tempo.wait()
    assert not tempo.is_time(20.1)
    tap(tempo, 20.2, 20.7)  # a bar began with the first tap
    assert not tempo.is_time(20.8)
    assert tempo.is_time(22.2)
    tempo.wait()
    assert not tempo.is_time(22.3)
    tempo.follow(heard(202.0, 120.0, 22.3), 22.3)
    desk.set("tempo/bpm", 0.0, "test")
    tempo.follow(NOT_YET, 22.3)
    assert not tempo.is_time(22.4), "far above the bar that was waited for, yet in the middle of one"
    assert tempo.is_time(23.3)
    tempo.wait()
    assert not tempo.is_time(23.4)
    assert tempo.is_time(30.0), "nothing has been heard for seconds"


def test_panic_puts_quantise_back(desk: Desk):
    desk.set("quantise", "bar", "test")
    desk.set("panic", 1, "test")
    assert desk.get("quantise") == "off"
