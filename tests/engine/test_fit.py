"""A picture in the place of another: its proportions stay, the frame is filled, colours are those that were there."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image

from engine.fit import Fit


def smooth(height: int, width: int) -> np.ndarray:
    y, x = np.mgrid[:height, :width]
    waves = [127.5 + 127.5 * np.sin(x / (20 + 5 * c) + y / 30 + c) for c in range(3)]
    return np.dstack([*waves, np.full((height, width), 255)]).round().astype(np.uint8)


def test_a_picture_of_the_right_size_is_passed_on_as_it_is():
    picture = smooth(36, 64)
    assert Fit((36, 64), (36, 64))(picture) is picture


@pytest.mark.parametrize(("source", "target"), [((96, 96), (96, 170)), ((90, 160), (64, 64)), ((36, 64), (256, 256))])
def test_it_fills_the_frame_from_the_middle_and_keeps_its_proportions(source, target):
    picture = smooth(*source)
    fitted = Fit(source, target)(picture)
    assert fitted.shape == (*target, 4)
    assert fitted.dtype == np.uint8
    assert (fitted[..., 3] == 255).all()
    scale = max(t / s for s, t in zip(source, target, strict=True))
    (height, width), (h, w) = source, (target[0] / scale, target[1] / scale)
    box = ((width - w) / 2, (height - h) / 2, (width + w) / 2, (height + h) / 2)
    expected = Image.fromarray(picture).transform(target[::-1], Image.Transform.EXTENT, box, Image.Resampling.BILINEAR)
    inside = slice(2, -2), slice(2, -2)  # at the edges Pillow has no neighbours
    assert np.abs(fitted.astype(int) - np.asarray(expected))[inside].max() <= 3


@pytest.mark.parametrize("value", [0, 1, 254, 255])
def test_one_colour_stays_that_colour(value):
    plain = np.full((7, 5, 4), value, np.uint8)
    assert (Fit((7, 5), (23, 31))(plain) == value).all()


def test_even_a_single_pixel():
    assert (Fit((1, 1), (3, 4))(np.full((1, 1, 4), 9, np.uint8)) == 9).all()
