"""The governor in simulated time: down when frames are late for a while, up when there is room, no swinging."""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise

import pytest

from engine.governor import FEWEST, LATE, PATIENCE_S, RATES, ROOM, SOONEST_S, WINDOW_S, Governor
from engine.pacing import Pacer

SHARE = 0.46
SIZE = "683x384"


class Machine:
    """A machine that takes `work_s(time, fps)` for a frame, and the pacer that plays on it. `small`: so many seconds
    after they are wanted it can paint small pictures, which take `SHARE` of that."""

    def __init__(
        self, work_s: Callable[[float, float], float], fps: float | None = None, small: float | None = None
    ) -> None:
        self.now = 0.0
        self.work_s = work_s
        self.small, self.offered_at = small, 0.0
        self.pacer = Pacer(fps, lambda: self.now, self._sleep)
        self.lines: list[tuple[float, str]] = []
        self.done: list[float] = []

    def _sleep(self, seconds: float) -> None:
        self.now += seconds

    def play(self, seconds: float) -> Machine:
        end = self.now + seconds
        while self.now < end:
            self.pacer.begin()
            self.now += self.work_s(self.now, self.pacer.fps or RATES[0]) * (SHARE if self.pacer.small else 1.0)
            if (line := self.pacer.end()) is not None:
                self.lines.append((self.now, line))
            self.done.append(self.now)
            if self.small is not None and self.pacer.wants_small:
                self.offered_at = self.offered_at or self.now + self.small
                if self.now >= self.offered_at:
                    self.pacer.offer_small(SHARE, SIZE)
            self.pacer.wait()
        return self

    def rates(self) -> list[float]:
        """Rates that were told, in turn."""
        return [float(line.split()[0]) for _, line in self.lines if " frames/s" in line]


def test_a_machine_that_keeps_up_is_left_alone():
    machine = Machine(lambda now, fps: 0.012).play(120.0)
    assert machine.rates() == [60.0]
    assert machine.pacer.late_frames == 0
    assert machine.pacer.note is None


def test_a_slower_machine_steps_down_says_so_and_is_even_again():
    machine = Machine(lambda now, fps: 0.010 if now < 10.0 else 0.020).play(30.0)
    assert machine.rates() == [60.0, 30.0]
    told_at, line = machine.lines[1]
    assert told_at < 10.0 + 2 * WINDOW_S
    assert line == "30 frames/s instead of 60: a frame takes 20.0 ms"
    assert machine.pacer.note == "30 of 60 frames/s: a frame took 20.0 ms"
    late = machine.pacer.late_frames
    machine.done.clear()
    machine.play(20.0)
    assert machine.pacer.late_frames == late
    assert [b - a for a, b in pairwise(machine.done)] == pytest.approx([1 / 30] * (len(machine.done) - 1))


def test_frames_that_fit_and_are_late_blame_what_else_runs():
    """Every eighth frame is held up by another program: the frame itself is not what takes too long."""
    count = iter(range(1_000_000))
    machine = Machine(lambda now, fps: 0.010 if now < 10.0 or next(count) % 8 or fps < 60.0 else 0.032).play(15.0)
    assert machine.rates() == [60.0, 30.0]
    assert machine.lines[1][1].startswith("30 frames/s instead of 60: ")
    assert machine.lines[1][1].endswith(" of the frames were late, for other work takes the processors")
    assert machine.pacer.note == machine.lines[1][1].replace("30 frames/s instead of 60", "30 of 60 frames/s")


def test_it_steps_to_the_rate_that_fits_at_once():
    machine = Machine(lambda now, fps: 0.010 if now < 10.0 else 0.040).play(30.0)
    assert machine.rates() == [60.0, 20.0]


def test_it_does_not_wait_for_the_end_of_a_window_that_is_lost():
    machine = Machine(lambda now, fps: 0.010 if now < 10.0 else 0.020).play(20.0)
    assert machine.rates() == [60.0, 30.0]
    assert machine.pacer.late_frames < 1.5 * SOONEST_S * 60.0


