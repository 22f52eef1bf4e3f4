"""What a show may need later: made once, beside it, and closed in the end."""

from __future__ import annotations

import threading

import pytest

from engine.runtime.spare import Spare


def test_it_is_made_when_it_is_asked_for_given_once_and_closed():
    made_by, closed = [], []

    def make() -> str:
        made_by.append(threading.current_thread())
        return "canvas"

    spare = Spare(make, closed.append)
    assert spare.take() is None
    assert made_by == []
    spare.ask()
    spare.ask()
    spare.wait()
    assert (spare.take(), spare.take()) == ("canvas", None)
    assert [thread is threading.current_thread() for thread in made_by] == [False]
    assert closed == []
    spare.stop()
    assert closed == ["canvas"]


@pytest.mark.parametrize(("error", "told"), [(OSError("no room"), "no room"), (MemoryError(), "MemoryError")])
def test_what_cannot_be_made_is_told_and_nothing_is_closed(error: Exception, told: str):
    def make() -> str:
        raise error

    closed: list[str] = []
    spare = Spare(make, closed.append)
    spare.ask()
    spare.wait()
    assert spare.failure == told
    assert spare.take() is None
    spare.stop()
    assert closed == []


def test_what_nobody_asked_for_is_never_made():
    spare = Spare(lambda: pytest.fail("it was made"), lambda made: pytest.fail("it was closed"))
    spare.wait()
    spare.stop()
    assert spare.failure is None
