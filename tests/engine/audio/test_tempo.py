"""The beat of generated tracks, found while they play."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path

import numpy as np
import pytest

from engine.audio.features import FastFeatures
from engine.audio.tempo import Beat

SECONDS = 20.0


@pytest.fixture(scope="module")
def rhythms():
    path = Path(__file__).resolve().parents[3] / "benchmarks" / "tempo.py"
    spec = importlib.util.spec_from_file_location("tempo_benchmark", path)
    sys.modules[spec.name] = module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    yield module
    del sys.modules[spec.name]


def cases() -> list[tuple[str, int]]:
    return [("click", 60), ("click", 180), ("rock", 90), ("house", 128), ("swing", 75), ("ramp", 110), ("silence", 140)]


@pytest.mark.parametrize(("kind", "bpm"), cases())
def test_the_beat_is_found(rhythms, kind: str, bpm: int):
    found = rhythms.follow(rhythms.make_track(kind, bpm, SECONDS, seed=7))
    assert found.f >= 0.85
    assert abs(found.late_ms) < 15


@pytest.mark.parametrize("bpm", [72, 100, 150])
def test_the_tempo_is_that_of_the_track(rhythms, bpm: int):
    _, told, _ = rhythms.told_beats(rhythms.make_track("click", bpm, 12.0, seed=1).sound)
    assert told == pytest.approx(bpm, rel=0.02)


def test_a_shifted_grid_is_found_wrong(rhythms):
    """The measure can fail: half a beat late is no beat at all."""
    track = rhythms.make_track("click", 120, 12.0)
    told, _, _ = rhythms.told_beats(track.sound)
    assert rhythms.f_measure(told + 0.25, track.beats) < 0.1
    assert rhythms.f_measure(track.beats, track.beats) == 1.0
    assert rhythms.f_measure(track.beats[::2], track.beats) == pytest.approx(2 / 3, abs=0.02)
    assert rhythms.f_measure(np.repeat(track.beats, 2), track.beats) == pytest.approx(2 / 3)
    assert rhythms.f_measure(np.array([]), track.beats) == 0.0


def played(sound: np.ndarray, rate: int, block: int) -> list[Beat | None]:
    features, beats = FastFeatures(rate), []
    for start in range(0, len(sound), block):
        features.push(sound[start : start + block])
        beats.append(features.tempo.beat)
    return beats


def test_no_sound_no_beat(rhythms):
    assert not any(played(np.zeros(6 * rhythms.RATE), rhythms.RATE, 735))


def test_clicks_at_random_are_no_beat(rhythms):
    rng = np.random.default_rng(5)
    sound = 0.01 * rng.standard_normal(25 * rhythms.RATE)
    for at in np.cumsum(rng.exponential(0.4, 50)):
        start = int(at * rhythms.RATE)
        click = rhythms._click(rng)[: max(len(sound) - start, 0)]
        sound[start : start + len(click)] += 0.4 * click
    told = [beat is not None for beat in played(sound, rhythms.RATE, 735)]
    assert np.mean(told) < 0.3


def test_the_beat_never_goes_back_and_ends_after_the_music(rhythms):
    sound = rhythms.make_track("rock", 110, 10.0, seed=3).sound
    silence = np.zeros(8 * rhythms.RATE, np.float32)
    beats = played(np.concatenate([sound, silence]), rhythms.RATE, 441)
    counts = [beat.count for beat in beats if beat is not None]
    assert len(counts) > 300
    assert (np.diff(counts) >= 0).all()
    assert beats[-1] is None
    assert beats[len(beats) * 12 // 18] is not None, "two seconds of silence are a break"


def test_how_the_stream_is_cut_does_not_matter(rhythms):
    sound = rhythms.make_track("click", 100, 8.0).sound
    whole, cut = FastFeatures(rhythms.RATE), FastFeatures(rhythms.RATE)
    whole.push(sound)
    for start in range(0, len(sound), 777):
        cut.push(sound[start : start + 777])
    assert whole.tempo.beat == cut.tempo.beat is not None
    whole.reset()
    assert whole.tempo.beat is None


def test_a_beat_later():
    beat = Beat(7.75, 120.0, 0.5)
    assert beat.phase == 0.75
    assert beat.after(0.25) == Beat(8.25, 120.0, 0.5)
    assert beat.after(-0.5).count == 6.75
