"""Preset fades: where they begin, where they end, and that nothing ever jumps."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest

from engine.crossfade import Crossfade


def latent(value: float) -> np.ndarray:
    return np.full((2, 3), value, np.float32)


def test_it_stands_until_it_is_told_to_go():
    fade = Crossfade(latent(1), latent(2))
    base, offset = fade.at(50.0)
    assert (base == 1).all()
    assert (offset == 2).all()


def test_it_ends_exactly_and_moves_both_the_same_way():
    fade = Crossfade(latent(0), latent(10))
    goal, pull = latent(0.1), latent(20)
    fade.go(goal, pull, 4.0, now=100.0)
    assert fade.at(100.0)[0] == pytest.approx(0.0)
    base, offset = fade.at(102.0)
    assert base == pytest.approx(0.05)
    assert offset == pytest.approx(15.0)
    assert fade.at(104.0)[0] is goal
    assert fade.at(1e9)[1] is pull


def test_no_time_means_at_once():
    fade = Crossfade(latent(0), latent(0))
    fade.go(latent(1), latent(1), 0.0, now=5.0)
    assert (fade.at(5.0)[0] == 1).all()


def test_a_fade_that_is_overtaken_goes_on_from_where_it_was():
    fade = Crossfade(latent(0), latent(0))
    fade.go(latent(1), latent(1), 10.0, now=0.0)
    here = fade.at(3.0)[0].copy()
    fade.go(latent(-1), latent(-1), 10.0, now=3.0)
    assert fade.at(3.0)[0] == pytest.approx(here)
    path = [float(fade.at(t)[0][0, 0]) for t in np.linspace(3.0, 13.0, 500)]
    assert max(abs(b - a) for a, b in pairwise(path)) < 0.01
    assert path[-1] == -1.0
