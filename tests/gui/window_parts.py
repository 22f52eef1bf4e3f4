"""What the tests of the control window share: the window on a made-up stage.

The fixtures are imported where they are wanted; by their names in brackets the tests ask for them.
"""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from fake_stage import FakeStage
from PySide6.QtCore import QTimer
from PySide6.QtWidgets import QApplication, QWidget
from window_watch import settle

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


def active_timers(window: QWidget) -> list[QTimer]:
    """Timers anywhere inside a window that tick."""
    return [timer for timer in window.findChildren(QTimer) if timer.isActive()]


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
