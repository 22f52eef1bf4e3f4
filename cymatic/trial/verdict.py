"""What a soak saw, and whether it is within the limits. No processes here: rows and samples in, a verdict out."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from cymatic.trial.pace import Pace
from cymatic.trial.watched import Row

LATE_LIMIT = 0.01
"""Of the pictures that the engine makes, by the rate that it keeps."""
GAP_LIMIT_S = 0.5
"""Outside the windows of faults no picture stands for longer, at whatever rate."""
SLOPE_LIMIT = 1.0
"""MiB an hour."""
SLOPE_OVER_S = 600.0
"""What was followed for less tells no slope."""
YOUNG_S = 60.0
"""A process that has just begun still fills its caches."""
THREADS_LIMIT, HANDLES_LIMIT = 4, 16
"""More than at the beginning of the last two thirds."""
SETTLE_S = 3.0
"""A fault's window ends so long after the show has come back."""
STEADY = 1 / 3
"""From this part of the run on memory, threads and handles are followed, and no fault stops the engine."""
KEPT_BAD = 50
THINNED = 400
"""Samples that a slope is drawn through; each is the median of those about it."""


@dataclass
class Harm:
    """One fault that was done. Times by perf_counter; None: it never came."""

    fault: str
    begun_at: float
    seen_limit_s: float | None
    back_limit_s: float
    standstill_limit_s: float | None
    ended_at: float | None = None
    seen_at: float | None = None
    back_at: float | None = None
    standstill_s: float = 0.0
    """The longest time for which one picture was seen, from its beginning to the end of its window."""

    def told(self, began_at: float) -> dict[str, Any]:
        """As JSON; times of the run."""
        seen_s = None if self.seen_at is None else round(self.seen_at - self.begun_at, 3)
        back_s = None
        if self.back_at is not None and self.ended_at is not None:
            back_s = round(max(0.0, self.back_at - self.ended_at), 3)
        return {
            "fault": self.fault,
            "at_s": round(self.begun_at - began_at, 1),
            "seen_s": seen_s,
            "seen_limit_s": self.seen_limit_s,
            "back_s": back_s,
            "back_limit_s": round(self.back_limit_s, 3),
            "standstill_s": round(self.standstill_s, 3),
            "standstill_limit_s": self.standstill_limit_s,
        }


@dataclass(frozen=True)
class Sample:
    """What a process held at a time."""

    at: float
    pid: int
    mib: float
    threads: int
    handles: int


@dataclass
class Ledger:
    """Adds up the rows of a show as they come; keeps none."""

    shown: int = 0
    counts: Counter[str] = field(default_factory=Counter)
    """Pictures that must not be, by what they were."""
    bad: list[dict[str, Any]] = field(default_factory=list)
    darkest: float = 255.0
    brightest: float = 0.0
    flattest: float = 255.0
    counted: int = 0
    late: int = 0
    """Pictures outside the windows of faults, and those of them that were late."""
    longest_gap_s: float = 0.0
    """For which one picture was seen outside the windows of faults."""
    controls: int = 0
    pace: Pace = field(default_factory=Pace)
    _last: Row | None = None
    _index: float = 0.0

    def take(self, row: Row, within_fault: bool, harm: Harm | None) -> None:
        """The next row; `within_fault` excuses what is late. `harm`: the fault whose standstill it adds to."""
        self.shown += len(row["frames"])
        for bad in row["bad"]:
            self.complain(bad)
        if row["mean"]:
            self.darkest, self.brightest = min(self.darkest, row["mean"][0]), max(self.brightest, row["mean"][1])
        if row["spread"] is not None:
            self.flattest = min(self.flattest, row["spread"])
        self.controls = row["received"]
        index, last = self._index, self._last
        if row["frames"]:
            self._index = row["frames"][-1][0]
        gap = self.pace.take(row, not within_fault)
        if harm is not None:
            harm.standstill_s = max(harm.standstill_s, gap)
        elif not within_fault:
            self.longest_gap_s = max(self.longest_gap_s, gap)
        if last is not None and index and not within_fault:
            self.counted += round(self._index - index)
            self.late += max(0, row["late"] - last["late"])
        self._last = row

    def complain(self, bad: dict[str, Any]) -> None:
        """A picture that must not be."""
        self.counts[bad["what"]] += 1
        if len(self.bad) < KEPT_BAD:
            self.bad.append(bad)

    @property
    def late_fraction(self) -> float:
        return self.late / self.counted if self.counted else 0.0


