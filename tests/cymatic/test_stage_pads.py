"""Banks, lock, undo and crossfader of a stage whose engine is never started."""

from __future__ import annotations

import time

import numpy as np
import pytest
from conftest import wait_until

from cymatic import prepared
from cymatic.pads import Fader
from cymatic.stage import EngineOptions, Stage
from engine.bundle import load_bundle
from engine.control.desk import Desk
from engine.offline import open_sessions
from engine.painter import Painter
from presets.schema import Preset, Seed
from presets.store import PADS, PresetStore

PRESETS = {
    "alpha": ("days", 1.0, 0.2),
    "beta": ("days", 2.0, 0.4),
    "gamma": ("nights", 3.0, 0.6),
    "delta": ("nights", 4.0, 0.8),
}


@pytest.fixture
def stage(tiny_bundle, tmp_path):
    store = PresetStore([tmp_path])
    for number, (name, (bank, speed, smoothing)) in enumerate(PRESETS.items()):
        look = {"speed": speed, "smoothing": smoothing}
        store.save(Preset(name=name, bank=bank, base=Seed(seed=number), controls=look, fade_s=0.0))
    stage = Stage(load_bundle(tiny_bundle), store, EngineOptions("demo"), "alpha", osc_port=0)
    yield stage
    stage.stop()


def call(stage: Stage, name: str, value: object = True, fade_s: float | None = None) -> str:
    stage.desk.set(name, value, "test", fade_s)
    stage.tick()
    return stage.preset


def look(stage: Stage) -> tuple[float, float]:
    return stage.desk.get("speed"), stage.desk.get("smoothing")


def test_positions_count_from_the_bank_and_neighbours_go_on_into_the_next(stage):
    assert stage.desk.options("preset/bank") == ("days", "nights")
    assert list(stage.preset_names()) == ["alpha", "beta", "delta", "gamma"]
    assert call(stage, "preset/go", 2) == "beta"
    assert call(stage, "preset/bank", "nights") == "beta", "a bank alone changes nothing"
    assert stage.desk.get("preset/bank") == "nights"
    assert call(stage, "preset/go", 1) == "delta"
    assert call(stage, "preset/go", "alpha") == "alpha", "names reach every bank"
    assert call(stage, "preset/prev") == "gamma"
    assert call(stage, "preset/next") == "alpha"
    assert call(stage, "preset/bank", 1) == "alpha"
    assert stage.preset_names()[0] == "alpha"


def test_a_preset_that_is_made_during_the_show_joins_the_end_of_its_bank(stage, tmp_path, monkeypatch):
    monkeypatch.setattr(prepared, "LOOK_S", 0.02)
    stage._calls.start()

    def joins(name: str, bank: str) -> None:
        PresetStore([tmp_path]).save(Preset(name=name, bank=bank, base=Seed(seed=9), fade_s=0.0))
        wait_until(lambda: stage.tick() or name in stage.preset_names(), what="the new preset")

    (tmp_path / "delta.json").write_text("{}")
    (tmp_path / "aurora.json").write_text('{"name": "aur')
    joins("zenith", "nights")
    (tmp_path / "aurora.json").unlink()
    joins("aurora", "days")
    joins("arc", "")
    assert [bank.names for bank in stage.banks()] == [
        ("alpha", "beta", "aurora"), ("delta", "gamma", "zenith"), ("arc",),
    ], "no other pad has moved, and none has gone"  # fmt: skip
    assert "aurora" in stage.errors[-2]
    assert stage.desk.options("preset/bank") == ("days", "nights", "others")
    assert call(stage, "preset/go", 3) == "aurora"
    assert stage._links.preset.get()[1]["base"] == {"seed": 9}
    assert call(stage, "preset/go", "delta") == "aurora"
    assert "delta" in stage.errors[-1], "what cannot be used any more says so when it is called"
    for number in range(PADS):
        joins(f"more-{number:02d}", "days")
    assert [len(bank.names) for bank in stage.banks()] == [PADS, 3, 3, 1]


def test_a_locked_stage_keeps_its_preset(stage):
    stage.desk.set("preset/lock", True, "test")
    for name, value in (("preset/go", "gamma"), ("preset/next", True), ("preset/undo", True)):
        assert call(stage, name, value) == "alpha"
        assert stage.desk.get("preset/go") == "alpha"
        assert "locked" in stage.errors[-1]
    stage.desk.set("preset/lock", False, "test")
    assert call(stage, "preset/go", "gamma") == "gamma"


