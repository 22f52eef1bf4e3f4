"""What is done to the sound before anything is heard in it: gain, noise gate, delay."""

from __future__ import annotations

import numpy as np

from engine.audio.mel import Float32

__all__ = ["GATE_OPEN_DB", "Conditioner"]

GATE_OPEN_DB = -90.0
"""A gate at this threshold lets everything through."""
HOLD_S = 0.25  # the gate stays open after the last loud sample: the tail of a note is part of it
CLOSE_S = 0.05


class Conditioner:
    """Takes a mono stream in blocks of any size; what comes out does not depend on how it was cut. One thread."""

    def __init__(self, sample_rate: int) -> None:
        self._rate = sample_rate
        self._since_loud = 1 << 30  # samples
        self._waiting = np.empty(0, np.float32)

    def push(self, mono: Float32, gain_db: float, gate_db: float, delay_s: float) -> Float32:
        """The next of the stream, float32 `[n]`; where the delay changes, fewer or more than went in.

        The gate looks at the sound after the gain: it opens at once on a sample over `gate_db` dBFS and closes within
        50 ms when there was none for a quarter of a second. A longer delay holds the sound back, a shorter one catches
        up at once.
        """
        samples = mono * np.float32(10.0 ** (gain_db / 20.0))
        if gate_db > GATE_OPEN_DB:
            samples *= self._opening(samples, 10.0 ** (gate_db / 20.0))
        held = round(delay_s * self._rate)
        if held == 0 and not len(self._waiting):
            return samples
        stream = np.concatenate([self._waiting, samples])
        given = max(len(stream) - held, 0)
        self._waiting = stream[given:]
        return stream[:given]

    def _opening(self, samples: Float32, threshold: float) -> Float32:
        """How far the gate is open at each sample, 0..1."""
        places = np.arange(1, len(samples) + 1)
        loud = np.maximum.accumulate(np.where(np.abs(samples) >= threshold, places, -self._since_loud))
        since = places - loud
        if len(since):
            self._since_loud = int(min(since[-1], 1 << 30))
        closed = (since - HOLD_S * self._rate) / (CLOSE_S * self._rate)
        opening: Float32 = np.clip(1.0 - closed, 0.0, 1.0).astype(np.float32)
        return opening
