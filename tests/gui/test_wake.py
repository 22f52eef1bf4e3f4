"""The screen saver on Windows and macOS, of which this machine has only what stands in for them."""

from __future__ import annotations

import ctypes
import os
from pathlib import Path
from types import SimpleNamespace

import psutil
import pytest

from gui.wake import KeepAwake

CONTINUOUS, SYSTEM, DISPLAY = 0x80000000, 1, 2


@pytest.fixture
def windows(monkeypatch):
    """What Windows was told; the answer is the state before."""
    told = []

    def tell(state: ctypes.c_uint) -> int:
        told.append(state.value)
        return windows.answer

    windows = SimpleNamespace(told=told, answer=CONTINUOUS)
    kernel = SimpleNamespace(kernel32=SimpleNamespace(SetThreadExecutionState=tell))
    monkeypatch.setattr(ctypes, "windll", kernel, raising=False)
    return windows


def test_windows_is_told_once_that_the_display_is_in_use_and_once_that_it_is_not(windows):
    awake = KeepAwake(platform="win32")
    awake.release()
    assert windows.told == []
    for _ in range(2):
        awake.hold()
    assert windows.told == [CONTINUOUS | SYSTEM | DISPLAY]
    for _ in range(2):
        awake.release()
    assert windows.told[1:] == [CONTINUOUS]


def test_a_windows_that_refuses_costs_a_line(windows, caplog):
    windows.answer = 0
    awake = KeepAwake(platform="win32")
    awake.hold()
    assert "switch it off by hand: Windows refuses" in caplog.text


@pytest.fixture
def caffeinate(tmp_path: Path, monkeypatch) -> Path:
    """A program of that name in the place of macOS's."""
    program = tmp_path / "caffeinate"
    program.write_text(f'#!/bin/sh\necho "$@" >>{tmp_path}/heard\nexec sleep 600\n')
    program.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=os.pathsep)
    return program


def asleep() -> list[psutil.Process]:
    return [child for child in psutil.Process().children() if "sleep" in child.name()]


def test_on_macos_one_caffeinate_runs_from_full_screen_to_window(qtbot, caffeinate, caplog):
    awake = KeepAwake(platform="darwin")
    heard = caffeinate.with_name("heard")
    for times in (1, 2):
        for _ in range(2):
            awake.hold()
        qtbot.waitUntil(lambda: len(asleep()) == 1, timeout=20_000)
        assert heard.read_text().splitlines() == [f"-d -w {os.getpid()}"] * times
        for _ in range(2):
            awake.release()
        assert asleep() == []
    assert caplog.text == ""


def test_a_macos_without_it_costs_a_line(qtbot, monkeypatch, tmp_path, caplog):
    monkeypatch.setenv("PATH", str(tmp_path))
    awake = KeepAwake(platform="darwin")
    awake.hold()
    qtbot.waitUntil(lambda: "switch it off by hand: caffeinate cannot be started" in caplog.text, timeout=20_000)
    awake.release()


def test_a_caffeinate_that_ends_costs_a_line(qtbot, caffeinate, caplog):
    caffeinate.write_text("#!/bin/sh\nexit 3\n")
    awake = KeepAwake(platform="darwin")
    awake.hold()
    qtbot.waitUntil(lambda: "switch it off by hand: caffeinate ended with 3" in caplog.text, timeout=20_000)
    awake.release()


def test_an_unknown_system_is_asked_nothing(caplog):
    awake = KeepAwake(platform="sunos5")
    awake.hold()
    awake.release()
    assert caplog.text == ""
