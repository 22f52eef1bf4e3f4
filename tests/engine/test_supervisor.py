"""The supervisor with engines of the test's own: restart, back-off, giving up, an end that is quick and complete."""

from __future__ import annotations

import sys
import time

import psutil
import pytest
from conftest import wait_until

from engine import supervisor
from engine.supervisor import Supervisor

OBEDIENT = "import sys; sys.stdin.readline(); sys.stdin.read()"
DEAF = "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); time.sleep(60)"
CRASHING = "import sys; print('boom: no such thing', file=sys.stderr); sys.exit(3)"
SEGFAULT = """
import ctypes, faulthandler, threading, time
faulthandler.enable()
for _ in range(20):
    threading.Thread(target=time.sleep, args=(60,), daemon=True).start()
def paint(): ctypes.string_at(0)
paint()
"""
ECHOING = "import sys; print(sys.stdin.readline().strip(), file=sys.stderr, flush=True); sys.stdin.read()"


class Clock:
    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def start(clock):
    started = []

    def start(code: str) -> Supervisor:
        watched = Supervisor({"bundle": "x"}, (sys.executable, "-c", code), clock)
        started.append(watched)
        watched.start()
        return watched

    yield start
    for watched in started:
        watched.stop()


def ended(watched: Supervisor) -> None:
    assert watched._process is not None
    watched._process.wait(30)


def test_the_engine_is_told_what_to_play(start):
    watched = start(ECHOING)
    wait_until(lambda: watched.tail == ['{"bundle": "x"}'], what="the engine's echo")


def test_the_end_of_the_lifeline_ends_the_engine(start):
    watched = start(OBEDIENT)
    process = psutil.Process(watched.pid)
    began = time.monotonic()
    watched.stop()
    assert not process.is_running()
    assert watched.pid is None
    assert time.monotonic() - began < supervisor.GRACE_S, "it must not have needed the kill"
    watched.stop()


def test_an_engine_that_listens_to_nobody_is_killed_within_two_seconds(start):
    watched = start(DEAF)
    process = psutil.Process(watched.pid)
    began = time.monotonic()
    watched.stop()
    assert not process.is_running()
    assert time.monotonic() - began < 2.0


def test_a_killed_engine_is_started_again_after_a_pause(start, clock):
    watched = start(OBEDIENT)
    first = watched.pid
    assert watched.poll(1, loading=False) is None
    psutil.Process(first).kill()
    ended(watched)
    failure = watched.poll(1, loading=False)
    assert failure is not None
    assert "signal 9" in failure.what
    assert (failure.pause_s, failure.repeated) == (supervisor.BACK_OFF_S, False)
    assert watched.poll(1, loading=False) is None
    assert watched.pid is None, "not before the pause is over"
    clock.now += supervisor.BACK_OFF_S
    assert watched.poll(1, loading=False) is None
    assert watched.pid not in (None, first)
    assert watched.restarts == 1


def fail(watched: Supervisor) -> supervisor.Failure:
    ended(watched)
    failure = watched.poll(0, loading=True)
    assert failure is not None
    return failure


def test_the_third_failure_within_a_minute_is_told_and_the_next_start_waits_long(start, clock):
    watched = start(CRASHING)
    failures = []
    for _ in range(3):
        failures.append(fail(watched))
        clock.now += 5.0
        watched.poll(0, loading=True)
    assert all("exit code 3" in failure.what and "boom: no such thing" in failure.what for failure in failures)
    assert [failure.repeated for failure in failures] == [False, False, True]
    assert failures[-1].pause_s == supervisor.RETRY_S
    assert (watched.pid, watched.restarts) == (None, 2)
    clock.now += supervisor.RETRY_S
    watched.poll(0, loading=True)
    assert watched.restarts == 3, "a driver may have come back meanwhile"


def test_of_a_crash_it_is_told_what_it_was_and_where(start):
    told = fail(start(SEGFAULT)).what
    assert all(word in told for word in ("signal 11", "Segmentation fault", "string_at")), told


def test_other_options_begin_at_once_and_with_a_clean_slate(start, clock):
    watched = start(CRASHING)
    for _ in range(3):
        last = fail(watched)
        clock.now += 1.0
        watched.poll(0, loading=True)
    assert last.repeated
    watched.start_over({"bundle": "y"})
    watched._command = (sys.executable, "-c", ECHOING)
    watched.poll(0, loading=True)
    wait_until(lambda: watched.tail == ['{"bundle": "y"}'], what="the engine's echo")
    psutil.Process(watched.pid).kill()
    assert not fail(watched).repeated


def test_failures_long_ago_do_not_count(start, clock):
    watched = start(CRASHING)
    for _ in range(5):
        assert not fail(watched).repeated
        clock.now += supervisor.WITHIN_S
        assert watched.poll(0, loading=True) is None
    assert watched.restarts == 5


def test_pauses_grow(start, clock):
    watched = start(CRASHING)
    ended(watched)
    watched.poll(0, loading=True)
    clock.now += supervisor.BACK_OFF_S
    watched.poll(0, loading=True)
    ended(watched)
    watched.poll(0, loading=True)
    clock.now += supervisor.BACK_OFF_S
    assert watched.poll(0, loading=True) is None
    assert watched.pid is None
    clock.now += supervisor.BACK_OFF_S
    watched.poll(0, loading=True)
    assert watched.pid is not None


