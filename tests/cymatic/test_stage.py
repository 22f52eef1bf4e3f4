"""The stage in this process, its engine in another: restart with the last picture held, presets, output."""

from __future__ import annotations

import contextlib
import json
import threading
import time
from urllib.request import urlopen

import numpy as np
import psutil
import pytest
from conftest import wait_until
from osc_client import Client

from cymatic.report import Recorder
from cymatic.stage import EngineOptions, Stage
from engine.bundle import load_bundle
from engine.control.osc import STATUS_KEYS
from engine.errors import ControlError, PresetError
from presets.recipe import Recipe, text_anchor
from presets.schema import Preset, Seed
from presets.store import PresetStore


@pytest.fixture
def store(tmp_path):
    store = PresetStore([tmp_path])
    for number, name in enumerate(("alpha", "beta", "gamma")):
        store.save(Preset(name=name, base=Seed(seed=number), controls={"speed": 0.0, "sound/weight": 0.0}, fade_s=0.0))
    return store


@pytest.fixture
def open_stage(tiny_bundle, noise, store, monkeypatch, tmp_path_factory):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path_factory.getbasetemp() / "cache"))
    opened = []

    def open_stage(preset=None, folder=tiny_bundle, **more) -> Stage:
        options = EngineOptions(str(noise), runtime="onnxruntime", fps=30.0, threads=1)
        stage = Stage(load_bundle(folder), store, options, preset, osc_port=0, **more)
        opened.append(stage)
        return stage

    yield open_stage
    for stage in opened:
        stage.stop()


def go_on_until(stage: Stage, condition, what: str):
    """Moves the stage on until `condition()`; returns its value."""
    found = None

    def look() -> bool:
        nonlocal found
        stage.tick()
        found = condition()
        return bool(found)

    wait_until(look, 60, what)
    return found


def picture(stage: Stage) -> np.ndarray:
    go_on_until(stage, stage.newest_frame, "a picture")
    return stage.present()


def test_it_plays_and_the_engine_tells_how(open_stage):
    stage = open_stage()
    assert stage.present() is None
    stage.start()
    doing = set()
    go_on_until(stage, lambda: doing.add(stage.status.get("doing")) or stage.status["state"] == "playing", "the show")
    assert "starting" in doing, "an engine that loads says what it is at"
    frame = go_on_until(stage, stage.newest_frame, "the first picture")
    assert frame.rgba.shape == (*stage.image_size, 4)
    assert stage.preset == ""
    go_on_until(stage, lambda: stage.status["state"] == "playing" and stage.newest_frame(), "the status")
    assert stage.status["audio"]["device"] == "noise.wav"
    go_on_until(stage, lambda: stage.newest_frame() and stage.fps > 1, "the rate")


def test_a_killed_engine_leaves_the_last_picture_and_a_new_one_goes_on(open_stage):
    stage = open_stage()
    stage.start()
    recorder = Recorder(stage)
    go_on_until(stage, lambda: stage.status["state"] == "playing", "the show")
    recorder.take(go_on_until(stage, stage.newest_frame, "a picture"))
    go_on_until(stage, lambda: stage.status["fps"], "the rate")
    first = stage.engine_pid
    psutil.Process(first).kill()
    go_on_until(stage, lambda: stage.status["state"] == "error", "the failure")
    rate = stage.status["fps"]
    while (frame := stage.newest_frame()) is not None:
        recorder.take(frame)
    held = stage.present()
    assert held is not None
    assert (held == stage.present()).all()
    assert "signal 9" in stage.errors[-1]
    stage.desk.set("blackout", True, "test")
    assert not stage.present()[..., :3].any(), "the output obeys while the engine is dead"
    stage.desk.set("blackout", False, "test")
    assert (stage.present() == held).all()
    newer = go_on_until(stage, stage.newest_frame, "a picture of the new engine")
    assert newer.index > recorder.last.index
    assert stage.engine_pid != first
    recorder.take(newer)
    go_on_until(stage, lambda: stage.status["state"] == "playing", "the new engine's status")
    assert stage._keeper._supervisor.options["held"] == rate, "it begins where the one before was"
    report = recorder.report()
    assert report["frames"] == newer.index - recorder.first.index + 1
    assert any("signal 9" in event["event"] for event in report["events"])


def test_freeze_holds_and_lets_go(open_stage):
    stage = open_stage()
    stage.start()
    picture(stage)
    stage.desk.set("freeze", True, "test")
    held = stage.present().copy()
    for _ in range(5):
        go_on_until(stage, stage.newest_frame, "a picture")
        assert (stage.present() == held).all()
    stage.desk.set("freeze", False, "test")
    go_on_until(stage, lambda: stage.newest_frame() and (stage.present() != held).any(), "a moving picture")


def test_the_fader_and_the_test_card(open_stage):
    stage = open_stage("alpha")
    stage.start()
    bright = picture(stage).astype(int)
    stage.desk.set("master", 0.5, "test")
    assert np.abs(stage.present()[..., :3] - bright[..., :3] / 2).max() <= 1
    stage.desk.set("testcard", True, "test")
    card = stage.present()
    assert (card[0] == 255).all()


