"""Level and onset: what the picture's pulse hangs on."""

from __future__ import annotations

import numpy as np
import pytest

from engine.audio.features import FastFeatures

RATE = 22_050


def click(rate: int) -> np.ndarray:
    t = np.arange(int(0.02 * rate)) / rate
    return (np.exp(-400 * t) * np.sin(2 * np.pi * 1500 * t)).astype(np.float32)


def track(times: np.ndarray, seconds: float, rate: int, noise: float = 0.001) -> np.ndarray:
    sound = noise * np.random.default_rng(0).standard_normal(int(seconds * rate)).astype(np.float32)
    for time in times:
        start = int(time * rate)
        sound[start : start + len(click(rate))] += 0.5 * click(rate)
    return sound


def heard(sound: np.ndarray, rate: int, block: int = 220) -> tuple[np.ndarray, FastFeatures]:
    """Times of the ends of the blocks in which an onset was heard."""
    features, times, count = FastFeatures(rate), [], 0
    for start in range(0, len(sound), block):
        features.push(sound[start : start + block])
        if features.onsets > count:
            count = features.onsets
            times.append((start + block) / rate)
    return np.array(times), features


def assert_heard(times: np.ndarray, onsets: np.ndarray) -> None:
    """Each click within 30 ms after it, and nothing else after the track's own beginning."""
    onsets = onsets[onsets > 0.2]
    assert len(onsets) == len(times)
    late = onsets - times
    assert (late > 0).all()
    assert (late < 0.030).all()


@pytest.mark.parametrize(("bpm", "rate"), [(60, 44_100), (120, 16_000), (180, 96_000), (300, 48_000)])
def test_every_click_of_a_steady_track_is_an_onset(bpm: int, rate: int) -> None:
    times = np.arange(0.5, 3.9, 60 / bpm)
    assert_heard(times, heard(track(times, 4, rate), rate)[0])


def test_swing_and_a_speeding_tempo() -> None:
    swing = 0.5 + np.ravel(np.arange(8)[:, None] * 0.5 + np.array([0, 0.33]))
    assert_heard(swing, heard(track(swing, 5, RATE), RATE)[0])
    ramp = 0.5 + np.cumsum(np.linspace(0.6, 0.2, 14))
    assert_heard(ramp, heard(track(ramp, 7, RATE), RATE)[0])


@pytest.mark.parametrize("loudness", [0.003, 0.03, 0.3])
def test_steady_noise_is_one_onset_at_its_start(loudness: float) -> None:
    onsets, features = heard(loudness * np.random.default_rng(3).standard_normal(RATE * 4), RATE)
    assert len(onsets) == 1
    assert onsets[0] < 0.05
    assert features.onset < 0.01


def test_a_click_is_heard_through_rain() -> None:
    times = np.arange(1.0, 5, 0.7)
    assert_heard(times, heard(track(times, 6, RATE, noise=0.02), RATE)[0])


def test_a_gliding_and_a_trembling_tone_have_no_onsets_but_the_first() -> None:
    t = np.arange(RATE * 3) / RATE
    for phase in (200 * t + 130 * t * t, 440 * t + 1.3 * np.sin(2 * np.pi * 6 * t)):
        onsets, _ = heard(0.5 * np.sin(2 * np.pi * phase), RATE)
        assert len(onsets) == 1


