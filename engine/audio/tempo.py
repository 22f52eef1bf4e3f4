"""Tempo and beat of a stream, heard as it goes.

A hidden Markov model over (period, place in the beat), after Krebs, Böck & Widmer, "An efficient state-space model for
joint tempo and meter tracking" (ISMIR 2015), without bars. Every 10 ms each state moves one place on; where a beat ends
the period may change a little; an onset speaks for the states that have their beat there and against all others. Only
the forward pass is run, for a show knows nothing of what comes. The likeliest beat pulls an oscillator, which may hurry
or wait but never goes back: that is what everything else follows.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import numpy.typing as npt

__all__ = ["Beat", "TempoTracker"]

Float32 = npt.NDArray[np.float32]

STEP_S = 0.010
SLOWEST, FASTEST = 54.0, 196.0  # bpm; faster or slower music is followed at half or twice its tempo
LIKELIEST, OCTAVES = 112.0, 0.9  # bpm; the prior is normal over log₂ tempo
STEADY = 90.0  # how unlikely it is that a period changes from one beat to the next: exp(−STEADY·|ratio − 1|)
RESTART = 2e-5  # chance of a step that the music begins anew, at any tempo and place

BEAT_STEPS = 2  # an onset less than so many steps from the beat counts as the beat
ELSEWHERE = 1 / 12  # likelihood of no onset where there is no beat, against that of an onset where there is one
LEAST = 0.02  # added to every likelihood: no single onset proves or refutes anything
PATIENCE = 1.2  # beats without an onset, after which further silence is no evidence

RANGE_DB = 32.0  # what lies further under the loudest band of late is not heard
LOUDEST_FALL_DB_S = 7.0
STRONGEST_FALL_S, STRONGEST_DB = 4.0, 3.0  # and what a strong onset has at the least
USUAL_S = 3.0
SPREADS = 4.0  # median deviations over the median: rain is onsets all the time, and so has none
AGREE_S = 4.0  # over which it is judged whether the onsets are on the beat
HEARD = 0.04  # an onset over this breaks the quiet

PULL_S = 0.12  # time constant of the oscillator
CONFIDENT_S = 0.3  # and of the confidence
SURE, UNSURE = 0.4, 0.25  # confidence from which a beat is told, and below which no more
COAST_S = 4.0  # of quiet that take nothing from the confidence; e-fold a second after that
DELAY_S = 0.010  # from an onset to the middle of the steps in which it shows


@dataclass(frozen=True, slots=True)
class Beat:
    """Where the music is: `count` beats after some beat, fractions included; `bpm`; `confidence` 0..1."""

    count: float
    bpm: float
    confidence: float = 1.0

    @property
    def phase(self) -> float:
        """0 on the beat, nearly 1 just before the next."""
        return self.count % 1.0

    def after(self, seconds: float) -> Beat:
        """Where it will be, or was, if the tempo stays."""
        return Beat(self.count + seconds * self.bpm / 60.0, self.bpm, self.confidence)


class _Model:
    """The states in one row: period after period, each from its first place to its last."""

    def __init__(self) -> None:
        periods = np.arange(round(60.0 / FASTEST / STEP_S), round(60.0 / SLOWEST / STEP_S) + 1)  # steps
        self.periods = periods
        self.last = np.cumsum(periods) - 1
        self.first = self.last - periods + 1
        place = np.concatenate([np.arange(period) for period in periods])
        length = np.repeat(periods, periods)
        self.on_beat = np.flatnonzero((place < BEAT_STEPS) | (place > length - BEAT_STEPS))
        self.turn = np.exp(2j * np.pi * place / length).astype(np.complex64)
        change = np.exp(-STEADY * np.abs(periods[:, None] / periods - 1.0))  # [to, from]
        self.change = (change / change.sum(axis=0)).astype(np.float32)
        prior = np.exp(-0.5 * (np.log2(60.0 / (STEP_S * length) / LIKELIEST) / OCTAVES) ** 2) / length
        self.prior = (prior / prior.sum()).astype(np.float32)


@lru_cache(maxsize=1)
def _model() -> _Model:
    return _Model()


class TempoTracker:
    """Follows the beat of a stream. One thread owns it: `engine.audio.features.FastFeatures`, which feeds it.

    `hop_s`: of the columns that `follow` takes; `STEP_S` is a multiple of it. `bands`: how many numbers they have. A
    step costs about 50 µs.

    Attributes
    ----------
    beat : where the music is at the end of the newest column; None while no beat is heard.
    """

    def __init__(self, hop_s: float, bands: int) -> None:
        self._hop_s = hop_s
        self._hops = round(STEP_S / hop_s)
        self._loudest_falls = LOUDEST_FALL_DB_S * hop_s
        # A kick has few bands and a hi-hat has many, but it is the kick that people dance to.
        low, middle, high = (len(part) for part in np.split(np.arange(bands), [bands // 6, 7 * bands // 12]))
        self._weights = np.repeat(np.array([0.5 / low, 0.3 / middle, 0.2 / high], np.float32), (low, middle, high))
        self._model = _model()
        self.reset()

    def reset(self) -> None:
        """Forget all sound: as new."""
        self.beat: Beat | None = None
        self._p = self._model.prior
        self._columns = self._steps = 0
        self._strength = 0.0  # of this step so far
        self._loudest = -math.inf
        self._strongest = 0.0
        self._strengths = np.zeros(round(USUAL_S / STEP_S), np.float32)  # of late, in no order
        self._quiet_s = 0.0
        self._heard = self._on_beat = 0.0  # onsets of late, and how much of them was on the beat
        self._confidence = 0.0
        self._count, self._bpm = 0.0, LIKELIEST

    def follow(self, column: Float32, before: Float32, audible: bool) -> None:
        """One hop: decibels by band, low to high, of now, and the highest of a window ago."""
        self._loudest = max(float(column.max()), self._loudest - self._loudest_falls)
        if audible:
            floor = np.float32(self._loudest - RANGE_DB)
            rise = np.maximum(column, floor) - np.maximum(before, floor)
            self._strength = max(self._strength, float((self._weights * np.maximum(rise, 0.0)).sum()))
        self._columns += 1
        if self._columns % self._hops == 0:
            onset = self._onset()
            self._listen(onset)
            self._move_on(onset)
            self._strength = 0.0

    def _onset(self) -> float:
        """How much of an onset this step is, 0..1, against what is usual and what is strongest of late."""
        self._strengths[self._steps % len(self._strengths)] = self._strength
        self._steps += 1
        usual = _median(self._strengths)
        usual += SPREADS * _median(np.abs(self._strengths - np.float32(usual)))
        self._strongest = max(self._strength, self._strongest * math.exp(-STEP_S / STRONGEST_FALL_S), STRONGEST_DB)
        onset = max(self._strength - usual, 0.0) / max(self._strongest - usual, 1.0)
        return min(onset, 1.0) ** 2  # squared, a hi-hat hardly argues with a kick

    def _listen(self, onset: float) -> None:
        """One step of the forward pass."""
        model, p = self._model, np.empty_like(self._p)
        self._quiet_s = 0.0 if onset > HEARD else self._quiet_s + STEP_S
        p[1:] = self._p[:-1]
        if self._quiet_s * self._bpm > 60.0 * PATIENCE:
            p[model.first] = self._p[model.last]  # what was known goes round unchanged
        else:
            p[model.first] = model.change @ self._p[model.last]  # too small for BLAS to start threads
            p[model.on_beat] *= (onset + LEAST) / ((1.0 - onset) * ELSEWHERE + LEAST)
            p *= (1.0 - RESTART) / p.sum()
            p += np.float32(RESTART) * model.prior
        self._p = p

    def _move_on(self, onset: float) -> None:
        """One step of the oscillator, pulled towards the likeliest beat."""
        model = self._model
        periods = np.add.reduceat(self._p, model.first)
        best = int(periods.argmax())
        near = slice(max(best - 2, 0), best + 3)
        first, last = model.first[near][0], model.last[near][-1] + 1
        turn = complex((self._p[first:last] * model.turn[first:last]).sum())
        bpm = 60.0 / STEP_S * float(periods[near].sum() / (periods[near] * model.periods[near]).sum())
        fades = math.exp(-STEP_S / AGREE_S)
        self._heard = self._heard * fades + onset
        self._on_beat = self._on_beat * fades + onset * turn.real / max(abs(turn), 1e-6)
        agreed = max(self._on_beat, 0.0) / max(self._heard, 1e-6)
        confidence = agreed * abs(turn) * math.exp(min(COAST_S - self._quiet_s, 0.0))
        self._confidence += (confidence - self._confidence) * STEP_S / CONFIDENT_S
        count = math.atan2(turn.imag, turn.real) / (2.0 * math.pi) + DELAY_S * bpm / 60.0
        if self.beat is None:
            if self._confidence < SURE:
                return
            self._count, self._bpm = count % 1.0, bpm
        else:
            share = STEP_S / PULL_S
            self._bpm += share * (bpm - self._bpm)
            astray = (count - self._count + 0.5) % 1.0 - 0.5
            self._count += max(STEP_S * self._bpm / 60.0 + share * astray, 0.0)
        self.beat = Beat(self._count, self._bpm, self._confidence) if self._confidence > UNSURE else None


def _median(values: Float32) -> float:
    middle = len(values) // 2
    return float(np.partition(values, middle)[middle])
