"""Preset fades: where they begin, where they end, and that nothing ever jumps."""

from __future__ import annotations

import numpy as np
import pytest

from engine.crossfade import LARGEST_STEP, Crossfade


def latent(value: float) -> np.ndarray:
    return np.full((2, 3), value, np.float32)


def walk(fade: Crossfade, begins: float, ends: float, fps: float = 60.0) -> np.ndarray:
    """First number of the base, frame by frame."""
    times = np.arange(begins, ends + 0.5 / fps, 1.0 / fps)
    return np.array([float(fade.at(now)[0][0, 0]) for now in times])


def test_it_stands_until_it_is_told_to_go():
    fade = Crossfade(latent(1), latent(2))
    base, offset = fade.at(50.0)
    assert (base == 1).all()
    assert (offset == 2).all()
    assert fade.share == 1.0


def test_it_ends_exactly_and_moves_both_the_same_way():
    fade = Crossfade(latent(0), latent(10))
    goal, pull = latent(0.1), latent(20)
    fade.go(goal, pull, 4.0, now=100.0)
    assert fade.at(100.0)[0] == pytest.approx(0.0)
    assert walk(fade, 100.0, 102.0)[-1] == pytest.approx(0.05, abs=1e-4)
    assert fade.at(102.0)[1] == pytest.approx(15.0, abs=0.01)
    assert fade.share == pytest.approx(0.5, abs=1e-3)
    walk(fade, 102.0, 104.1)
    assert fade.at(104.1)[0] is goal
    assert fade.at(1e9)[1] is pull


def test_no_time_means_at_once():
    fade = Crossfade(latent(0), latent(0))
    fade.go(latent(1), latent(1), 0.0, now=5.0)
    assert (fade.at(5.0)[0] == 1).all()


def test_a_fade_that_is_overtaken_goes_on_from_where_it_was():
    fade = Crossfade(latent(0), latent(0))
    fade.go(latent(1), latent(1), 10.0, now=0.0)
    here = walk(fade, 0.0, 3.0)[-1]
    fade.go(latent(-1), latent(-1), 10.0, now=3.0)
    path = np.concatenate([[here], walk(fade, 3.0, 13.1)])
    assert np.abs(np.diff(path)).max() < 0.01
    assert path[-1] == -1.0


@pytest.mark.parametrize("fade_s", [0.05, 0.5, 3.0, 60.0])
def test_no_frame_goes_further_than_the_bound_and_hardly_one_over_the_usual(fade_s: float):
    fade = Crossfade(latent(0), latent(0))
    fade.go(latent(1), latent(0), fade_s, now=0.0)
    steps = np.diff(walk(fade, 0.0, fade_s + 1.0))
    steps = steps[steps > 0]
    assert steps.max() <= 1.5 * LARGEST_STEP + 1e-6
    assert steps.max() < 1.2 * np.median(steps)
    assert steps.sum() == pytest.approx(1.0)


def test_a_stall_in_the_middle_is_no_jump():
    fade = Crossfade(latent(0), latent(0))
    fade.go(latent(1), latent(0), 3.0, now=0.0)
    before = walk(fade, 0.0, 1.0)[-1]
    after = float(fade.at(9.0)[0][0, 0])
    assert 0 < after - before <= 1.5 * LARGEST_STEP
    assert walk(fade, 9.0, 12.0)[-1] == 1.0


def test_a_crossfader_holds_the_picture_on_the_way():
    fade = Crossfade(latent(0), latent(0))
    fade.go(latent(1), latent(0), 3.0, now=0.0)

    def moved(position: float, begins: float) -> np.ndarray:
        values = []
        for now in np.arange(begins, begins + 0.5, 1 / 60):
            fade.hold(position)
            values.append(float(fade.at(now)[0][0, 0]))
        return np.array(values)

    path = np.concatenate([moved(1.0, 0.0), moved(0.5, 1.0), moved(0.0, 2.0), moved(1.0, 3.0)])
    assert np.abs(np.diff(path)).max() <= 1.5 * LARGEST_STEP + 1e-6
    assert path[29] > 0, "at 1 a fade runs by itself"
    assert path[59] == pytest.approx(0.5)
    assert path[89] == 0.0
    assert path[119] == 1.0
    fade.go(latent(2), latent(0), 0.5, now=4.0)
    assert moved(1.0, 4.0)[0] < 1.1, "and the next one runs as well"
    assert moved(1.0, 4.5)[-1] == 2.0


@pytest.mark.parametrize("fade_s", [0.0, 3.0])
def test_what_is_laid_ready_at_0_is_not_seen_until_the_crossfader_moves(fade_s: float):
    fade = Crossfade(latent(0), latent(0))
    fade.go(latent(1), latent(0), fade_s, now=0.0, position=0.0)
    for frame in range(20):
        fade.hold(0.0)
        assert (fade.at(frame / 60)[0] == 0.0).all()
    for frame in range(20, 40):
        fade.hold(1.0)
        base, _ = fade.at(frame / 60)
    assert (base == 1.0).all()