def test_presets_are_gone_to_by_name_and_in_turn(open_stage):
    stage = open_stage("beta")
    assert stage.preset == "beta"
    assert stage.preset_names() == ["alpha", "beta", "gamma"]
    assert stage.desk.get("sound/weight") == 0.0, "a preset puts its controls on the desk"
    stage.start()
    beta = picture(stage)
    seen = {"beta": beta.copy()}
    for trigger, value, expected in (
        ("preset/next", True, "gamma"), ("preset/next", True, "alpha"), ("preset/prev", True, "gamma"),
        ("preset/go", "beta", "beta"), ("preset/go", 1, "alpha"),
    ):  # fmt: skip
        stage.desk.set(trigger, value, "test")
        stage.tick()
        assert stage.preset == expected
        assert stage.desk.get("preset/go") == expected
        arrived = stage._links.slot.newest_index + 3
        go_on_until(stage, lambda arrived=arrived: stage._links.slot.newest_index > arrived, "pictures of it")
        now = picture(stage)
        if expected in seen:
            assert (now == seen[expected]).all(), "the same preset is the same picture"
        seen[expected] = now.copy()
    assert (seen["alpha"] != seen["beta"]).any()
    assert (seen["gamma"] != seen["beta"]).any()
    assert stage.controls_received == 5, "what presets set does not count"


def test_panic_puts_every_control_back(open_stage):
    stage = open_stage("alpha")
    stage.desk.set("master", 0.2, "test")
    stage.desk.set("panic", True, "test")
    stage.tick()
    assert stage.desk.get("master") == 1.0
    assert stage.desk.get("sound/weight") == 1.0
    assert "panic" in stage.errors[-1]


def test_a_preset_that_fits_no_longer_is_told_and_the_show_goes_on(open_stage, store, tmp_path):
    stage = open_stage("alpha")
    (tmp_path / "beta.json").write_text("{}")
    stage.desk.set("preset/go", "beta", "test")
    stage.tick()
    assert stage.preset == "alpha"
    assert "beta" in stage.errors[-1]


def test_words_of_another_bundle_are_read_again_by_this_one(open_stage, store):
    layers = (np.zeros((10, 16)), np.zeros(16))
    encoded = type("Encoded", (), {"delta": layers[0], "embedding": layers[1]})
    anchor = text_anchor("a storm at night", 1.0, encoded, "0" * 64)
    store.save(Preset(name="words", base=Seed(seed=1), anchors=(anchor,), fade_s=0.0))
    stage = open_stage("words")
    told = stage._links.preset.get()[1]
    assert np.abs(told["offset"]).max() > 0.01
    recipe = Recipe("x", texts=(("a storm at night", 1.0),))
    expected = recipe.build(stage._calls._read, "0" * 64).anchors[0].offset
    assert np.array(told["offset"]) == pytest.approx(np.array(expected), rel=1e-3, abs=1e-4)


def test_an_unknown_preset_or_a_taken_port_leaves_nothing_behind(open_stage, tiny_bundle, store):
    with pytest.raises(PresetError, match="nowhere"):
        open_stage("nowhere")
    first = open_stage()
    first._osc.start()
    options = EngineOptions("demo")
    second = Stage(load_bundle(tiny_bundle), store, options, osc_port=first.osc_port)
    with pytest.raises(ControlError, match="in use"):
        second.start()
    second.stop()


def test_an_engine_that_cannot_begin_ends_the_show_with_its_reason(tiny_bundle, store, tmp_path):
    told = []
    stage = Stage(load_bundle(tiny_bundle), store, EngineOptions(str(tmp_path / "no.wav")), osc_port=0, say=told.append)
    try:
        stage.start()
        go_on_until(stage, lambda: stage.closing, "the end")
        assert "no.wav" in stage.fatal
        assert told == [], "the command line tells it, once"
    finally:
        stage.stop()


def test_stopping_ends_every_thread(open_stage):
    before = set(threading.enumerate())
    stage = open_stage()
    stage.start()
    assert {"osc", "engine-stderr"} <= {thread.name for thread in threading.enumerate()}
    stage.stop()
    began = time.monotonic()
    while set(threading.enumerate()) - before and time.monotonic() - began < 3:
        time.sleep(0.01)
    assert set(threading.enumerate()) == before
    stage.stop()


def test_a_loop_that_begins_after_the_end_was_asked_for_is_told_too(open_stage):
    stage = open_stage()
    stage.close()
    told = []
    stage.on_close = lambda: told.append(True)
    stage.tick()
    assert stage.closing
    assert told


