"""Look, vignette and fade on the processor: what the shader is compared with elsewhere, and what costs nothing."""

from __future__ import annotations

import numpy as np
import pytest

from engine.finish import ROWS, Finish, Shown
from engine.look import Look
from engine.present import apply_output
from engine.reel import Follower, Reel


@pytest.fixture(params=[(36, 64), (2 * ROWS + 3, 51), (1, 1)], ids=str)
def picture(request):
    rgba = np.random.default_rng(3).integers(0, 256, (*request.param, 4), np.uint8)
    rgba[..., 3] = 255
    return rgba


def flat(value: int, size=(36, 64)) -> np.ndarray:
    rgba = np.full((*size, 4), 255, np.uint8)
    rgba[..., :3] = value
    return rgba


def test_a_neutral_look_hands_on_the_very_picture(picture):
    finish = Finish()
    assert finish.show(Shown(picture, 0.0)) is picture
    assert (finish.show(Shown(picture, 0.1, 0.5)) == apply_output(picture, 0.5, False, False)).all()
    assert not finish.show(Shown(picture, 0.2, 0.0, Look(hue=50.0)))[..., :3].any()


def test_a_look_that_was_let_go_changes_no_bit(picture):
    finish, before = Finish(), picture.copy()
    moved = finish.show(Shown(picture, 0.0, look=Look(hue=50.0), limit=False))
    assert picture.shape == (1, 1, 4) or (moved != picture).any()
    assert (moved[..., 3] == 255).all()
    assert finish.show(Shown(picture, 0.1)) is picture
    assert (picture == before).all()


@pytest.mark.parametrize("mirror", ["horizontal", "vertical", "kaleidoscope"])
def test_mirrors_at_any_size_stay_within_the_colours_of_the_picture(picture, mirror):
    made = Finish().show(Shown(picture, 0.0, look=Look(mirror=mirror), limit=False))
    assert made.shape == picture.shape
    assert (made.min((0, 1)) >= picture.min((0, 1))).all()
    assert (made.max((0, 1)) <= picture.max((0, 1))).all()
    if mirror == "horizontal":
        assert (made == made[:, ::-1]).all()


def test_a_trail_fades_by_time_whatever_comes_between():
    look = Look(trails=0.8)

    def left(times: list[float]) -> int:
        finish = Finish()
        finish.show(Shown(flat(200), 0.0, look=look, limit=False))
        return int([finish.show(Shown(flat(0), at, look=look, limit=False)) for at in times][-1][18, 32, 0])

    assert left([1.0]) == pytest.approx(200 * look.keep(1.0), abs=2)
    assert left(list(np.linspace(0.05, 1.0, 20))) == pytest.approx(left([1.0]), abs=8)
    assert left([60.0]) == 0


def test_what_had_no_trails_leaves_none():
    finish = Finish()
    finish.show(Shown(flat(200), 0.0, look=Look(hue=10.0), limit=False))  # as the test card is: without trails
    after = finish.show(Shown(flat(10), 0.02, look=Look(trails=1.0), limit=False))
    assert (after[..., :3] == 10).all()


def test_a_record_carries_the_look_and_one_without_is_neutral():
    reel = Reel.create(4, 36 * 64 * 4)
    try:
        follower = Follower(reel)
        look = Look(-33.5, 1.75, 0.25, "kaleidoscope", 0.5, 1.0)
        for shown in (Shown(flat(7), 2.5, 0.5, look, limit=False), Shown(flat(7), 3.0, look=look)):
            reel.write(shown.rgba, shown.at, shown.level, shown.numbers)
            record = follower.next()
            assert record is not None
            told = Shown.of(record, (36, 64))
            assert (told.at, told.level, told.look, told.limit) == (shown.at, shown.level, look, shown.limit)
            assert (told.rgba == shown.rgba).all()
        reel.write(flat(7), 4.0, 1.0)
        record = follower.next()
        assert record is not None
        told = Shown.of(record, (36, 64))
        assert told.look.neutral
        assert told.limit
        assert Finish().of(record, (36, 64)).base is record.data, "nothing is computed"
    finally:
        reel.close()
