"""What the computer itself plays: listed, heard by a show, lost with its output and heard again when that is back."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import psutil
import pytest
import soundfile
from conftest import wait_until
from pulse_server import PulseServer

from cymatic.stage import EngineOptions, Stage
from engine.bundle import load_bundle
from presets.store import PresetStore

SPEAKERS = ("module-null-sink", "sink_name=speakers", "rate=44100", "channels=2")
CALLED = 'sink_properties=device.description="Höhe\\ 2"'
NAME = "System sound: Höhe 2"
TO_DEFAULT = "--device=@DEFAULT_SINK@"

pytestmark = pytest.mark.soundserver


@pytest.fixture
def speakers(frail_pulse: PulseServer, monkeypatch: pytest.MonkeyPatch) -> PulseServer:
    """A sound server that has `vmic` as its microphone and plays to other loudspeakers."""
    for name, value in frail_pulse.env.items():
        monkeypatch.setenv(name, value)
    plug_in(frail_pulse)
    return frail_pulse


def plug_in(server: PulseServer) -> None:
    server.pactl("load-module", *SPEAKERS, CALLED)
    server.pactl("set-default-sink", "speakers")


@pytest.fixture
def tone(tmp_path: Path) -> Path:
    path = tmp_path / "tone.wav"
    soundfile.write(path, 0.25 * np.sin(2 * np.pi * 440 * np.arange(120 * 44_100) / 44_100), 44_100)
    return path


@pytest.fixture
def play(speakers: PulseServer, tiny_bundle: Path, tmp_path: Path, tmp_path_factory, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path_factory.getbasetemp() / "cache"))
    stages = []

    def play(device: str) -> Stage:
        options = EngineOptions("mic", device, runtime="onnxruntime", fps=30.0, threads=1)
        stages.append(Stage(load_bundle(tiny_bundle), PresetStore([tmp_path]), options, osc_port=0))
        stages[-1].start()
        return stages[-1]

    yield play
    for stage in stages:
        stage.stop()


def until(stage: Stage, condition: Callable[[dict], object], what: str) -> None:
    def look() -> bool:
        stage.tick()
        return stage.status["state"] == "playing" and bool(condition(stage.status))

    wait_until(look, 60, what)


def hears(stage: Stage, name: str) -> None:
    def heard(status: dict) -> bool:
        audio = status["audio"]
        return (audio["device"], audio["state"]) == (name, "running") and status["level"] > 0.2

    until(stage, heard, f"{name} to be heard")
    assert stage.status["error"] is None
    mel = np.array(stage.status["mel"])
    assert mel.argmax() < len(mel) / 3, "440 Hz, and not some noise"


def in_state(stage: Stage, *states: str) -> None:
    until(stage, lambda status: status["audio"]["state"] in states, " or ".join(states))


def test_what_the_outputs_play_is_listed_the_default_output_first(speakers: PulseServer) -> None:
    speakers.pactl("load-module", *SPEAKERS[:1], "sink_name=other", CALLED)
    ended = subprocess.run(
        [sys.executable, "-m", "cymatic", "devices"], capture_output=True, text=True, timeout=60, check=True
    )
    listed = [line[2:] for line in ended.stdout.splitlines() if "System sound" in line]
    assert len(listed) == 3
    assert listed[0].startswith(f"{NAME} (speakers) ")
    assert listed[0].split()[-4:] == ["2", "ch", "44100", "Hz"]
    assert {line.split("  ")[0] for line in listed[1:]} == {f"{NAME} (other)", "System sound: Null Output"}


def test_a_tone_is_heard_goes_with_its_output_and_comes_back(speakers: PulseServer, play, tone: Path) -> None:
    stage = play(NAME)
    with speakers.play(tone, "--device=speakers"):
        hears(stage, NAME)
        assert stage.status["audio"]["sample_rate"] == 44_100
        engine = stage.engine_pid
        speakers.unload("speakers")  # the player is moved to `vmic`, and so is the stream that listens
        in_state(stage, "lost")
        assert any(f"'{NAME}' is gone" in line for line in stage.errors)
        until(stage, lambda status: status["level"] < 0.01, "silence")
        plug_in(speakers)
    with speakers.play(tone, "--device=speakers"):
        hears(stage, NAME)
        speakers.pactl("suspend-sink", "speakers", "1")
        in_state(stage, "stalled")
        speakers.pactl("suspend-sink", "speakers", "0")
        hears(stage, NAME)
    in_state(stage, "silent")
    assert "does anything play there?" in stage.status["error"]
    assert stage.engine_pid == engine


def test_the_system_is_what_the_default_output_plays_whichever_that_is(speakers, play, tone: Path) -> None:
    stage = play("system")
    with speakers.play(tone, TO_DEFAULT):
        hears(stage, NAME)
        assert stage.status["audio"]["sample_rate"] == 44_100
    speakers.pactl("set-default-sink", "vmic")
    with speakers.play(tone, TO_DEFAULT):
        hears(stage, "System sound: Null Output")
    speakers.pactl("set-default-sink", "speakers")
    with speakers.play(tone, TO_DEFAULT):
        hears(stage, NAME)
        speakers.unload("speakers")  # headphones are pulled out: what plays goes on where the server puts it
        hears(stage, "System sound: Null Output")
    told = "\n".join(stage.errors)
    assert "goes to another output now" in told
    assert "System sound: Null Output is heard" in told
    first = stage.engine_pid
    assert first is not None
    plug_in(speakers)
    psutil.Process(first).kill()
    until(stage, lambda status: stage.engine_pid not in (None, first), "another engine")
    with speakers.play(tone, TO_DEFAULT):
        hears(stage, NAME)


def test_it_outlives_the_sound_server_and_the_engine(speakers: PulseServer, play, tone: Path) -> None:
    stage = play("system sound: hö")
    with speakers.play(tone, "--device=speakers"):
        hears(stage, NAME)
        speakers.kill()
    in_state(stage, "lost")
    speakers.start()
    plug_in(speakers)
    with speakers.play(tone, "--device=speakers"):
        hears(stage, NAME)
    speakers.pactl("set-default-sink", "vmic")  # what is heard is what was heard, whatever is the default now
    first = stage.engine_pid
    assert first is not None
    psutil.Process(first).kill()
    until(stage, lambda status: stage.engine_pid not in (None, first), "another engine")
    with speakers.play(tone, "--device=speakers"):
        hears(stage, NAME)


def test_a_microphone_is_not_the_output_of_the_same_name(speakers: PulseServer, play, tone: Path) -> None:
    stage = play("vmic")
    with speakers.play(tone):
        hears(stage, "vmic")
        stage.listen(NAME)
        in_state(stage, "silent")
        assert stage.status["audio"]["device"] == NAME
        stage.listen("vmic")
        hears(stage, "vmic")
