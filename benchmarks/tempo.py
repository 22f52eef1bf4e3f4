"""How well the beat is found: generated clicks and drums of 60 to 180 bpm through the engine's own tracker.

    python benchmarks/tempo.py [--seconds 30] [--takes 1] [--report tempo.json] [--page docs/tempo.md]

Every track is generated from a seed, so that its beats are known to the sample; tests/engine/audio/test_tempo.py plays
some of them. The tracker hears each once, in blocks of a 60th of a second, and a beat counts where it was told while
the sound played: nothing is looked at twice, and no later sound corrects an earlier beat.

A told beat is right when it lies within 70 ms of one that is there, each of them counted once. The first five seconds
are left out, as is usual (Davies, Degara & Plumbley, "Evaluation methods for musical audio beat tracking algorithms",
2009); what the F-measure would be with them stands in a column of its own.

- `click`: one click a beat, every fourth one accented
- `rock`: kick on one and three, snare on two and four, hi-hats on the quavers, a bass line
- `house`: four kicks, open hi-hats between them, claps, a pad that holds chords
- `swing`: ride and hi-hat with triplet swing, kick and snare that wander
- `ramp`: rock whose tempo goes up or down by a fifth on the way
- `silence`: rock between four seconds of nothing and, in the middle, four of nothing in which the beat goes on
"""

from __future__ import annotations

import argparse
import json
import math
import re
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import median

import numpy as np
from numpy.typing import NDArray

from engine.audio.features import FastFeatures

RATE = 22_050
BLOCK = RATE // 60
WINDOW_S = 0.070
SETTLE_S = 5.0
TEMPI = range(60, 181, 10)
HUMAN_S = 0.006  # standard deviation of a drummer's hits
LEAD_S = BREAK_S = 4.0
ROOM = 0.0005  # standard deviation of the noise of an empty room

Float32 = NDArray[np.float32]
Array = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Track:
    """A sound whose `beats` are known, in seconds."""

    kind: str
    bpm: float
    sound: Float32
    beats: Array


# ---- Instruments


def _decay(seconds: float, fall_s: float) -> Array:
    return np.exp(-np.arange(int(seconds * RATE)) / (fall_s * RATE))


def _click(rng: np.random.Generator) -> Array:
    t = np.arange(int(0.03 * RATE)) / RATE
    return np.sin(2 * np.pi * 1500 * t) * _decay(0.03, 0.006)


def _kick(rng: np.random.Generator) -> Array:
    fall = _decay(0.25, 0.07)
    t = np.arange(len(fall)) / RATE
    phase = 2 * np.pi * (50 * t - 90 * 0.03 * (np.exp(-t / 0.03) - 1))
    return np.sin(phase) * fall + 0.15 * rng.standard_normal(len(fall)) * _decay(0.25, 0.003)


def _snare(rng: np.random.Generator) -> Array:
    fall = _decay(0.2, 0.05)
    t = np.arange(len(fall)) / RATE
    return 0.5 * np.sin(2 * np.pi * 190 * t) * fall + 0.4 * rng.standard_normal(len(fall)) * fall


def _hat(rng: np.random.Generator, fall_s: float = 0.02) -> Array:
    noise = np.diff(rng.standard_normal(int(6 * fall_s * RATE) + 1), n=1)
    return 0.25 * noise * _decay(6 * fall_s, fall_s)[: len(noise)]


def _open_hat(rng: np.random.Generator) -> Array:
    return _hat(rng, 0.06)


def _tone(hertz: float, seconds: float) -> Array:
    t = np.arange(int(seconds * RATE)) / RATE
    edge = np.minimum(1.0, np.minimum(t, t[::-1]) / 0.02)
    return edge * sum(np.sin(2 * np.pi * hertz * n * t) / n**1.5 for n in range(1, 6))


# ---- Tracks


class _Song:
    """Sound at times in beats, for a grid of beats in seconds."""

    def __init__(self, beats: Array, seconds: float, rng: np.random.Generator) -> None:
        self.beats, self.rng = beats, rng
        self.sound = ROOM * rng.standard_normal(int(seconds * RATE))

    def time(self, beat: float) -> float:
        return float(np.interp(beat, np.arange(len(self.beats)), self.beats))

    def put(self, beat: float, sound: Array, loudness: float, human: bool = True) -> None:
        at = self.time(beat) + (HUMAN_S * self.rng.standard_normal() if human else 0.0)
        start = max(int(at * RATE), 0)
        piece = sound[: max(len(self.sound) - start, 0)]
        velocity = self.rng.uniform(0.8, 1.0) if human else 1.0
        self.sound[start : start + len(piece)] += loudness * velocity * piece


