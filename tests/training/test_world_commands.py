"""`cymatic world` and `cymatic train`: what they write, and one line for what they cannot."""

from __future__ import annotations

import sys
from pathlib import Path

import av
import numpy as np
import pytest
import soundfile
from one_thread import one_thread  # noqa: F401
from PIL import Image
from tqdm import tqdm

from cymatic import cli
from engine.bundle import split_words
from training.world import factors
from training.world.preview import STRENGTHS, STRIP, scene_vectors

FILMS = (*factors.SCENES, "music")


def test_preview_writes_a_sheet_captions_and_films(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tqdm, "monitor_interval", 0)  # its thread would outlive the test
    out = tmp_path / "deep" / "folder"
    asked = ["--size", "36x64", "--seed", "3", "--fps", "10", "--seconds", "2"]
    assert cli.main(["world", "preview", "--out", str(out), *asked]) == 0
    names = ["world.png", "captions.txt", *(f"{name}.mp4" for name in FILMS)]
    assert capsys.readouterr().out.splitlines() == [str(out / name) for name in names]
    assert sorted(path.name for path in out.iterdir()) == sorted(names)
    with Image.open(out / "world.png") as sheet:
        pixels = np.asarray(sheet)
    assert pixels.shape == (9 * (36 + STRIP), 4 * 64, 3)
    for row in range(9):
        for column in range(4):
            top = row * (36 + STRIP)
            assert pixels[top : top + 36, 64 * column : 64 * (column + 1)].std() > 5, "a picture"
            assert pixels[top + 36 : top + 36 + STRIP, 64 * column : 64 * (column + 1)].max() > 100, "and its label"
    lines = (out / "captions.txt").read_text().splitlines()
    assert len(lines) == 9 * len(STRENGTHS)
    assert all(len(split_words(line.split(": ", 1)[1])) >= 1 for line in lines)
    for name in FILMS:
        with av.open(str(out / f"{name}.mp4")) as film:
            pictures = np.stack([frame.to_ndarray(format="rgb24") for frame in film.decode(video=0)]).astype(float)
        assert pictures.shape == (20, 36, 64, 3)
        assert pictures.std() > 5
        assert np.abs(np.diff(pictures, axis=0)).mean() > 0.2, f"{name} moves"
        with av.open(str(out / f"{name}.mp4")) as film:
            sound = np.concatenate([frame.to_ndarray()[0] for frame in film.decode(audio=0)])
            assert len(sound) / film.streams.audio[0].rate == pytest.approx(2.0, abs=0.1)
        assert np.abs(sound).max() > 0.2, name


def test_sheet_only_writes_no_sound_and_a_seed_is_a_world(tmp_path: Path) -> None:
    for name, seed in (("a", "1"), ("b", "1"), ("c", "2")):
        arguments = ["world", "preview", "--out", str(tmp_path / name), "--size", "18x32", "--seed", seed]
        assert cli.main([*arguments, "--sheet-only"]) == 0
    a, b, c = ((tmp_path / name / "world.png").read_bytes() for name in "abc")
    assert a == b != c
    assert sorted(path.name for path in (tmp_path / "a").iterdir()) == ["captions.txt", "world.png"]


def test_a_row_is_one_landscape_at_four_strengths() -> None:
    vectors = scene_vectors(5)
    assert vectors.shape == (9, 4, factors.COUNT)
    for row in range(9):
        column = factors.SCENE_SLICE.start + row
        assert vectors[row, :, column].tolist() == pytest.approx(STRENGTHS)
        vectors[row, :, column] = 0.0
        assert (vectors[row] == vectors[row, :1]).all()


def test_demo_writes_a_soundscape(tmp_path: Path) -> None:
    path = tmp_path / "walk.ogg"
    assert cli.main(["world", "demo", str(path), "--seconds", "9"]) == 0
    sound, rate = soundfile.read(path)
    assert len(sound) == pytest.approx(9 * rate, rel=0.01)
    assert np.sqrt(np.mean(sound**2)) > 0.01


@pytest.mark.parametrize(
    "arguments",
    [
        ["world", "preview", "--out", "FILE", "--sheet-only"],
        ["world", "preview", "--out", "FILE/inside", "--sheet-only"],
        ["world", "demo", "FILE/walk.ogg"],
        ["world", "demo", "FOLDER"],
        ["train", "--scale", "smoke", "--run", "FILE/run", "--quiet"],
        ["train", "--scale", "smoke", "--run", "FOLDER/run", "--out", "FOLDER", "--quiet"],
    ],
)
def test_a_path_that_cannot_be_written_is_one_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], arguments: list[str]
) -> None:
    file = tmp_path / "file"
    file.write_text("mine")
    told = [word.replace("FILE", str(file)).replace("FOLDER", str(tmp_path)) for word in arguments]
    assert cli.main(told) == 2
    error = capsys.readouterr().err
    assert error.startswith("cymatic: ")
    assert error.count("\n") == 1
    assert str(tmp_path) in error
    assert file.read_text() == "mine"
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


@pytest.mark.parametrize("size", ["3", "x", "36", "8x8", "36x-64", "4000x4000", "axb"])
def test_a_size_that_is_none_is_refused(size: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        cli.main(["world", "preview", "--size", size])
    assert ended.value.code == 2
    assert "argument --size" in capsys.readouterr().err


@pytest.mark.parametrize("told", [["--fps", "0"], ["--fps", "x"], ["--seconds", "nan"], ["--seconds", "600"]])
def test_a_length_or_rate_that_is_none_is_refused(told: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        cli.main(["world", "preview", *told])
    assert ended.value.code == 2
    assert f"argument {told[0]}" in capsys.readouterr().err


@pytest.mark.parametrize("arguments", [["world", "preview"], ["world", "demo", "x.ogg"], ["train"]])
def test_without_torch_the_extra_is_named(
    arguments: list[str], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setitem(sys.modules, "torch", None)
    assert cli.main(arguments) == 2
    assert "pip install 'cymatic[train]'" in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []
