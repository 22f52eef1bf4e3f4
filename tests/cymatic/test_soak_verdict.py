"""What a soak saw becomes a verdict: each limit is broken by what breaks it, and by nothing else."""

from __future__ import annotations

import numpy as np
import pytest

from cymatic.trial.faults import FAULTS, choose
from cymatic.trial.pace import Pace, in_words
from cymatic.trial.soak import schedule
from cymatic.trial.verdict import Harm, Ledger, Sample, held, slope, verdict
from engine.errors import CymaticError


def row(at: float, first: int, late: int = 0, **told: object) -> dict:
    """A second of thirty pictures, each taken as soon as it was there and on the display 5 ms later."""
    times = [at - 1.0 + (i + 1) / 30 for i in range(30)]
    frames = [[first + i, 0.0, 0.0, 0.0, then, then, 1.0] for i, then in enumerate(times)]
    swaps = [[then + 0.005, first + i] for i, then in enumerate(times)]
    defaults = {
        "at": at, "frames": frames, "swaps": swaps, "bad": [], "mean": [40.0, 60.0], "spread": 20.0, "pid": 7,
        "state": "playing", "audio": "running", "rms_db": -20.0, "fps": 30.0, "small": False, "late": late,
        "received": 5, "lines": [],
    }  # fmt: skip
    return {**defaults, **told}


def ledger(*rows: dict, within_fault: tuple[int, ...] = (), in_window: bool = False) -> Ledger:
    kept = Ledger(pace=Pace(in_window))
    for at, told in enumerate(rows):
        kept.take(told, at in within_fault, None)
    return kept


def judge(kept: Ledger, harms: tuple[Harm, ...] = (), ending: tuple[str, ...] = (), **processes: list[Sample]) -> dict:
    return verdict(kept, harms, processes, 100.0, ending)


def show(seconds: int = 10) -> list[dict]:
    return [row(101.0 + second, 1 + 30 * second) for second in range(seconds)]


def harm(**told: object) -> Harm:
    defaults = {
        "fault": "microphone", "begun_at": 110.0, "seen_limit_s": 1.0, "back_limit_s": 5.0,
        "standstill_limit_s": 1.0, "ended_at": 114.0, "seen_at": 110.5, "back_at": 116.0,
    }  # fmt: skip
    return Harm(**{**defaults, **told})


def test_a_show_without_fault_is_held():
    told = judge(ledger(*show()), (harm(),))
    assert told["held"]
    assert told["broken"] == []
    assert told["pictures"]["shown"] == 300
    assert told["outside_faults"]["pictures"] == 270, "what came before the first row is not known"
    assert told["faults"][0]["back_s"] == 2.0


def test_one_black_picture_in_a_night_breaks_it():
    rows = show()
    rows[4]["bad"] = [{"what": "black", "index": 125, "mean": 0.0, "spread": 0.0}]
    told = judge(ledger(*rows))
    assert not told["held"]
    assert told["broken"] == ["1 of 300 pictures were black"]
    assert told["pictures"]["black"] == 1
    assert told["pictures"]["bad"][0]["index"] == 125


def test_late_pictures_count_outside_faults_only():
    rows = show()
    for second in range(5, 10):
        rows[second]["late"] = 4 * (second - 4)
    assert judge(ledger(*rows))["broken"] == ["7.4% of 270 pictures outside faults were late, 1% may be"]
    assert judge(ledger(*rows, within_fault=(5, 6, 7, 8, 9)))["held"]


def test_a_restarted_count_of_late_pictures_takes_nothing_back():
    rows = show()
    for second, late in enumerate((0, 1, 1, 0, 0, 1, 1, 1, 1, 1)):
        rows[second]["late"] = late
    assert ledger(*rows).late == 2


