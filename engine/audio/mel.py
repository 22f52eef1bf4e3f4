"""Mel columns: the one front end that training, show and display share.

Everything is defined in seconds and hertz, so a device's own sample rate is used as it is and nothing is resampled.
The framing is causal (a column exists as soon as its last sample does), the log floor is fixed, and the level is
normalised by a running level, never by the clip: a show cannot know how loud its next minute will be.

Scale: HTK mel (`mel = 2595 log10(1 + f / 700)`), Hann window, power. Each band is scaled by its own answer to a
full-scale sine on its centre, so such a sine reads 0 dB in any band at any sample rate.
"""

from __future__ import annotations

from functools import lru_cache
from math import exp
from typing import Self

import numpy as np
import numpy.typing as npt
from pydantic import BaseModel, ConfigDict, Field, model_validator

from engine.errors import AudioError

__all__ = ["Float32", "MelAnalyser", "MelBank", "MelConfig", "clean", "mel_bank", "mel_windows"]

Float32 = npt.NDArray[np.float32]

LOUDEST = 64.0  # samples are held within ±36 dBFS: a broken driver's 1e30 must not overflow float32 power
CLIP = 2.0  # normalised columns lie in [-2, 2]
CHUNK = 64  # columns transformed at once: a spectrum block that stays in the second-level cache
LOWEST_RATE, HIGHEST_RATE = 8_000, 384_000


class MelConfig(BaseModel):
    """Constants of the mel window; saved in the bundle, because weights mean nothing under other ones."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    window_s: float = Field(default=0.025, gt=0, le=1)
    hop_s: float = Field(default=0.010, gt=0, le=1)
    bands: int = Field(default=128, ge=1, le=1024)
    columns: int = Field(default=128, ge=1, le=4096)
    f_min: float = Field(default=40.0, ge=0)
    f_max: float = Field(default=16_000.0, gt=0)
    floor_db: float = Field(default=-90.0, ge=-200, le=0)
    level_floor_db: float = -55.0
    level_rise_s: float = Field(default=4.0, gt=0)
    level_fall_s: float = Field(default=8.0, gt=0)
    span_db: float = Field(default=40.0, gt=0)

    @model_validator(mode="after")
    def _check(self) -> Self:
        if self.f_min >= self.f_max:
            raise ValueError(f"f_min {self.f_min:g} Hz must lie below f_max {self.f_max:g} Hz")
        if self.level_floor_db < self.floor_db:
            raise ValueError(f"level_floor_db {self.level_floor_db:g} must not lie under floor_db {self.floor_db:g}")
        return self

    @property
    def silence(self) -> float:
        """Value of every band of a normalised column when nothing is heard."""
        return max(-CLIP, (self.floor_db - self.level_floor_db) / self.span_db)


class MelBank:
    """Framing, spectrum and mel filters for one sample rate: samples in, decibel columns out. Holds no state."""

    def __init__(self, sample_rate: int, config: MelConfig) -> None:
        if not LOWEST_RATE <= sample_rate <= HIGHEST_RATE:
            raise AudioError(f"sample rate {sample_rate} Hz is outside {LOWEST_RATE}..{HIGHEST_RATE} Hz")
        self.hop = config.hop_s * sample_rate  # samples, may be fractional (220.5 at 22.05 kHz)
        self.length = max(2, round(config.window_s * sample_rate))
        # Twice the window and up: bins are close enough that the narrow bands near f_min own at least one.
        self.n_fft = 1 << (2 * self.length - 1).bit_length()
        self._floor = np.float32(10 ** (config.floor_db / 10))
        hann = 0.5 - 0.5 * np.cos(2 * np.pi * np.arange(self.length) / self.length)
        self._window = (hann * 2 / hann.sum()).astype(np.float32)  # a full-scale sine peaks at power 1
        weights = _filters(sample_rate, self.n_fft, self.length, config)
        # The filters as one run of (bin, weight) pairs, band after band. Not a matrix product: BLAS would start threads
        # that fight the networks for the cores, and most of the matrix is zeros.
        weights[0] += np.where(weights.any(axis=0), 0, np.finfo(np.float32).tiny)  # no band without a bin
        bands, self._bins = np.nonzero(weights.T)
        self._weights = weights.T[bands, self._bins].astype(np.float32)
        self._first = np.searchsorted(bands, np.arange(config.bands))  # of each band, in the run

    def start(self, column: int) -> int:
        """First sample of a column, from the clip's start. Computed, not accumulated: fractional hops never drift."""
        return round(column * self.hop)

    def complete(self, samples: int) -> int:
        """How many columns are finished once `samples` samples are known."""
        if samples < self.length:
            return 0
        count = int((samples - self.length) / self.hop) + 2
        while self.start(count - 1) + self.length > samples:
            count -= 1
        return count

    def decibels(self, samples: Float32, starts: npt.NDArray[np.int64]) -> Float32:
        """Columns [n, bands] in dB of the windows that begin at `starts` in `samples`."""
        frames = np.lib.stride_tricks.sliding_window_view(samples, self.length)
        power = np.empty((len(starts), len(self._first)), np.float32)
        highest = int(self._bins.max()) + 1
        for i in range(0, len(starts), CHUNK):
            windowed = frames[starts[i : i + CHUNK]] * self._window
            spectrum = np.fft.rfft(windowed, self.n_fft)[:, :highest]
            energy = (spectrum.real**2 + spectrum.imag**2).astype(np.float32, copy=False)
            np.add.reduceat(energy[:, self._bins] * self._weights, self._first, axis=1, out=power[i : i + CHUNK])
        return np.asarray(10 * np.log10(np.maximum(power, self._floor)), np.float32)