def slope(samples: Sequence[Sample]) -> float | None:
    """MiB an hour: the median of the slopes between all pairs of samples of one process (Theil and Sen).

    The first `YOUNG_S` of a process are left out. None when the longest-lived process was not followed long enough.
    """
    slopes, longest = [], 0.0
    for pid in dict.fromkeys(sample.pid for sample in samples):
        life = [(sample.at, sample.mib) for sample in samples if sample.pid == pid]
        grown = np.array([point for point in life if point[0] >= life[0][0] + YOUNG_S]).reshape(-1, 2)
        if len(grown) < 3:
            continue
        longest = max(longest, grown[-1, 0] - grown[0, 0])
        parts = np.array_split(grown, min(len(grown), THINNED))
        at, mib = np.array([np.median(part, axis=0) for part in parts]).T
        first, second = np.triu_indices(len(at), 1)
        slopes.append((mib[second] - mib[first]) / (at[second] - at[first]))
    if longest < SLOPE_OVER_S:
        return None
    return float(np.median(np.concatenate(slopes))) * 3600.0


def held(samples: Sequence[Sample]) -> dict[str, Any]:
    """Memory, threads and handles at the beginning and the end of the steady part of a run, as JSON.

    Of the process that is there at the end, without its first `YOUNG_S`; None where there is nothing to tell.
    """
    life = [sample for sample in samples if sample.pid == samples[-1].pid]
    grown = [sample for sample in life if sample.at >= life[0].at + YOUNG_S]
    if not grown:
        return {"mib": None, "mib_per_h": None, "threads": None, "handles": None}
    tenth = max(1, len(grown) // 10)

    def both(of: str) -> list[float]:
        parts = (grown[:tenth], grown[-tenth:])
        return [round(float(np.median([getattr(sample, of) for sample in part])), 1) for part in parts]

    rising = slope(samples)
    return {
        "mib": both("mib"),
        "mib_per_h": None if rising is None else round(rising, 2),
        "threads": both("threads"),
        "handles": both("handles"),
    }


def verdict(
    ledger: Ledger,
    harms: Sequence[Harm],
    processes: dict[str, list[Sample]],
    began_at: float,
    ending: Sequence[str],
) -> dict[str, Any]:
    """The verdict as JSON. `processes`: samples of `stage` and `engine` from the steady part; `ending`: what went wrong
    at the end of the show."""
    faults = [harm.told(began_at) for harm in harms]
    held_by = {name: held(samples) for name, samples in processes.items()}
    broken = [*_pictures(ledger), *_recoveries(faults), *_growth(held_by), *ending]
    return {
        "held": not broken,
        "broken": broken,
        "pictures": {
            "shown": ledger.shown,
            **{what: ledger.counts[what] for what in ("black", "white", "torn", "backwards")},
            "mean_grey": [ledger.darkest, ledger.brightest],
            "least_spread_grey": ledger.flattest,
            "bad": ledger.bad,
        },
        "outside_faults": {
            "pictures": ledger.counted,
            "late": ledger.late,
            "late_fraction": round(ledger.late_fraction, 5),
            "late_limit": LATE_LIMIT,
            "longest_gap_s": round(ledger.longest_gap_s, 3),
            "longest_gap_limit_s": GAP_LIMIT_S,
            **ledger.pace.told(),
        },
        "faults": faults,
        "processes": held_by,
        "controls_received": ledger.controls,
    }


def _pictures(ledger: Ledger) -> Iterator[str]:
    if not ledger.pace.seen:
        yield "no picture was shown"
    for what, count in ledger.counts.items():
        yield f"{count} of {ledger.shown} pictures were {what}"
    if ledger.late_fraction > LATE_LIMIT:
        yield (
            f"{ledger.late_fraction:.1%} of {ledger.counted} pictures outside faults were late, {LATE_LIMIT:.0%} may be"
        )
    if ledger.longest_gap_s > GAP_LIMIT_S:
        yield f"outside faults the picture stood still for {ledger.longest_gap_s:.1f} s, {GAP_LIMIT_S:g} s allowed"


def _recoveries(faults: Sequence[dict[str, Any]]) -> Iterator[str]:
    for fault in faults:
        where = f"{fault['fault']} at {fault['at_s']:g} s"
        for what, key in (("told", "seen"), ("back", "back")):
            took, limit = fault[f"{key}_s"], fault[f"{key}_limit_s"]
            if limit is not None and took is None:
                yield f"{where}: it was never {what}"
            elif limit is not None and took > limit:
                yield f"{where}: {what} after {took:.1f} s, {limit:.1f} s allowed"
        if fault["standstill_limit_s"] is not None and fault["standstill_s"] > fault["standstill_limit_s"]:
            yield f"{where}: the picture stood still for {fault['standstill_s']:.1f} s"


def _growth(processes: dict[str, dict[str, Any]]) -> Iterator[str]:
    for name, held_by in processes.items():
        if held_by["mib_per_h"] is not None and held_by["mib_per_h"] >= SLOPE_LIMIT:
            yield f"the {name}'s memory grows by {held_by['mib_per_h']:.1f} MiB/h, less than {SLOPE_LIMIT:g} is allowed"
        for what, limit in (("threads", THREADS_LIMIT), ("handles", HANDLES_LIMIT)):
            if held_by[what] is not None and held_by[what][1] > held_by[what][0] + limit:
                yield f"the {name}'s {what} grew from {held_by[what][0]:g} to {held_by[what][1]:g}"
