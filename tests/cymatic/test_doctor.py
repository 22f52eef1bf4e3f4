"""`cymatic doctor`: every part is looked at, and what is wrong is named with its cure."""

from __future__ import annotations

import importlib.metadata
import json
import socket
import subprocess
import sys

import pytest
from conftest import Display

from cymatic import cli, doctor
from engine.control.osc import DEFAULT_PORT

PARTS = {"machine", "sound", "window", "bundle", "runtimes", "presets", "osc port"}


def finding(part: str, capsys: pytest.CaptureFixture[str]) -> dict[str, str]:
    cli.main(["doctor", "--json"])
    found = {row["part"]: row for row in json.loads(capsys.readouterr().out)}
    assert set(found) >= PARTS
    assert all(row["state"] in ("ok", "missing", "broken") for row in found.values())
    return found[part]


def test_a_sound_machine_is_told_so_line_by_line(clean_env: dict[str, str], xvfb: Display) -> None:
    env = clean_env | {"DISPLAY": xvfb.name}
    ended = subprocess.run(
        [sys.executable, "-m", "cymatic", "doctor"], env=env, capture_output=True, text=True, timeout=120, check=False
    )
    assert ended.stderr == ""
    assert ended.returncode == 0, ended.stdout
    lines = {line.split()[1]: line for line in ended.stdout.splitlines() if line[:1].strip()}
    assert "1280x720" in lines["window"]
    assert lines["bundle"].startswith("ok")
    assert "is whole" in lines["bundle"]


def test_a_display_that_is_not_there_does_not_end_the_doctor(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.delenv("WAYLAND_DISPLAY", raising=False)
    monkeypatch.setenv("DISPLAY", ":4711")
    monkeypatch.delenv("QT_QPA_PLATFORM", raising=False)
    assert finding("window", capsys)["state"] == "broken"
    monkeypatch.delenv("DISPLAY")
    assert finding("window", capsys) == {
        "part": "window",
        "state": "missing",
        "found": "no display",
        "advice": "log in to a desktop, or play with --headless",
    }


@pytest.mark.skipif(sys.platform != "linux", reason="only there can a sound server move a microphone")
def test_without_pactl_it_is_told_what_goes_unnoticed(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("PATH", "")
    found = finding("pactl", capsys)
    assert found["state"] == "missing"
    assert "pulseaudio-utils" in found["advice"]


def test_a_taken_osc_port_is_named(capsys: pytest.CaptureFixture[str]) -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as show:
        show.bind(("127.0.0.1", DEFAULT_PORT))
        assert str(DEFAULT_PORT) in finding("osc port", capsys)["found"]


def test_what_a_show_needs_and_is_not_there_costs_the_exit_code(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("engine.bundle.shipped_bundles", list)
    assert cli.main(["doctor"]) == 1
    assert "broken   bundle" in capsys.readouterr().out


def test_a_missing_extra_comes_with_its_command(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    known = importlib.metadata.version

    def version(name: str) -> str:
        if name == "av":
            raise importlib.metadata.PackageNotFoundError(name)
        return known(name)

    monkeypatch.setattr(doctor.importlib.metadata, "version", version)
    row = finding("render", capsys)
    assert row["state"] == "missing"
    assert row["found"] == "without av"
    assert row["advice"] == "pip install 'cymatic[render]'"