def pass_time(watched: Supervisor, clock: Clock, seconds: float, beat: int, loading: bool) -> str:
    """Polls as a stage does; what the failure was, "" when there was none."""
    end = clock.now + seconds
    while clock.now < end:
        clock.now += 0.25
        if (failure := watched.poll(beat, loading)) is not None:
            return failure.what
    return ""


@pytest.fixture
def worked(monkeypatch):
    """Processor time of the engine, in the test's hands."""
    seconds = [0.0]
    monkeypatch.setattr(Supervisor, "_processor_s", lambda self: seconds[0])
    return seconds


@pytest.mark.parametrize(("loading", "limits"), [(False, supervisor.PLAYING), (True, supervisor.LOADING)])
def test_an_engine_without_a_sign_of_life_is_started_again(start, clock, loading, limits):
    watched = start(DEAF)
    first = psutil.Process(watched.pid)
    for beat in range(1, 4):  # it lives
        assert pass_time(watched, clock, limits.idle_s * 0.9, beat, loading) == ""
    assert "no sign of life" in pass_time(watched, clock, limits.idle_s * 0.2, 3, loading)
    see_off(watched)
    assert not first.is_running()


def see_off(watched: Supervisor) -> None:
    """Polls, while no time passes, until the engine that was let go has gone."""

    def gone() -> bool:
        watched.poll(0, loading=True)
        return watched._leaving is None

    wait_until(gone, what="the end of an engine that was let go")


def test_a_loading_engine_that_is_stopped_is_told_from_one_that_waits(start, clock):
    """As it is by SIGSTOP; one that waits for a disk sleeps."""
    watched = start(DEAF)
    watched.poll(1, loading=True)
    assert pass_time(watched, clock, 10 * supervisor.PLAYING.idle_s, 1, loading=True) == ""
    engine = psutil.Process(watched.pid)
    engine.suspend()
    wait_until(lambda: engine.status() == psutil.STATUS_STOPPED, what="the stop")
    assert "no sign of life for 3 s" in pass_time(watched, clock, supervisor.PLAYING.idle_s, 1, loading=True)


@pytest.mark.parametrize("code", [OBEDIENT, DEAF], ids=["that obeys", "that does not"])
def test_the_engine_that_replaces_another_begins_when_that_has_gone(start, clock, code):
    watched = start(code)
    first = psutil.Process(watched.pid)
    if code == DEAF:
        first.suspend()
    watched.replace({"bundle": "y"})
    watched._command = (sys.executable, "-c", ECHOING)
    assert first.is_running(), "nobody waits for it"
    assert watched.replacing

    def begun() -> bool:
        clock.now += 0.02
        watched.poll(1, loading=True)
        assert watched.pid is None or not first.is_running(), "two engines at a time"
        return watched.pid is not None

    wait_until(begun, what="the next engine")
    assert not watched.replacing
    wait_until(lambda: watched.tail == ['{"bundle": "y"}'], what="the engine's echo")


def test_an_engine_on_its_way_out_goes_with_the_show(start):
    watched = start(DEAF)
    first = psutil.Process(watched.pid)
    watched.replace({"bundle": "y"})
    watched.stop()
    assert not first.is_running()
    assert watched.poll(1, loading=True) is None
    assert watched.pid is None


@pytest.mark.parametrize(("loading", "limits"), [(False, supervisor.PLAYING), (True, supervisor.LOADING)])
def test_an_engine_that_works_has_more_time_but_not_for_ever(start, clock, worked, loading, limits):
    watched = start(DEAF)
    begun_at = clock.now
    told = ""
    while not told and clock.now < begun_at + 2 * limits.busy_s:
        worked[0] += 0.1
        told = pass_time(watched, clock, 1.0, 1, loading)
    assert f"for {limits.busy_s:g} s and does not get on" in told
    assert clock.now - begun_at == pytest.approx(limits.busy_s, abs=2.0)


def test_what_a_sound_driver_takes_by_itself_is_no_work(start, clock, worked):
    watched = start(DEAF)
    for _ in range(80):
        worked[0] += 0.01
        if told := pass_time(watched, clock, 1.0, 1, loading=True):
            break
    assert "no sign of life" in told


def test_real_work_is_seen(start):
    """By the real clock: this engine computes and tells nothing."""
    watched = start("while True: pass")
    began = time.monotonic()
    watched.poll(1, loading=False)
    while time.monotonic() - began < supervisor.PLAYING.idle_s + 1.0:
        assert watched.poll(1, loading=False) is None
        time.sleep(0.02)


def test_while_the_stage_itself_was_stopped_no_time_passed(start, clock):
    watched = start(DEAF)
    assert watched.poll(1, loading=False) is None
    clock.now += 1000.0  # Ctrl-Z stops both, and the stage wakes up first
    assert watched.poll(1, loading=False) is None
    assert "no sign of life" in pass_time(watched, clock, 2 * supervisor.PLAYING.idle_s, 1, loading=False)
