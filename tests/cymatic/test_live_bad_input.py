"""Bad input: one clear line, exit code 2, no traceback, and nothing is overwritten or left behind."""

from __future__ import annotations

import json
import shutil
import socket
from pathlib import Path

import numpy as np
import pytest
import soundfile
from live_process import live


def refused(done, *words: str) -> None:
    """It ended with exit code 2 and one line that holds these words."""
    assert done.returncode == 2, f"{done.returncode}: {done.stderr}"
    assert done.stdout == ""
    lines = done.stderr.splitlines()
    assert len(lines) == 1, done.stderr
    assert lines[0].startswith("cymatic: ")
    for word in words:
        assert word in lines[0]


@pytest.fixture
def bundle(tiny_bundle: Path, tmp_path: Path) -> Path:
    """A copy that may be damaged."""
    return Path(shutil.copytree(tiny_bundle, tmp_path / "mine"))


def change_manifest(bundle: Path, change) -> None:
    path = bundle / "bundle.json"
    manifest = json.loads(path.read_text())
    change(manifest)
    path.write_text(json.dumps(manifest))


def test_unknown_bundle(clean_env):
    refused(live(clean_env, "--headless", "--bundle", "no-such-bundle"), "no-such-bundle")


def test_a_folder_that_is_no_bundle(clean_env, tmp_path):
    refused(live(clean_env, "--headless", "--bundle", tmp_path), "bundle.json")


@pytest.mark.parametrize("name", ["generator.onnx", "weights.safetensors"])
def test_bundle_with_a_missing_file(clean_env, bundle, name):
    (bundle / name).unlink()
    refused(live(clean_env, "--headless", "--source", "demo", "--bundle", bundle), name)


def test_bundle_with_a_wrong_hash(clean_env, bundle):
    data = bytearray((bundle / "encoder.onnx").read_bytes())
    data[-1] ^= 1
    (bundle / "encoder.onnx").write_bytes(data)
    refused(live(clean_env, "--headless", "--source", "demo", "--bundle", bundle), "encoder.onnx")


def test_bundle_with_a_wrong_shape_in_its_manifest(clean_env, bundle):
    change_manifest(bundle, lambda manifest: manifest["image"].update(height=40))
    refused(live(clean_env, "--headless", "--source", "demo", "--bundle", bundle))


def test_bundle_whose_graph_has_another_shape_than_its_manifest_says(clean_env, bundle, tmp_path):
    from tiny_bundle import make_tiny_bundle

    other = make_tiny_bundle(tmp_path / "other", height=18, width=32)
    shutil.copy(other / "generator.onnx", bundle / "generator.onnx")
    theirs = json.loads((other / "bundle.json").read_text())["graphs"]["generator"]["sha256"]
    change_manifest(bundle, lambda manifest: manifest["graphs"]["generator"].update(sha256=theirs))
    refused(live(clean_env, "--headless", "--source", "demo", "--bundle", bundle), "generator.onnx")


def test_bundle_with_an_unknown_key(clean_env, bundle):
    change_manifest(bundle, lambda manifest: manifest.update(colour="blue"))
    refused(live(clean_env, "--headless", "--bundle", bundle), "colour")


def test_unknown_preset(clean_env, tiny_bundle):
    refused(live(clean_env, "--headless", "--bundle", tiny_bundle, "--preset", "no-such-preset"), "no-such-preset")


@pytest.mark.parametrize("name", ["../../etc/passwd", "/etc/passwd", "a/b", ""])
def test_a_preset_is_never_a_path(clean_env, tiny_bundle, name):
    refused(live(clean_env, "--headless", "--bundle", tiny_bundle, "--preset", name), "preset")


def test_unknown_device(clean_env, tiny_bundle):
    done = live(clean_env, "--headless", "--bundle", tiny_bundle, "--source", "mic", "--device", "no-such-device")
    refused(done)
    assert "no-such-device" in done.stderr or "no microphone" in done.stderr


def test_port_in_use(clean_env, tiny_bundle):
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as taken:
        taken.bind(("127.0.0.1", 0))
        port = taken.getsockname()[1]
        done = live(clean_env, "--headless", "--bundle", tiny_bundle, "--source", "demo", "--osc-port", port)
    refused(done, str(port), "--osc-port")