def test_undo_goes_back_to_the_look_as_the_performer_had_left_it(stage):
    stage.desk.set("fade", 0.0, "test")
    stage.desk.set("speed", 0.7, "test")
    stage.desk.set("text", "storm sea", "test")
    stage.tick()
    with_words = stage._links.preset.get()[1]["words"]
    assert np.abs(with_words).max() > 0.01
    call(stage, "preset/go", "beta")
    call(stage, "preset/go", "gamma")
    assert call(stage, "preset/undo") == "beta"
    assert look(stage) == (2.0, 0.4)
    assert call(stage, "preset/undo") == "alpha"
    assert look(stage) == (0.7, 0.2)
    assert stage.desk.get("text") == "storm sea"
    told = stage._links.preset.get()[1]
    assert (told["base"], told["words"]) == ({"seed": 0}, with_words)
    assert call(stage, "preset/undo") == "alpha"
    assert "no preset to go back to" in stage.errors[-1]


def test_undo_of_a_call_that_waits_for_its_beat_takes_only_that_back(stage):
    call(stage, "preset/go", "beta")
    wait_for_a_bar(stage)
    assert call(stage, "preset/go", "gamma") == "beta"
    assert call(stage, "preset/undo") == "beta"
    assert stage.desk.get("preset/go") == "beta"
    call(stage, "quantise", "off")
    assert stage.preset == "beta", "gamma is not gone to any more"
    assert call(stage, "preset/undo") == "alpha"


def test_the_crossfader_holds_the_controls_between_two_presets(stage):
    call(stage, "preset/go", "delta")
    assert look(stage) == (4.0, 0.8)
    call(stage, "crossfader", 0.5)
    assert look(stage) == pytest.approx((2.5, 0.5))
    call(stage, "crossfader", 0.0)
    assert look(stage) == (1.0, 0.2), "exactly where it came from"
    call(stage, "preset/go", "beta")
    assert look(stage) == (1.0, 0.2), "at 0 the next preset is only laid ready"
    assert stage.desk.get("crossfader") == 0.0
    call(stage, "crossfader", 1.0)
    assert look(stage) == (2.0, 0.4)
    call(stage, "crossfader", 0.4)
    call(stage, "preset/go", "gamma")
    assert (stage.desk.get("crossfader"), look(stage)) == (1.0, (3.0, 0.6))


class Clock:
    """Stands where the test says."""

    now = 0.0

    def __call__(self) -> float:
        return self.now


def test_the_mirror_of_a_preset_changes_in_the_middle_of_the_fade():
    clock = Clock()
    desk = Desk(clock=clock)
    fader = Fader(desk, clock)

    def at(seconds: float) -> tuple[str, float]:
        clock.now = seconds
        fader.follow()
        return desk.get("look/mirror"), desk.get("speed")

    fader.go({"look/mirror": "vertical", "speed": 3.0}, 4.0)
    assert at(1.9) == ("off", pytest.approx(1.95))
    assert at(2.0) == ("vertical", pytest.approx(2.0))
    assert at(5.0) == ("vertical", 3.0)
    fader.go({"look/mirror": "horizontal"}, 0.0)
    assert at(5.0)[0] == "horizontal", "a cut is at once"
    fader.go({"look/mirror": "off"}, 4.0)
    desk.set("look/mirror", "kaleidoscope", "test")
    assert at(9.0)[0] == "kaleidoscope", "a hand was quicker"
    fader.go({"look/mirror": "off"}, 4.0)
    assert at(10.0)[0] == "kaleidoscope"
    fader.go({"speed": 1.0}, 1.0)
    assert at(12.0) == ("off", 1.0), "the next preset left it alone"
    for position, mirror in ((0.4, "kaleidoscope"), (0.6, "off"), (0.0, "kaleidoscope")):
        fader.go({"look/mirror": "kaleidoscope"}, 0.0)
        fader.go({"look/mirror": "off"}, 100.0)
        desk.set("crossfader", position, "test")
        assert at(200.0)[0] == mirror
        assert at(400.0)[0] == mirror, "the crossfader holds it there"
        desk.set("crossfader", 1.0, "test")
        assert at(400.0)[0] == "off"


def test_a_seed_is_one_land_or_the_other():
    clock = Clock()
    desk = Desk(clock=clock)
    fader = Fader(desk, clock)
    fader.go({"seed": 400.0}, 4.0)
    found = set()
    for step in range(60):
        clock.now = step / 10
        fader.follow()
        found.add(desk.get("seed"))
    desk.set("crossfader", 0.3, "test")
    fader.follow()
    assert found == {0.0, 400.0}
    assert desk.get("seed") == 0.0


