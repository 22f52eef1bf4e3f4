"""What the audience sees: fade, blackout and test card."""

from __future__ import annotations

import numpy as np
import pytest

from engine.present import apply_output, draw_test_card


@pytest.fixture
def picture():
    rgba = np.random.default_rng(1).integers(0, 256, (18, 32, 4), np.uint8)
    rgba[..., 3] = 255
    return rgba


def test_the_picture_as_painted_is_not_even_copied(picture):
    assert apply_output(picture, 1.0, False, False) is picture


def test_the_fader_dims_evenly_and_leaves_alpha_and_the_frame_alone(picture):
    before = picture.copy()
    faded = apply_output(picture, 0.25, False, False)
    assert np.abs(faded[..., :3] - before[..., :3] * 0.25).max() <= 0.5
    assert (faded[..., 3] == 255).all()
    assert (picture == before).all()


@pytest.mark.parametrize(
    ("master", "blackout", "test_card"), [(1.0, True, False), (0.5, True, True), (0.0, False, False), (0.0, True, True)]
)
def test_black_is_black(picture, master, blackout, test_card):
    black = apply_output(picture, master, blackout, test_card)
    assert black.shape == picture.shape
    assert not black[..., :3].any()
    assert (black[..., 3] == 255).all()


@pytest.mark.parametrize("size", [(36, 64), (144, 256), (9, 9)])
def test_the_test_card_shows_size_colours_and_sides_whatever_the_fader_says(size):
    height, width = size
    card = apply_output(np.zeros((height, width, 4), np.uint8), 0.2, False, True)
    assert card.shape == (height, width, 4)
    assert (card[0] == 255).all()
    assert (card[:, -1] == 255).all()
    bars = card[height // 4, 1:-1, :3]
    assert len(np.unique(bars, axis=0)) >= 7
    assert (card[:, :, :3] != card[:, ::-1, :3]).any(), "mirrored must not look the same"
    assert (draw_test_card(height, width) == card).all()