def test_the_envelope_jumps_and_is_gone_after_150_ms() -> None:
    features = FastFeatures(RATE)
    features.push(track(np.array([]), 1.5, RATE))
    assert features.onset < 0.01
    hit = 0.02 * np.random.default_rng(7).standard_normal(RATE).astype(np.float32)
    features.push(hit[: RATE // 50])
    top = features.onset
    assert 0.3 <= top <= 1
    features.push(hit[RATE // 50 : RATE // 50 + int(0.15 * RATE)])
    assert 0 < features.onset < 0.1 * top


def test_how_the_stream_is_cut_does_not_matter() -> None:
    sound = track(np.arange(0.3, 2, 0.31), 2, RATE)
    cut, whole = FastFeatures(RATE), FastFeatures(RATE)
    sizes = np.random.default_rng(1).integers(0, 900, 1000)
    position = 0
    for size in sizes:
        cut.push(sound[position : position + size])
        position += size
    whole.push(sound)
    assert cut.onsets == whole.onsets >= 6
    assert cut.onset == pytest.approx(whole.onset)
    assert cut.rms_db == pytest.approx(whole.rms_db)


@pytest.mark.parametrize("step", ["_measure", "_follow"])
def test_a_block_that_fails_takes_only_its_own_sound_with_it(step: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """As it does when memory runs out in the middle of it."""

    def fails(*_: object) -> None:
        raise MemoryError

    sound = track(np.arange(0.3, 4, 0.5), 4, RATE)
    features, whole = FastFeatures(RATE), FastFeatures(RATE)
    whole.push(sound)
    for block in range(0, len(sound), 220):
        with monkeypatch.context() as patched:
            if block == 11_000:  # before the second click
                patched.setattr(features, step, fails)
                with pytest.raises(MemoryError):
                    features.push(sound[block : block + 220])
                continue
        features.push(sound[block : block + 220])
    assert features.onsets == whole.onsets >= 8
    assert features.onset == pytest.approx(whole.onset)
    assert features.since_onset_s == pytest.approx(whole.since_onset_s)
    assert features.rms_db == pytest.approx(whole.rms_db)


@pytest.mark.parametrize("decibels", [-6.0, -20.0, -45.0])
def test_level_is_linear_in_decibels(decibels: float) -> None:
    features = FastFeatures(RATE)
    amplitude = np.sqrt(2) * 10 ** (decibels / 20)
    features.push(amplitude * np.sin(2 * np.pi * 1000 * np.arange(RATE) / RATE))
    assert features.rms_db == pytest.approx(decibels, abs=0.05)
    assert features.level == pytest.approx(1 + decibels / 60, abs=0.001)


def test_a_clap_in_silence_pulses_on_after_it() -> None:
    features = FastFeatures(RATE)
    features.push(track(np.array([0.5]), 0.6, RATE, noise=0))
    assert features.level == 0
    assert features.onset > 0.05
    features.push(np.zeros(RATE // 2))
    assert features.onset == 0


def test_below_the_gate_nothing_moves() -> None:
    features = FastFeatures(RATE)
    for _ in range(20):
        features.push(track(np.array([0.1]), 0.2, RATE, noise=0) * 10 ** (-50 / 20))  # the clicks' rms is −68 dBFS
        assert features.level == 0
        assert features.onset == 0
    assert -120 <= features.rms_db < -60


def test_clip_is_held_for_half_a_second() -> None:
    features = FastFeatures(RATE)
    features.push(np.full(100, 0.5))
    assert not features.clip
    features.push(np.array([0.5, -1.0, 0.5]))
    assert features.clip
    features.push(np.zeros(int(0.45 * RATE)))
    assert features.clip
    features.push(np.zeros(int(0.10 * RATE)))
    assert not features.clip


def test_broken_samples_and_empty_blocks_give_finite_numbers() -> None:
    features = FastFeatures(RATE)
    features.push(np.empty(0))
    assert (features.level, features.onset, features.clip) == (0, 0, False)
    features.push(np.array([np.nan, np.inf, -np.inf, 1e38] * 2000))
    assert 0 <= features.level <= 1
    assert 0 <= features.onset <= 1
    assert np.isfinite(features.rms_db)
    features.reset()
    features.push(np.zeros(1000))
    assert (features.level, features.onset, features.onsets) == (0, 0, 0)


@pytest.mark.parametrize("block", [64, 480, 48_000])
def test_it_is_known_how_long_ago_an_onset_could_be_told(block: int) -> None:
    rng, features = np.random.default_rng(0), FastFeatures(RATE)
    assert features.since_onset_s == np.inf
    sound = np.zeros(RATE, np.float32)
    sound[RATE // 2 : RATE // 2 + 480] = 0.5 * rng.standard_normal(480)
    for begins in range(0, len(sound), block):
        features.push(sound[begins : begins + block])
    assert features.onsets == 1
    told_at = 1.0 - features.since_onset_s
    assert 0.5 < told_at <= 0.510, "within two hops of its first sample"
    features.reset()
    assert features.since_onset_s == np.inf
