"""An onset gets its picture at once: the player by a clock of the test's own, with real graphs."""

from __future__ import annotations

import threading

import numpy as np
import pytest

from engine.audio.sources import Block, SourceState
from engine.bundle import load_bundle
from engine.links import Links
from engine.pacing import LEAD, Pacer
from engine.painter import GRAPHS
from engine.player import Player
from engine.reel import Reel
from engine.runtime.session import open_graph

RATE = 48_000
SEED = {"serial": 1, "name": "", "base": {"seed": 3}, "offset": None, "fade_s": 0.0}


class Slow:
    """A session that takes its time by the test's clock."""

    def __init__(self, session, sleep, takes_s: float) -> None:
        self._session, self._sleep, self._takes_s = session, sleep, takes_s
        self.runtime, self.precision = session.runtime, session.precision
        self.inputs, self.outputs = session.inputs, session.outputs

    def run(self, feeds):
        self._sleep(self._takes_s)
        return self._session.run(feeds)


class Interruptible(Slow):
    """One that looks up every two milliseconds whether it is to be given up."""

    def run_unless(self, feeds, better):
        for _ in range(round(self._takes_s / 0.002)):
            self._sleep(0.002)
            if better():
                return None
        return self._session.run(feeds)

    def close(self) -> None:
        pass