def _play_click(song: _Song) -> None:
    for beat in range(len(song.beats)):
        song.put(beat, _click(song.rng), 0.6 if beat % 4 == 0 else 0.35, human=False)


def _play_rock(song: _Song) -> None:
    rng = song.rng
    root = rng.uniform(40, 60)
    for beat in range(len(song.beats) - 1):
        song.put(beat, _kick(rng) if beat % 2 == 0 else _snare(rng), 0.5)
        if beat % 4 == 2 and rng.random() < 0.7:
            song.put(beat + 0.5, _kick(rng), 0.45)
        for half in (0.0, 0.5):
            song.put(beat + half, _hat(rng), 0.25)
            length = 0.45 * (song.time(beat + 1) - song.time(beat))
            song.put(beat + half, _tone(root * 2 ** (rng.choice([0, 0, 3, 5, 7]) / 12), length), 0.10)


def _play_house(song: _Song) -> None:
    rng = song.rng
    for beat in range(len(song.beats) - 1):
        song.put(beat, _kick(rng), 0.55, human=False)
        song.put(beat + 0.5, _open_hat(rng), 0.25, human=False)
        if beat % 2:
            song.put(beat, _snare(rng), 0.25, human=False)
        if beat % 8 == 0:
            length = song.time(min(beat + 8, len(song.beats) - 1)) - song.time(beat)
            for step in (0, 3, 7):
                song.put(beat, _tone(220 * 2 ** ((step + rng.integers(0, 5)) / 12), length), 0.04, human=False)


def _play_swing(song: _Song) -> None:
    rng = song.rng
    for beat in range(len(song.beats) - 1):
        song.put(beat, _open_hat(rng), 0.3)
        if beat % 2:
            song.put(beat + 2 / 3, _open_hat(rng), 0.22)
            song.put(beat, _hat(rng), 0.3)
            if rng.random() < 0.4:
                song.put(beat, _snare(rng), 0.2)
        elif rng.random() < 0.8:
            song.put(beat, _kick(rng), 0.35)
        if rng.random() < 0.15:
            song.put(beat + 2 / 3, _snare(rng), 0.15)
        length = 0.9 * (song.time(beat + 1) - song.time(beat))
        song.put(beat, _tone(rng.uniform(60, 120), length), 0.08)


PLAYERS: dict[str, Callable[[_Song], None]] = {
    "click": _play_click,
    "rock": _play_rock,
    "house": _play_house,
    "swing": _play_swing,
    "ramp": _play_rock,
    "silence": _play_rock,
}


def make_track(kind: str, bpm: float, seconds: float = 30.0, seed: int = 0) -> Track:
    """A track of that kind, the same for the same arguments. A ramp has `bpm` in its middle."""
    rng = np.random.default_rng([seed, round(10 * bpm), *kind.encode()])
    begins = LEAD_S if kind == "silence" else rng.uniform(0.1, 0.9)
    slowest = bpm * (1.2**-0.5 if kind == "ramp" else 1.0)
    fastest = bpm * (1.2**0.5 if kind == "ramp" else 1.0)
    if rng.random() < 0.5:
        slowest, fastest = fastest, slowest
    beats = [begins]
    while beats[-1] < seconds:
        passed = (beats[-1] - begins) / (seconds - begins)
        beats.append(beats[-1] + 60.0 / (slowest + (fastest - slowest) * passed))
    grid = np.array(beats)
    song = _Song(grid, seconds, rng)
    PLAYERS[kind](song)
    if kind == "silence":
        song.sound[: int((LEAD_S - 0.02) * RATE)] = 0.0
        middle = int(np.searchsorted(grid, 0.5 * (seconds + LEAD_S)))
        start = int((grid[middle] - 0.02) * RATE)
        song.sound[start : start + int(BREAK_S * RATE)] = 0.0
    peak = np.abs(song.sound).max()
    return Track(kind, bpm, (0.7 / peak * song.sound).astype(np.float32), grid[grid < seconds])


# ---- Measure


