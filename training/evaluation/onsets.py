"""When something happens, in sound and in picture, and whether it happens at once: AV-Align.

AV-Align (Yariv et al., "Diverse and aligned audio-to-video generation via text-to-video model adaptation", AAAI 2024)
is the intersection over union of the onsets of a sound and the peaks of motion in its film. Here the peaks are those of
*change* instead of optical flow: the mean absolute difference of luminance between frames on a 9×16 grid, coarse enough
that texture which flows averages out and light that jumps does not. Sound and film share one way to pick peaks, much as
Böck, Krebs and Schedl do (ISMIR 2012).
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import ArrayLike, NDArray

from engine.audio.mel import MelConfig, mel_bank

Float64 = NDArray[np.float64]

WITHIN_S = 0.1
"""Matched if no farther apart: one frame at the 10 frames/s at which AV-Align is usual for landscape clips."""
FLUX = MelConfig(window_s=0.046, hop_s=0.01, bands=64, columns=1, f_min=40, f_max=12_000, floor_db=-70)
LAG = 2  # hops to the spectrum compared with
FADE_S = 0.05  # the first and last moments have no neighbours to stand out from
SOUND_DELTA, PICTURE_DELTA = 0.07, 0.12  # of the largest peak, over the local mean
LEAST_FLUX_DB, LEAST_CHANGE = 3.0, 0.008  # a largest peak below this is no onset at all
GRID = (9, 16)
LUMA = np.array([0.299, 0.587, 0.114])


def sound_onsets(samples: NDArray[np.float32], sample_rate: int) -> Float64:
    """Onset times (s) of a mono sound: peaks of spectral flux in decibels over 64 mel bands."""
    bank = mel_bank(sample_rate, FLUX)
    count = bank.complete(len(samples))
    if count <= LAG:
        return np.empty(0)
    starts = np.array([bank.start(column) for column in range(count)], np.int64)
    spectra = bank.decibels(np.asarray(samples, np.float32), starts)
    flux = np.zeros(count)
    flux[LAG:] = np.maximum(spectra[LAG:] - spectra[:-LAG], 0).mean(1)
    # A jump is largest when it has come to the middle of the window.
    times = starts / sample_rate + FLUX.window_s / 2
    return times[pick(flux, 1 / FLUX.hop_s, SOUND_DELTA, LEAST_FLUX_DB, wait_s=0.06)]


def change(frames: NDArray[np.uint8]) -> Float64:
    """How much each frame differs from the one before, `[T]` in 0..1: frames bytes `[T, 3, H, W]`, H, W whole GRIDs."""
    count, _, height, width = frames.shape
    luma = np.tensordot(frames.astype(np.float32) / 255, LUMA.astype(np.float32), axes=([1], [0]))  # [T, H, W]
    cells = luma.reshape(count, GRID[0], height // GRID[0], GRID[1], width // GRID[1]).mean((2, 4))
    differences = np.abs(np.diff(cells, axis=0)).mean((1, 2))
    return np.concatenate([differences[:1], differences])  # the first frame has none before it


def picture_onsets(frames: NDArray[np.uint8], fps: float) -> Float64:
    """Times (s) at which the film changes suddenly: peaks of `change`."""
    return pick(change(frames), fps, PICTURE_DELTA, LEAST_CHANGE, wait_s=0.1) / fps


def pick(curve: Float64, rate: float, delta: float, least: float, wait_s: float) -> NDArray[np.int64]:
    """Indices of the peaks of a curve: the largest within ±`wait_s`, over the mean of ±0.25 s by `delta` of the top.

    None when even the top is under `least`.
    """
    top = float(curve.max(initial=0.0))
    if top < least:
        return np.empty(0, np.int64)
    reach, around = max(1, round(wait_s * rate)), max(2, round(0.25 * rate))
    edge = max(1, round(FADE_S * rate))
    peaks: list[int] = []
    for i in range(edge, len(curve) - edge):
        local = curve[max(0, i - reach) : i + reach + 1]
        mean = curve[max(0, i - around) : i + around + 1].mean()
        if curve[i] == local.max() and curve[i] >= mean + delta * top and (not peaks or i - peaks[-1] > reach):
            peaks.append(i)
    return np.array(peaks, np.int64)


def av_align(sound: ArrayLike, picture: ArrayLike, within_s: float = WITHIN_S) -> float:
    """Matches / (onsets + peaks − matches), each used once, 0..1; NaN when neither has any."""
    sound, picture = np.sort(np.asarray(sound, float)), np.sort(np.asarray(picture, float))
    if not len(sound) and not len(picture):
        return math.nan
    matches, free = 0, 0
    for time in sound:  # both in order, so the earliest free peak that fits leaves most for the rest
        while free < len(picture) and picture[free] < time - within_s:
            free += 1
        if free < len(picture) and picture[free] <= time + within_s:
            matches += 1
            free += 1
    return matches / (len(sound) + len(picture) - matches)


def loudness(samples: NDArray[np.float32], sample_rate: int, times: ArrayLike, window_s: float = 0.5) -> Float64:
    """Loudness (dBFS, −80 at least) of the last `window_s` before each time (s)."""
    energy = np.concatenate([[0.0], np.cumsum(np.square(samples, dtype=np.float64))])
    ends = np.clip(np.asarray(times) * sample_rate, 1, len(samples)).astype(int)
    starts = np.maximum(0, ends - round(window_s * sample_rate))
    power = (energy[ends] - energy[starts]) / np.maximum(1, ends - starts)
    return 10 * np.log10(np.maximum(power, 1e-8))
