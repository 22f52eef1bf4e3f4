"""The mel front end: what a band reads, and that every way to the same sound gives the same numbers."""

from __future__ import annotations

import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from engine.audio.mel import MelAnalyser, MelConfig, mel_bank, mel_windows
from engine.errors import AudioError

CONFIG = MelConfig()
RATES = [16_000, 22_050, 44_100, 48_000, 96_000]


def centres(config: MelConfig = CONFIG) -> np.ndarray:
    low, high = (2595 * np.log10(1 + f / 700) for f in (config.f_min, config.f_max))
    return 700 * (10 ** (np.linspace(low, high, config.bands + 2)[1:-1] / 2595) - 1)


def sine(frequency: float, seconds: float, rate: int, amplitude: float = 1.0) -> np.ndarray:
    return (amplitude * np.sin(2 * np.pi * frequency * np.arange(int(seconds * rate)) / rate)).astype(np.float32)


def landscape(seconds: float, rate: int, seed: int = 0) -> np.ndarray:
    """Gliding partials below 7 kHz that come and go: the same sound at any rate."""
    draw = np.random.default_rng(seed)
    t = np.arange(int(seconds * rate)) / rate
    sound = np.zeros(len(t))
    for _ in range(25):
        frequency, glide, beat, phase = draw.uniform((60, 0, 0.2, 0), (6500, 80, 2, 6))
        sound += 0.02 * np.sin(2 * np.pi * (frequency * t + glide * t * t / 2)) * (1 + np.sin(beat * t * 6 + phase))
    return sound.astype(np.float32)


@pytest.mark.parametrize("rate", [8_000, *RATES, 192_000])
def test_a_full_scale_sine_reads_0_db_in_its_band_and_nowhere_more(rate: int) -> None:
    bank = mel_bank(rate, CONFIG)
    for band in (0, 1, 5, 30, 64, 90, 120, 127):
        if centres()[band] > 0.95 * rate / 2:
            continue
        column = bank.decibels(sine(centres()[band], 0.1, rate), np.array([100]))[0]
        assert column[band] == pytest.approx(0, abs=0.1)
        assert column.argmax() == band


def test_level_is_in_decibels() -> None:
    bank = mel_bank(48_000, CONFIG)
    loud, soft = (bank.decibels(sine(1000, 0.1, 48_000, a), np.array([0]))[0].max() for a in (0.5, 0.005))
    assert loud - soft == pytest.approx(40, abs=0.01)


def test_bands_above_nyquist_stay_at_the_floor() -> None:
    noise = np.random.default_rng(1).standard_normal(16_000).astype(np.float32)
    column = mel_bank(16_000, CONFIG).decibels(noise, np.array([0]))[0]
    assert (column[centres() >= 8000] == CONFIG.floor_db).all()
    assert (column[centres() < 7500] > -50).all()


def test_a_band_narrower_than_a_bin_still_hears_its_sine() -> None:
    config = MelConfig(bands=400, window_s=0.010, f_min=300)
    bank = mel_bank(16_000, config)
    middle = centres(config)
    for band in (0, 3, 10, 40):
        column = bank.decibels(sine(middle[band], 0.1, 16_000), np.array([0]))[0]
        assert column[band] == pytest.approx(0, abs=0.5)


@pytest.mark.parametrize("rate", RATES)
def test_streaming_and_offline_give_the_same_numbers(rate: int) -> None:
    draw = np.random.default_rng(rate)
    sound = landscape(2, rate) * np.linspace(0, 2, 2 * rate, dtype=np.float32)
    sound += 0.001 * draw.standard_normal(len(sound)).astype(np.float32)
    ends = [0.0, 0.024, 0.025, 0.5, 1.2345, 1.0, 1.999]
    windows = mel_windows(sound, rate, ends)
    assert windows.shape == (len(ends), 1, 128, 128)
    assert windows.dtype == np.float32
    for end, offline in zip(ends, windows, strict=True):
        analyser = MelAnalyser(rate)
        rest = sound[: int(np.floor(end * rate + 1e-6))]
        while len(rest):
            size = int(draw.choice([7, 104, 441, 512, 4097]))
            analyser.push(rest[:size])
            rest = rest[size:]
        np.testing.assert_allclose(analyser.window()[0], offline, atol=1e-5)


