"""Maps from sound to controls: what they measure, how they follow, and that they move the picture."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest

from engine.audio.features import FastFeatures
from engine.audio.tempo import Beat
from engine.bundle import load_bundle
from engine.control.registry import CONTROLS, REGISTRY
from engine.look import FADERS, Look
from engine.offline import open_sessions, paint
from engine.painter import Painter
from engine.reactivity import FEATURES, Map, Reactivity, mappable, measure

RATE = 16_000
FRAME_S = 1 / 60
CONTROLS_AT_REST = {control.name: control.default for control in REGISTRY if control.continuous}


def heard(**features: float) -> dict[str, float]:
    return dict.fromkeys(FEATURES, 0.0) | features


def tone(hertz: float, seconds: float = 0.5, loudness: float = 0.3) -> np.ndarray:
    return (loudness * np.sin(2 * np.pi * hertz * np.arange(int(seconds * RATE)) / RATE)).astype(np.float32)


def measured(sound: np.ndarray) -> dict[str, float]:
    features = FastFeatures(RATE)
    features.push(sound)
    return measure(features, None)


@pytest.mark.parametrize(("hertz", "loudest"), [(80, "bass"), (800, "mid"), (5000, "treble")])
def test_a_tone_lies_in_its_band(hertz: float, loudest: str):
    found = measured(tone(hertz))
    assert found[loudest] == pytest.approx(found["level"], abs=0.1)
    assert all(found[loudest] > found[other] + 0.2 for other in {"bass", "mid", "treble"} - {loudest})


def test_the_centroid_rises_with_pitch_and_silence_measures_nothing():
    centroids = [measured(tone(hertz))["centroid"] for hertz in (80, 300, 1000, 3000, 7000)]
    assert all(low < high for low, high in pairwise(centroids))
    assert all(0 <= centroid <= 1 for centroid in centroids)
    assert measured(np.zeros(RATE, np.float32)) == dict.fromkeys(FEATURES, 0.0)


def test_the_beat_falls_from_one_to_nothing():
    features = FastFeatures(RATE)
    found = [measure(features, Beat(count, 120.0))["beat"] for count in (8.0, 8.25, 8.75)]
    assert found == pytest.approx([1.0, 0.75, 0.25])


def test_amount_is_of_the_controls_range_and_stays_inside_it():
    playing = Reactivity()
    playing.go([Map("bass", "speed", 0.5, release_s=0.0), Map("level", "gain/mid", -1.0, release_s=0.0)])
    moved = playing.move(CONTROLS_AT_REST, heard(bass=0.5, level=1.0), FRAME_S, 1.0)
    assert moved["speed"] == pytest.approx(1.0 + 0.5 * 4.0 * 0.5)
    assert moved["gain/mid"] == 0.0
    assert CONTROLS_AT_REST["speed"] == 1.0, "the control stays where the performer has it"
    assert {name for name in moved if moved[name] != CONTROLS_AT_REST[name]} == {"speed", "gain/mid"}


def test_attack_release_and_curve():
    playing = Reactivity()
    playing.go([Map("onset", "truncation", 1.0, attack_s=0.05, release_s=0.2, curve=2.0)])
    rest = CONTROLS_AT_REST | {"truncation": 0.0}

    def f(onset: float, seconds: float) -> float:
        for _ in range(round(seconds / FRAME_S)):
            moved = playing.move(rest, heard(onset=onset), FRAME_S, 1.0)
        return (moved["truncation"] / 1.5) ** 0.5

    assert f(1.0, 0.05) == pytest.approx(1 - np.exp(-1), abs=0.01)
    top = f(1.0, 1.0)
    assert top == pytest.approx(1.0, abs=1e-3)
    assert f(0.0, 0.2) == pytest.approx(top * np.exp(-1), abs=0.01)


def test_the_frame_rate_hardly_matters():
    slow, quick = Reactivity(), Reactivity()
    for playing in (slow, quick):
        playing.go([Map("level", "speed", 0.5, attack_s=0.3)])
    for _ in range(10):
        at_slow = slow.move(CONTROLS_AT_REST, heard(level=0.7), 2 * FRAME_S, 1.0)
        for _ in range(2):
            at_quick = quick.move(CONTROLS_AT_REST, heard(level=0.7), FRAME_S, 1.0)
    assert at_slow["speed"] == pytest.approx(at_quick["speed"])


def test_maps_fade_with_their_preset_and_a_fade_that_is_overtaken_goes_on():
    playing = Reactivity()
    first, second = Map("level", "speed", 0.5, release_s=0.0), Map("level", "gain/fine", 0.5, release_s=0.0)

    def at(share: float) -> tuple[float, float]:
        moved = playing.move(CONTROLS_AT_REST, heard(level=1.0), FRAME_S, share)
        return moved["speed"] - 1.0, moved["gain/fine"] - 1.0

    playing.go([first])
    assert at(1.0) == pytest.approx((2.0, 0.0))
    playing.go([second])
    assert at(0.0) == pytest.approx((2.0, 0.0))
    assert at(0.25) == pytest.approx((1.5, 0.25))
    playing.go([first])
    assert at(0.0) == pytest.approx((1.5, 0.25)), "nothing jumps"
    assert at(1.0) == pytest.approx((2.0, 0.0))
    assert at(1.0) == pytest.approx((2.0, 0.0))
    playing.go([])
    assert at(1.0) == (0.0, 0.0)
    playing.go([])
    assert not playing.wants


def test_what_can_be_mapped():
    names = set(mappable())
    assert {"speed", "gain/fine", "truncation", "reactivity", *FADERS} <= names
    assert not names & {"sound/gain", "seed", "master", "blackout", "latency/offset", "look/mirror"}
    assert all(CONTROLS[name].kind == "float" for name in names)


@pytest.fixture(scope="module")
def bundle(tiny_bundle):
    return load_bundle(tiny_bundle)


@pytest.fixture(scope="module")
def sessions(bundle):
    with open_sessions(bundle, "onnxruntime", threads=1) as opened:
        yield opened


def test_a_map_moves_the_picture_only_while_its_feature_is_heard(bundle, sessions):
    sound = np.concatenate([np.zeros(RATE // 2, np.float32), tone(100, 0.5)])
    mapped = {
        "base": {"seed": 3},
        "offset": None,
        "maps": [{"feature": "bass", "control": "truncation", "amount": -1.0}],
    }
    plain = {"base": {"seed": 3}, "offset": None}
    one, other = (
        [frame.w_plus for frame in paint(sound, RATE, bundle, sessions, preset)] for preset in (mapped, plain)
    )
    np.testing.assert_array_equal(one[:14], other[:14])
    assert np.abs(one[-1] - other[-1]).max() > 0.1


def test_a_map_of_the_look_moves_it_by_picture_and_leaves_what_is_painted_alone(bundle, sessions):
    sound = np.concatenate([np.zeros(RATE // 2, np.float32), tone(100, 0.5)])
    maps = [
        {"feature": "bass", "control": "look/hue", "amount": 0.25, "release_s": 0.0},
        {"feature": "bass", "control": "look/saturation", "amount": 1.0, "release_s": 0.0},
    ]
    plain = {"base": {"seed": 3}, "offset": None}
    controls = {"look/saturation": 1.5}
    one, other = (
        [(frame.image.copy(), frame.look) for frame in paint(sound, RATE, bundle, sessions, preset, controls=controls)]
        for preset in ({**plain, "maps": maps}, plain)
    )
    assert all(np.array_equal(mine[0], theirs[0]) for mine, theirs in zip(one, other, strict=True))
    assert {look for _, look in other} == {(0.0,) * 5}
    assert one[13][1] == (0.0,) * 5, "nothing was heard yet"
    hue, saturation, *rest = one[-1][1]
    assert 30.0 < hue <= 90.0
    assert saturation == pytest.approx(0.5), "its range ends at 2"
    assert rest == [0.0, 0.0, 0.0]
    assert Look(hue=170.0, saturation=1.5).moved(one[-1][1]) == Look(hue=180.0, saturation=2.0)


def test_a_clock_that_is_told_counts_before_what_is_heard(bundle, sessions):
    painter = Painter(bundle, sessions, RATE)
    assert painter.beat(1.0) is None
    painter.clock = (Beat(4.0, 120.0), 1.0)
    assert painter.beat(1.25) == Beat(4.5, 120.0)


def test_a_seed_that_changes_in_the_middle_of_a_fade_does_not_jump(bundle, sessions):
    painter = Painter(bundle, sessions, RATE)
    painter.controls |= {"sound/weight": 0.0, "fade": 2.0, "noise": 0.0}
    layout = bundle.tensors["w_avg"].shape
    painter.go({"base": {"w_plus": np.zeros(layout).tolist()}, "offset": None}, 0.0)
    painter.go({"base": {"w_plus": np.ones(layout).tolist()}, "offset": None, "fade_s": 2.0}, 0.0)
    path = []
    for number in range(200):
        painter.controls["seed"] = 5.0 if number > 60 else 0.0
        path.append(painter.move(number * FRAME_S).copy())
    steps = np.abs(np.diff(path, axis=0)).max(axis=(1, 2, 3))
    assert steps[steps > 1e-6].max() < 3 * np.median(steps[steps > 1e-6])
