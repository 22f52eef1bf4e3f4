"""Fast features: *when* something is heard, within a frame of its sound.

Level is the loudness of the last 20 ms. Onsets are jumps of the log-mel spectrum against its recent maximum (spectral
flux with the maximum filter of Böck & Widmer, "Maximum filter vibrato suppression for onset detection", DAFx 2013),
picked causally over a threshold that follows the flux of the last second: rain and wind raise it, a click still passes.
"""

from __future__ import annotations

from collections import deque
from math import exp, inf, log10

import numpy as np
import numpy.typing as npt

from engine.audio.mel import Float32, MelConfig, clean, mel_bank
from engine.audio.tempo import TempoTracker

__all__ = ["FastFeatures"]

LEVEL_S = 0.020
GATE_DB = -60.0  # softer sound has no level and no onset; a pulse already begun decays in its own time
QUIETEST_DB = -120.0
FULL_SCALE = 0.999
CLIP_HOLD_S = 0.5
# Few wide bands: their log power is steady in noise, and one window is over before the next event begins.
FLUX = MelConfig(window_s=0.020, hop_s=0.005, bands=24, columns=1, f_min=60, f_max=12_000, floor_db=-70)
LAG = 4  # hops to the spectrum compared with: one window, so the two share no sample
MEMORY_S = 1.0  # of flux, for the threshold
LEAST_FLUX_DB = 2.5  # mean rise over all bands that can count as an onset in perfect silence
SPREADS = 4.0  # and above the median flux by so many median deviations
REFRACTORY_S = 0.060
DECAY_S = 0.050  # time constant of the envelope: 5 % are left after 150 ms
BANDS = (3, 13)  # of `FLUX`: bass ends at about 300 Hz, treble begins at about 2.5 kHz
FULL_ONSET_DB = 10.0  # a flux so far over the threshold is a pulse of 1; one just over it is 0.3