class Tape:
    """A source by a clock of the test's own: silence, but for noise of 50 ms at each of these times."""

    name, sample_rate, channels, state, error = "tape", RATE, 1, SourceState.RUNNING, None
    gaps, silent_fraction, frames = 0, 0.0, 0

    def __init__(self, clock, strikes) -> None:
        self._clock, self._at = clock, clock()
        self._sound = np.zeros(4 * RATE, np.float32)
        for at in strikes:
            begins = round((at - self._at) * RATE)
            self._sound[begins : begins + RATE // 20] = 0.3 * np.random.default_rng(0).standard_normal(RATE // 20)

    def read(self) -> Block:
        now, count = self._clock(), round((self._clock() - self._at) * RATE)
        begins = self.frames
        self.frames, self._at = begins + count, now
        return Block(self._sound[begins : begins + count], now)


def begun(tiny_bundle, strikes, seconds=1.0, step_takes_s=0.0, fps=10.0, generator=Slow, takes_s=0.020):
    """(when it began, the onset and the newest sound that it knew) of every picture, which takes `takes_s`; by the
    test's clock."""
    now = 100.0
    bundle = load_bundle(tiny_bundle)
    opened = {name: open_graph(bundle, name, "onnxruntime", threads=1) for name in GRAPHS}
    image = bundle.manifest.image
    links, stop, pictures = Links.create(image.height, image.width), threading.Event(), []

    def sleep(seconds_: float) -> None:
        nonlocal now
        now += seconds_
        if now > 100.0 + seconds:
            stop.set()

    sessions = {name: Slow(session, sleep, 0.0) for name, session in opened.items()}
    sessions["generator"] = generator(opened["generator"], sleep, takes_s)
    sessions["encoder"] = Slow(opened["encoder"], sleep, step_takes_s)
    publish = links.slot.publish

    def publish_and_note(rgba, captured_at, stats, started_at, onset_at, look):
        pictures.append((started_at, onset_at, captured_at))
        return publish(rgba, captured_at, stats, started_at, onset_at, look)

    links.slot.publish = publish_and_note
    try:
        player_ = Player(bundle, sessions, Tape(lambda: now, strikes), links, fps)
        player_._pacer = Pacer(fps, lambda: now, sleep)
        links.preset.put(SEED)
        player_.run(stop)
        late = player_._pacer.late_frames
    finally:
        links.slot.publish = publish
        links.close()
        for session in opened.values():
            session.close()
    return np.array(pictures), late


def test_an_onset_gets_its_picture_at_once_and_the_beat_goes_on_from_there(tiny_bundle):
    struck, (times, late) = 100.33, begun(tiny_bundle, [100.33])
    steady, _ = begun(tiny_bundle, [])
    on_the_beat = 100.0 + 0.1 * np.arange(1, len(steady)) - LEAD * 0.1
    assert steady[1:, 0] == pytest.approx(on_the_beat)
    early = next(number for number, (_, onset_at, _) in enumerate(times) if onset_at > 0)
    began_at, onset_at, _ = times[early]
    assert struck <= onset_at <= struck + 0.010, "by the window that told it"
    assert began_at == pytest.approx(onset_at, abs=0.005), "and not when its turn would have come"
    assert times[1:early, 0] == pytest.approx(on_the_beat[: early - 1])
    assert np.diff(times[early:, 0]) == pytest.approx(0.1), "the beat goes on from there"
    assert late == 0


def test_an_onset_while_a_picture_is_made_gets_the_next_one(tiny_bundle):
    begins = 100.0 + 0.3 - LEAD * 0.1
    times, _ = begun(tiny_bundle, [begins + 0.005])
    after = times[np.flatnonzero(times[:, 1])[0], 0]
    assert after == pytest.approx(begins + 0.020), "as soon as the one before is done"


def test_a_picture_that_is_hardly_begun_gives_way_to_an_onset(tiny_bundle):
    begins = 100.0 + 0.3 - LEAD * 0.1
    times, late = begun(tiny_bundle, [begins + 0.002], generator=Interruptible, takes_s=0.050)
    steady, _ = begun(tiny_bundle, [], generator=Interruptible, takes_s=0.050)
    first = np.flatnonzero(times[:, 1])[0]
    began_at, onset_at, _ = times[first]
    assert begins + 0.002 < onset_at <= began_at <= begins + 0.016, "with the window that told it"
    assert len(times) == len(steady), "instead of the one that was begun"
    assert np.delete(times[:, 0], first) == pytest.approx(np.delete(steady[:, 0], first)), "and the beat stays"
    assert late == 0


@pytest.mark.parametrize(("after_s", "takes_s"), [(0.035, 0.050), (0.010, 0.098)])
def test_one_that_is_nearly_done_or_would_be_late_is_finished(tiny_bundle, after_s, takes_s):
    steady, _ = begun(tiny_bundle, [], generator=Interruptible, takes_s=takes_s)
    times, late = begun(tiny_bundle, [steady[4, 0] + after_s], generator=Interruptible, takes_s=takes_s)
    first = np.flatnonzero(times[:, 1])[0]
    assert times[:first, 0] == pytest.approx(steady[:first, 0])
    assert first == 5
    assert times[5, 0] == pytest.approx(steady[4, 0] + takes_s, abs=0.003), "as soon as it is"
    assert late == 0


def test_a_picture_tells_the_sound_that_it_was_made_from(tiny_bundle):
    times, _ = begun(tiny_bundle, [], generator=Interruptible, takes_s=0.050)
    assert times[1:, 2] == pytest.approx(times[1:, 0]), "not that which was heard while it was painted"


def test_an_onset_while_the_encoder_runs_is_in_the_picture_that_it_is_made_for(tiny_bundle):
    begins = 100.0 + 0.3 - LEAD * 0.1
    times, _ = begun(tiny_bundle, [begins + 0.002], step_takes_s=0.015)
    assert times[np.flatnonzero(times[:, 1])[0], 0] == pytest.approx(begins)


def test_a_roll_of_onsets_takes_no_more_than_every_other_picture_early(tiny_bundle):
    times, late = begun(tiny_bundle, np.arange(100.05, 101.0, 0.07))
    gaps = np.diff(times[:, 0])
    early = gaps < 0.099
    assert early.sum() >= 3
    assert not (early[1:] & early[:-1]).any()
    assert late == 0


def test_a_source_that_fails_between_two_pictures_makes_none_early(tiny_bundle, monkeypatch):
    reads = iter(range(10**6))

    def read(self) -> Block:
        if next(reads) > 8:
            raise OSError("the cable is out")
        return Block(np.zeros(0, np.float32), 100.0)

    monkeypatch.setattr(Tape, "read", read)
    times, _ = begun(tiny_bundle, [])
    assert 0 < len(times) < 8
    assert np.diff(times[:, 0]) == pytest.approx(0.1)


def test_all_that_is_heard_is_handed_on_once_whatever_its_channels(tiny_bundle, monkeypatch):
    """A microphone that goes gives silence in mono after its own channels."""
    given, sound = 0, np.random.default_rng(0).standard_normal((4 * RATE, 3)).astype(np.float32)

    def read(self) -> Block:
        nonlocal given
        begins, self.frames = self.frames, round((self._clock() - 100.0) * RATE)
        block = sound[begins : self.frames]
        given += len(block)
        kinds = (None, block[:, :2], block)
        return Block(block[:, 0], self._clock(), kinds[begins // (RATE // 20) % 3])

    written = []

    def write_sound(self, block, at, rate):
        assert at <= 101.1
        written.append(len(block))

    monkeypatch.setattr(Tape, "read", read)
    monkeypatch.setattr(Reel, "write_sound", write_sound)
    times, _ = begun(tiny_bundle, [])
    assert given - RATE // 10 < sum(written) <= given, "all but what came since the last picture"
    assert len(written) < 4 * len(times), "and not a piece for every look at the microphone"
