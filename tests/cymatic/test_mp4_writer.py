"""Films: written with PyAV, read back with PyAV, pictures and sound where they were put."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest

from cymatic.video import Mp4Writer
from engine.errors import CymaticError

SIZE = (72, 128)


def picture(level: float, size: tuple[int, int] = SIZE, channels: int = 3) -> np.ndarray:
    """A ramp of colour that stays when it is coded."""
    height, width = size
    down, right = np.linspace(0, 1, height)[:, None], np.linspace(0, 1, width)[None]
    planes = [np.broadcast_to(plane, size) for plane in (level + 0 * down * right, 0.2 + 0.6 * down, 0.8 - 0.6 * right)]
    pixels = np.stack([*planes, np.ones(size)][:channels], 2)
    return np.ascontiguousarray((255 * pixels).round().astype(np.uint8))


def read(path: Path) -> tuple[list[np.ndarray], list[float], np.ndarray, int]:
    """Pictures, their times, sound `[n]`, its rate."""
    with av.open(str(path)) as file:
        frames = list(file.decode(video=0))
        pictures = [frame.to_ndarray(format="rgb24") for frame in frames]
        times = [float(frame.time) for frame in frames]
    with av.open(str(path)) as file:
        if not file.streams.audio:
            return pictures, times, np.zeros(0), 0
        rate = file.streams.audio[0].rate
        blocks = [frame.to_ndarray()[0] for frame in file.decode(audio=0) if frame.pts >= 0]
    return pictures, times, np.concatenate(blocks), rate


@pytest.mark.parametrize("channels", [3, 4])
def test_pictures_come_back_in_order_and_colour(tmp_path: Path, channels: int) -> None:
    shown = [picture(level, channels=channels) for level in np.linspace(0.1, 0.9, 12)]
    with Mp4Writer(tmp_path / "film.mp4", SIZE, 24) as film:
        for one in shown:
            film.picture(one)
    pictures, times, sound, _ = read(tmp_path / "film.mp4")
    assert times == pytest.approx([i / 24 for i in range(12)], abs=1e-3)
    assert not len(sound)
    for one, back in zip(shown, pictures, strict=True):
        assert np.abs(one[..., :3].astype(int) - back).mean() < 3
    with av.open(str(tmp_path / "film.mp4")) as file:
        stream = file.streams.video[0]
        assert (stream.codec_context.name, stream.pix_fmt, stream.average_rate) == ("h264", "yuv420p", Fraction(24))
        assert stream.codec_context.colorspace == 1, "players are told which matrix"
    assert (tmp_path / "film.mp4").read_bytes().index(b"moov") < 200, "starts before it is wholly there"


@pytest.mark.parametrize("rate", [32_000, 37_000])
def test_a_flash_and_its_click_stay_together(tmp_path: Path, rate: int) -> None:
    fps, at = 25, 2.0
    with Mp4Writer(tmp_path / "film.mp4", SIZE, fps, sample_rate=rate) as film:
        for i in range(75):
            block = np.zeros(round((i + 1) * rate / fps) - round(i * rate / fps), np.float32)
            if i == round(at * fps):
                block[:200] = 0.9 * np.sin(np.arange(200) * 0.5)
            film.sound(block)
            film.picture(picture(0.9 if i == round(at * fps) else 0.1))
        assert (film.frames, film.samples) == (75, 3 * rate)
    pictures, times, sound, heard_at = read(tmp_path / "film.mp4")
    assert heard_at == (rate if rate == 32_000 else 48_000)
    assert len(sound) / heard_at == pytest.approx(3.0, abs=0.05)
    flash = times[int(np.argmax([one[..., 0].mean() for one in pictures]))]
    click = float(np.argmax(np.abs(sound)) / heard_at)
    assert flash == pytest.approx(at, abs=1e-3)
    assert click == pytest.approx(at, abs=0.01)


def test_stereo_stays_apart(tmp_path: Path) -> None:
    time = np.arange(48_000) / 48_000
    both = np.stack([0.5 * np.sin(2 * np.pi * 440 * time), np.zeros_like(time)], 1).astype(np.float32)
    with Mp4Writer(tmp_path / "film.mp4", SIZE, 10, sample_rate=48_000, channels=2) as film:
        for i in range(10):
            film.sound(both[4_800 * i : 4_800 * (i + 1)])
            film.picture(picture(0.5))
    with av.open(str(tmp_path / "film.mp4")) as file:
        left, right = np.concatenate([frame.to_ndarray() for frame in file.decode(audio=0)], 1)
    assert np.sqrt(np.mean(left**2)) == pytest.approx(0.35, abs=0.03)
    assert np.sqrt(np.mean(right**2)) < 0.01


def test_odd_sizes_gain_an_edge(tmp_path: Path) -> None:
    with Mp4Writer(tmp_path / "film.mp4", (45, 81), 30) as film:
        film.picture(picture(0.5, (45, 81)))
    pictures, *_ = read(tmp_path / "film.mp4")
    assert pictures[0].shape == (46, 82, 3)


def test_two_writings_are_the_same_file(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    shown = [rng.integers(0, 255, (*SIZE, 3), np.uint8) for _ in range(8)]
    for name in "ab":
        with Mp4Writer(tmp_path / name, SIZE, 30, threads=1) as film:
            for one in shown:
                film.picture(one)
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()


def test_what_is_broken_off_leaves_the_old_file_and_nothing_else(tmp_path: Path) -> None:
    path = tmp_path / "film.mp4"
    path.write_bytes(b"the old one")

    def broken() -> None:
        with Mp4Writer(path, SIZE, 30, sample_rate=48_000) as film:
            film.picture(picture(0.5))
            raise RuntimeError("mine")

    with pytest.raises(RuntimeError, match="mine"):
        broken()
    with pytest.raises(ValueError, match=r"\[72, 128, 3 or 4\]"), Mp4Writer(path, SIZE, 30) as film:
        film.picture(picture(0.5, (36, 64)))
    with pytest.raises(ValueError, match="silent"), Mp4Writer(path, SIZE, 30) as film:
        film.sound(np.zeros(10, np.float32))
    assert [one.name for one in tmp_path.iterdir()] == ["film.mp4"]
    assert path.read_bytes() == b"the old one"


def test_where_nothing_can_be_written_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("mine")
    for path in (tmp_path / "file" / "film.mp4", tmp_path / "nowhere" / "film.mp4"):
        with pytest.raises(CymaticError, match="cannot be written") as refused:
            Mp4Writer(path, SIZE, 30)
        assert "\n" not in str(refused.value)
    (tmp_path / "folder.mp4").mkdir()
    with pytest.raises(CymaticError, match="cannot be written"), Mp4Writer(tmp_path / "folder.mp4", SIZE, 30) as film:
        film.picture(picture(0.5))
    assert sorted(one.name for one in tmp_path.iterdir()) == ["file", "folder.mp4"]
