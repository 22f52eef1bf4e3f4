"""A whole sound painted by its own clock: what a show would have shown, as fast as this machine can.

    bundle = load_bundle(find_bundle("landscape"))
    with open_sessions(bundle, threads=1) as sessions:
        for painted in paint(samples, 48_000, bundle, sessions):
            ...

Frame `i` stands at `i / fps` and has heard the sound up to there, not a sample more. The same `Painter` as in a show
takes encoder and recurrent step through the sound at the bundle's own latent rate, whatever `fps`: where frames are
farther apart than that, the latent still moves in between, so 10 frames a second are every third one of 30. Nothing
depends on how fast it goes, and memory on neither the length of the sound nor how it comes in blocks: one sound, seed
and bundle give the same pictures again on the same machine with the same runtime and number of threads.
"""

from __future__ import annotations

import contextlib
import itertools
import math
from collections import deque
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from engine.bundle import Bundle
from engine.painter import GRAPHS, Painter
from engine.runtime.session import Session, open_graph

__all__ = ["CALM", "Painted", "frame_count", "open_sessions", "paint"]

CALM: Mapping[str, Any] = {"base": {"seed": 1}, "offset": None}
"""Where a show rests that has no presets."""
EARLY = 1e-6
"""Frames that a sum of rounded numbers may be off."""

Float32 = NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class Painted:
    """One frame. All but `image` may be kept."""

    seconds: float
    """Its place in the sound."""
    image: NDArray[np.uint8]
    """RGBA `[H, W, 4]`, the runtime's own memory: good until the next frame is asked for; copy what is to stay."""
    w_plus: Float32
    """The latent that was painted, `[L, D]`."""
    level: float
    """Loudness of the last 20 ms, 0..1."""
    onset: float
    """Envelope of the newest onset, 0..1."""
    scenes: Float32
    """How much the sound is like each of the bundle's nine scenes; sums to 1."""
    resets: int
    """Broken steps of the latent so far: 0 unless the bundle is broken."""
    look: tuple[float, ...]
    """How far maps move each of `engine.look.FADERS`; `engine.finish` draws the look."""


@contextlib.contextmanager
def open_sessions(
    bundle: Bundle, runtime: str = "openvino", threads: int | None = None, exact: bool = False
) -> Iterator[dict[str, Session]]:
    """The graphs that painting needs, opened. Raises as `open_graph` does; `threads` as there.

    A graph that the bundle has in int8 is opened so; `exact` opens all in float32.
    A show times the runtimes and takes the fastest; pictures that must come out the same again name theirs.
    """
    with contextlib.ExitStack() as opened:
        sessions: dict[str, Session] = {}
        for name in GRAPHS:
            short = bundle.manifest.graphs[name].int8 is not None and not exact
            sessions[name] = open_graph(bundle, name, runtime, "int8" if short else "f32", threads)
            opened.callback(sessions[name].close)
        yield sessions


def paint(
    sound: Float32 | Iterable[Float32],
    sample_rate: int,
    bundle: Bundle,
    sessions: Mapping[str, Session],
    preset: Mapping[str, Any] = CALM,
    *,
    controls: Mapping[str, float | str] | None = None,
    fps: float = 30.0,
    seed: int = 0,
    seconds: float | None = None,
) -> Iterator[Painted]:
    """Paint a sound, frame by frame, until it or `seconds` of it are over: `frame_count` frames.

    Parameters
    ----------
    sound : mono float32, full scale ±1: one array `[n]`, or blocks of any size, taken when they are needed, such as
        those of `engine.audio.sources.SoundFile.mono`.
    sample_rate : of `sound`, 8000..384000, else `AudioError`.
    sessions : what `open_sessions` gives; they may serve one sound after another, but not two at once.
    preset : `{"base", "offset"}` as `Painter.go` takes it and `presets.compose.compose` makes it.
    controls : values of controls that do not stand at their default, by name, for the whole sound.
    fps : frames a second. `seed` : see `Painter`.
    """
    painter = Painter(bundle, sessions, sample_rate, seed)
    painter.controls.update(controls or {})
    painter.go(preset, 0.0)
    heard = _Heard([sound] if isinstance(sound, np.ndarray) else sound)
    # Where frames are farther apart than steps of the latent, it moves several times for each.
    moves = max(1, math.ceil(bundle.manifest.latents.rate_hz / fps - EARLY))
    for move in itertools.count():
        now = move / (fps * moves)
        number, between = divmod(move, moves)
        if not between:
            over = seconds is not None and number + EARLY >= seconds * fps
            if over or not heard.goes_beyond((number + EARLY) * sample_rate / fps):
                return
        painter.hear(heard.until(int(now * sample_rate)))
        w_plus = painter.move(now)
        image = None if between else painter.picture()
        painter.catch_up()
        if image is not None:
            features, scenes = painter.features, painter.scenes.likeness
            resets = painter.latents.resets
            yield Painted(now, image, w_plus[0], features.level, features.onset, scenes, resets, painter.look)


def frame_count(sound_s: float, fps: float, seconds: float | None = None) -> int:
    """How many frames `paint` makes of a sound of `sound_s` seconds: those that begin before its end."""
    length = sound_s if seconds is None else min(sound_s, seconds)
    return max(0, math.ceil(length * fps - EARLY))


class _Heard:
    """Blocks of any size, given out in pieces that end where they are asked to."""

    def __init__(self, blocks: Iterable[Float32]) -> None:
        self._blocks = iter(blocks)
        self._held: deque[Float32] = deque()
        self._given = self._known = 0  # samples

    def goes_beyond(self, position: float) -> bool:
        """Whether the sound has a sample at or after this position."""
        while self._known <= position:
            block = next(self._blocks, None)
            if block is None:
                return False
            if block.ndim != 1:
                raise ValueError(f"a block of sound is {list(block.shape)}: mono [n] is wanted")
            self._held.append(block)
            self._known += len(block)
        return True

    def until(self, position: int) -> Float32:
        """All that was not yet given out and lies before this sample; less where the sound ends sooner."""
        self.goes_beyond(position - 1)
        parts: list[Float32] = []
        while self._held and self._given < position:
            block = self._held.popleft()
            part = block[: position - self._given]
            if len(part) < len(block):
                self._held.appendleft(block[len(part) :])
            parts.append(part)
            self._given += len(part)
        return np.concatenate(parts, dtype=np.float32) if parts else np.empty(0, np.float32)
