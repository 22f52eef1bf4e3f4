"""Another input while the show goes on: a new engine hears it, and one that cannot be heard leads back."""

from __future__ import annotations

from pathlib import Path

import psutil
import pytest
from conftest import wait_until

from cymatic.stage import EngineOptions, Stage
from engine.bundle import load_bundle
from presets.store import PresetStore


@pytest.fixture
def stage(tiny_bundle: Path, noise: Path, tmp_path: Path, monkeypatch, tmp_path_factory):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path_factory.getbasetemp() / "cache"))
    options = EngineOptions(str(noise), runtime="onnxruntime", fps=30.0, threads=1)
    stage = Stage(load_bundle(tiny_bundle), PresetStore([tmp_path]), options, osc_port=0)
    stage.start()
    yield stage
    stage.stop()


def heard(stage: Stage) -> str | None:
    stage.tick()
    stage.newest_frame()
    return stage.status["audio"]["device"] if stage.status["state"] == "playing" else None


def test_the_demo_instead_of_a_file_and_an_input_that_is_not_there(stage, noise):
    wait_until(lambda: heard(stage) == noise.name, 60, "the file")
    wait_until(lambda: heard(stage) and stage.present() is not None, 60, "a picture")
    first = stage.engine_pid
    stage.listen("demo")
    assert stage.status["state"] == "loading"
    assert stage.present() is not None, "the last picture stays"
    wait_until(lambda: heard(stage) == "demo", 60, "the demo")
    assert stage.engine_pid != first
    stage.listen("no such input")
    wait_until(lambda: heard(stage) or any("going back" in line for line in stage.errors), 60, "a line")
    assert [line for line in stage.errors if "going back" in line], stage.errors
    wait_until(lambda: heard(stage) == "demo", 60, "the demo again")
    assert stage.fatal is None


def test_blackout_works_while_the_input_is_changed(stage, noise):
    """The engine before is frozen, so it takes as long to end as an engine may."""
    wait_until(lambda: heard(stage) == noise.name and stage.present() is not None, 60, "a picture")
    told, before = dict(stage.status), psutil.Process(stage.engine_pid)
    before.suspend()
    stage.listen("demo")
    stage.desk.set("blackout", True, "test")
    stage.tick()
    assert not stage.present()[..., :3].any()
    stage.desk.set("blackout", False, "test")
    stage.tick()
    assert stage.present()[..., :3].any()
    assert before.is_running(), "all that while it is on its way out"
    stage._links.status.put(told)  # its last word
    stage.tick()
    assert stage.status["state"] == "loading", "which nobody takes for the next one's"
    wait_until(lambda: heard(stage) == "demo", 60, "the demo")
    assert not before.is_running()


def test_of_two_choices_that_cannot_be_heard_what_was_heard_before_comes_back(stage, noise):
    wait_until(lambda: heard(stage) == noise.name, 60, "the file")
    stage.listen("no such input")
    stage.tick()
    stage.listen("nor this one")
    wait_until(lambda: heard(stage) or any("going back" in line for line in stage.errors), 60, "a line")
    wait_until(lambda: heard(stage) == noise.name, 60, "the file again")
