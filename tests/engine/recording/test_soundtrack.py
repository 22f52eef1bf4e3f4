"""The soundtrack: every sample where it was heard, whatever the sound card's clock, its driver and its cable do."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest

from engine.recording.soundtrack import Soundtrack

RATE = 8_000
BEGAN = 1_000.0
FRAME_S = 1 / 60


def card(
    seconds: float, ppm: float, jitter_s: float = 0.0, rate: int = RATE, seed: int = 0, begin: float = 0.0
) -> Iterator[tuple[np.ndarray, float]]:
    """Blocks as the engine reads them, about thirty a second, with stamps that may come late.

    One channel. The sound has a click of one sample every 10 s of the true time; the card's crystal is `ppm` too fast.
    """
    rng = np.random.default_rng(seed)
    true_rate = rate * (1 + ppm * 1e-6)
    position, total = round(begin * true_rate), round(seconds * true_rate)
    while position < total:
        count = int(min(rng.integers(rate // 35, rate // 25), total - position))
        samples = np.zeros(count, np.float32)
        clicks = np.round(np.arange(10.0, seconds, 10.0) * true_rate).astype(int) - position
        samples[clicks[(clicks >= 0) & (clicks < count)]] = 1.0
        position += count
        late = jitter_s * rng.exponential() if jitter_s else 0.0
        yield samples[:, None], BEGAN + position / true_rate + late


def clicks_of(track: np.ndarray, rate: int = RATE) -> np.ndarray:
    """When each click sounds on the track, seconds, to a fraction of a sample."""
    track = track[:, 0]
    loud = np.flatnonzero(np.abs(track) > 0.3)
    first = loud[np.diff(loud, prepend=-rate) > rate // 2]
    times = []
    for at in first:
        around = np.abs(track[at - 4 : at + 8])
        times.append((at - 4 + np.sum(np.arange(12) * around) / np.sum(around)) / rate)
    return np.array(times)


def play(
    soundtrack: Soundtrack, blocks: Iterator[tuple[np.ndarray, float]], end: float, rate: int = RATE
) -> np.ndarray:
    parts = [soundtrack.push(samples, stamp, rate) for samples, stamp in blocks]
    return np.concatenate([*parts, soundtrack.finish(BEGAN + end)])


@pytest.mark.parametrize("ppm", [-180.0, 250.0])
def test_half_an_hour_on_a_drifting_clock_stays_within_a_frame(ppm):
    soundtrack = Soundtrack(RATE, BEGAN, 1)
    track = play(soundtrack, card(1800.0, ppm, jitter_s=0.004), 1800.0)
    assert len(track) == 1800 * RATE
    times = clicks_of(track)
    wanted = np.arange(10.0, 1800.0, 10.0)
    assert len(times) == len(wanted)
    uncorrected = abs(ppm) * 1e-6 * 1790.0
    assert uncorrected > FRAME_S, "the drift is worth correcting"
    assert np.abs(times - wanted).max() < 0.25 * FRAME_S
    assert soundtrack.gaps == 0


def test_a_clock_that_changes_its_mind_is_followed():
    """A crystal that warms up: 100 ppm fast for ten minutes, then 100 ppm slow."""
    soundtrack = Soundtrack(RATE, BEGAN, 1)
    first = [soundtrack.push(s, t, RATE) for s, t in card(600.0, 100.0)]
    offset = 600.0
    second = []
    for samples, stamp in card(600.0, -100.0):
        second.append(soundtrack.push(samples, stamp + offset, RATE))
    track = np.concatenate([*first, *second, soundtrack.finish(BEGAN + 1200.0)])
    times = clicks_of(track)
    wanted = np.concatenate([np.arange(10.0, 600.0, 10.0), offset + np.arange(10.0, 600.0, 10.0)])
    assert np.abs(times - wanted).max() < 0.25 * FRAME_S


def test_sound_on_the_clock_of_the_computer_goes_through_bit_by_bit():
    rng = np.random.default_rng(1)
    sound = rng.uniform(-1, 1, (10 * RATE, 2)).astype(np.float32)
    soundtrack, position, parts = Soundtrack(RATE, BEGAN, 2), 0, []
    while position < len(sound):
        count = int(rng.integers(100, 200))
        block = sound[position : position + count]
        position += len(block)
        parts.append(soundtrack.push(block, BEGAN + position / RATE, RATE))
    track = np.concatenate([*parts, soundtrack.finish(BEGAN + 10.0)])
    assert track.shape == (10 * RATE, 2)
    assert np.array_equal(track, sound)


def test_bent_sound_keeps_its_shape():
    """A tone on each side through a card that is 200 ppm fast: the same tones, nothing added above -60 dB."""
    seconds, tones = 40.0, np.array([440.0, 1000.0])
    true_rate = RATE * (1 + 200e-6)
    at = np.arange(round(seconds * true_rate))[:, None] / true_rate
    sound = (0.5 * np.sin(2 * np.pi * tones * at)).astype(np.float32)
    soundtrack, parts = Soundtrack(RATE, BEGAN, 2), []
    for begin in range(0, len(sound), 133):
        block = sound[begin : begin + 133]
        parts.append(soundtrack.push(block, BEGAN + (begin + len(block)) / true_rate, RATE))
    track = np.concatenate(parts)[-3 * RATE : -RATE].astype(np.float64)
    for side, tone in zip(track.T, tones, strict=True):
        spectrum = np.abs(np.fft.rfft(side * np.blackman(len(side))))
        peak, most = int(spectrum.argmax()), spectrum.max()
        assert peak / 2 == pytest.approx(tone, abs=0.5)
        spectrum[peak - 6 : peak + 7] = 0
        assert spectrum.max() < 1e-3 * most


def test_lost_sound_is_silence_of_its_length_and_counted():
    blocks = list(card(60.0, 0.0))
    kept = [(s, t) for s, t in blocks if not 14.2 < t - BEGAN < 14.5]
    soundtrack = Soundtrack(RATE, BEGAN, 1)
    times = clicks_of(play(soundtrack, iter(kept), 60.0))
    assert times == pytest.approx(np.arange(10.0, 60.0, 10.0), abs=0.003)
    assert soundtrack.gaps == 1


def test_a_block_that_is_handed_over_late_moves_nothing():
    blocks = list(card(60.0, 0.0))
    late = [(s, t + 0.2 if i % 100 == 50 else t) for i, (s, t) in enumerate(blocks)]
    soundtrack = Soundtrack(RATE, BEGAN, 1)
    track = play(soundtrack, iter(late), 60.0)
    assert np.array_equal(track, play(Soundtrack(RATE, BEGAN, 1), iter(blocks), 60.0))
    assert soundtrack.gaps == 0


def test_a_pause_is_written_as_silence_while_it_lasts_and_sound_comes_back_in_its_place():
    soundtrack = Soundtrack(RATE, BEGAN, 1)
    parts = [soundtrack.push(s, t, RATE) for s, t in card(12.0, 0.0)]
    written = []
    for now in np.arange(12.0, 33.0, 0.1):
        parts.append(soundtrack.wait(BEGAN + now))
        written.append(now - soundtrack.written / RATE)
    assert max(written) < 2.0, "the file need not wait for sound"
    parts += [soundtrack.push(s, t, RATE) for s, t in card(60.0, 0.0, begin=33.0)]
    track = np.concatenate([*parts, soundtrack.finish(BEGAN + 60.0)])
    assert clicks_of(track) == pytest.approx([10.0, 40.0, 50.0], abs=0.001)
    assert soundtrack.gaps == 1, "one pause, however long"


def test_a_recording_without_any_sound_has_a_silent_track():
    soundtrack = Soundtrack(RATE, BEGAN, 1)
    parts = [soundtrack.wait(BEGAN + now) for now in np.arange(0.0, 5.0, 0.1)]
    track = np.concatenate([*parts, soundtrack.finish(BEGAN + 5.0)])
    assert len(track) == 5 * RATE
    assert not track.any()
    assert soundtrack.gaps == 0


def test_what_was_heard_before_the_recording_began_is_left_out():
    soundtrack = Soundtrack(RATE, BEGAN + 7.0, 1)
    track = np.concatenate(
        [*(soundtrack.push(s, t, RATE) for s, t in card(25.0, 0.0)), soundtrack.finish(BEGAN + 25.0)]
    )
    assert clicks_of(track) == pytest.approx([3.0, 13.0], abs=0.001)
    assert len(track) == 18 * RATE


@pytest.mark.parametrize("other", [6_000, 11_025, 16_000])
def test_another_device_with_another_rate_plays_on_in_place(other):
    soundtrack = Soundtrack(RATE, BEGAN, 1)
    parts = [soundtrack.push(s, t, RATE) for s, t in card(15.0, 0.0)]
    parts += [soundtrack.push(s, t, other) for s, t in card(45.0, 0.0, rate=other, begin=15.0)]
    track = np.concatenate([*parts, soundtrack.finish(BEGAN + 45.0)])
    assert len(track) == 45 * RATE
    loud = np.abs(track[:, 0]) > 0.25
    first = np.flatnonzero(loud)[np.diff(np.flatnonzero(loud), prepend=-RATE) > RATE // 2]
    assert first / RATE == pytest.approx([10.0, 20.0, 30.0, 40.0], abs=0.001)
