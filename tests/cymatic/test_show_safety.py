"""What a show does when something under it breaks: real processes, killed, frozen, starved of memory and misled.

Every picture that is taken is looked at: none is torn, black or white.
"""

from __future__ import annotations

import os
import shutil
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import pytest
import soundfile
from conftest import wait_until
from live_process import engine_of, playing, wait_for_pictures

from cymatic.keeper import DEFAULT_BUNDLE
from cymatic.stage import EngineOptions, Stage
from engine.bundle import load_bundle, shipped_bundles
from engine.slot import Frame
from presets.schema import Preset, Seed
from presets.store import PresetStore

ENDING_S = 4.0
"""Two seconds are promised; as much again for a machine that runs other tests beside it."""


class Show:
    """A stage that is moved on while something is waited for."""

    def __init__(self, stage: Stage) -> None:
        self.stage = stage
        self.frame: Frame | None = None
        stage.start()

    def until(self, condition: Callable[[], object], what: str) -> None:
        def look() -> bool:
            self.stage.tick()
            frame = self.stage.newest_frame()
            if frame is not None:
                assert frame.whole, "torn"
                assert 5 < frame.rgba[..., :3].mean() < 250, "black or white"
                self.frame = frame
            return bool(condition())

        wait_until(look, 60, what)

    def plays(self) -> None:
        """Waits for a picture that has not begun yet."""
        index = self.stage._links.slot.newest_index
        self.until(lambda: self.frame is not None and self.frame.index > index, "a new picture")

    def breaks(self, words: str) -> None:
        """Waits for the line about a failure; the picture that was there is still there."""
        self.until(lambda: self.stage.status["state"] == "error", f"a failure: {words}")
        assert words in self.stage.errors[-1]
        assert (self.stage.present() == self.frame.rgba).all()

    def told(self, words: str) -> bool:
        return any(words in line for line in self.stage.errors)

    @property
    def audio(self) -> dict[str, Any]:
        return self.stage.status.get("audio", {})

    @property
    def engine(self) -> psutil.Process:
        return psutil.Process(self.stage.engine_pid)


@pytest.fixture
def store(tmp_path):
    store = PresetStore([tmp_path])
    still = {"speed": 0.0, "sound/weight": 0.0}
    store.save(Preset(name="still", base=Seed(seed=4), controls=still, fade_s=0.0))
    store.save(Preset(name="moving", base=Seed(seed=4), fade_s=0.0))
    return store


@pytest.fixture
def begin(tiny_bundle, noise, store, monkeypatch, tmp_path_factory):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path_factory.getbasetemp() / "cache"))

    @contextmanager
    def begin(preset: str, source: str | None = None, device: str | None = None, folder=tiny_bundle) -> Iterator[Show]:
        options = EngineOptions(source or str(noise), device, runtime="onnxruntime", fps=30.0, threads=1)
        stage = Stage(load_bundle(folder), store, options, preset, osc_port=0)
        try:
            yield Show(stage)
        finally:
            stage.stop()

    return begin


# The engine


@pytest.mark.parametrize(
    ("harm", "words"),
    [(psutil.Process.kill, "killed by signal 9"), (psutil.Process.suspend, "no sign of life")],
    ids=["killed", "frozen"],
)
def test_a_harmed_engine_is_followed_by_one_with_the_same_preset_and_controls(begin, harm, words):
    with begin("still") as show:
        show.stage.desk.set("gain/fine", 0.25, "test")
        show.stage.desk.set("truncation", 0.5, "test")
        show.plays()
        show.plays()
        before, first = show.frame.rgba, show.engine
        harm(first)
        show.breaks(words)
        show.plays()
        assert not first.is_running()
        assert show.engine != first
        show.plays()
        assert (show.frame.rgba == before).all(), "the same place, the same look"
        show.until(lambda: show.told("the engine plays again"), "the good news")
        assert show.stage.preset == "still"
        show.stage.desk.set("truncation", 1.0, "test")
        show.until(lambda: (show.frame.rgba != before).any(), "a picture that still obeys")


def test_an_engine_without_memory_is_followed_by_one_that_has_some(begin):
    if not hasattr(psutil.Process, "rlimit"):
        pytest.skip("memory cannot be taken from a process here")
    with begin("moving") as show:
        show.plays()
        first = show.engine
        tight = first.memory_info().vms // 2
        first.rlimit(psutil.RLIMIT_AS, (tight, tight))
        show.until(lambda: show.stage.engine_pid not in (None, first.pid), "another engine")
        show.plays()


def test_after_the_third_failure_the_shipped_bundle_plays_in_the_same_frame(begin, tiny_bundle, tmp_path):
    if DEFAULT_BUNDLE not in shipped_bundles():
        pytest.skip(f"the bundle {DEFAULT_BUNDLE} has not been trained yet")
    folder = shutil.copytree(tiny_bundle, tmp_path / "mine")
    with begin("still", folder=folder) as show:
        show.plays()
        shape = show.frame.rgba.shape
        show.stage.desk.set("truncation", 0.5, "test")
        (folder / "generator.onnx").write_bytes(b"not any more")
        show.engine.kill()
        show.until(lambda: show.told("going on with the bundle landscape"), "the third failure")
        about = [line for line in show.stage.errors if "generator.onnx" in line]
        assert len(about) == 2, "each failure is one line with its reason"
        show.plays()
        assert show.frame.rgba.shape == shape
        assert show.stage.bundle.manifest.name == DEFAULT_BUNDLE
        assert (show.stage.preset, show.stage.desk.get("truncation")) == ("still", 0.5)
        before = show.frame.rgba
        show.stage.desk.set("preset/undo", True, "test")
        show.stage.desk.set("seed", 77, "test")
        show.until(lambda: np.abs(show.frame.rgba.astype(int) - before).mean() > 3, "a picture that still obeys")
        assert not show.told("a frame failed")