def test_a_preset_brings_its_mirror_and_undo_takes_it_back(stage, tmp_path):
    look = {"look/mirror": "vertical", "look/trails": 0.5}
    PresetStore([tmp_path]).save(Preset(name="beta", bank="days", base=Seed(seed=1), controls=look, fade_s=0.0))
    stage.desk.set("fade", 0.0, "test")
    stage.desk.set("look/mirror", "horizontal", "test")
    assert call(stage, "preset/go", "beta") == "beta"
    assert stage.desk.get("look/mirror") == "vertical"
    assert call(stage, "preset/undo") == "alpha"
    assert (stage.desk.get("look/mirror"), stage.desk.get("look/trails")) == ("horizontal", 0.0)


def test_a_call_says_where_the_crossfader_stands_and_the_controls_which_call_they_follow(stage):
    for position, stands in ((0.4, 1.0), (0.0, 0.0)):
        call(stage, "preset/go", "beta")
        call(stage, "crossfader", position)
        call(stage, "preset/go", "gamma")
        told, controls = stage._links.preset.get()[1], stage._links.controls.get()[1]
        assert (told["crossfader"], controls["controls"]["crossfader"]) == (stands, stands)
        assert controls["preset"] == told["serial"]


def test_panic_leaves_nothing_behind_that_moves_a_control_again(stage, monkeypatch):
    call(stage, "preset/go", "delta")
    call(stage, "crossfader", 0.4)
    monkeypatch.setattr(stage.desk, "take_triggers", list)
    call(stage, "panic")
    assert look(stage) == (1.0, 0.3), "not even when it comes in the middle of a tick, which has taken its triggers"
    monkeypatch.undo()
    stage.tick()
    assert "panic" in stage.errors[-1]
    for position in (0.7, 0.0, 1.0):
        call(stage, "crossfader", position)
        assert look(stage) == (1.0, 0.3), "the crossfader holds the picture only"
    assert call(stage, "preset/go", "beta") == "beta"
    assert look(stage) == (2.0, 0.4)


def test_panic_in_the_middle_of_a_fade_keeps_the_mirror_off():
    clock = Clock()
    desk = Desk(clock=clock)
    fader = Fader(desk, clock)
    fader.go({"look/mirror": "vertical", "speed": 3.0}, 4.0)
    clock.now = 1.0
    desk.set("panic", True, "test")
    fader.forget()
    for clock.now in (1.1, 3.0, 5.0):
        fader.follow()
        assert (desk.get("look/mirror"), desk.get("speed")) == ("off", 1.0)


def wait_for_a_bar(stage: Stage) -> None:
    """From now on a call waits, longer than a test takes."""
    stage.desk.set("tempo/bpm", 20.0, "test")
    stage.desk.set("quantise", "bar", "test")
    stage.tick()
    time.sleep(0.01)  # past the first beat of the first bar


def test_panic_calls_off_what_waits_for_its_beat(stage):
    wait_for_a_bar(stage)
    assert call(stage, "preset/go", "beta") == "alpha"
    assert call(stage, "panic") == "alpha"
    stage.tick()
    assert (stage.preset, stage.desk.get("preset/go")) == ("alpha", "alpha")


def test_picture_and_controls_follow_the_crossfader_by_the_same_share(tiny_bundle):
    bundle = load_bundle(tiny_bundle)
    shape = bundle.tensors["w_avg"].shape
    desk = Desk()
    fader = Fader(desk)
    desk.set("speed", 2.0, "test")
    desk.set("crossfader", 0.0, "test")
    fader.go({"speed": 3.0}, 1.0)
    with open_sessions(bundle, "onnxruntime", threads=1) as sessions:
        painter = Painter(bundle, sessions, 16_000)
        painter.controls |= {"sound/weight": 0.0, "noise": 0.0, "crossfader": 0.0}
        painter.go({"base": {"w_plus": np.zeros(shape).tolist()}, "offset": None}, 0.0)
        painter.go({"base": {"w_plus": np.ones(shape).tolist()}, "offset": None, "fade_s": 1.0}, 0.0)
        now, seen = 0.0, []
        for position in (0.0, 0.1, 0.4, 0.5, 1.0, 0.0):
            desk.set("crossfader", position, "test")
            fader.follow()
            painter.controls["crossfader"] = position
            for _ in range(30):
                now += 1 / 30
                w_plus = painter.move(now)
            seen.append((float(w_plus.mean()), desk.get("speed")))
    assert [share for share, _ in seen] == pytest.approx([0.0, 0.03125, 0.375, 0.5, 1.0, 0.0], abs=1e-5)
    assert [speed - 2.0 for _, speed in seen] == pytest.approx([share for share, _ in seen], abs=1e-5)
