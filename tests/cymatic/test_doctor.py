"""`cymatic doctor`: every part is looked at, and what is wrong is named with its cure."""

from __future__ import annotations

import importlib.metadata
import json
import socket
import subprocess
import sys
from pathlib import Path

import pytest
from conftest import ROOT, Display
from pulse_server import PulseServer

from cymatic import cli, doctor
from engine import packages
from engine.control.osc import DEFAULT_PORT

PARTS = {"machine", "sound", "window", "bundle", "runtimes", "presets", "osc port"}
linux = pytest.mark.skipif(sys.platform != "linux", reason="elsewhere the packages bring it along, or there is none")


def findings(env: dict[str, str]) -> dict[str, dict[str, str]]:
    """What the doctor says in a process of its own."""
    command = [sys.executable, "-m", "cymatic", "doctor", "--json"]
    ended = subprocess.run(command, env=env, capture_output=True, text=True, timeout=120, check=False)
    return {row["part"]: row for row in json.loads(ended.stdout)}


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


@linux
def test_without_pactl_it_is_told_what_goes_unnoticed(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("PATH", "")
    found = finding("pactl", capsys)
    assert found["state"] == "missing"
    assert "pulseaudio-utils" in found["advice"]


@linux
def test_a_window_without_its_libraries_comes_with_their_command(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("DISPLAY", ":4711")
    monkeypatch.setattr(doctor, "WINDOW_TRIAL", "raise ImportError('libEGL.so.1: cannot open shared object file')")
    found = finding("window", capsys)
    assert found["state"] == "broken"
    assert "libEGL.so.1" in found["found"]
    assert "libxcb-cursor0" in found["advice"] or "xcb-util-cursor" in found["advice"]


@linux
def test_what_trials_need_and_is_not_there_comes_with_its_command(tmp_path: Path, clean_env: dict[str, str]) -> None:
    """On a machine whose programs are those of this folder."""
    for program in ("apt-get", "parec", "paplay"):
        (tmp_path / program).touch(mode=0o755)
    found = findings(clean_env | {"PATH": str(tmp_path)})["trials"]
    assert found["state"] == "missing"
    assert found["found"].endswith("lack pulseaudio, Xvfb")
    assert found["advice"] == f"{packages.MANAGERS['apt-get']} pulseaudio xvfb"
    (tmp_path / "apt-get").rename(tmp_path / "dnf")
    assert findings(clean_env | {"PATH": str(tmp_path)})["trials"]["advice"].split()[-1] == "xorg-x11-server-Xvfb"


def test_the_packages_are_those_that_setup_installs() -> None:
    command = ["sh", "scripts/setup.sh", "packages"]
    lines = subprocess.run(
        command, cwd=ROOT, capture_output=True, text=True, check=True, timeout=60
    ).stdout.splitlines()
    for at, line in enumerate(lines[:3]):
        told = [name for names in packages.PACKAGES.values() for name in names[at].split()]
        assert set(told) <= set(line.split())
        assert list(packages.MANAGERS.values())[at] in line


@pytest.mark.soundserver
def test_the_sound_of_this_computer_is_found_and_missed(pulse: PulseServer, clean_env: dict[str, str]) -> None:
    found = findings(clean_env | pulse.env)["system sound"]
    assert (found["state"], found["found"]) == ("ok", "System sound: Null Output")
    assert "--device system" in found["advice"]
    found = findings(clean_env | pulse.env | {"PULSE_SERVER": "unix:/nowhere"})["system sound"]
    assert found["state"] == "missing"
    assert "start the sound server" in found["advice"]


@pytest.mark.soundserver
def test_a_sound_server_that_hangs_holds_nobody(frail_pulse: PulseServer, clean_env: dict[str, str]) -> None:
    frail_pulse.freeze()
    env = clean_env | frail_pulse.env
    listing = [sys.executable, "-m", "cymatic", "devices"]
    listed = subprocess.run(listing, env=env, capture_output=True, text=True, timeout=60, check=False)
    assert listed.returncode == 2
    assert listed.stderr.startswith("cymatic: cannot look for microphones: the sound system does not answer")
    found = findings(env)
    assert found["sound"]["state"] == "broken"
    assert "does not answer" in found["sound"]["found"]
    assert found["bundle"]["state"] == "ok"


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
