"""A whole headless show on a sound file: report, snapshot, controls from outside."""

from __future__ import annotations

import json
import socket
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import soundfile
from live_process import REPORT_KEYS, engine_of, free_port, live, osc, playing, wait_for_pictures
from PIL import Image

from engine.audio.devices import input_devices

PERCENTILES = {"p50", "p95", "p99", "max"}


@pytest.fixture(scope="module")
def noise(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("sound") / "noise.wav"
    soundfile.write(path, 0.1 * np.random.default_rng(0).standard_normal((48_000, 2)), 48_000, subtype="PCM_16")
    return path


def test_a_show_leaves_a_report_and_a_picture(tiny_bundle, clean_env, noise, tmp_path):
    report, snapshot = tmp_path / "r.json", tmp_path / "s.png"
    report.write_text("an older report")
    done = live(
        clean_env, "--headless", "--source", noise, "--bundle", tiny_bundle, "--seconds", 2, "--fps", 30,
        "--report", report, "--snapshot", snapshot,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert "Traceback" not in done.stderr
    assert "Warning" not in done.stderr
    told = json.loads(report.read_text())
    assert set(told) == REPORT_KEYS
    assert set(told["frame_ms"]) == set(told["audio_to_frame_ms"]) == PERCENTILES
    assert set(told["stages_ms"]) == {"mel", "encoder", "recurrent", "blend", "generator", "publish"}
    assert all(ms > 0 for ms in told["stages_ms"].values())
    assert told["frames"] > 5
    assert 1.5 < told["seconds"] < 10
    assert told["fps"] == pytest.approx((told["frames"] - 1) / told["seconds"], abs=0.02), "both are rounded"
    for key in ("frame_ms", "audio_to_frame_ms"):
        assert 0 < told[key]["p50"] <= told[key]["p95"] <= told[key]["p99"] <= told[key]["max"] + 0.001
    assert set(told["audio"]) == {"device", "sample_rate", "channels", "frames", "gaps", "silent_fraction"}
    assert told["audio"]["device"] == "noise.wav"
    assert (told["audio"]["sample_rate"], told["audio"]["channels"]) == (48_000, 2)
    assert told["audio"]["frames"] > 48_000
    assert told["audio"]["silent_fraction"] == 0
    assert set(told["runtime"]) >= {"encoder", "recurrent", "generator"}
    assert all(set(graph) == {"name", "precision"} for graph in told["runtime"].values())
    assert told["bundle"]["name"] == "tiny"
    assert set(told["rss_mib"]) == {"start", "end"}
    assert all(mib > 10 for side in told["rss_mib"].values() for mib in (side["stage"], side["engine"]))
    assert told["first_frame_s"] > 0
    assert told["controls_received"] == 0
    with Image.open(snapshot) as picture:
        assert picture.size == (64, 36)
        assert np.asarray(picture.convert("RGB")).std() > 3
    assert sorted(path.name for path in tmp_path.iterdir()) == ["r.json", "s.png"]


def test_a_runtime_can_be_chosen_and_no_sound_device_is_needed(tiny_bundle, clean_env, tmp_path):
    report = tmp_path / "r.json"
    done = live(
        clean_env, "--headless", "--source", "demo", "--bundle", tiny_bundle, "--seconds", 0.5,
        "--runtime", "onnxruntime", "--fps", 30, "--report", report,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    told = json.loads(report.read_text())
    assert {graph["name"] for graph in told["runtime"].values()} == {"onnxruntime"}
    assert told["audio"]["device"] == "demo"


def test_without_a_microphone_the_demo_plays_and_one_line_says_so(tiny_bundle, clean_env, tmp_path):
    if input_devices():
        pytest.skip("this machine has a microphone")
    report = tmp_path / "r.json"
    done = live(clean_env, "--headless", "--bundle", tiny_bundle, "--seconds", 0.5, "--fps", 30, "--report", report)
    assert done.returncode == 0, done.stderr
    assert json.loads(report.read_text())["audio"]["device"] == "demo"
    [line] = done.stderr.splitlines()
    assert line.startswith("cymatic: playing the built-in demo: ")


def test_without_a_display_it_runs_headless_and_one_line_says_so(tiny_bundle, clean_env, noise):
    done = live(clean_env, "--source", noise, "--bundle", tiny_bundle, "--seconds", 0.5, "--fps", 30)
    assert done.returncode == 0, done.stderr
    assert done.stderr == "cymatic: no display found: running headless\n"


def test_a_display_that_cannot_be_reached_is_no_display(tiny_bundle, clean_env, noise):
    env = clean_env | {"DISPLAY": ":9876", "QT_QPA_PLATFORM": "xcb"}
    done = live(env, "--source", noise, "--bundle", tiny_bundle, "--seconds", 0.5, "--fps", 30)
    assert done.returncode == 0, done.stderr
    assert done.stderr == "cymatic: Qt cannot open a window on this display: running headless\n"


def test_osc_steers_the_show_even_while_the_engine_is_stuck(tiny_bundle, clean_env, noise, tmp_path):
    report, snapshot, port = tmp_path / "r.json", tmp_path / "s.png", free_port()
    outputs = ("--osc-port", port, "--report", report, "--snapshot", snapshot)
    with playing(clean_env, "--headless", "--source", noise, "--bundle", tiny_bundle, *outputs) as show:
        wait_for_pictures(show)
        engine_of(show).suspend()  # as in a driver that hangs
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender:
            sender.settimeout(10)
            sender.sendto(osc("/cymatic/blackout", 1), ("127.0.0.1", port))
            sender.sendto(osc("/cymatic/blackout", "?"), ("127.0.0.1", port))
            answer = sender.recv(1024)
        assert answer == osc("/cymatic/blackout", 1)
        show.terminate()
        assert show.wait(10) == 0
    assert json.loads(report.read_text())["controls_received"] == 1
    with Image.open(snapshot) as picture:
        assert np.asarray(picture.convert("RGB")).max() == 0


def test_the_command_line_says_its_version():
    done = subprocess.run([sys.executable, "-m", "cymatic", "--version"], capture_output=True, text=True, timeout=60)
    assert done.stdout.startswith("cymatic 0.")
