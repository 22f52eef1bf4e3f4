"""Stills: what is shown, with the trails of what was shown before."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from cymatic.stills import KEPT, Stills
from engine.finish import Finish, Shown
from engine.look import Look


@pytest.fixture
def lines() -> list[str]:
    return []


@pytest.fixture
def stills(tmp_path, lines) -> Stills:
    return Stills(tmp_path, lines.append)


def picture(value: int, column: int = 0) -> np.ndarray:
    rgba = np.zeros((36, 64, 4), np.uint8)
    rgba[:, column : column + 8, :3] = value
    rgba[..., 3] = 255
    return rgba


def taken(stills: Stills, shown: Shown, lines: list[str]) -> np.ndarray:
    stills.take(shown)
    stills.stop(20.0)
    assert lines[-1].startswith("still: ")
    with Image.open(Path(lines[-1].removeprefix("still: "))) as file:
        return np.asarray(file)


def test_a_still_has_the_look_and_the_fade(stills, lines):
    rgba = np.random.default_rng(5).integers(0, 256, (36, 64, 4), np.uint8)
    shown = Shown(rgba, 1.0, 0.7, Look(hue=70.0, mirror="horizontal", vignette=0.4))
    assert (taken(stills, shown, lines) == Finish().show(shown)).all()


@pytest.mark.parametrize("trails", [0.3, 0.6, 1.0])
def test_a_still_has_the_trails_of_the_last_seconds(stills, lines, trails):
    look, finish, fps = Look(trails=trails), Finish(), 30
    for number in range(6 * fps):
        shown = Shown(picture(220, 10 + number % 40), number / fps, look=look, limit=False)
        whole = finish.show(shown)
        stills.follow(shown)
    still = taken(stills, shown, lines)
    newest = slice(10 + number % 40, 18 + number % 40)
    assert np.abs(still[:, newest].astype(int) - whole[:, newest].astype(int)).max() <= 2
    behind = slice(newest.start - 8, newest.start)
    assert still[18, behind, 0].mean() == pytest.approx(whole[18, behind, 0].mean(), rel=0.35)


def test_memory_is_bounded_and_given_back_with_the_trails(stills, lines):
    for number in range(1000):
        stills.follow(Shown(picture(200), number / 30, look=Look(trails=0.2)))
    assert len(stills._before) == KEPT
    after = Shown(picture(0), 40.0, look=Look(hue=10.0))
    stills.follow(after)
    assert not stills._before
    assert not taken(stills, after, lines)[..., :3].any()


def test_without_a_picture_a_line_says_so(stills, lines):
    stills.take(None)
    assert lines == ["no still: there is no picture yet"]