def test_a_bad_moment_that_a_window_may_have_changes_nothing():
    few = int(LATE * WINDOW_S * 60.0) - 1
    slow = iter([0.030] * few)
    machine = Machine(lambda now, fps: 0.010 if now < 10.2 else next(slow, 0.010)).play(30.0)
    assert machine.rates() == [60.0]
    assert machine.pacer.late_frames == few


def test_when_there_is_room_again_it_steps_back_up():
    machine = Machine(lambda now, fps: 0.020 if 10.0 < now < 30.0 else 0.008).play(70.0)
    assert machine.rates() == [60.0, 30.0, 60.0]
    up_at = machine.lines[2][0]
    assert 30.0 + PATIENCE_S[0] <= up_at < 30.0 + PATIENCE_S[0] + 3 * WINDOW_S
    assert "60 frames/s again" in machine.lines[2][1]
    assert machine.pacer.note is None


def test_a_rate_chosen_in_a_bad_moment_is_reconsidered():
    machine = Machine(lambda now, fps: 0.025 if now < 2.0 else 0.005).play(30.0)
    assert machine.rates() == [30.0, 60.0]


def test_a_frame_that_only_just_fits_is_no_room():
    work_s = ROOM / 60.0 + 0.001
    machine = Machine(lambda now, fps: 0.020 if now < 5.0 else work_s).play(120.0)
    assert machine.rates() == [30.0]


def test_steps_up_that_do_not_last_wait_longer_each_time():
    """A machine whose frames take longer at 60 frames a second: it heats up, say."""
    machine = Machine(lambda now, fps: 0.010 if fps < 60.0 else 0.019).play(800.0)
    ups = [at for at, line in machine.lines if "again" in line]
    waits = [b - a for a, b in pairwise(ups)]
    assert 4 <= len(ups) <= 6, "it must not swing"
    assert all(later > 1.5 * sooner for sooner, later in pairwise(waits))


def test_a_step_up_that_lasted_is_forgotten():
    machine = Machine(lambda now, fps: 0.020 if 0.0 < now % 100.0 < 20.0 else 0.008).play(500.0)
    downs = [at for at, line in machine.lines if "instead" in line]
    ups = [at for at, line in machine.lines if "again" in line]
    waits = [up - max(at for at in (0.0, *downs) if at < up) for up in ups]
    assert len(ups) == 5
    assert max(waits) < min(waits) + 3 * WINDOW_S, "each wait is as short as the first"


@pytest.mark.parametrize("stall_s", [0.1, 1.0, 8.0])
def test_a_hiccup_changes_nothing(stall_s):
    stalls = iter([stall_s])
    machine = Machine(lambda now, fps: 0.010 if now < 20.0 else next(stalls, 0.010)).play(60.0)
    assert machine.rates() == [60.0]
    assert machine.pacer.late_frames == 1


def test_what_is_too_slow_for_every_rate_is_told_once():
    machine = Machine(lambda now, fps: 0.2).play(120.0)
    assert machine.rates() == [30.0, 15.0, 15.0]
    assert machine.lines[-1][1] == "15 frames/s are not held: a frame takes 200.0 ms"
    assert machine.pacer.note == machine.lines[-1][1]
    machine.work_s = lambda now, fps: 0.060
    machine.play(10.0)
    assert machine.pacer.note == "15 of 60 frames/s: a frame takes 60.0 ms (p95)"


def test_a_rate_that_was_asked_for_is_kept_and_told_when_it_is_not_held():
    machine = Machine(lambda now, fps: 0.030, fps=50.0).play(60.0)
    assert machine.pacer.fps == 50.0
    assert [line for _, line in machine.lines] == ["50 frames/s are not held: a frame takes 30.0 ms"]
    machine.work_s = lambda now, fps: 0.005
    machine.play(10.0)
    assert machine.pacer.note is None


