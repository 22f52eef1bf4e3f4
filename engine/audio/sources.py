"""Where sound comes from: one small interface, three kinds.

A source is read once a frame by the engine's thread. Reading never blocks and never raises; a source that cannot play
says so when it is opened.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import soundfile

from engine.audio.mel import HIGHEST_RATE, LOWEST_RATE, Float32
from engine.errors import AudioError

__all__ = ["Block", "FileSource", "SoundFile", "Source", "SourceState", "open_source"]

DEMO = Path(__file__).with_name("demo.ogg")
BLOCK_S = 1.0  # of a file that is read from end to end
LONGEST_READ_S = 1.0  # a reader that slept longer gets the newest second


class SourceState(StrEnum):
    """How a source is doing. Only RUNNING is free of trouble."""

    RUNNING = "running"
    MOVED = "moved"  # the sound server gives another device's sound, since the default one has gone
    SILENT = "silent"  # blocks arrive, but nothing other than exact zeros for some seconds
    STALLED = "stalled"  # the device is open and gives nothing
    LOST = "lost"  # the device has gone; it is opened again as soon as it is back


@dataclass(frozen=True, slots=True)
class Block:
    """New sound: mono float32 [n] (n may be 0), the `perf_counter` time of its newest sample, and all its channels,
    [n, channels], where they are known."""

    samples: Float32
    captured_at: float
    channels: Float32 | None = None

    def only(self, channel: int) -> Block:
        """Of all channels this one, from 1; the block itself for 0, and where there is no such channel."""
        if self.channels is None or not 0 < channel <= self.channels.shape[1]:
            return self
        samples = np.ascontiguousarray(self.channels[:, channel - 1])
        return Block(samples, self.captured_at, samples[:, np.newaxis])


class Source(Protocol):
    """A running sound. `start`, `read` and `stop` belong to one thread; the properties may be read from any."""

    @property
    def name(self) -> str: ...
    @property
    def sample_rate(self) -> int: ...
    @property
    def channels(self) -> int:
        """Channels of the device or file; `read` gives their mean."""
        ...

    @property
    def frames(self) -> int:
        """Frames heard so far."""
        ...

    @property
    def gaps(self) -> int:
        """How often sound was lost: driver overflows, late reads, stalls."""
        ...

    @property
    def silent_fraction(self) -> float:
        """Part of all frames so far that lay in blocks of exact zeros, 0..1."""
        ...

    @property
    def state(self) -> SourceState: ...
    @property
    def error(self) -> str | None:
        """What is wrong, in one line, while something is."""
        ...

    def start(self) -> None: ...
    def stop(self) -> None: ...
    def read(self) -> Block:
        """Everything new since the last call, at most the newest second. Never blocks, never raises."""
        ...


def open_source(kind: str, device: str | None = None, channel: int = 0) -> Source:
    """Open a source, not yet started.

    Parameters
    ----------
    kind : "mic", "demo" (the built-in soundscape) or the path of a WAV, FLAC, OGG or MP3 file.
    device : for "mic", part of an input device's name; None is the system's default.
    channel : one that has to be there, from 1; 0 for any.

    `AudioError` for a device or channel that does not exist and a file that cannot be played.
    """
    source: Source
    if kind == "mic":
        from engine.audio.microphone import Microphone

        source = Microphone(device, channel=channel)
    elif kind == "demo":
        if not DEMO.is_file():
            raise AudioError(f"the built-in demo soundscape is missing ({DEMO}): install cymatic again")
        source = FileSource(DEMO, name="demo")
    else:
        source = FileSource(Path(kind))
    if channel > source.channels:
        has = "one channel" if source.channels == 1 else f"{source.channels} channels"
        raise AudioError(f"{source.name} has {has}, so no channel {channel}")
    return source


class FileSource:
    """A sound file that plays at its true speed against a clock, decoded as it is needed, again and again.

    A reader that stays away for more than a second finds the file where it left it, less that second.

    Parameters
    ----------
    path : a file libsndfile can read; any rate, any number of channels. `AudioError` for anything else.
    name : what to call it; the file's name if None.
    clock : seconds; `perf_counter` in a show, anything monotonic in a test or an offline run.
    """

    def __init__(
        self, path: str | Path, name: str | None = None, clock: Callable[[], float] = time.perf_counter
    ) -> None:
        self._path = Path(path)
        self.name = name or self._path.name
        self._clock = clock
        self.sample_rate, self.channels = _probe(self._path)
        self.error: str | None = None
        self._file: Any = None  # an open SoundFile while playing
        self._ended = False
        self._started_at = 0.0
        self._position = 0  # frames since _started_at
        self.frames = 0
        self.gaps = 0
        self._silent = 0

    @property
    def state(self) -> SourceState:
        return SourceState.RUNNING if self.error is None else SourceState.LOST

    @property
    def silent_fraction(self) -> float:
        return self._silent / self.frames if self.frames else 0.0

    def start(self) -> None:
        """Play from the file's beginning; `AudioError` if it has become unreadable."""
        self.stop()
        self._file, self._ended = _open(self._path), False
        self._position = 0
        self._started_at = self._clock()

    def stop(self) -> None:
        if self._file is not None:
            self._file.close()
        self._file = None

    def read(self) -> Block:
        if self._file is None:
            return Block(np.empty(0, np.float32), self._clock())
        due = int((self._clock() - self._started_at) * self.sample_rate) - self._position
        missed = due - round(LONGEST_READ_S * self.sample_rate)
        if missed > 0:
            self.gaps += 1
            self._started_at += missed / self.sample_rate
            due -= missed
        channels = self._decode(max(due, 0))
        samples = channels.mean(axis=1)
        self._position += len(samples)
        self.frames += len(samples)
        self._silent += 0 if samples.any() else len(samples)
        return Block(samples, self._started_at + self._position / self.sample_rate, channels)

    def _decode(self, frames: int) -> Float32:
        """The next `frames` frames, [frames, channels]; silence where the file has become unreadable."""
        parts: list[Float32] = []
        wanted, fruitless = frames, 0
        while wanted > 0 and fruitless < 2:
            try:
                if self._ended:  # opened anew, not sought: see _Forward
                    self._file.close()
                    self._file, self._ended = _open(self._path), False
                part = self._file.read(wanted, dtype="float32", always_2d=True)
                self._ended = len(part) < wanted
            except (RuntimeError, ValueError, AudioError):  # libsndfile's own errors are RuntimeErrors
                self.gaps += 1
                self._ended, part = True, np.empty((0, self.channels), np.float32)
            fruitless = 0 if len(part) else fruitless + 1
            parts.append(part)
            wanted -= len(part)
        if frames:
            self.error = f"{self._path} can no longer be read" if wanted else None
        return np.concatenate([*parts, np.zeros((wanted, self.channels), np.float32)])


