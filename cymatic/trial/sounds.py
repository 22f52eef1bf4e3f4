"""Mixed sound for a soak: the demo soundscape, beats, a swell, a sweep, what clips and what is nearly silent."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import soundfile
from numpy.typing import NDArray

from engine.audio.sources import DEMO

QUIET_DB = -50.0
BEATS_S, SWELL_S, SWEEP_S, CLIPPED_S, QUIET_S = 24.0, 12.0, 10.0, 4.0, 8.0
BPM = 125.0


def write_mixed(path: Path) -> Path:
    """Two and a half minutes as a WAV file; the same every time."""
    demo, rate = soundfile.read(DEMO, dtype="float32", always_2d=True)
    rng = np.random.default_rng(0)
    parts = [demo.mean(1), _beats(rate, rng), _swell(rate, rng), _sweep(rate)]
    parts += [np.clip(8.0 * _beats(rate, rng)[: round(CLIPPED_S * rate)], -1.0, 1.0)]
    parts += [10 ** (QUIET_DB / 20) * _noise(QUIET_S, rate, rng)]
    soundfile.write(path, np.concatenate(parts), rate)
    return path


def _noise(seconds: float, rate: int, rng: np.random.Generator) -> NDArray[np.float32]:
    return rng.standard_normal(round(seconds * rate)).astype(np.float32)


def _beats(rate: int, rng: np.random.Generator) -> NDArray[np.float32]:
    """Four on the floor, hats between them, a bass line."""
    times = np.arange(round(BEATS_S * rate)) / rate
    beat = times * BPM / 60.0
    since = (beat % 1.0) * 60.0 / BPM
    kick = np.exp(-since / 0.08) * np.sin(2 * np.pi * 50.0 * since * (1.0 + 0.5 * np.exp(-since / 0.02)))
    since = ((beat + 0.5) % 1.0) * 60.0 / BPM
    hat = 0.3 * np.exp(-since / 0.02) * _noise(BEATS_S, rate, rng)
    note = np.array([55.0, 55.0, 65.4, 49.0])[(beat // 4).astype(int) % 4]
    bass = 0.2 * np.sign(np.sin(2 * np.pi * note * times))
    return np.asarray(0.4 * (kick + hat + bass), np.float32)


def _swell(rate: int, rng: np.random.Generator) -> NDArray[np.float32]:
    times = np.arange(round(SWELL_S * rate)) / rate
    rise = 10 ** (-2.0 * np.abs(1.0 - 2.0 * times / SWELL_S))
    return np.asarray(0.3 * rise * _noise(SWELL_S, rate, rng), np.float32)


def _sweep(rate: int) -> NDArray[np.float32]:
    """From 40 Hz to 8 kHz, evenly by octaves."""
    times = np.arange(round(SWEEP_S * rate)) / rate
    octaves = np.log2(8000.0 / 40.0)
    phase = 40.0 * SWEEP_S / (octaves * np.log(2)) * (2 ** (octaves * times / SWEEP_S) - 1.0)
    return np.asarray(0.3 * np.sin(2 * np.pi * phase), np.float32)
