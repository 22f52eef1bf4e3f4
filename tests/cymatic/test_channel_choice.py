"""One channel of an input with several: from the command line, from the desk during the show, and none that is not."""

from __future__ import annotations

import numpy as np
import pytest
import soundfile
from conftest import wait_until

from cymatic.stage import EngineOptions, Stage
from engine.audio.sources import Block, open_source
from engine.bundle import load_bundle
from engine.errors import AudioError
from presets.store import PresetStore

RATE = 48_000
MAP = "front-left,front-right,rear-left,rear-right"
FOUR = ("module-null-sink", "sink_name=vmic", f"rate={RATE}", "channels=4", f"channel_map={MAP}", "format=s16le")


@pytest.fixture
def begin(tiny_bundle, tmp_path, monkeypatch, tmp_path_factory):
    """Starts a show with these options."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path_factory.getbasetemp() / "cache"))
    stages = []

    def begin(*source, **more) -> Stage:
        options = EngineOptions(*source, runtime="onnxruntime", fps=30.0, threads=1, **more)
        stages.append(Stage(load_bundle(tiny_bundle), PresetStore([tmp_path]), options, osc_port=0))
        stages[-1].start()
        return stages[-1]

    yield begin
    for stage in stages:
        stage.stop()


@pytest.fixture
def third(tmp_path):
    """A file of four channels, whose third one sounds."""
    path = tmp_path / "four.wav"
    sound = np.zeros((40 * RATE, 4))
    sound[:, 2] = 0.5 * np.sin(2 * np.pi * 440 * np.arange(len(sound)) / RATE)
    soundfile.write(path, sound, RATE, format="WAV")
    return path


def hears(stage: Stage, lowest: float, highest: float) -> bool:
    stage.tick()
    stage.newest_frame()
    return stage.status["state"] == "playing" and lowest < stage.status["rms_db"] < highest


def test_a_block_gives_one_channel_or_what_it_has():
    channels = np.arange(12, dtype=np.float32).reshape(4, 3)
    block = Block(channels.mean(axis=1), 1.5, channels)
    assert (block.only(2).samples == [1, 4, 7, 10]).all()
    assert block.only(2).channels.shape == (4, 1)
    assert block.only(2).captured_at == 1.5
    silence = Block(np.zeros(5, np.float32), 2.0)
    assert [block.only(0), block.only(4), silence.only(1)] == [block, block, silence]


def test_a_channel_that_is_not_there_is_one_line(third, noise):
    assert open_source(str(third), channel=4).channels == 4
    with pytest.raises(AudioError, match=r"^four.wav has 4 channels, so no channel 5$"):
        open_source(str(third), channel=5)
    with pytest.raises(AudioError, match=r"^noise.wav has one channel, so no channel 2$"):
        open_source(str(noise), channel=2)


@pytest.mark.soundserver
def test_each_channel_of_a_microphone_is_heard_by_itself(begin, frail_pulse, monkeypatch, third):
    for name, value in frail_pulse.env.items():
        monkeypatch.setenv(name, value)
    frail_pulse.unplug()
    frail_pulse.pactl("load-module", *FOUR)
    frail_pulse.keep_awake()
    with frail_pulse.play(third, "--channels=4", f"--channel-map={MAP}"):
        stage = begin("mic", "vmic", channel=4)
        wait_until(lambda: hears(stage, -200, -80), 60, "the fourth channel, which is silent")
        assert stage.desk.get("sound/channel") == 4.0
        assert stage.status["audio"]["channels"] == 4
        pid = stage.engine_pid
        for channel, lowest, highest in ((3, -12, -6), (1, -200, -80), (0, -24, -18)):
            stage.desk.set("sound/channel", channel, "test")
            wait_until(lambda low=lowest, high=highest: hears(stage, low, high), 20, f"channel {channel}")
        stage.listen(stage.status["audio"]["device"], 2)
        wait_until(lambda: hears(stage, -200, -80), 20, "the second one")
        assert stage.engine_pid == pid, "the input was open all the time"


def test_what_leads_back_to_the_input_before_leads_back_to_its_channel(begin, third):
    stage = begin(str(third), channel=3)
    wait_until(lambda: hears(stage, -12, -6), 60, "the third channel")
    stage.listen("no such input", 2)
    assert stage.desk.get("sound/channel") == 2.0
    wait_until(lambda: hears(stage, -300, 0) and any("going back" in line for line in stage.errors), 60, "the way back")
    wait_until(lambda: hears(stage, -12, -6), 60, "the third channel again")
    assert stage.desk.get("sound/channel") == 3.0
