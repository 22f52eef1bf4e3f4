"""What the tests of the control window share: the window on a made-up stage, and a watch for what it leaves behind.

The fixtures are imported where they are wanted; by their names in brackets the tests ask for them.
"""

from __future__ import annotations

import gc
import threading
from collections.abc import Iterator

import pytest
from fake_stage import FakeStage
from PySide6.QtCore import QEvent, QProcess, QThread, QTimer
from PySide6.QtWidgets import QApplication, QWidget
from shiboken6 import isValid

from gui.commands import Commands
from gui.control import ControlWindow
from gui.memory import Memory


class Output:
    """Remembers what the keys asked of the output window."""

    def __init__(self) -> None:
        self.asked: list[str] = []

    def __getattr__(self, name: str):
        return lambda: self.asked.append(name)


def open_window(stage: FakeStage, output: Output, memory: Memory | None = None, size=(1280, 800)) -> ControlWindow:
    """The window, shown, whose timer stands still: the test says when."""
    window = ControlWindow(stage, lambda: None, lambda: 34.2, memory)
    window.commands = Commands(stage, output, window, quit_run=window.closed.emit)
    window._timer.stop()
    window.resize(*size)
    window.show()
    QApplication.processEvents()
    return window


def close_window(window: ControlWindow) -> None:
    """As `gui.app` does."""
    window.finish()
    window.deleteLater()
    settle()


def settle() -> None:
    """Lets everything that is to be deleted go."""
    for _ in range(3):
        QApplication.sendPostedEvents(None, QEvent.Type.DeferredDelete)
        QApplication.processEvents()


def alive() -> dict[str, set[int]]:
    """What runs or stands now, by kind, as identities: threads, timers that tick, processes, windows."""
    gc.collect()
    found: dict[str, set[int]] = {"thread": {id(thread) for thread in threading.enumerate()}}
    for thing in gc.get_objects():
        kind = next((kind for kind in (QTimer, QThread, QProcess) if issubclass(type(thing), kind)), None)
        if kind is None or not isValid(thing):
            continue
        if kind is QTimer:
            running = thing.isActive()
        elif kind is QThread:
            running = thing.isRunning() and thing is not QApplication.instance().thread()
        else:
            running = thing.state() != QProcess.ProcessState.NotRunning
        if running:
            found.setdefault(kind.__name__, set()).add(id(thing))
    found["window"] = {id(widget) for widget in QApplication.topLevelWidgets() if not widget.isHidden()}
    return found


def left_behind(before: dict[str, set[int]]) -> list[str]:
    """What is alive now and was not then, a word each."""
    now = alive()
    return [kind for kind in sorted(now) for _ in now[kind] - before.get(kind, set())]


def active_timers(window: QWidget) -> list[QTimer]:
    """Timers anywhere inside a window that tick."""
    return [timer for timer in window.findChildren(QTimer) if timer.isActive()]


@pytest.fixture(autouse=True)
def nothing_of_a_window_is_left() -> Iterator[None]:
    """Fails the test that leaves a thread, a timer, a process or a window behind."""
    before = alive()
    yield
    settle()
    assert left_behind(before) == []


@pytest.fixture(scope="session", name="qapp_args")
def offscreen() -> list[str]:
    """For pytest-qt: an application that needs no display."""
    return ["cymatic", "-platform", "offscreen"]


@pytest.fixture(name="stage")
def made_up_stage() -> FakeStage:
    """A stage that stands still."""
    return FakeStage(36, 64, play=False)


@pytest.fixture(name="output")
def output_that_remembers() -> Output:
    """In the place of the output window."""
    return Output()


@pytest.fixture(name="window")
def control_window(qapp: QApplication, stage: FakeStage, output: Output) -> Iterator[ControlWindow]:
    """The control window, shown, whose timer stands still."""
    window = open_window(stage, output)
    yield window
    close_window(window)