def _filters(sample_rate: int, n_fft: int, length: int, config: MelConfig) -> npt.NDArray[np.float64]:
    """Triangular HTK filters [bins, bands]; a full-scale sine on a band's centre reads power 1 there.

    A triangle too narrow to hold a bin reads the spectrum at its centre by linear interpolation. A band whose centre is
    not below the Nyquist frequency stays zero.
    """
    mel_low, mel_high = (2595 * np.log10(1 + f / 700) for f in (config.f_min, config.f_max))
    edges = 700 * (10 ** (np.linspace(mel_low, mel_high, config.bands + 2) / 2595) - 1)
    low, centre, high = edges[:-2], edges[1:-1], edges[2:]
    spacing = sample_rate / n_fft
    bins = np.arange(n_fft // 2 + 1)[:, None] * spacing  # [bins, 1] Hz
    weights = np.clip(np.minimum((bins - low) / (centre - low), (high - bins) / (high - centre)), 0, None)
    empty = ~weights.any(axis=0)
    weights[:, empty] = np.clip(1 - np.abs(bins - centre[empty]) / spacing, 0, None)
    weights[:, centre >= sample_rate / 2] = 0
    # The Hann window's own spectrum, H(x) = sinc(x) / (1 - x²) with x in bins of the unpadded window (H(±1) = 1/2).
    x = (bins - centre) * length / sample_rate
    pole = np.abs(np.abs(x) - 1) < 1e-6
    hann = np.where(pole, 0.5, np.sinc(x) / np.where(pole, 1, 1 - x**2))
    answer = (weights * hann**2).sum(axis=0)
    return weights / np.where(answer > 0, answer, 1)


@lru_cache(maxsize=16)
def mel_bank(sample_rate: int, config: MelConfig) -> MelBank:
    """The bank for a rate and a config, made once."""
    return MelBank(sample_rate, config)


class _RunningLevel:
    """The level (dB of the loudest band) that columns are measured against: how loud it has been of late.

    It takes seconds to rise and longer to fall, so that a swell is seen as a swell, and yet nobody need set the
    microphone. Of a sound that begins it is the mean at first, or every show would begin with seconds of overload.
    """

    def __init__(self, config: MelConfig) -> None:
        self._config = config
        self._rise = 1 - exp(-config.hop_s / config.level_rise_s)
        self._fall = 1 - exp(-config.hop_s / config.level_fall_s)
        self._heard = 0  # columns since it lay at its floor
        self.level = config.level_floor_db

    def normalise(self, decibels: Float32) -> Float32:
        """Follow the columns [n, bands] in order and return them normalised."""
        levels = np.empty(len(decibels), np.float32)
        level, floor = self.level, self._config.level_floor_db
        for i, loudest in enumerate(decibels.max(axis=1).tolist()):
            self._heard = self._heard + 1 if max(level, loudest) > floor else 0
            rate = max(self._rise if loudest > level else self._fall, 1 / max(self._heard, 1))
            level = max(level + rate * (loudest - level), floor)
            levels[i] = level
        self.level = level
        columns: Float32 = np.clip((decibels - levels[:, None]) / np.float32(self._config.span_db), -CLIP, CLIP)
        return columns


def clean(mono: npt.ArrayLike) -> Float32:
    """Float32 samples with no NaN or infinity in them (both become 0)."""
    samples = np.asarray(mono, np.float32).reshape(-1)
    clean: Float32 = np.clip(np.nan_to_num(samples, nan=0.0, posinf=0.0, neginf=0.0), -LOUDEST, LOUDEST)
    return clean


class MelAnalyser:
    """Turns a stream of blocks into the newest mel window. One thread owns it.

    Parameters
    ----------
    sample_rate : samples per second, 8000..384000; another one raises `AudioError`.
    config : constants of the window; the bundle's own in a show.
    """

    def __init__(self, sample_rate: int, config: MelConfig | None = None) -> None:
        self.sample_rate = sample_rate
        self.config = config or MelConfig()
        self._bank = mel_bank(sample_rate, self.config)
        self.reset()

    def reset(self) -> None:
        """Forget all sound: as new."""
        config = self.config
        self._running = _RunningLevel(config)
        self._pending = np.empty(0, np.float32)  # samples that a column still needs
        self._origin = 0  # position of _pending[0] in the stream
        self._history = np.full((config.columns, config.bands), config.silence, np.float32)
        self.columns_seen = 0

    @property
    def level_db(self) -> float:
        """The running level that the newest column was measured against."""
        return self._running.level

    def push(self, mono: npt.ArrayLike) -> int:
        """Take a block of any size (mono [n], full scale ±1; NaN counts as 0); returns how many columns it finished."""
        bank = self._bank
        pending = np.concatenate([self._pending, clean(mono)])
        done = bank.complete(self._origin + len(pending))
        fresh = done - self.columns_seen
        if fresh > 0:
            starts = np.array([bank.start(c) for c in range(self.columns_seen, done)], np.int64) - self._origin
            columns = self._running.normalise(bank.decibels(pending, starts))
            self._history = np.concatenate([self._history, columns])[-self.config.columns :]
            self.columns_seen = done
        # The next column may begin after the samples seen so far, when the hop is longer than the window.
        used = min(bank.start(done) - self._origin, len(pending))
        self._pending = pending[used:]
        self._origin += used
        return fresh

    def window(self) -> Float32:
        """The newest `config.columns` columns, newest last: float32 [1, 1, bands, columns], a copy."""
        return np.ascontiguousarray(self._history.T)[None, None]


def mel_windows(
    mono: npt.ArrayLike, sample_rate: int, ends_s: npt.ArrayLike, config: MelConfig | None = None
) -> Float32:
    """The windows that `MelAnalyser.window()` would have shown at the times `ends_s` (seconds into the clip).

    Returns float32 [N, 1, bands, columns], one for each end, in the given order. The clip is streamed once from its
    start; times before its first column give silence, times after its end give its last window.
    """
    config = config or MelConfig()
    bank = mel_bank(sample_rate, config)
    samples = clean(mono)
    ends = np.floor(np.asarray(ends_s, np.float64).reshape(-1) * sample_rate + 1e-6)
    counts = np.array([bank.complete(int(end)) for end in np.clip(ends, 0, len(samples))], np.int64)
    total = int(counts.max(initial=0))
    columns = np.full((config.columns + total, config.bands), config.silence, np.float32)
    if total:
        starts = np.array([bank.start(c) for c in range(total)], np.int64)
        columns[config.columns :] = _RunningLevel(config).normalise(bank.decibels(samples, starts))
    windows = np.lib.stride_tricks.sliding_window_view(columns, config.columns, axis=0)  # [total + 1, bands, columns]
    return np.ascontiguousarray(windows[counts])[:, None]
