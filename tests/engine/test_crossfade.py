"""Preset fades: where they begin, where they end, and that nothing ever jumps."""

from __future__ import annotations

import numpy as np
import pytest

from engine.crossfade import LARGEST_STEP, Crossfade, Way


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
    fade.go((goal, pull), 4.0, now=100.0)
    assert fade.at(100.0)[0] == pytest.approx(0.0)
    assert walk(fade, 100.0, 102.0)[-1] == pytest.approx(0.05, abs=1e-4)
    assert fade.at(102.0)[1] == pytest.approx(15.0, abs=0.01)
    assert fade.share == pytest.approx(0.5, abs=1e-3)
    walk(fade, 102.0, 104.1)
    assert fade.at(104.1)[0] is goal
    assert fade.at(1e9)[1] is pull


def test_no_time_means_at_once():
    fade = Crossfade(latent(0), latent(0))
    fade.go((latent(1), latent(1)), 0.0, now=5.0)
    assert (fade.at(5.0)[0] == 1).all()


def test_a_fade_that_is_overtaken_goes_on_from_where_it_was():
    fade = Crossfade(latent(0), latent(0))
    fade.go((latent(1), latent(1)), 10.0, now=0.0)
    here = walk(fade, 0.0, 3.0)[-1]
    fade.go((latent(-1), latent(-1)), 10.0, now=3.0)
    path = np.concatenate([[here], walk(fade, 3.0, 13.1)])
    assert np.abs(np.diff(path)).max() < 0.01
    assert path[-1] == -1.0


@pytest.mark.parametrize("fade_s", [0.05, 0.5, 3.0, 60.0])
def test_no_frame_goes_further_than_the_bound_and_hardly_one_over_the_usual(fade_s: float):
    fade = Crossfade(latent(0), latent(0))
    fade.go((latent(1), latent(0)), fade_s, now=0.0)
    steps = np.diff(walk(fade, 0.0, fade_s + 1.0))
    steps = steps[steps > 0]
    assert steps.max() <= 1.5 * LARGEST_STEP + 1e-6
    assert steps.max() < 1.2 * np.median(steps)
    assert steps.sum() == pytest.approx(1.0)


def test_a_stall_in_the_middle_is_no_jump():
    fade = Crossfade(latent(0), latent(0))
    fade.go((latent(1), latent(0)), 3.0, now=0.0)
    before = walk(fade, 0.0, 1.0)[-1]
    after = float(fade.at(9.0)[0][0, 0])
    assert 0 < after - before <= 1.5 * LARGEST_STEP
    assert walk(fade, 9.0, 12.0)[-1] == 1.0


def test_a_crossfader_holds_the_picture_on_the_way():
    fade = Crossfade(latent(0), latent(0))
    fade.go((latent(1), latent(0)), 3.0, now=0.0)

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
    fade.go((latent(2), latent(0)), 0.5, now=4.0)
    assert moved(1.0, 4.0)[0] < 1.1, "and the next one runs as well"
    assert moved(1.0, 4.5)[-1] == 2.0


@pytest.mark.parametrize("fade_s", [0.0, 3.0])
def test_what_is_laid_ready_at_0_is_not_seen_until_the_crossfader_moves(fade_s: float):
    fade = Crossfade(latent(0), latent(0))
    fade.go((latent(1), latent(0)), fade_s, now=0.0, position=0.0)
    for frame in range(20):
        fade.hold(0.0)
        assert (fade.at(frame / 60)[0] == 0.0).all()
    for frame in range(20, 40):
        fade.hold(1.0)
        base, _ = fade.at(frame / 60)
    assert (base == 1.0).all()


def stands(way: Way, position: float, begins: float) -> tuple[float, float]:
    """Base and offset after half a second in which the crossfader stood there."""
    for now in np.arange(begins, begins + 0.5, 1 / 60):
        way.hold(position)
        base, offset = way.at(now)
    return round(float(base.mean()), 5), round(float(offset.mean()), 5)


def test_words_pull_at_both_ends_of_the_crossfader_and_leave_it_where_it_is():
    way = Way(latent(0), latent(10))
    way.call(latent(1), latent(20), 0.0, 0.0, 1.0)
    assert stands(way, 0.5, 0.0) == (0.5, 15.0)
    way.say(latent(3), 0.2, 1.0)
    assert way.at(1.0)[1] == pytest.approx(15.0), "they come in their time"
    for number, (position, offset) in enumerate(((0.5, 18.0), (0.0, 13.0), (1.0, 23.0), (0.5, 18.0))):
        assert stands(way, position, 1.0 + number) == (position, offset)
    way.say(None, 0.0, 6.0)
    assert stands(way, 0.0, 6.0) == (0.0, 10.0)


def test_a_fade_takes_its_time_though_words_come_meanwhile():
    way = Way(latent(0), latent(0))
    way.call(latent(1), latent(0), 10.0, 0.0, 1.0)
    for now in np.arange(0.0, 5.0, 1 / 60):
        if now == 2.0:
            way.say(latent(3), 0.1, now)
        base, offset = way.at(now)
    assert base == pytest.approx(0.5, abs=0.01)
    assert (offset == 3.0).all()


def test_the_place_before_a_call_keeps_the_words_that_it_had():
    way = Way(latent(0), latent(10))
    way.say(latent(3), 0.0, 0.0)
    way.call(latent(1), latent(20), 0.0, 1.0, 1.0)
    assert stands(way, 1.0, 1.0) == (1.0, 20.0)
    assert stands(way, 0.0, 2.0) == (0.0, 13.0)
    way.call(latent(2), latent(30), 0.0, 3.0, 0.0)
    assert stands(way, 0.0, 3.0) == (0.0, 13.0), "and nothing is seen of a call that is only laid ready"


def test_a_land_lies_at_both_ends_of_the_crossfader_until_it_is_lifted():
    way = Way(latent(0), latent(10))
    way.call(latent(1), latent(20), 0.0, 0.0, 1.0)
    stands(way, 0.5, 0.0)
    way.lay(latent(5), 0.2, 1.0)
    assert way.at(1.0)[0] == pytest.approx(0.5), "it comes in its time"
    for number, (position, offset) in enumerate(((0.5, 15.0), (0.0, 10.0), (1.0, 20.0))):
        assert stands(way, position, 1.0 + number) == (5.0, offset)
    way.call(latent(2), latent(0), 0.0, 4.0, 1.0)
    assert stands(way, 1.0, 4.0) == (5.0, 0.0), "under the next preset, too"
    way.lay(latent(6), 0.5, 5.0)
    assert 5.0 < way.at(5.05)[0].mean() < 6.0, "from one land to the next"
    way.lay(None, 0.0, 6.0)
    assert stands(way, 1.0, 6.0) == (2.0, 0.0)
    assert stands(way, 0.0, 7.0) == (1.0, 20.0)
