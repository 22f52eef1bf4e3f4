"""The run of a soak: sound and OSC go on, faults come on a schedule, and all that the show tells is added up."""

from __future__ import annotations

import contextlib
import itertools
import math
import time
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import psutil

from cymatic.trial.faults import BACK_S, STANDSTILL_S, Fault, Trial, release
from cymatic.trial.pace import Pace
from cymatic.trial.room import VirtualDisplay
from cymatic.trial.verdict import SETTLE_S, STEADY, Harm, Ledger, Sample, verdict
from cymatic.trial.watched import Row, blank, points_of

LOOK_S = 0.05
SAMPLE_S = 1.0
GIVE_UP_S = 60.0
"""A show that is not back so long after a fault's end will not come back."""
POSTPONE_S = 1.0
TAIL_S = 15.0
"""No fault begins in the last seconds of a run, unless faults come faster than that."""


class Soak:
    """One run: the schedule, and what was seen. One thread.

    `seconds` from the first picture on; a fault `every` so many seconds, or when the one before is over. The first
    round of faults is done to its end, though they may take longer than was planned.
    """

    def __init__(
        self,
        trial: Trial,
        display: VirtualDisplay | None,
        faults: Sequence[Fault],
        seconds: float,
        every: float,
        say: Callable[[str], None],
    ) -> None:
        self._trial, self._display, self._say = trial, display, say
        self._began_at = trial.row["at"]
        self._ends_at = self._began_at + seconds
        self._steady_at = self._began_at + STEADY * seconds
        self.skipped = {fault.name: why for fault in faults if (why := fault.possible(trial)) is not None}
        possible = [fault for fault in faults if fault.name not in self.skipped]
        self._plan = list(schedule(possible, seconds, every))
        self._round = min(len(possible), len(self._plan))
        self._ledger = Ledger(pace=Pace(in_window=display is not None))
        self._harms: list[Harm] = []
        self._fault: Fault | None = None
        self._processes: dict[str, list[Sample]] = {"stage": [], "engine": []}
        self._sampled_at = 0.0
        self._engine: tuple[int | None, float] = (None, trial.show.began_at)
        self._loads: list[float] = []

    def play(self) -> list[str]:
        """Until the end, or until the show ends itself, which is told. Ctrl-C ends it, too."""
        trial = self._trial
        try:
            while self._goes_on(time.perf_counter()) or self._fault is not None:
                if trial.show.exit_code is not None:
                    at = time.perf_counter() - self._began_at
                    return [f"the show ended by itself after {at:.0f} s: {trial.show.last_words()}"]
                if trial.microphone is not None:
                    trial.microphone.tend()
                trial.traffic.step()
                self.see(trial.show.rows())
                self._go_on(time.perf_counter())
                time.sleep(LOOK_S)
        except KeyboardInterrupt:
            self._say("ended early")
        return []

    def see(self, rows: Sequence[Row]) -> None:
        """Takes in what the show tells."""
        for row in rows:
            self._trial.row = row
            self._follow_engine(row)
            settling = row["at"] < self._began_at + SETTLE_S
            self._ledger.take(row, self._fault is not None or settling, self._harms[-1] if self._fault else None)
            if self._fault is not None:
                self._follow_fault(self._fault, self._harms[-1], row)

    def verdict(self, ending: Sequence[str]) -> dict[str, Any]:
        """What came of it, as JSON."""
        load_s = min(self._loads, default=0.0)
        engines = {fault.name for _, fault in self._plan if fault.stops_engine}
        for harm in self._harms:
            harm.back_limit_s = BACK_S + (load_s if harm.fault in engines else 0.0)
        told = verdict(self._ledger, self._harms, self._processes, self._began_at, ending)
        passed = min(time.perf_counter(), self._ends_at) - self._began_at
        return {**told, "skipped": self.skipped, "seconds": round(passed, 1), "engine_starts_in_s": round(load_s, 2)}

    def _go_on(self, now: float) -> None:
        if self._fault is None and self._done < len(self._plan) and self._goes_on(now):
            at, fault = self._plan[self._done]
            if now >= self._began_at + at:
                self._begin(fault, now)
        elif self._fault is not None:
            harm = self._harms[-1]
            if harm.ended_at is None and now >= harm.begun_at + self._fault.lasts_s:
                self._fault.end(self._trial)
                harm.ended_at = time.perf_counter()
            self._close_when_over(harm, now)
        self._look_at_display(now)
        if now >= max(self._steady_at, self._sampled_at + SAMPLE_S):
            self._sampled_at = now
            self._sample(now)

    def _goes_on(self, now: float) -> bool:
        return now < self._ends_at or self._done < self._round

    @property
    def _done(self) -> int:
        return len(self._harms)

    def _begin(self, fault: Fault, now: float) -> None:
        begun_at = time.perf_counter()
        try:
            fault.begin(self._trial)
        except psutil.Error:  # no engine at this moment
            self._plan[self._done] = (now + POSTPONE_S - self._began_at, fault)
            return
        self._fault = fault
        standstill = None if fault.stops_engine else STANDSTILL_S
        self._harms.append(Harm(fault.name, begun_at, fault.seen_limit_s, BACK_S, standstill))
        if not fault.lasts_s:
            self._harms[-1].ended_at = begun_at

    def _follow_fault(self, fault: Fault, harm: Harm, row: Row) -> None:
        if harm.seen_at is None and row["at"] > harm.begun_at and fault.seen(row):
            harm.seen_at = row["at"]
        if harm.back_at is None and harm.ended_at is not None:
            harm.back_at = fault.back(self._trial, row, harm.begun_at, harm.ended_at)

    def _close_when_over(self, harm: Harm, now: float) -> None:
        given_up = harm.ended_at is not None and now > harm.ended_at + GIVE_UP_S
        if given_up or (harm.back_at is not None and now > harm.back_at + SETTLE_S):
            self._fault = None
            release(self._trial.harmed)
            self._trial.harmed.clear()
            told = harm.told(self._began_at)
            back = "did not come back" if harm.back_at is None else f"back after {told['back_s']:.1f} s"
            self._say(f"{told['at_s']:.0f} s: {harm.fault}: {back}")

    def _follow_engine(self, row: Row) -> None:
        """How long an engine takes from its start to its first picture."""
        pid, since = self._engine
        if row["pid"] is not None and row["pid"] != pid:
            # The first one starts with the stage, which itself takes its time before it tells anything.
            self._engine = (row["pid"], since if pid is None else row["at"])
        elif row["frames"] and since:
            painted = [frame[4] for frame in row["frames"] if frame[2] > since]
            if painted:
                self._loads.append(painted[0] - since)
                self._engine = (pid, 0.0)

    def _look_at_display(self, now: float) -> None:
        if self._display is None or not self._ledger.pace.seen:  # nothing has been handed to it yet
            return
        points = points_of(self._display.pixels)
        if (what := blank(points)) is not None:
            told = {"what": what, "on": "the display", "at_s": round(now - self._began_at, 2)}
            mean, spread = round(float(points.mean()), 2), round(float(points.std()), 2)
            self._ledger.complain({**told, "mean": mean, "spread": spread})

    def _sample(self, now: float) -> None:
        for name, pid in (("stage", self._trial.show.pid), ("engine", self._trial.row["pid"])):
            with contextlib.suppress(psutil.Error):
                process = psutil.Process(pid)
                with process.oneshot():
                    mib = process.memory_info().rss / 2**20
                    sample = Sample(now, process.pid, mib, process.num_threads(), _handles(process))
                self._processes[name].append(sample)


def schedule(faults: Sequence[Fault], seconds: float, every: float) -> Iterator[tuple[float, Fault]]:
    """When to begin which fault, in seconds from the beginning.

    All of them in turn; after the first round and the first third of the run only those that leave the engine alone,
    so that one engine's memory can be followed to the end.
    """
    last = seconds - min(TAIL_S, every)
    gentle = [fault for fault in faults if not fault.stops_engine]
    steady = max(len(faults), math.ceil(STEADY * seconds / every) - 1)  # so many come before
    turns = itertools.chain(itertools.islice(itertools.cycle(faults), steady), itertools.cycle(gentle))
    for turn, fault in enumerate(turns, 1):
        if turn * every > last:
            return
        yield turn * every, fault


def _handles(process: psutil.Process) -> int:
    """Open files, sockets and the like."""
    return int(process.num_fds() if hasattr(process, "num_fds") else process.num_handles())
