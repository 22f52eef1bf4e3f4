"""Pacing on a clock of the test's own: the beat is steady, late frames are counted once and dropped."""

from __future__ import annotations

from itertools import pairwise

import pytest

from engine.pacing import BUDGET, CATCH_UP, FULL_FPS, HALF_FPS, LEAD, LOOK_S, MEASURED, WARM_UP, Pacer, choose_fps


class Clock:
    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        assert seconds > 0
        self.now += seconds


def play(pacer: Pacer, clock: Clock, work_s: list[float]) -> list[float]:
    """When each frame began."""
    begun = []
    for seconds in work_s:
        begun.append(pacer.begin())
        clock.now += seconds
        pacer.end()
        pacer.wait()
    return begun


def paced(fps: float | None) -> tuple[Pacer, Clock]:
    clock = Clock()
    return Pacer(fps, clock, clock.sleep), clock


def test_quick_frames_begin_on_the_beat_whatever_they_take():
    pacer, clock = paced(50.0)
    begun = play(pacer, clock, [0.001, 0.010, 0.014, 0.002, 0.010])
    lead = LEAD * 0.02
    assert begun == pytest.approx([100.0, *(100.0 + 0.02 * n - lead for n in range(1, 5))])
    assert pacer.late_frames == 0


def test_a_slower_frame_uses_the_lead_and_the_beat_is_kept():
    pacer, clock = paced(50.0)
    begun = play(pacer, clock, [0.015, 0.024, 0.015, 0.015])
    assert pacer.late_frames == 0
    lead = LEAD * 0.02
    assert begun == pytest.approx([100.0, 100.02 - lead, 100.04 - lead + 0.004, 100.06 - lead])


def test_a_frame_that_begins_again_is_due_when_it_was():
    pacer, clock = paced(50.0)
    play(pacer, clock, [0.001])
    began = pacer.begin()
    clock.now += 0.004
    assert (pacer.passed, pacer.left) == pytest.approx((0.004, 0.020 + LEAD * 0.020 - 0.004))
    assert pacer.again() == pytest.approx(began + 0.004)
    assert pacer.passed == 0.0
    clock.now += 0.019
    pacer.end()
    pacer.wait()
    assert pacer.late_frames == 0
    assert pacer.begin() == pytest.approx(began + 0.023), "it took the lead, and the beat is where it was"


def test_nothing_is_left_while_no_rate_is_chosen():
    pacer, _ = paced(None)
    pacer.begin()
    assert pacer.left == 0.0


def test_a_late_frame_is_counted_once_and_what_it_missed_is_dropped():
    pacer, clock = paced(50.0)
    begun = play(pacer, clock, [0.001, 0.070, 0.001, 0.001])
    assert pacer.late_frames == 1
    late = 100.02 - LEAD * 0.02 + 0.070
    due = late + (1 - CATCH_UP) * 0.02  # of the frame after the one that begins at once
    assert begun == pytest.approx([100.0, 100.02 - LEAD * 0.02, late, due - LEAD * 0.02])


def test_a_machine_that_is_always_too_slow_is_always_late_and_never_catches_up():
    pacer, clock = paced(50.0)
    begun = play(pacer, clock, [0.030] * 10)
    assert pacer.late_frames == 10
    assert [later - sooner for sooner, later in pairwise(begun)] == pytest.approx([0.030] * 9)


@pytest.mark.parametrize(("work_s", "fps"), [(0.005, FULL_FPS), (0.012, FULL_FPS), (0.015, HALF_FPS), (0.03, HALF_FPS)])
def test_the_rate_is_what_the_first_frames_show_and_none_of_them_is_late(work_s, fps):
    pacer, clock = paced(None)
    play(pacer, clock, [0.1] * WARM_UP)
    told = []
    for _ in range(MEASURED):
        pacer.begin()
        clock.now += work_s
        told.append(pacer.end())
        pacer.wait()
    lines = [line for line in told if line is not None]
    assert len(lines) == 1
    assert f"{fps:g} frames/s" in lines[0]
    assert pacer.fps == fps
    assert pacer.late_frames == 0


def test_a_very_slow_machine_is_not_measured_for_ever():
    pacer, clock = paced(None)
    play(pacer, clock, [0.4] * (WARM_UP + 1))
    assert pacer.fps == HALF_FPS


def test_what_strikes_begins_a_frame_at_once_and_moves_the_beat_with_it():
    pacer, clock = paced(50.0)
    play(pacer, clock, [0.005])
    pacer.begin()
    clock.now += 0.005
    pacer.end()
    strikes_at = clock.now + 0.006
    pacer.wait(lambda: clock.now >= strikes_at)
    began = clock.now
    assert strikes_at <= began <= strikes_at + LOOK_S
    begun = play(pacer, clock, [0.005, 0.005, 0.005])
    assert begun == pytest.approx([began, began + 0.020, began + 0.040])
    assert pacer.late_frames == 0


def test_a_frame_that_began_early_has_as_long_as_any_and_is_late_after_it():
    for work_s, late in ((0.0249, 0), (0.0251, 1)):  # a period and its lead
        pacer, clock = paced(50.0)
        play(pacer, clock, [0.005])
        pacer.begin()
        clock.now += 0.002
        pacer.end()
        pacer.wait(lambda: True)
        pacer.begin()
        clock.now += work_s
        pacer.end()
        assert pacer.late_frames == late


def test_after_a_frame_that_began_early_the_next_one_waits_for_its_turn():
    pacer, clock = paced(50.0)
    begun = []
    for _ in range(6):
        begun.append(pacer.begin())
        clock.now += 0.005
        pacer.end()
        pacer.wait(lambda: True)
    assert [later - sooner for sooner, later in pairwise(begun)] == pytest.approx([0.005, 0.020, 0.005, 0.020, 0.005])


def test_a_machine_that_has_no_time_to_wait_begins_nothing_early():
    pacer, clock = paced(50.0)
    asked = []
    for _ in range(5):
        pacer.begin()
        clock.now += 0.030
        pacer.end()
        pacer.wait(lambda: bool(asked.append(clock.now)))
    assert asked == []
    assert pacer.late_frames == 5


def test_a_rate_that_was_held_before_is_where_it_begins():
    clock = Clock()
    pacer = Pacer(None, clock, clock.sleep, held=20.0)
    assert pacer.note == "20 of 60 frames/s, as before"
    pacer.begin()
    assert pacer.end() == "20 frames/s, as before"
    assert pacer.end() is None
    begun = play(pacer, clock, [0.040] * 5)
    assert [later - sooner for sooner, later in pairwise(begun)][-2:] == pytest.approx([0.050] * 2)
    for _ in range(round(60 / 0.05)):
        play(pacer, clock, [0.010])
    assert pacer.fps == FULL_FPS, "and not where it stays"
    assert Pacer(50.0, clock, clock.sleep, held=20.0).fps == 50.0, "a rate that was asked for is kept"


def test_the_choice_turns_at_the_budget():
    limit = BUDGET / FULL_FPS
    assert choose_fps(limit) == FULL_FPS
    assert choose_fps(limit * 1.01) == HALF_FPS