# The microphone


@pytest.fixture
def sound(tmp_path) -> Path:
    path = tmp_path / "noise.wav"
    soundfile.write(path, 0.1 * np.random.default_rng(0).standard_normal(120 * 48_000), 48_000)
    return path


@pytest.fixture
def heard(begin, frail_pulse, monkeypatch):
    """A show that hears `vmic`."""
    for name, value in frail_pulse.env.items():
        monkeypatch.setenv(name, value)
    with begin("moving", "mic", "vmic") as show:
        show.until(lambda: show.audio.get("state") in ("running", "silent"), "the microphone")
        yield show


def rests(show: Show, *states: str) -> None:
    """Waits for one of these states; sound has died away, and the picture goes on."""
    show.until(lambda: show.audio["state"] in states, " or ".join(states))
    assert show.stage.status["error"]
    show.until(lambda: show.stage.status["level"] < 0.01, "the features to decay")
    before = show.frame.rgba
    show.plays()
    show.plays()
    assert (show.frame.rgba != before).any(), "it must not stand still"
    assert show.stage.status["state"] == "playing"


def is_back(show: Show) -> None:
    show.until(lambda: show.audio["state"] == "running" and show.stage.status["level"] > 0.2, "sound again")
    assert show.stage.status["error"] is None
    assert show.audio["device"] == "vmic"


@pytest.mark.soundserver
def test_a_microphone_is_unplugged_and_suspended_and_comes_back(heard, frail_pulse, sound):
    engine = heard.engine
    with frail_pulse.play(sound):
        is_back(heard)
        frail_pulse.unplug()
        rests(heard, "lost")
        assert heard.told("'vmic' is gone")
        frail_pulse.plug_in()
    frail_pulse.keep_awake()
    with frail_pulse.play(sound):
        is_back(heard)
        assert heard.told("vmic is heard again")
        frail_pulse.pactl("suspend-sink", "vmic", "1")
        rests(heard, "stalled")
        frail_pulse.pactl("suspend-sink", "vmic", "0")
        is_back(heard)
    heard.until(lambda: heard.audio["state"] == "silent", "silence")
    heard.until(lambda: heard.told("nothing but zeros"), "a line about it")
    assert heard.engine == engine


@pytest.mark.soundserver
def test_another_device_in_its_place_is_not_heard(heard, frail_pulse, sound):
    frail_pulse.pactl("load-module", "module-null-sink", "sink_name=other")
    with frail_pulse.play(sound):
        is_back(heard)
        frail_pulse.unplug()  # the player is moved to `other`, and so is the stream that listens
        rests(heard, "lost")
        heard.until(lambda: heard.told("'other.monitor' in its place"), "a line about it")
        frail_pulse.plug_in()
    frail_pulse.keep_awake()
    with frail_pulse.play(sound):
        is_back(heard)


@pytest.mark.soundserver
def test_the_sound_server_hangs_dies_and_is_started_again(heard, frail_pulse, sound):
    with frail_pulse.play(sound):
        is_back(heard)
        frail_pulse.freeze()
        rests(heard, "stalled")
        frail_pulse.thaw()
        is_back(heard)
        frail_pulse.freeze()
        rests(heard, "stalled")
        heard.engine.kill()  # and the next one finds no server that answers
        heard.breaks("killed by signal 9")
        heard.plays()
        rests(heard, "lost")
        frail_pulse.kill()
    rests(heard, "lost")
    frail_pulse.start()
    with frail_pulse.play(sound):
        is_back(heard)


@pytest.mark.soundserver
def test_an_engine_that_dies_while_the_microphone_is_away_waits_for_it(heard, frail_pulse, sound):
    with frail_pulse.play(sound):
        is_back(heard)
    frail_pulse.unplug()
    rests(heard, "lost")
    first = heard.engine
    first.kill()
    heard.breaks("killed by signal 9")
    heard.plays()
    rests(heard, "lost")
    assert heard.engine != first
    frail_pulse.plug_in()
    frail_pulse.keep_awake()
    with frail_pulse.play(sound):
        is_back(heard)
    watchers = [child for child in psutil.process_iter(["cmdline"]) if child.info["cmdline"] == ["pactl", "subscribe"]]
    ours = [child for child in watchers if child.environ().get("PULSE_SERVER") == os.environ["PULSE_SERVER"]]
    assert len(ours) == 1, "the killed engine's has gone with it"


# The end


@pytest.mark.soundserver
@pytest.mark.parametrize("hangs", ["the sound server", "the engine"])
def test_a_show_ends_though_something_hangs(frail_pulse, clean_env, tiny_bundle, hangs):
    hear = ("--headless", "--source", "mic", "--device", "vmic", "--bundle", tiny_bundle)
    with playing(clean_env | frail_pulse.env, *hear) as process:
        wait_for_pictures(process)
        engine = engine_of(process)
        if hangs == "the engine":
            engine.suspend()
        else:
            frail_pulse.freeze()
            time.sleep(1.0)
        began = time.monotonic()
        process.send_signal(signal.SIGTERM)
        assert process.wait(20) == 0
        assert time.monotonic() - began < ENDING_S
        assert not engine.is_running()