@pytest.mark.parametrize("port", [-1, 70_000])
def test_a_port_that_is_none(clean_env, tiny_bundle, port):
    refused(live(clean_env, "--headless", "--bundle", tiny_bundle, "--source", "demo", "--osc-port", port), "port")


@pytest.mark.parametrize("flag", ["--report", "--snapshot"])
def test_an_output_that_cannot_be_written(clean_env, tiny_bundle, tmp_path, flag):
    missing = tmp_path / "no-such-folder" / "file"
    refused(live(clean_env, "--headless", "--bundle", tiny_bundle, "--source", "demo", flag, missing), "no-such-folder")
    refused(live(clean_env, "--headless", "--bundle", tiny_bundle, "--source", "demo", flag, tmp_path), "folder")
    assert list(tmp_path.iterdir()) == []


def test_nothing_is_overwritten_when_the_show_cannot_begin(clean_env, tmp_path):
    report, snapshot = tmp_path / "r.json", tmp_path / "s.png"
    report.write_text("old report")
    snapshot.write_text("old picture")
    done = live(clean_env, "--headless", "--bundle", "nowhere", "--report", report, "--snapshot", snapshot)
    refused(done, "nowhere")
    assert (report.read_text(), snapshot.read_text()) == ("old report", "old picture")
    assert len(list(tmp_path.iterdir())) == 2


# Sound files: what libsndfile can read is played, whatever its format; the rest is refused


def wave(seconds: float, rate: int, channels: int) -> np.ndarray:
    times = np.arange(int(seconds * rate)) / rate
    return np.repeat(0.3 * np.sin(2 * np.pi * 440 * times)[:, None], channels, axis=1)


def write_empty(path: Path) -> None:
    path.write_bytes(b"")


def write_silent_header(path: Path) -> None:
    soundfile.write(path, np.zeros((0, 1)), 48_000)


def write_text(path: Path) -> None:
    path.write_text("This is no sound at all, whatever its name says.\n" * 20)


def write_cut_header(path: Path) -> None:
    soundfile.write(path, wave(1, 48_000, 1), 48_000)
    path.write_bytes(path.read_bytes()[:20])


UNPLAYABLE = [write_empty, write_silent_header, write_text, write_cut_header]


@pytest.mark.parametrize("write", UNPLAYABLE, ids=lambda write: write.__name__)
def test_a_file_that_is_no_sound(clean_env, tiny_bundle, tmp_path, write):
    path = tmp_path / "bad.wav"
    write(path)
    refused(live(clean_env, "--headless", "--bundle", tiny_bundle, "--source", path), "bad.wav")


def test_a_file_that_is_not_there(clean_env, tiny_bundle, tmp_path):
    path = tmp_path / "nothing.wav"
    refused(live(clean_env, "--headless", "--bundle", tiny_bundle, "--source", path), "nothing.wav")
    refused(live(clean_env, "--headless", "--bundle", tiny_bundle, "--source", tmp_path), str(tmp_path))


def write_8_bit(path: Path) -> None:
    soundfile.write(path, wave(1, 22_050, 1), 22_050, subtype="PCM_U8")


def write_96_khz(path: Path) -> None:
    soundfile.write(path, wave(1, 96_000, 2), 96_000, subtype="PCM_24")


def write_six_channels(path: Path) -> None:
    soundfile.write(path, wave(1, 48_000, 6), 48_000)


def write_truncated(path: Path) -> None:
    soundfile.write(path, wave(2, 48_000, 1), 48_000)
    data = path.read_bytes()
    path.write_bytes(data[: len(data) // 3])


PLAYABLE = [
    (write_8_bit, 22_050, 1),
    (write_96_khz, 96_000, 2),
    (write_six_channels, 48_000, 6),
    (write_truncated, 48_000, 1),
]


@pytest.mark.parametrize(("write", "rate", "channels"), PLAYABLE, ids=lambda case: getattr(case, "__name__", None))
def test_an_unusual_sound_file_is_played(clean_env, tiny_bundle, tmp_path, write, rate, channels):
    path, report = tmp_path / "odd.wav", tmp_path / "r.json"
    write(path)
    done = live(
        clean_env, "--headless", "--bundle", tiny_bundle, "--source", path, "--seconds", 0.5, "--fps", 30,
        "--report", report,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    audio = json.loads(report.read_text())["audio"]
    assert (audio["sample_rate"], audio["channels"]) == (rate, channels)
    assert audio["silent_fraction"] < 0.5