class FastFeatures:
    """Level and onset of a stream, as numbers to read after each `push`. One thread owns it.

    Attributes
    ----------
    level : loudness of the last 20 ms, 0 (−60 dBFS and below) to 1 (0 dBFS), linear in decibels.
    onset : envelope, 0..1; jumps when an onset is heard and is gone 150 ms later.
    rms_db : the same loudness in dBFS, not gated, −120 at least.
    clip : a sample at full scale was seen in the last 0.5 s.
    onsets : how many onsets were heard so far.
    since_onset_s : how much sound came after that by which the newest onset was known; infinite before the first.
    tempo : the beat of what was heard.
    """

    def __init__(self, sample_rate: int) -> None:
        self.sample_rate = sample_rate
        self._bank = mel_bank(sample_rate, FLUX)
        self._keep = max(self._bank.length, round(LEVEL_S * sample_rate))
        self.tempo = TempoTracker(FLUX.hop_s, FLUX.bands)
        self.reset()

    def reset(self) -> None:
        """Forget all sound: as new."""
        self.level = self.onset = 0.0
        self.rms_db = QUIETEST_DB
        self.clip = False
        self.onsets = 0
        self.tempo.reset()
        self._recent = np.zeros(self._keep, np.float32)  # the newest samples
        self._seen = 0  # samples
        self._followed = 0  # hops
        self._clipped_at = -self.sample_rate
        self._since_onset = 1_000  # hops
        self._onset_at = -inf  # samples; the end of the window in which the newest one was found
        self._spectra: deque[Float32] = deque([np.full(FLUX.bands, FLUX.floor_db, np.float32)] * (LAG + 2), LAG + 2)
        self._fluxes = np.zeros(round(MEMORY_S / FLUX.hop_s), np.float32)  # of the last second, in no order

    def push(self, mono: npt.ArrayLike) -> None:
        """Take a block of any size (mono [n], full scale ±1; NaN counts as 0)."""
        block = clean(mono)
        if not len(block):
            return
        joined = np.concatenate([self._recent, block])
        origin = self._seen - self._keep  # position of joined[0]; the time before the stream is silence
        hops = range(self._followed, self._bank.complete(self._seen + len(block)))
        # First of all the place in the stream: what fails from here on, for lack of memory, fails for this block alone.
        self._recent, self._seen, self._followed = joined[-self._keep :], self._seen + len(block), hops.stop
        self._measure(block)
        starts = np.array([self._bank.start(hop) - origin for hop in hops], np.int64)
        for hop, start, column in zip(hops, starts.tolist(), self._bank.decibels(joined, starts), strict=True):
            end = start + self._bank.length
            self._follow(hop, column, _rms_db(joined[start:end]) >= GATE_DB, origin + end)

    @property
    def since_onset_s(self) -> float:
        return (self._seen - self._onset_at) / self.sample_rate

    @property
    def bands(self) -> tuple[float, float, float]:
        """Loudness of bass, mid and treble, each 0..1 as `level` is."""
        bass, mid, treble = (10 * log10(max(float(part.sum()), 1e-12)) for part in np.split(self._power(), BANDS))
        return _as_level(bass), _as_level(mid), _as_level(treble)

    @property
    def centroid(self) -> float:
        """Where on the mel scale the middle of the sound lies, 0 (60 Hz) to 1 (12 kHz); 0 in silence."""
        if self.level <= 0.0:
            return 0.0
        power = self._power() + np.float32(1e-12)
        return float((power * np.arange(FLUX.bands)).sum() / power.sum() / (FLUX.bands - 1))

    def _power(self) -> Float32:
        """Of the newest hop by band, over the floor."""
        return np.power(np.float32(10), self._spectra[-1] / 10) - np.float32(10 ** (FLUX.floor_db / 10))

    def _measure(self, block: Float32) -> None:
        self.rms_db = _rms_db(self._recent[-round(LEVEL_S * self.sample_rate) :])
        self.level = _as_level(self.rms_db)
        loud = np.flatnonzero(np.abs(block) >= FULL_SCALE)
        if len(loud):
            self._clipped_at = self._seen - len(block) + int(loud[-1])
        self.clip = self._seen - self._clipped_at <= CLIP_HOLD_S * self.sample_rate

    def _follow(self, hop: int, column: Float32, audible: bool, end: int) -> None:
        """A hop of the onset detector, the next one; its window ends at sample `end`."""
        before = np.maximum(self._spectra[0], self._spectra[1])  # a window ago
        widest = before.copy()  # and its neighbour bands: a gliding tone is no onset
        widest[1:] = np.maximum(widest[1:], before[:-1])
        widest[:-1] = np.maximum(widest[:-1], before[1:])
        self._spectra.append(column)
        self.tempo.follow(column, widest, audible)
        flux = float(np.maximum(column - widest, 0).mean())
        median = _median(self._fluxes)
        spread = _median(np.abs(self._fluxes - np.float32(median)))
        over = flux - (median + SPREADS * spread + LEAST_FLUX_DB)
        self._fluxes[hop % len(self._fluxes)] = flux
        self.onset *= exp(-FLUX.hop_s / DECAY_S)
        self.onset = self.onset if self.onset > 0.01 else 0.0
        self._since_onset += 1
        if audible and over > 0 and self._since_onset * FLUX.hop_s >= REFRACTORY_S:
            self._since_onset, self._onset_at = 0, end
            self.onsets += 1
            self.onset = max(self.onset, min(0.3 + 0.7 * over / FULL_ONSET_DB, 1.0))


def _as_level(decibels: float) -> float:
    return min(max(1 - decibels / GATE_DB, 0.0), 1.0)


def _rms_db(samples: Float32) -> float:
    # Not a dot product: its BLAS threads would fight the networks for the cores.
    return 10 * log10(max(float(np.mean(np.square(samples, dtype=np.float64))), 10 ** (QUIETEST_DB / 10)))


def _median(values: Float32) -> float:
    # The upper one of two middles does for a threshold, and a partition is several times quicker than np.median.
    middle = len(values) // 2
    return float(np.partition(values, middle)[middle])
