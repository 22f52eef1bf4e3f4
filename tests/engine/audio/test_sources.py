"""Sound files: played at their true speed whatever they are, or refused in one line."""

from __future__ import annotations

import struct
from pathlib import Path

import numpy as np
import pytest
import soundfile

from engine.audio import sources
from engine.audio.sources import FileSource, SoundFile, SourceState, open_source
from engine.errors import AudioError


class Clock:
    """Seconds that pass when the test says so."""

    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


def ramp(frames: int) -> np.ndarray:
    return np.linspace(-0.5, 0.5, frames, dtype=np.float32)


def write(path: Path, sound: np.ndarray, rate: int = 48_000, subtype: str | None = None) -> Path:
    soundfile.write(path, sound, rate, subtype=subtype)
    return path


def play(source: FileSource, clock: Clock, seconds: float, step: float = 0.016) -> np.ndarray:
    parts = []
    for _ in range(round(seconds / step)):
        clock.now += step
        parts.append(source.read().samples)
    return np.concatenate(parts)


@pytest.mark.parametrize(
    ("name", "subtype", "rate", "channels"),
    [
        ("a.wav", "PCM_U8", 44_100, 1),
        ("a.wav", "PCM_24", 96_000, 2),
        ("a.wav", "FLOAT", 192_000, 1),
        ("a.wav", "PCM_16", 48_000, 6),
        ("a.flac", "PCM_16", 22_050, 2),
        ("a.ogg", "VORBIS", 44_100, 2),
        ("a.mp3", "MPEG_LAYER_III", 44_100, 2),
    ],
)
def test_every_kind_of_file_plays_at_its_true_speed(
    tmp_path: Path, name: str, subtype: str, rate: int, channels: int
) -> None:
    tone = 0.5 * np.sin(2 * np.pi * 500 * np.arange(rate) / rate)
    path = write(tmp_path / name, np.tile(tone[:, None], channels), rate, subtype)
    clock = Clock()
    source = FileSource(path, clock=clock)
    assert (source.name, source.sample_rate, source.channels) == (name, rate, channels)
    source.start()
    sound = play(source, clock, 1.6)  # into the second round
    assert len(sound) == pytest.approx(1.6 * rate, abs=1)
    assert sound.dtype == np.float32
    assert sound.ndim == 1
    settled = sound[len(sound) // 2 :]
    assert np.sqrt(np.mean(settled**2)) == pytest.approx(0.5 / np.sqrt(2), rel=0.05)
    crossings = np.count_nonzero(np.diff(np.signbit(settled)))
    assert crossings / 2 / (len(settled) / rate) == pytest.approx(500, rel=0.02)
    assert source.frames == len(sound)
    assert (source.gaps, source.state, source.error) == (0, SourceState.RUNNING, None)
    source.stop()


def test_it_loops_without_losing_a_frame(tmp_path: Path) -> None:
    clock, sound = Clock(), ramp(1_000)
    source = FileSource(write(tmp_path / "a.wav", sound, 8_000, "FLOAT"), clock=clock)
    source.start()
    assert len(source.read().samples) == 0
    played = play(source, clock, 1.0, step=0.0625)
    np.testing.assert_array_equal(played, np.tile(sound, 8))


def test_channels_are_mixed_to_their_mean(tmp_path: Path) -> None:
    clock = Clock()
    six = np.tile(ramp(4_800)[:, None], 6) * np.array([1, 0, 0, -1, 3, 0], np.float32) / 3
    source = FileSource(write(tmp_path / "six.wav", six, subtype="FLOAT"), clock=clock)
    source.start()
    np.testing.assert_allclose(play(source, clock, 0.096), ramp(4_800)[:4_608] / 6, atol=1e-6)


def test_the_newest_sample_is_as_old_as_it_says(tmp_path: Path) -> None:
    clock = Clock()
    source = FileSource(write(tmp_path / "a.wav", ramp(48_000)), clock=clock)
    source.start()
    for step in (0.0123, 0.3, 0.00001, 0.7):
        clock.now += step
        block = source.read()
        assert 0 <= clock.now - block.captured_at < 1 / 48_000 + 1e-9


def test_a_late_reader_gets_one_second_and_the_file_waits_for_it(tmp_path: Path) -> None:
    clock, sound = Clock(), ramp(16_000)
    source = FileSource(write(tmp_path / "a.wav", sound, 8_000, "FLOAT"), clock=clock)
    source.start()
    clock.now += 3.5
    block = source.read()
    np.testing.assert_array_equal(block.samples, sound[:8_000])
    assert block.captured_at == pytest.approx(clock.now)
    assert source.gaps == 1
    clock.now += 0.5
    np.testing.assert_array_equal(source.read().samples, sound[8_000:12_000])
    assert source.gaps == 1


def test_silence_is_counted(tmp_path: Path) -> None:
    clock = Clock()
    half = np.concatenate([np.zeros(8_000, np.float32), np.full(8_000, 0.1, np.float32)])
    source = FileSource(write(tmp_path / "a.wav", half, 8_000), clock=clock)
    source.start()
    assert source.silent_fraction == 0
    play(source, clock, 2.0, step=0.0625)
    assert source.silent_fraction == pytest.approx(0.5)


def test_start_begins_again_and_stop_ends(tmp_path: Path) -> None:
    clock, sound = Clock(), ramp(8_000)
    source = FileSource(write(tmp_path / "a.wav", sound, 8_000, "FLOAT"), clock=clock)
    assert len(source.read().samples) == 0
    for _ in range(2):
        source.start()
        np.testing.assert_array_equal(play(source, clock, 0.25, step=0.0625), sound[:2_000])
        source.stop()
        clock.now += 1
        assert len(source.read().samples) == 0
    source.stop()


def test_a_truncated_file_plays_what_is_there(tmp_path: Path) -> None:
    clock = Clock()
    path = write(tmp_path / "a.wav", ramp(8_000), 8_000, "PCM_16")
    path.write_bytes(path.read_bytes()[: 44 + 2 * 3_000])
    source = open_source(str(path))
    assert isinstance(source, FileSource)
    source = FileSource(path, clock=clock)
    source.start()
    played = play(source, clock, 0.5, step=0.0625)
    np.testing.assert_allclose(played[:3_000], ramp(8_000)[:3_000], atol=1e-4)
    np.testing.assert_array_equal(played[3_000:], played[:1_000])


def header(rate: int, data: int) -> bytes:
    """A 16-bit mono WAV header that promises `data` bytes."""
    form = struct.pack("<4sIHHIIHH", b"fmt ", 16, 1, 1, rate, 2 * rate, 2, 16)
    return struct.pack("<4sI4s", b"RIFF", 36 + data, b"WAVE") + form + struct.pack("<4sI", b"data", data)


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (b"", "is empty"),
        (b"This is no sound at all, but a text of some length. " * 40, "is not a sound file"),
        (header(48_000, 0), "no sound"),
        (header(48_000, 1_000), "no sound"),
        (header(48_000, 1_000)[:20], "is not a sound file"),
        (header(4_000, 1_000) + bytes(1_000), "4000 Hz"),
        (bytes(5_000), "is not a sound file"),
        (b"OggS" + bytes(5_000), "is not a sound file"),
    ],
)
@pytest.mark.parametrize("name", ["x.wav", "x.raw", "x"])
def test_what_cannot_be_played_is_refused_in_one_line(tmp_path: Path, name: str, content: bytes, says: str) -> None:
    path = tmp_path / name
    path.write_bytes(content)
    if name == "x.raw" and content:
        says = "is not a sound file"  # by its name it has no header, so nothing can be read from one
    with pytest.raises(AudioError, match=says) as raised:
        open_source(str(path))
    assert str(path) in str(raised.value)
    assert "\n" not in str(raised.value)
    assert path.read_bytes() == content


