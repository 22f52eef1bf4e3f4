"""One unbroken soundtrack on the clock of the pictures, from blocks of sound on a clock of their own.

A sound card counts its samples by its own crystal, some tens of parts per million beside the computer's clock: half an
hour of them, written one after the other, ends a tenth of a second beside the picture. Here sample `k` of the track is
what was captured at `began_at + k / rate`, however the card counts:

    stamped blocks ─► when each was really captured ─► gaps filled, what overlaps dropped ─► a slow control loop
    bends the rate by a few parts per million ─► windowed-sinc resampler ─► track

A block is stamped when the driver hands it over, which may be late and is never early. The lateness goes by taking the
earliest that the blocks of the next half second agree on; a recording is in no hurry. The loop is proportional and
integral (Adriaensen, "Using a DLL to filter time", Linux Audio Conference 2005), and leaves errors under half a
millisecond alone: sound whose clock is the computer's own goes through bit by bit.
"""

from __future__ import annotations

import math
from collections import deque

import numpy as np
from numpy.typing import NDArray

Float32 = NDArray[np.float32]

LOOK_AHEAD_S = 0.5
"""How long a block waits for those after it to say when it was really captured."""
JUMP_S = 0.015
"""An error of this size is no drift: sound was lost or came twice. Under one frame at 60 a second."""
LONGEST_PAUSE_S = 1.0
"""No sound for so long is written as silence; the file must not wait for it."""
DEAD_ZONE_S = 0.0005
LOOP_HZ = 0.01
MOST_BEND = 0.002
"""Limit of what the rate is bent by, ten times what a poor crystal needs."""

TAPS, PHASES = 32, 512
_ROLL_OFF, _BETA = 0.94, 9.0