class SoundFile:
    """A sound file to be read once from its beginning to its end, block by block, as fast as it is asked.

    Each iterator reads the file for itself. `path`: as for `FileSource`, `AudioError` likewise. `seconds` is what the
    file's header states, which for a damaged or streamed file may be more than is there.
    """

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)
        self.sample_rate, self.channels = _probe(self.path)
        with _open(self.path) as file:
            self.seconds = file.frames / self.sample_rate

    def blocks(self) -> Iterator[Float32]:
        """All of it, float32 `[n, channels]`. `AudioError` where it cannot be decoded any further."""
        position = 0
        with _open(self.path) as file:
            while True:
                try:
                    block = file.read(round(BLOCK_S * self.sample_rate), dtype="float32", always_2d=True)
                except RuntimeError as error:
                    at = position / self.sample_rate
                    raise AudioError(f"{self.path} is damaged: its sound cannot be decoded after {at:.1f} s") from error
                if not len(block):
                    return
                position += len(block)
                yield block

    def mono(self) -> Iterator[Float32]:
        """All of it, the mean of its channels, `[n]`: what a show hears."""
        return (block.mean(axis=1) for block in self.blocks())


class _Forward(soundfile.SoundFile):  # type: ignore[misc]  # soundfile carries no types
    """A file that is only read onwards.

    soundfile seeks after every read of a file that can be sought, and after a seek libsndfile 1.2.2 begins an MP3 with
    silence: read in small blocks it would be nothing else.
    """

    def seekable(self) -> bool:
        return False


def _open(path: Path) -> Any:
    """An open `SoundFile` at its beginning, else `AudioError`."""
    if not path.is_file():
        raise AudioError(f"no sound file at {path}: give `mic`, `demo` or the path of a WAV, FLAC, OGG or MP3 file")
    try:
        return _Forward(path)
    except (RuntimeError, TypeError, OSError) as error:  # TypeError: a .raw file has no header to go by
        raise AudioError(f"{path} is not a sound file that can be read (WAV, FLAC, OGG or MP3)") from error


def _probe(path: Path) -> tuple[int, int]:
    """Sample rate and channels of a file that is known to give at least one frame, else `AudioError`."""
    if path.is_file() and path.stat().st_size == 0:
        raise AudioError(f"{path} is empty: nothing to play")
    with _open(path) as file:
        if not LOWEST_RATE <= file.samplerate <= HIGHEST_RATE:
            raise AudioError(f"{path} has a sample rate of {file.samplerate} Hz, not {LOWEST_RATE}..{HIGHEST_RATE} Hz")
        try:
            frames = len(file.read(1, always_2d=True))
        except RuntimeError as error:
            raise AudioError(f"{path} is damaged: its sound cannot be decoded") from error
        if not frames:
            raise AudioError(f"{path} holds no sound: nothing to play")
        return file.samplerate, file.channels