def test_words_that_are_typed_in_pull_besides_the_preset_and_let_go(open_stage):
    stage = open_stage("alpha")
    called = stage._links.preset.get()[1]
    assert called.get("words") is None
    stage.desk.set("text", "a storm at night", "osc:test")
    stage.tick()
    told = stage._links.preset.get()[1]
    expected = stage._calls._read("a storm at night").delta
    assert np.array(told["words"]) == pytest.approx(expected)
    assert told["words_fade_s"] == stage.desk.get("fade")
    assert {key: told[key] for key in called} == called, "the preset is not called again"
    stage.desk.set("text", "", "osc:test")
    stage.tick()
    assert stage._links.preset.get()[1]["words"] is None
    stage.desk.set("text", "../../etc/passwd", "osc:test")
    stage.tick()
    assert "knows none of the words" in stage.errors[-1], "words are looked up, nothing more"
    stage.desk.set("preset/go", "beta", "osc:test")
    stage.tick()
    assert stage.desk.get("text") == ""
    assert stage._links.preset.get()[1].get("words") is None


def test_oscquery_stands_beside_osc_and_a_port_that_is_taken_is_worth_a_line(open_stage, tiny_bundle, store):
    first = open_stage("alpha")
    first.start()
    with urlopen(f"http://127.0.0.1:{first.oscquery_port}/cymatic/preset/go?RANGE", timeout=20) as answer:
        assert json.load(answer) == {"RANGE": [{"VALS": ["alpha", "beta", "gamma"]}]}
    options = EngineOptions("demo")
    asked = Stage(load_bundle(tiny_bundle), store, options, osc_port=0, oscquery_port=first.oscquery_port)
    with pytest.raises(ControlError, match="--oscquery-port"):
        asked.start()
    asked.stop()


def test_those_who_subscribe_are_told_how_the_show_is_doing(open_stage):
    stage = open_stage("alpha")
    stage.start()
    client = Client(stage.osc_port)
    try:
        go_on_until(stage, lambda: stage.newest_frame() and stage.status["state"] == "playing", "the show")
        client.send("/cymatic/subscribe")
        told = {}
        wanted = {f"/cymatic/status/{name}" for name in STATUS_KEYS if "record" not in name}
        client.socket.settimeout(0.05)

        def hear() -> bool:
            with contextlib.suppress(TimeoutError):
                told.update([client.hear()])
            return wanted <= set(told) and told["/cymatic/status/loading"] == [0]

        go_on_until(stage, hear, "the status")
        assert told["/cymatic/status/audio/rms"][0] < 0.0
        assert told["/cymatic/status/audio/state"] == ["running"]
    finally:
        client.close()


def test_a_preset_waits_for_the_bar_and_the_newest_call_counts(open_stage, monkeypatch):
    stage = open_stage("alpha")
    comes = [False]
    monkeypatch.setattr(stage._calls._tempo, "is_time", lambda now: comes[0])
    for trigger in ("preset/next", "preset/next"):
        stage.desk.set(trigger, True, "test")
    stage.tick()
    assert stage.preset == "alpha"
    assert stage._calls._called[0] == "gamma", "two steps on, though the first has not been taken"
    stage.desk.set("preset/go", "beta", "test", fade_s=2.0)
    stage.tick()
    assert stage.preset == "alpha"
    comes[0] = True
    stage.tick()
    assert stage.preset == "beta"
    assert stage._links.preset.get()[1]["fade_s"] == 2.0
    assert stage._calls._called is None
    stage.desk.set("preset/next", True, "test")
    stage.tick()
    assert stage.preset == "gamma"


def test_a_tapped_tempo_reaches_the_engine(open_stage):
    stage = open_stage("alpha")
    for _ in range(2):
        stage.desk.set("tempo/tap", True, "test")
        stage.tick()
        time.sleep(0.3)
    clock = stage._links.controls.get()[1]["clock"]
    assert 20.0 <= clock["bpm"] <= 240.0
    assert clock["at"] <= time.perf_counter()


def test_a_midi_controller_is_opened_by_name_and_learns(open_stage, monkeypatch, tmp_path):
    mido = pytest.importorskip("mido")
    before = mido.backend
    mido.set_backend("fake_mido_backend")
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "data"))
    import fake_mido_backend

    stage = open_stage("alpha", midi="fader")
    try:
        stage.start()
        stage.desk.set("midi/learn", True, "window")
        stage.tick()
        stage.desk.set("preset/go", "gamma", "window")
        stage.tick()
        controller = fake_mido_backend.inputs[-1]
        controller.callback(mido.Message("note_on", note=36))
        stage.tick()
        assert "moves preset/go gamma" in stage.errors[-1]
        assert (tmp_path / "data" / "cymatic" / "midi.json").is_file()
        stage.desk.set("preset/go", "beta", "window")
        stage.tick()
        assert stage.preset == "beta"
        controller.callback(mido.Message("note_on", note=36))
        stage.tick()
        stage.tick()
        assert stage.preset == "gamma"
        stage.stop()
        assert controller.closed
    finally:
        mido.set_backend(before)


def test_learning_without_a_controller_says_how(open_stage):
    stage = open_stage("alpha")
    stage.desk.set("midi/learn", True, "window")
    stage.tick()
    assert "--midi" in stage.errors[-1]
