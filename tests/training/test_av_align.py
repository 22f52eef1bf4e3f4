"""Onsets of sounds and films that are known to the millisecond, and AV-Align of the two."""

from __future__ import annotations

import numpy as np
import pytest

from training.evaluation import onsets

RATE, FPS = 32_000, 30.0
TIMES = np.array([0.5, 0.93, 1.71, 2.4, 3.3, 3.62, 4.4])


def clicks(times: np.ndarray, seconds: float = 5.0) -> np.ndarray:
    """Short noise bursts over a faint hiss."""
    draws = np.random.default_rng(0)
    sound = 0.002 * draws.standard_normal(round(seconds * RATE))
    for time in times:
        start = round(time * RATE)
        length = min(2400, len(sound) - start)
        sound[start : start + length] += 0.4 * draws.standard_normal(length) * np.exp(-np.arange(length) / 600)
    return sound.astype(np.float32)


def flashes(times: np.ndarray, seconds: float = 5.0, moving: float = 0.2) -> np.ndarray:
    """A film of texture that flows, and a flash at each time that fades in 100 ms: bytes [T, 3, 36, 64]."""
    draws = np.random.default_rng(1)
    texture = draws.random((36, 64))
    film = []
    for number in range(round(seconds * FPS)):
        now = number / FPS
        light = sum(np.exp(-(now - time) / 0.1) for time in times if now >= time)
        film.append(0.3 + moving * np.roll(texture, number, axis=0) + 0.35 * light)
    grey = (np.stack(film).clip(0, 1) * 255).round().astype(np.uint8)
    return np.repeat(grey[:, None], 3, axis=1)


def test_onsets_of_a_sound_are_found_where_they_are():
    found = onsets.sound_onsets(clicks(TIMES), RATE)
    assert len(found) == len(TIMES)
    assert np.abs(found - TIMES).max() < 0.02


def test_peaks_of_a_film_are_found_where_they_are():
    found = onsets.picture_onsets(flashes(TIMES), FPS)
    assert len(found) == len(TIMES)
    assert np.all((found - TIMES >= -1e-6) & (found - TIMES < 1.5 / FPS))


def test_texture_that_flows_and_silence_have_no_onset():
    assert len(onsets.picture_onsets(flashes(np.empty(0)), FPS)) == 0
    assert len(onsets.sound_onsets(np.zeros(5 * RATE, np.float32), RATE)) == 0
    assert len(onsets.sound_onsets(np.zeros(10, np.float32), RATE)) == 0


def test_av_align_of_a_film_with_its_sound_is_whole_and_with_another_lower():
    sound, film = onsets.sound_onsets(clicks(TIMES), RATE), onsets.picture_onsets(flashes(TIMES), FPS)
    assert onsets.av_align(sound, film) == 1.0
    other = onsets.sound_onsets(clicks(np.array([0.3, 1.2, 1.45, 2.05, 2.8, 3.9, 4.65])), RATE)
    assert onsets.av_align(other, film) < 0.2


def test_av_align_counts_each_onset_once():
    assert onsets.av_align([1.0, 1.02, 1.04], [1.01]) == pytest.approx(1 / 3)
    assert onsets.av_align([1.0], [1.2]) == 0.0
    assert onsets.av_align([1.0, 2.0], []) == 0.0
    assert np.isnan(onsets.av_align([], []))
    assert onsets.av_align([2.0, 1.0], [2.05, 0.95]) == 1.0


def test_loudness_is_that_of_the_moments_before():
    sound = np.zeros(4 * RATE, np.float32)
    sound[2 * RATE :] = 0.1
    before, after = onsets.loudness(sound, RATE, [1.9, 3.0])
    assert before == pytest.approx(-80)
    assert after == pytest.approx(-20, abs=0.01)
