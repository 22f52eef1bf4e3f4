"""Films: written with PyAV, read back with PyAV, pictures and sound where they were put."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest

from cymatic.movie import Movie

SIZE = (72, 128)
RATE = 32_000


def picture(level: float, size: tuple[int, int] = SIZE) -> np.ndarray:
    """RGBA: ramps of colour that stay when they are coded."""
    height, width = size
    down, right = np.linspace(0, 1, height)[:, None], np.linspace(0, 1, width)[None]
    planes = (level + 0 * down * right, 0.2 + 0.6 * down, 0.8 - 0.6 * right, np.ones(size))
    pixels = np.stack([np.broadcast_to(plane, size) for plane in planes], 2)
    return np.ascontiguousarray((255 * pixels).round().astype(np.uint8))


def read(path: Path) -> tuple[list[np.ndarray], list[float], np.ndarray, int]:
    """Pictures, their times, sound `[channels, n]`, its rate."""
    with av.open(str(path)) as file:
        frames = list(file.decode(video=0))
        pictures = [frame.to_ndarray(format="rgb24") for frame in frames]
        times = [float(frame.time) for frame in frames]
    with av.open(str(path)) as file:
        rate = file.streams.audio[0].rate
        blocks = [frame.to_ndarray() for frame in file.decode(audio=0) if frame.pts >= 0]
    return pictures, times, np.concatenate(blocks, 1), rate


def silence(count: int, channels: int = 1) -> np.ndarray:
    return np.zeros((count, channels), np.float32)


def test_pictures_come_back_in_order_and_colour(tmp_path: Path) -> None:
    path, shown = tmp_path / "film.mp4", [picture(level) for level in np.linspace(0.1, 0.9, 12)]
    with Movie(path, *SIZE, 24, RATE, 1) as movie:
        for one in shown:
            movie.sound(silence(RATE // 24))
            movie.picture(one)
    pictures, times, _, _ = read(path)
    assert times == pytest.approx([i / 24 for i in range(12)], abs=1e-3)
    for one, back in zip(shown, pictures, strict=True):
        assert np.abs(one[..., :3].astype(int) - back).mean() < 3
    with av.open(str(path)) as file:
        stream = file.streams.video[0]
        assert (stream.codec_context.name, stream.pix_fmt, stream.average_rate) == ("h264", "yuv420p", Fraction(24))
        assert stream.codec_context.colorspace == 1, "players are told which matrix"


@pytest.mark.parametrize("rate", [32_000, 37_000])
def test_a_flash_and_its_click_stay_together(tmp_path: Path, rate: int) -> None:
    path, fps, at = tmp_path / "film.mp4", 25, 2.0
    with Movie(path, *SIZE, fps, rate, 1) as movie:
        for i in range(75):
            block = silence(round((i + 1) * rate / fps) - round(i * rate / fps))
            if i == round(at * fps):
                block[:200, 0] = 0.9 * np.sin(np.arange(200) * 0.5)
            movie.sound(block)
            movie.picture(picture(0.9 if i == round(at * fps) else 0.1))
    pictures, times, sound, heard_at = read(path)
    assert heard_at == (rate if rate == 32_000 else 48_000)
    assert sound.shape[1] / heard_at == pytest.approx(3.0, abs=0.05)
    flash = times[int(np.argmax([one[..., 0].mean() for one in pictures]))]
    click = float(np.argmax(np.abs(sound[0])) / heard_at)
    assert flash == pytest.approx(at, abs=1e-3)
    assert click == pytest.approx(at, abs=0.01)


def test_stereo_stays_apart(tmp_path: Path) -> None:
    time = np.arange(48_000) / 48_000
    both = np.stack([0.5 * np.sin(2 * np.pi * 440 * time), np.zeros_like(time)], 1).astype(np.float32)
    with Movie(tmp_path / "film.mp4", *SIZE, 10, 48_000, 2) as movie:
        for i in range(10):
            movie.sound(both[4_800 * i : 4_800 * (i + 1)])
            movie.picture(picture(0.5))
    left, right = read(tmp_path / "film.mp4")[2]
    assert np.sqrt(np.mean(left**2)) == pytest.approx(0.35, abs=0.03)
    assert np.sqrt(np.mean(right**2)) < 0.01


def test_an_odd_edge_is_left_out(tmp_path: Path) -> None:
    with Movie(tmp_path / "film.mp4", 45, 81, 30, RATE, 1) as movie:
        movie.sound(silence(RATE))
        movie.picture(picture(0.5, (45, 81)))
    assert read(tmp_path / "film.mp4")[0][0].shape == (44, 80, 3)


def test_two_writings_are_the_same_file(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    shown = [rng.integers(0, 255, (*SIZE, 4), np.uint8) for _ in range(8)]
    heard = [rng.uniform(-0.5, 0.5, (1_000, 1)).astype(np.float32) for _ in range(8)]
    for name in ("a.mp4", "b.mp4"):
        with Movie(tmp_path / name, *SIZE, 30, RATE, 1) as movie:
            for one, block in zip(shown, heard, strict=True):
                movie.sound(block)
                movie.picture(one)
    assert (tmp_path / "a.mp4").read_bytes() == (tmp_path / "b.mp4").read_bytes()
