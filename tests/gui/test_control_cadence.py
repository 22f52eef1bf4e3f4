"""When the control window looks at the stage: after a picture, seldom enough, and where none come all the same."""

from __future__ import annotations

import time

import pytest
from window_parts import (  # noqa: F401
    control_window,
    made_up_stage,
    output_that_remembers,
)

from gui import control


@pytest.fixture
def looks(window, monkeypatch) -> list[float]:
    """When it looked."""
    looked = []
    monkeypatch.setattr(window, "refresh", lambda: looked.append(time.perf_counter()))
    return looked


@pytest.mark.parametrize(("quality", "pause"), [(None, 0.031), ("30 of 60 frames/s: a frame takes 20 ms", 0.062)])
def test_it_follows_the_pictures(window, stage, looks, quality, pause):
    stage.status = {"quality": quality}
    window._refreshed_at = time.perf_counter() + 60.0
    window.follow()
    assert looks == [], "it was shown a moment ago"
    window._refreshed_at = time.perf_counter() - pause
    window.follow()
    assert len(looks) == 1


def test_a_machine_that_is_short_is_spared(window, stage, looks, monkeypatch):
    monkeypatch.setattr(control, "SPARING_S", 3600.0)
    window._refreshed_at = time.perf_counter() - 60.0
    stage.status = {"quality": "30 of 60 frames/s: a frame takes 20 ms"}
    window.follow()
    assert looks == []
    stage.status = {"quality": None}
    window.follow()
    assert len(looks) == 1


def test_it_looks_at_the_stage_where_no_pictures_come(window, stage, qtbot):
    stage.preset = "nobody painted this"
    window._timer.start()
    qtbot.waitUntil(lambda: window.paints.preset.text() == "nobody painted this", timeout=20_000)