@pytest.mark.parametrize(
    ("change", "broken"),
    [
        ({"back_at": 119.5}, "back after 5.5 s, 5.0 s allowed"),
        ({"back_at": None}, "it was never back"),
        ({"seen_at": 111.5}, "told after 1.5 s, 1.0 s allowed"),
        ({"seen_at": None}, "it was never told"),
        ({"standstill_s": 2.0}, "the picture stood still for 2.0 s"),
    ],
)
def test_a_fault_that_takes_too_long_breaks_it(change, broken):
    assert judge(ledger(*show()), (harm(**change),))["broken"] == [f"microphone at 10 s: {broken}"]


def test_what_has_no_limit_breaks_nothing():
    engine = harm(seen_limit_s=None, seen_at=None, standstill_limit_s=None, standstill_s=4.0)
    assert judge(ledger(*show()), (engine,))["held"]


def test_standstill_is_measured_between_pictures():
    kept, hurt = Ledger(), harm()
    kept.take(row(101.0, 1), True, hurt)
    kept.take(row(104.0, 31), True, hurt)
    assert hurt.standstill_s == pytest.approx(2.0 + 1 / 30)
    assert kept.longest_gap_s == 0.0


def without(rows: list[dict], lost: range) -> list[dict]:
    """These pictures never reach the audience."""
    for told in rows:
        told["frames"] = [frame for frame in told["frames"] if frame[0] not in lost]
        told["swaps"] = [swap for swap in told["swaps"] if swap[1] not in lost]
    return rows


@pytest.mark.parametrize("in_window", [False, True])
def test_a_picture_that_stands_outside_faults_breaks_it_at_whatever_rate(in_window):
    rows = without(show(), range(125, 145))
    told = judge(ledger(*rows, in_window=in_window))
    assert told["broken"] == ["outside faults the picture stood still for 0.7 s, 0.5 s allowed"]
    assert told["outside_faults"]["skipped"] == 20, "they were made, and nobody saw them"
    assert judge(ledger(*rows, within_fault=(4,), in_window=in_window))["held"]
    assert judge(ledger(*without(show(), range(125, 137)), in_window=in_window))["held"]


def test_a_picture_that_stands_to_the_end_stands_still_too():
    told = judge(ledger(*without(show(), range(211, 1000))))
    assert told["broken"] == ["outside faults the picture stood still for 3.0 s, 0.5 s allowed"]


def test_what_never_reaches_the_display_was_not_shown():
    rows = show()
    for told in rows:
        told["swaps"] = []
    assert "no picture was shown" in judge(ledger(*rows, in_window=True))["broken"]
    assert judge(ledger(*rows))["held"], "without a window the stage is the audience"


def test_the_rates_are_told_and_no_bar_is_put_to_them():
    rows = show()
    for told in rows[5:]:  # the engine keeps half the rate, and the window still leaves out a picture
        told["fps"], told["small"] = 15.0, True
        told["frames"], told["swaps"] = told["frames"][::2], told["swaps"][::2]
    for at, told in enumerate(rows[5:]):
        for i, (frame, swap) in enumerate(zip(told["frames"], told["swaps"], strict=True)):
            frame[0] = swap[1] = 151 + 15 * at + i
    del rows[7]["swaps"][6]
    rows[3]["swaps"].insert(4, rows[3]["swaps"][3])  # the same picture drawn twice is one
    told = judge(ledger(*rows, in_window=True))
    assert told["held"]
    outside = told["outside_faults"]
    assert outside["seconds_at_fps"] == {"30": 4.0, "15": 5.0}, "from the first row on"
    assert outside["interval_ms"] == {"p50": 33.3, "p95": 66.7, "p99": 66.7}
    assert (outside["skipped"], outside["slowest_second_fps"]) == (1, 14.0)
    assert outside["shown_fps"] == pytest.approx((29 + 4 * 30 + 5 * 15 - 1) / 9, abs=0.01)
    kept = "kept were 30 frames/s for 4 s, 15 frames/s for 5 s; 5 s of it with pictures painted small"
    assert in_words(outside).endswith(f" 14.0 in the slowest; {kept}")


