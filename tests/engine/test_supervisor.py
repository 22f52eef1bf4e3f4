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
    line = watched.poll(1, loading=False)
    assert line is not None
    assert "signal 9" in line
    assert "the last picture stays" in line
    assert watched.poll(1, loading=False) is None
    assert watched.pid is None, "not before the pause is over"
    clock.now += supervisor.BACK_OFF_S
    assert watched.poll(1, loading=False) is None
    assert watched.pid not in (None, first)
    assert watched.restarts == 1
    assert not watched.given_up


def test_the_third_failure_within_a_minute_is_the_last(start, clock):
    watched = start(CRASHING)
    lines = []
    for _ in range(3):
        ended(watched)
        lines.append(watched.poll(0, loading=True))
        clock.now += 5.0
        watched.poll(0, loading=True)
    assert all("exit code 3" in line and "boom: no such thing" in line for line in lines)
    assert watched.given_up
    assert "3 times within a minute" in lines[-1]
    clock.now += 1000.0
    assert watched.poll(0, loading=True) is None
    assert watched.pid is None
    assert watched.restarts == 2


def test_failures_long_ago_do_not_count(start, clock):
    watched = start(CRASHING)
    for _ in range(5):
        ended(watched)
        assert watched.poll(0, loading=True) is not None
        clock.now += supervisor.WITHIN_S
        assert watched.poll(0, loading=True) is None
    assert not watched.given_up
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


@pytest.mark.parametrize(("loading", "limit"), [(False, supervisor.HEARTBEAT_S), (True, supervisor.LOADING_S)])
def test_an_engine_without_a_heartbeat_is_started_again(start, clock, loading, limit):
    watched = start(DEAF)
    first = psutil.Process(watched.pid)
    for beat in range(1, 4):  # it lives
        clock.now += limit * 0.9
        assert watched.poll(beat, loading) is None
    clock.now += limit * 0.9
    assert watched.poll(3, loading) is None
    clock.now += limit * 0.2
    line = watched.poll(3, loading)
    assert line is not None
    assert "no sign of life" in line
    assert not first.is_running()
