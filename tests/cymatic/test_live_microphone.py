"""The real thing: sound played into a virtual microphone, heard by `cymatic live --source mic`, seen in the picture."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import soundfile
from live_process import live
from PIL import Image

from engine.bundle import MANIFEST, SHIPPED

RATE = 48_000
LANDSCAPE = SHIPPED / "landscape"

pytestmark = pytest.mark.soundserver


def hear(pulse, env, folder: Path, sound: Path | None, *arguments: object) -> tuple[dict, np.ndarray]:
    """Report and snapshot (RGB as float) of a show that heard this through the microphone from beginning to end."""
    report, snapshot = folder / "r.json", folder / "s.png"
    outputs = ("--report", report, "--snapshot", snapshot)
    command = ("--headless", "--source", "mic", "--device", "vmic", *outputs, *arguments)
    if sound is None:
        done = live(env | pulse.env, *command)
    else:
        with pulse.play(sound):
            done = live(env | pulse.env, *command)
    assert done.returncode == 0, done.stderr
    with Image.open(snapshot) as picture:
        return json.loads(report.read_text()), np.asarray(picture.convert("RGB"), float)


def test_a_tone_is_heard(pulse, clean_env, tiny_bundle, tmp_path):
    tone = tmp_path / "tone.wav"
    times = np.arange(40 * RATE) / RATE
    soundfile.write(tone, 0.25 * np.sin(2 * np.pi * 440 * times), RATE)
    show = ("--bundle", tiny_bundle, "--seconds", 3, "--fps", 30)
    heard, _ = hear(pulse, clean_env, tmp_path, tone, *show)
    audio = heard["audio"]
    assert "vmic" in audio["device"]
    assert audio["sample_rate"] > 8_000
    assert audio["frames"] > 2 * audio["sample_rate"]
    assert audio["silent_fraction"] < 0.2
    silent, _ = hear(pulse, clean_env, tmp_path, None, *show)
    assert silent["audio"]["silent_fraction"] > 0.8


def test_fire_is_warm_water_is_blue_and_silence_is_neither(pulse, clean_env, tmp_path):
    if not (LANDSCAPE / MANIFEST).exists():
        pytest.skip("the bundle `landscape` has not been trained yet")
    torch = pytest.importorskip("torch")
    from training.world.factors import SCENES, draw_tracks
    from training.world.sound import SAMPLE_RATE, synthesise

    pictures = {"silence": hear(pulse, clean_env, tmp_path, None, "--seconds", 6)[1]}
    for scene in ("fire", "underwater"):
        generator = torch.Generator().manual_seed(5)
        sound = synthesise(draw_tracks(40.0, generator, scene=SCENES.index(scene)), generator)
        path = tmp_path / f"{scene}.wav"
        soundfile.write(path, sound.numpy(), SAMPLE_RATE)
        told, pictures[scene] = hear(pulse, clean_env, tmp_path, path, "--seconds", 6)
        assert told["audio"]["silent_fraction"] < 0.2
    assert warmth(lower_half(pictures["fire"])) > 40, "flames are warm"
    assert warmth(pictures["underwater"]) < -40, "water is blue"
    # Where the flames stand: the sky above them may be as blue as the sea.
    assert warmth(lower_half(pictures["fire"])) > warmth(lower_half(pictures["underwater"])) + 100
    calm = warmth(lower_half(pictures["silence"]))
    assert calm < warmth(lower_half(pictures["fire"])) - 40, "nothing burns in silence"
    for scene in ("fire", "underwater"):
        assert np.abs(pictures[scene] - pictures["silence"]).mean() > 8, f"{scene} differs from silence"


def warmth(picture: np.ndarray) -> float:
    """Mean red minus mean blue, in grey levels."""
    return float(picture[..., 0].mean() - picture[..., 2].mean())


def lower_half(picture: np.ndarray) -> np.ndarray:
    """Where flames stand; above them there is sky, and it may be blue."""
    return picture[picture.shape[0] // 2 :]