@settings(max_examples=40, deadline=None)
@given(st.lists(st.integers(0, 3000), max_size=30), st.sampled_from([11_025, 22_050, 44_100]))
def test_how_the_stream_is_cut_does_not_matter(sizes: list[int], rate: int) -> None:
    sound = np.random.default_rng(2).standard_normal(sum(sizes)).astype(np.float32)
    cut, whole = MelAnalyser(rate), MelAnalyser(rate)
    position = finished = 0
    for size in sizes:
        finished += cut.push(sound[position : position + size])
        position += size
    whole.push(sound)
    assert finished == cut.columns_seen == whole.columns_seen
    np.testing.assert_allclose(cut.window(), whole.window(), atol=1e-5)


@pytest.mark.parametrize("rate", RATES)
def test_columns_never_drift(rate: int) -> None:
    """One column each 10 ms over two minutes, at rates where that is no whole number of samples too."""
    bank = mel_bank(rate, CONFIG)
    for seconds in (1, 60, 120):
        assert bank.complete(seconds * rate) == seconds * 100 - 2
        assert abs(bank.start(seconds * 100) - seconds * rate) <= 0.5


@pytest.mark.parametrize("rate", [44_100, 48_000, 96_000])
def test_the_same_sound_at_another_rate_gives_the_same_bands(rate: int) -> None:
    ends = np.arange(0.5, 2.9, 0.2)
    below = centres() < 7000
    reference = mel_windows(landscape(3, 16_000), 16_000, ends)[:, 0, below, -1]
    other = mel_windows(landscape(3, rate), rate, ends)[:, 0, below, -1]
    difference = np.abs(reference - other) * CONFIG.span_db
    assert np.median(difference) < 0.2  # dB
    assert np.percentile(difference, 99) < 2.0


def test_silence_is_one_constant_from_the_first_moment_on() -> None:
    analyser = MelAnalyser(48_000)
    assert (analyser.window() == np.float32(CONFIG.silence)).all()
    analyser.push(np.zeros(48_000 * 3, np.float32))
    assert analyser.columns_seen > 256
    np.testing.assert_allclose(analyser.window(), CONFIG.silence, atol=1e-6)
    np.testing.assert_allclose(mel_windows(np.zeros(100), 48_000, [0, 1]), CONFIG.silence, atol=1e-6)


def test_the_newest_column_is_last_and_old_sound_leaves() -> None:
    analyser = MelAnalyser(16_000)
    analyser.push(sine(1000, 0.5, 16_000))
    analyser.push(np.zeros(8_000, np.float32))
    window = analyser.window()[0, 0]
    assert window[:, -1].max() < window[:, -60].max() - 1
    analyser.push(np.zeros(16_000 * 2, np.float32))
    assert np.ptp(analyser.window()) < 0.5  # no trace of the sine; the level still falls
    analyser.reset()
    assert analyser.columns_seen == 0
    assert (analyser.window() == np.float32(CONFIG.silence)).all()


def test_the_running_level_of_a_sound_that_begins_is_its_mean() -> None:
    analyser = MelAnalyser(16_000)
    tone = sine(centres()[60], 3, 16_000)
    analyser.push(tone[:1_600])
    assert analyser.level_db == pytest.approx(0, abs=0.5)
    analyser.push(0.01 * tone[:1_200])  # some columns more, 40 dB softer
    heard = analyser.columns_seen
    assert -40 < analyser.level_db < -40 * 5 / heard