def test_where_they_can_be_pictures_are_painted_small_before_motion_falls_apart():
    machine = Machine(lambda now, fps: 0.010 if not 10.0 < now < 60.0 else 0.040, small=1.0).play(40.0)
    assert [line for _, line in machine.lines[1:]] == [
        "20 frames/s instead of 60: a frame takes 40.0 ms",
        f"30 frames/s instead of 20, painted in {SIZE}: a frame takes 40.0 ms",
    ]
    assert machine.lines[2][0] < machine.offered_at + WINDOW_S + 0.1
    assert machine.pacer.small
    assert machine.pacer.note == f"30 of 60 frames/s, painted in {SIZE}: a frame took 40.0 ms"
    late = machine.pacer.late_frames
    machine.play(20.0)
    assert machine.pacer.late_frames == late
    machine.play(60.0)
    assert [line for _, line in machine.lines[3:]] == [
        "30 frames/s in full size again: a frame takes 4.6 ms (p95)",
        "60 frames/s again: a frame takes 10.0 ms (p95)",
    ]
    assert (machine.pacer.small, machine.pacer.note) == (False, None)


def test_once_they_can_be_small_pictures_come_at_once_and_then_the_rate_gives_again():
    machine = Machine(
        lambda now, fps: 0.010 if now < 10 or 30 < now < 100 else 0.034 if now < 150 else 0.080, small=0.0
    )
    machine.play(120.0)
    assert [line for _, line in machine.lines[-2:]] == [
        "60 frames/s again: a frame takes 10.0 ms (p95)",
        f"30 frames/s instead of 60, painted in {SIZE}: a frame takes 34.0 ms",
    ]
    machine.play(50.0)
    assert machine.lines[-1][1] == f"20 frames/s instead of 30, painted in {SIZE}: a frame takes 36.8 ms"


def test_a_small_picture_that_has_room_is_no_proof_that_a_whole_one_has():
    machine = Machine(lambda now, fps: 0.010 if now < 10.0 else 0.036, small=0.0).play(400.0)
    assert machine.pacer.small
    assert not any("full size" in line for _, line in machine.lines)
    machine.small = None
    machine.pacer.withdraw_small()
    machine.play(10.0)
    assert (machine.pacer.small, machine.pacer.fps) == (False, 20.0)


def test_a_rate_that_was_asked_for_is_held_with_small_pictures():
    machine = Machine(lambda now, fps: 0.030, fps=50.0, small=1.0).play(60.0)
    assert [line for _, line in machine.lines] == [
        "50 frames/s are not held: a frame takes 30.0 ms",
        f"50 frames/s, painted in {SIZE}: a frame takes 30.0 ms",
    ]
    assert (machine.pacer.fps, machine.pacer.small) == (50.0, True)


def test_what_another_engine_held_with_small_pictures_is_held_so_again():
    pacer = Pacer(None, held=30.0, small=True)
    assert (pacer.small, pacer.wants_small) == (False, True)
    pacer.offer_small(SHARE, SIZE)
    assert (pacer.fps, pacer.small, pacer.wants_small) == (30.0, True, False)


@pytest.mark.parametrize("ready", [True, False])
def test_until_they_are_ready_whole_pictures_that_are_late_change_nothing(ready: bool):
    governor = Governor(fps=30.0, small=True)
    assert [governor.judge(0.1 * n, 0.09, True) for n in range(60)] == [None] * 60
    if ready:
        governor.offer(SHARE, SIZE)
        assert [governor.judge(6.0 + n / 30, 0.015, False) for n in range(120)] == [None] * 120
        assert (governor.fps, governor.small) == (30.0, True)
    else:
        governor.withdraw()
        assert any(governor.judge(6.0 + 0.1 * n, 0.09, True) for n in range(60))
        assert governor.fps < 30.0


def test_a_window_holds_enough_frames_to_judge():
    governor = Governor()
    assert [governor.judge(10.0 * n, 9.0, True) for n in range(FEWEST)][:-1] == [None] * (FEWEST - 1)
    assert governor.fps == RATES[-1]
