"""The blend: identities that hold whatever the numbers are."""

from __future__ import annotations

import numpy as np
import pytest

from engine.latents import SlowLevel, blend, pulse

LAYERS, DIM = 10, 4
GROUPS = {"coarse": slice(0, 2), "mid": slice(2, 5), "fine": slice(5, 10)}
NEUTRAL = {
    "sound/weight": 1.0,
    "text/weight": 1.0,
    "reactivity": 0.0,
    "truncation": 1.0,
    "gain/coarse": 1.0,
    "gain/mid": 1.0,
    "gain/fine": 1.0,
}
_rng = np.random.default_rng(1)
BASE, W_T, OFFSET, W_AVG = (_rng.standard_normal((LAYERS, DIM)).astype(np.float32) for _ in range(4))


def mixed(level: float = 0.5, onset: float = 0.0, slow_level: float = 0.5, **controls: float) -> np.ndarray:
    names = {name.replace("_", "/"): value for name, value in controls.items()}
    return blend(BASE, W_T, OFFSET, W_AVG, GROUPS, NEUTRAL | names, level, onset, slow_level)


def truncated(w: np.ndarray, truncation: float) -> np.ndarray:
    return W_AVG + np.float32(truncation) * (w - W_AVG)


def test_shape_type_and_untouched_inputs() -> None:
    before = [array.copy() for array in (BASE, W_T, OFFSET, W_AVG)]
    w_plus = mixed(reactivity=1.0, onset=1.0)
    assert w_plus.shape == (1, LAYERS, DIM)
    assert w_plus.dtype == np.float32
    for array, copy in zip((BASE, W_T, OFFSET, W_AVG), before, strict=True):
        np.testing.assert_array_equal(array, copy)


@pytest.mark.parametrize("truncation", [0.0, 0.4, 1.0, 1.5])
def test_without_sound_and_text_the_base_remains(truncation: float) -> None:
    w_plus = mixed(sound_weight=0.0, text_weight=0.0, truncation=truncation, reactivity=1.0, onset=1.0)
    np.testing.assert_allclose(w_plus[0], truncated(BASE, truncation), atol=1e-6)


def test_truncation_zero_is_the_mean_itself() -> None:
    np.testing.assert_array_equal(mixed(truncation=0.0)[0], W_AVG)


def test_full_sound_is_w_t_and_full_text_its_offset() -> None:
    np.testing.assert_allclose(mixed(text_weight=0.0)[0], W_T, atol=1e-6)
    np.testing.assert_allclose(mixed(sound_weight=0.0)[0], BASE + OFFSET, atol=1e-6)
    np.testing.assert_allclose(mixed()[0], W_T + OFFSET, atol=1e-6)


def test_no_anchors_is_an_offset_of_nothing() -> None:
    w_plus = blend(BASE, W_T, None, W_AVG, GROUPS, NEUTRAL, 0.5, 0.0)
    np.testing.assert_allclose(w_plus[0], W_T, atol=1e-6)


def test_without_reactivity_level_and_onset_change_nothing() -> None:
    np.testing.assert_array_equal(mixed(level=1.0, onset=1.0), mixed(level=0.0, onset=0.0))
    assert not np.array_equal(mixed(level=1.0, reactivity=1.0), mixed(level=0.0, reactivity=1.0))


def test_pulse_moves_along_what_is_heard() -> None:
    w_plus = mixed(text_weight=0.0, reactivity=0.5, onset=1.0)
    np.testing.assert_allclose(w_plus[0], BASE + 1.4 * (W_T - BASE), atol=1e-5)


@pytest.mark.parametrize("group", list(GROUPS))
def test_a_gain_touches_its_group_only(group: str) -> None:
    w_plus = blend(BASE, W_T, None, W_AVG, GROUPS, NEUTRAL | {f"gain/{group}": 0.0}, 0.5, 0.0)[0]
    for other, layers in GROUPS.items():
        expected = BASE if other == group else W_T
        np.testing.assert_allclose(w_plus[layers], expected[layers], atol=1e-6)


def test_pulse_is_zero_for_steady_sound_and_bounded() -> None:
    assert pulse(0.9, 0.9, 0.0) == 0.0
    assert pulse(1.0, 0.0, 1.0) == pytest.approx(2.3)
    assert pulse(0.0, 1.0, 0.0) == pytest.approx(-1.0)
    assert pulse(0.8, 0.5, 0.0) > pulse(0.6, 0.5, 0.0) > 0


def test_slow_level_is_the_mean_at_first_and_then_follows_slowly() -> None:
    slow = SlowLevel()
    assert slow.follow(0.8, 0.02) == pytest.approx(0.8)
    assert slow.follow(0.2, 0.02) == pytest.approx(0.5)
    for _ in range(2000):
        slow.follow(0.8, 0.02)
    values = [slow.follow(0.2, 0.02) for _ in range(300)]  # six seconds: one time constant
    assert values == sorted(values, reverse=True)
    assert values[-1] == pytest.approx(0.2 + 0.6 * np.exp(-1), abs=2e-3)


def test_slow_level_takes_the_first_frame_as_it_is_though_no_time_has_passed() -> None:
    assert SlowLevel().follow(0.7, 0.0) == pytest.approx(0.7)


def test_a_stroke_comes_with_the_onset_and_only_as_far_as_sound_and_reactivity_let_it() -> None:
    stroke = np.full_like(BASE, 0.25)

    def struck(onset: float, **controls: float) -> np.ndarray:
        steady = NEUTRAL | {name.replace("__", "/"): value for name, value in controls.items()}
        args = (BASE, BASE, None, W_AVG, GROUPS, steady, 0.5, onset)
        return blend(*args, stroke=stroke) - blend(*args)

    np.testing.assert_allclose(struck(1.0, reactivity=0.5), 0.25, atol=1e-6)
    np.testing.assert_allclose(struck(0.5, reactivity=0.5), 0.125, atol=1e-6)
    np.testing.assert_allclose(struck(1.0, reactivity=1.0), 0.25, atol=1e-6)
    for still in (struck(0.0, reactivity=0.5), struck(1.0, reactivity=0.0), struck(1.0, sound__weight=0.0)):
        np.testing.assert_array_equal(still, np.zeros_like(still))