def test_the_running_level_rises_in_four_seconds_and_falls_in_eight() -> None:
    analyser = MelAnalyser(16_000)
    tone = sine(centres()[60], 20, 16_000)
    analyser.push(0.01 * tone)
    assert analyser.level_db == pytest.approx(-40, abs=0.2)
    analyser.push(tone[: 16_000 * 4])
    assert analyser.level_db == pytest.approx(-40 * np.exp(-1), abs=0.5)
    analyser.push(tone)
    assert analyser.level_db == pytest.approx(0, abs=0.4)
    analyser.push(np.zeros(16_000 * 2, np.float32))
    assert analyser.level_db == pytest.approx(CONFIG.floor_db * (1 - np.exp(-2 / 8)), abs=0.7)
    analyser.push(np.zeros(16_000 * 10, np.float32))
    assert analyser.level_db == CONFIG.level_floor_db


def test_a_swell_of_ten_decibels_is_still_seen_after_a_second() -> None:
    """The level must not follow so fast that only the first moment of a crescendo shows."""
    rain = 0.05 * np.random.default_rng(6).standard_normal(16_000 * 12).astype(np.float32)
    rain[16_000 * 10 :] *= 10 ** (10 / 20)
    before, after = mel_windows(rain, 16_000, [10.0, 11.0])[:, 0, centres() < 7500, -10:].mean((1, 2))
    assert after - before > 0.7 * 10 / CONFIG.span_db


def test_loud_and_soft_look_alike_once_the_level_has_settled() -> None:
    rain = np.random.default_rng(5).standard_normal(16_000 * 5).astype(np.float32)
    loud, soft = (mel_windows(a * rain, 16_000, [5.0])[0, 0, centres() < 7500, -1] for a in (0.3, 0.03))
    np.testing.assert_allclose(loud, soft, atol=0.01)


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf, 1e30])
def test_broken_samples_do_no_lasting_harm(bad: float) -> None:
    sound = sine(440, 30, 16_000, 0.1)
    clean = mel_windows(sound, 16_000, [30.0])
    sound[1000:1010] = bad
    broken = mel_windows(sound, 16_000, [0.1, 1.0, 30.0])
    assert np.isfinite(broken).all()
    assert np.abs(broken).max() <= 2
    np.testing.assert_allclose(broken[-1], clean[0], atol=0.02)


def test_a_block_that_fails_takes_only_its_own_sound_with_it(monkeypatch: pytest.MonkeyPatch) -> None:
    """As it does when memory runs out in the middle of it."""

    def fails(*_: object) -> None:
        raise MemoryError

    sound = landscape(30.0, 16_000)
    analyser, whole = MelAnalyser(16_000), MelAnalyser(16_000)
    whole.push(sound)
    for second in range(30):
        block = sound[16_000 * second : 16_000 * (second + 1)]
        if second == 3:
            with monkeypatch.context() as patched:
                patched.setattr(mel_bank(16_000, CONFIG), "decibels", fails)
                with pytest.raises(MemoryError):
                    analyser.push(block)
        else:
            assert analyser.push(block) > 90
    np.testing.assert_allclose(analyser.window(), whole.window(), atol=0.05)


def test_no_ends_no_windows() -> None:
    assert mel_windows(np.zeros(1000), 16_000, []).shape == (0, 1, 128, 128)


@pytest.mark.parametrize("rate", [0, -48_000, 100, 10**7])
def test_an_impossible_rate_is_refused(rate: int) -> None:
    with pytest.raises(AudioError, match=str(rate)):
        MelAnalyser(rate)


def test_the_config_survives_json_and_refuses_nonsense() -> None:
    config = MelConfig(bands=64, f_max=8000)
    assert MelConfig.model_validate(json.loads(config.model_dump_json())) == config
    for wrong in ({"f_min": 20_000}, {"bands": 0}, {"hop": 0.01}, {"hop_s": float("nan")}, {"level_floor_db": -95}):
        with pytest.raises(ValidationError):
            MelConfig.model_validate(wrong)