def told_beats(sound: Float32, rate: int = RATE, block: int = BLOCK) -> tuple[Array, float, float]:
    """Times of the beats that the tracker tells while it hears the sound, its tempo at the end (0: none), and the
    seconds that a block costs all of `FastFeatures`, of which the tracker is a part."""
    features, beats = FastFeatures(rate), []
    last: int | None = None
    begun_at = time.thread_time()
    for start in range(0, len(sound), block):
        features.push(sound[start : start + block])
        beat = features.tempo.beat
        number = None if beat is None else int(np.floor(beat.count))
        if beat is not None and number is not None and last is not None and number > last:
            now = min(start + block, len(sound)) / rate
            beats.append(now - (beat.count - number) * 60.0 / beat.bpm)
        last = number
    beat = features.tempo.beat
    return np.array(beats), 0.0 if beat is None else beat.bpm, (time.thread_time() - begun_at) * block / len(sound)


def f_measure(told: Array, beats: Array, window_s: float = WINDOW_S) -> float:
    """Harmonic mean of precision and recall; every beat and every told one counts in one pair at most."""
    if not len(told) or not len(beats):
        return float(len(told) == len(beats))
    free, right = sorted(told), 0
    for beat in beats:
        near = [t for t in free if abs(t - beat) <= window_s]
        if near:
            free.remove(min(near, key=lambda t: abs(t - beat)))
            right += 1
    return 2.0 * right / (len(told) + len(beats))


@dataclass(frozen=True, slots=True)
class Found:
    """How one track was followed."""

    kind: str
    bpm: float
    f: float
    """Without the first `SETTLE_S`."""
    f_whole: float
    late_ms: float
    """Median of told − true over the beats that are right."""
    block_ms: float
    """What a 60th of a second costs, level, onsets and all."""


def follow(track: Track) -> Found:
    """Play a track to the tracker."""
    told, _, block_s = told_beats(track.sound)
    begins = SETTLE_S + (LEAD_S if track.kind == "silence" else 0.0)
    late = [t - track.beats[np.abs(track.beats - t).argmin()] for t in told if t >= begins]
    right = [1000 * d for d in late if abs(d) <= WINDOW_S]
    f = f_measure(told[told >= begins], track.beats[track.beats >= begins])
    late_ms = median(right) if right else math.nan
    return Found(track.kind, track.bpm, f, f_measure(told, track.beats), late_ms, 1000 * block_s)


def main() -> None:
    parser = argparse.ArgumentParser(description="Measure the beat tracker on generated tracks.")
    parser.add_argument("--seconds", type=float, default=30.0)
    parser.add_argument("--takes", type=int, default=1)
    parser.add_argument("--report", type=Path)
    parser.add_argument("--page", type=Path, help="a Markdown page whose table is replaced")
    args = parser.parse_args()
    found: list[Found] = []
    for kind in PLAYERS:
        for bpm in TEMPI:
            for take in range(args.takes):
                found.append(follow(make_track(kind, bpm, args.seconds, take)))
    print("\n".join(table(found)))
    print(f"{np.median([f.block_ms for f in found]):.2f} ms a 60th of a second")
    if args.report:
        args.report.write_text(json.dumps([asdict(f) for f in found], indent=1))
    if args.page:
        page = re.sub(r"(^\|.*\n)+", "\n".join(table(found)) + "\n", args.page.read_text(), count=1, flags=re.MULTILINE)
        args.page.write_text(page)


def table(found: list[Found]) -> list[str]:
    """The result as lines of a Markdown table."""
    rows = [
        "| track | F-measure | worst | 60-80 bpm | 90-120 | 130-180 | with the first five seconds | told late by |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for kind in (*PLAYERS, "all"):
        of = [f for f in found if kind in (f.kind, "all")]
        spans = [[f.f for f in of if low <= f.bpm <= high] for low, high in ((60, 80), (90, 120), (130, 180))]
        means = " | ".join(f"{np.mean(span):.3f}" for span in spans)
        rows.append(
            f"| {kind} | {np.mean([f.f for f in of]):.3f} | {min(f.f for f in of):.3f} | {means} | "
            f"{np.mean([f.f_whole for f in of]):.3f} | {np.nanmedian([f.late_ms for f in of]):+.0f} ms |"
        )
    return rows


if __name__ == "__main__":
    main()