def test_what_is_not_there_is_refused_too(tmp_path: Path) -> None:
    for path in (tmp_path / "absent.wav", tmp_path):
        with pytest.raises(AudioError, match="no sound file at"):
            open_source(str(path))


def test_a_file_that_breaks_while_it_plays_gives_silence_and_says_so(tmp_path: Path) -> None:
    clock = Clock()
    path = write(tmp_path / "a.wav", ramp(48_000))
    source = FileSource(path, clock=clock)
    source.start()
    assert play(source, clock, 0.16).any()
    path.rename(tmp_path / "b.wav")
    clock.now += 0.9
    source.read()  # what was open plays to its end
    clock.now += 0.5
    assert not source.read().samples.any()
    assert source.state is SourceState.LOST
    assert source.error is not None
    assert str(tmp_path) in source.error
    assert source.gaps > 0
    clock.now += 2
    assert len(source.read().samples) == 48_000
    (tmp_path / "b.wav").rename(path)
    clock.now += 0.1
    assert source.read().samples.any()
    assert (source.state, source.error) == (SourceState.RUNNING, None)
    source.stop()


@pytest.mark.parametrize("suffix", ["wav", "flac", "ogg", "mp3"])
def test_a_file_is_read_from_end_to_end(tmp_path: Path, suffix: str) -> None:
    tone = np.sin(0.05 * np.arange(110_000)).astype(np.float32)
    sound = np.stack([0.5 * tone, -0.2 * tone], 1)
    file = SoundFile(write(tmp_path / f"x.{suffix}", sound, 44_100))
    assert (file.sample_rate, file.channels) == (44_100, 2)
    assert file.seconds == pytest.approx(110_000 / 44_100, abs=0.01)
    blocks = list(file.blocks())
    assert max(map(len, blocks)) == 44_100, "a second at a time, however long the file"
    whole = np.concatenate(blocks)
    assert whole.shape == (110_000, 2)
    np.testing.assert_allclose(whole, sound, atol=0.05)
    np.testing.assert_array_equal(np.concatenate(list(file.mono())), whole.mean(axis=1))


def test_a_file_that_is_damaged_further_on_says_where(tmp_path: Path) -> None:
    path = write(tmp_path / "x.flac", np.random.default_rng(0).uniform(-0.1, 0.1, (96_000, 2)))
    path.write_bytes(path.read_bytes()[: path.stat().st_size * 3 // 4])
    blocks = SoundFile(path).blocks()
    assert len(next(blocks)) == 48_000
    with pytest.raises(AudioError, match=r"x\.flac is damaged.* after 1\.0 s"):
        next(blocks)


def test_the_demo_is_the_shipped_soundscape(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sources, "DEMO", tmp_path / "demo.ogg")
    with pytest.raises(AudioError, match=r"demo\.ogg"):
        open_source("demo")
    write(tmp_path / "demo.ogg", ramp(8_000), 44_100)
    source = open_source("demo")
    assert (source.name, source.sample_rate) == ("demo", 44_100)
