"""However a show ends, nothing is left: no process, no thread, no shared memory."""

from __future__ import annotations

import signal
import time

import psutil
import pytest
from conftest import SHM, wait_until
from live_process import engine_of, playing, wait_for_pictures

from engine import memory

ENDING_S = 4.0
"""Two seconds are promised; as much again for a machine that runs the rest of the tests beside it."""


@pytest.fixture
def show(tiny_bundle, clean_env, noise):
    with playing(clean_env, "--headless", "--source", noise, "--bundle", tiny_bundle) as process:
        yield process


def blocks(show) -> set[str]:
    """Shared memory that this show created."""
    mine = f"{memory.PREFIX}{show.pid}-*"
    return {path.name for path in SHM.glob(mine)} if SHM.is_dir() else set()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM], ids=lambda number: number.name)
def test_a_signal_ends_the_show_cleanly(show, number):
    wait_for_pictures(show)
    engine = engine_of(show)
    children = psutil.Process(show.pid).children(recursive=True)
    assert engine in children
    assert blocks(show)
    began = time.monotonic()
    show.send_signal(number)
    assert show.wait(20) == 0
    assert time.monotonic() - began < ENDING_S
    wait_until(lambda: not any(child.is_running() for child in children), 3, "the end of all children")
    assert blocks(show) == set()


def test_a_signal_while_it_is_still_loading(show):
    wait_until(lambda: engine_of(show) is not None, what="the engine process")
    engine = engine_of(show)
    began = time.monotonic()
    show.send_signal(signal.SIGTERM)
    assert show.wait(20) == 0
    assert time.monotonic() - began < ENDING_S
    assert not engine.is_running()
    assert blocks(show) == set()


def test_ctrl_c_reaches_both_processes_and_still_ends_cleanly(show):
    wait_for_pictures(show)
    engine = engine_of(show)
    engine.send_signal(signal.SIGINT)
    time.sleep(0.5)
    assert engine.is_running(), "the engine leaves it to the stage"
    show.send_signal(signal.SIGINT)
    assert show.wait(20) == 0
    assert "Traceback" not in show.stderr.read()


def test_a_stage_that_is_killed_takes_its_engine_and_its_memory_with_it(show):
    wait_for_pictures(show)
    engine = engine_of(show)
    assert blocks(show)
    show.kill()
    show.wait(10)
    wait_until(lambda: not engine.is_running() or engine.status() == psutil.STATUS_ZOMBIE, 5, "the end of the engine")
    wait_until(lambda: not blocks(show), 5, "the shared memory to be gone")


def test_a_killed_engine_is_replaced_while_the_show_goes_on(show):
    wait_for_pictures(show)
    first = engine_of(show)
    first.kill()
    wait_for_pictures(show)
    second = engine_of(show)
    assert second is not None
    assert second.pid != first.pid
    show.send_signal(signal.SIGTERM)
    assert show.wait(20) == 0