def samples(rise: float, seconds: int = 1300, pid: int = 7, begin: int = 0, noise: float = 0.3) -> list[Sample]:
    """A process that grows by `rise` MiB an hour, in pages."""
    rng = np.random.default_rng(pid)
    return [
        Sample(float(at), pid, 300.0 + rise * (at - begin) / 3600 + noise * rng.standard_normal(), 20, 40)
        for at in range(begin, begin + seconds)
    ]


@pytest.mark.parametrize("rise", [-3.0, 0.0, 0.5, 2.0, 30.0])
def test_the_slope_is_found(rise):
    assert slope(samples(rise)) == pytest.approx(rise, abs=0.25)


def test_steps_and_the_youth_of_a_process_are_no_slope():
    grown = samples(0.0)
    early = [Sample(s.at, s.pid, s.mib - 80.0 * (s.at < 50), s.threads, s.handles) for s in grown]
    assert slope(early) == pytest.approx(0.0, abs=0.25)
    peaks = [Sample(s.at, s.pid, s.mib + 90.0 * (s.at % 97 < 5), s.threads, s.handles) for s in grown]
    assert slope(peaks) == pytest.approx(0.0, abs=0.25)


def test_another_process_begins_anew():
    both = samples(0.0, 1300, pid=7) + [
        Sample(s.at, s.pid, s.mib + 50.0, 20, 40) for s in samples(0.0, 1300, pid=8, begin=1300)
    ]
    assert slope(both) == pytest.approx(0.0, abs=0.25)


def test_what_was_followed_too_briefly_tells_no_slope():
    assert slope(samples(50.0, 300)) is None
    assert held(samples(50.0, 40)) == {"mib": None, "mib_per_h": None, "threads": None, "handles": None}
    assert held([])["mib_per_h"] is None


def test_growth_breaks_it():
    told = judge(ledger(*show()), stage=samples(5.0), engine=samples(0.0))
    assert [line.partition(" by")[0] for line in told["broken"]] == ["the stage's memory grows"]
    assert told["processes"]["engine"]["mib_per_h"] < 1.0
    leaking = [Sample(s.at, s.pid, s.mib, 20, 40 + int(s.at) // 20) for s in samples(0.0)]
    assert "the engine's handles grew from" in judge(ledger(*show()), engine=leaking)["broken"][0]


def test_an_end_that_is_none_breaks_it():
    assert judge(ledger(*show()), ending=("the show ended by itself",))["broken"] == ["the show ended by itself"]
    assert judge(Ledger())["broken"] == ["no picture was shown"]


def test_every_fault_is_done_once_and_the_engine_is_left_alone_later():
    planned = list(schedule(FAULTS, 1800.0, 60.0))
    assert [fault for _, fault in planned[: len(FAULTS)]] == list(FAULTS)
    assert {fault.stops_engine for at, fault in planned if at >= 600.0} == {False}
    assert max(at for at, _ in planned) <= 1785.0
    assert len(planned) == 29
    later = [fault for at, fault in planned if at > 660.0]
    assert len(set(later)) == sum(not fault.stops_engine for fault in FAULTS), "all that are left take turns"
    engine = [at for at, fault in planned if fault.stops_engine]
    assert min(np.diff(engine)) >= 120.0, "three failures within a minute are only the bundle's"


def test_a_short_run_still_does_every_fault():
    planned = list(schedule(FAULTS, 60.0, 5.0))
    assert {fault for _, fault in planned} == set(FAULTS)


def test_faults_are_chosen_by_name():
    assert [fault.name for fault in choose("osc-storm, engine-kill")] == ["osc-storm", "engine-kill"]
    assert choose("all") == FAULTS
    assert choose("none") == ()
    assert list(schedule((), 600.0, 60.0)) == []
    with pytest.raises(CymaticError, match=r"'flood'.*engine-kill"):
        choose("flood")
