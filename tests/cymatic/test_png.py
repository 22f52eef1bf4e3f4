"""PNG files, read back by another program's reader."""

from __future__ import annotations

import io

import numpy as np
import pytest
from PIL import Image

from cymatic.png import encode_png


@pytest.mark.parametrize("shape", [(1, 1, 3), (36, 64, 4), (7, 5, 3), (144, 256, 4)])
def test_what_is_written_is_read_back(shape):
    picture = np.random.default_rng(2).integers(0, 256, shape, np.uint8)
    with Image.open(io.BytesIO(encode_png(picture))) as read:
        assert read.format == "PNG"
        assert read.mode == ("RGB" if shape[2] == 3 else "RGBA")
        assert read.info["srgb"] == 0, "colour management is told which colours these are"
        assert (np.asarray(read) == picture).all()


@pytest.mark.parametrize("picture", [np.zeros((4, 4, 3)), np.zeros((4, 4, 1), np.uint8)])
def test_other_arrays_are_refused(picture):
    with pytest.raises(ValueError, match="expected uint8"):
        encode_png(picture)
