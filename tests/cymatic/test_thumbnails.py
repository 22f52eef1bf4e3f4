"""`cymatic presets thumbnails`: small pictures that the bundle itself has painted."""

from __future__ import annotations

import numpy as np
from PIL import Image

from cymatic.cli import main
from cymatic.thumbnails import write_thumbnail
from presets.thumbnails import HEIGHT, WIDTH, find


def test_every_preset_of_a_folder_gets_its_picture(tiny_bundle, tmp_path, capsys):
    for name, seed in (("one", "3"), ("two", "40")):
        arguments = ["presets", "new", name, "--seed", seed, "--folder", str(tmp_path), "--bundle", str(tiny_bundle)]
        assert main(arguments) == 0
    capsys.readouterr()
    paint = ["presets", "thumbnails", "--folder", str(tmp_path), "--bundle", str(tiny_bundle)]
    assert main([*paint, "one"]) == 0
    assert find("two", [tmp_path]) is None
    assert main(paint) == 0
    assert len(capsys.readouterr().out.splitlines()) == 3
    pictures = [Image.open(find(name, [tmp_path])) for name in ("one", "two")]
    assert [picture.size for picture in pictures] == [(WIDTH, HEIGHT)] * 2
    first, second = (np.asarray(picture, float) for picture in pictures)
    assert first.std() > 1, "it is no flat grey"
    assert np.abs(first - second).mean() > 1, "two lands differ"


def test_a_picture_is_cut_to_its_middle_not_squeezed(tmp_path):
    square = np.zeros((320, 320, 4), np.uint8)
    square[..., 3] = 255
    square[:60, :, 0] = 255  # what is cut off
    square[150:170, :, 1] = 255
    path = tmp_path / "thumbnails" / "x.jpg"
    write_thumbnail(square, path)
    small = np.asarray(Image.open(path), float)
    assert small.shape == (HEIGHT, WIDTH, 3)
    assert small[..., 0].max() < 60
    assert small[HEIGHT // 2, :, 1].min() > 150


def test_a_preset_that_is_not_there_is_one_line(tiny_bundle, tmp_path, capsys):
    code = main(["presets", "thumbnails", "none-such", "--folder", str(tmp_path), "--bundle", str(tiny_bundle)])
    assert code == 2
    assert "none-such" in capsys.readouterr().err