class Soundtrack:
    """Blocks of sound in, the track out, both `[n, channels]`. One thread, no clock: all times come with the sound.

    `rate`: samples a second of the track. `began_at`: time of its first sample, seconds on the clock of the stamps.

    Attributes
    ----------
    written : samples of the track so far.
    gaps : how often sound was missing and silence stands in its place.
    error_s : how far the newest block lay from its place on the track before the loop corrected it.
    """

    def __init__(self, rate: int, began_at: float, channels: int) -> None:
        self.rate = rate
        self._channels = channels
        self.written = 0
        self.gaps = 0
        self.error_s = 0.0
        self._began_at = began_at
        self._waiting: deque[tuple[Float32, float]] = deque()
        self._sounds = False  # whether sound has begun and not paused since
        self._bend = 0.0  # what the loop has learned of the drift
        self._source_rate = float(rate)
        self._kernels = _kernels(1.0)
        self._input = self._zeros(TAPS // 2 - 1)  # what the first samples look back on
        self._at = TAPS // 2 - 1.0  # place in `_input` of the next sample of the track
        self._step = 1.0

    @property
    def seconds(self) -> float:
        """Where on the track the sound that has been taken in ends."""
        return self.written / self.rate + (len(self._input) - self._at) / (self._step * self.rate)

    def push(self, samples: Float32, stamp: float, rate: float) -> Float32:
        """A block at `rate` samples a second whose newest sample is stamped `stamp`; the track that is ready."""
        parts = []
        if rate != self._source_rate:
            parts.append(self._change_rate(rate))
        self._waiting.append((samples, stamp))
        while stamp - self._waiting[0][1] > LOOK_AHEAD_S:
            parts.append(self._take_first())
        return np.concatenate([*parts, self._zeros(0)])

    def wait(self, now: float) -> Float32:
        """The track that is ready at time `now` when no sound comes: silence, once the pause grows too long."""
        newest = self._waiting[-1][1] if self._waiting else self._began_at + self.seconds
        if now - newest <= LONGEST_PAUSE_S:
            return self._zeros(0)
        ready = self._drain()
        self._silence(now - LOOK_AHEAD_S - self._began_at - self.seconds)
        self._sounds = False
        return np.concatenate([ready, self._resample()])

    def finish(self, now: float) -> Float32:
        """The rest of the track, up to time `now`; nothing may be pushed after it."""
        ready = self._drain()
        return np.concatenate([ready, self._end(now - self._began_at)])

    def _drain(self) -> Float32:
        return np.concatenate([*(self._take_first() for _ in range(len(self._waiting))), self._zeros(0)])

    def _zeros(self, count: int) -> Float32:
        return np.zeros((count, self._channels), np.float32)

    def _take_first(self) -> Float32:
        """Puts the oldest block where it belongs."""
        after, captured_at = 0, math.inf
        for later, stamp in self._waiting:
            if captured_at < math.inf:
                after += len(later)
            captured_at = min(captured_at, stamp - after / self._source_rate)
        samples, _ = self._waiting.popleft()
        error = captured_at - self._began_at - self.seconds - len(samples) / self._source_rate
        most = JUMP_S if self._sounds else 0.0  # where sound begins, it is put in its place exactly
        if error > most:
            self._silence(error)
        elif error < -most:
            samples = samples[round(-error * self._source_rate) :]
        else:
            self._follow(error, len(samples) / self._source_rate)
        self.error_s = error
        self._sounds |= len(samples) > 0
        self._input = np.concatenate([self._input, samples])
        return self._resample()

    def _silence(self, seconds: float) -> None:
        count = round(seconds * self._source_rate)
        if count > 0:
            self.gaps += self._sounds
            self._input = np.concatenate([self._input, self._zeros(count)])

    def _follow(self, error: float, passed: float) -> None:
        """One turn of the loop: bend the rate so that the error goes."""
        error = math.copysign(max(abs(error) - DEAD_ZONE_S, 0.0), error)
        turn = 2.0 * math.pi * LOOP_HZ
        self._bend = _limited(self._bend + turn * turn * error * passed)
        bend = _limited(self._bend + math.sqrt(2.0) * turn * error)  # damped critically enough: ζ = 1/√2
        self._step = self._source_rate / self.rate * (1.0 - bend)

    def _change_rate(self, rate: float) -> Float32:
        """Another device plays on: what the old one gave ends here."""
        rest = np.concatenate([self._drain(), self._end(self.seconds)])
        self._source_rate, self._step, self._bend = rate, rate / self.rate, 0.0
        self._kernels = _kernels(min(1.0, self.rate / rate))
        self._input, self._at = self._zeros(TAPS // 2 - 1), TAPS // 2 - 1.0
        return rest

    def _end(self, seconds: float) -> Float32:
        """What is missing of the track up to there, with silence after the last sound."""
        begin, self._sounds = self.written, False
        self._silence(seconds - self.seconds)
        self._input = np.concatenate([self._input, self._zeros(TAPS)])
        track = self._resample()[: max(round(seconds * self.rate) - begin, 0)]
        self.written = begin + len(track)
        return track

    def _resample(self) -> Float32:
        """All samples of the track whose surroundings are there."""
        last = len(self._input) - TAPS // 2 - 1  # the newest place that has all its taps
        count = max(math.floor((last - self._at) / self._step) + 1, 0)
        whole_steps = self._step == 1.0 and self._at == math.floor(self._at)
        if whole_steps:
            begin = int(self._at)
            track = self._input[begin : begin + count].copy()
        else:
            places: NDArray[np.float64] = self._at + self._step * np.arange(count, dtype=np.float64)
            track = _interpolate(self._input, places, self._kernels)
        self._at += self._step * count
        keep_from = math.floor(self._at) - (TAPS // 2 - 1)
        self._input = self._input[keep_from:]
        self._at -= keep_from
        self.written += count
        return track


def _interpolate(samples: Float32, places: NDArray[np.float64], kernels: Float32) -> Float32:
    """The sound at fractional places, by kernels that lie between two of the table."""
    whole = np.floor(places).astype(np.int64)
    phase = (places - whole) * PHASES
    row = phase.astype(np.int64)
    between = (phase - row).astype(np.float32)[:, None]
    kernel = kernels[row] * (1.0 - between) + kernels[row + 1] * between
    around = samples[whole[:, None] + np.arange(1 - TAPS // 2, TAPS // 2 + 1)]
    sound: Float32 = np.einsum("ntc,nt->nc", around, kernel)
    return sound


def _kernels(cutoff: float) -> Float32:
    """Kaiser-windowed sinc `[PHASES + 1, TAPS]`, for sound that is to keep this part of its band."""
    offset = np.arange(1 - TAPS // 2, TAPS // 2 + 1)[None] - np.arange(PHASES + 1)[:, None] / PHASES
    band = cutoff if cutoff == 1.0 else cutoff * _ROLL_OFF
    window = np.i0(_BETA * np.sqrt(np.maximum(1.0 - (offset / (TAPS / 2)) ** 2, 0.0))) / np.i0(_BETA)
    kernels = band * np.sinc(band * offset) * window
    table: Float32 = (kernels / kernels.sum(1, keepdims=True)).astype(np.float32)
    return table


def _limited(bend: float) -> float:
    return min(max(bend, -MOST_BEND), MOST_BEND)
