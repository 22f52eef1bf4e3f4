"""What the windows ask of other processes: nothing that hangs, ends badly or cannot be started holds a button."""

from __future__ import annotations

import json
import sys

import psutil
import pytest
from PySide6.QtCore import QProcess
from PySide6.QtWidgets import QMenu, QWidget
from window_parts import made_up_stage  # noqa: F401

from gui import diagnostics, inputs
from gui.diagnostics import DiagnosticsPage
from gui.errand import Errand
from gui.inputs import Inputs

NOWHERE = ("/no/such/program",)
HANGING = (sys.executable, "-c", "import time; time.sleep(600)")
FINDINGS = json.dumps([{"part": "sound", "state": "ok", "found": "2 inputs", "advice": ""}])


def saying(out: str, err: str = "") -> tuple[str, ...]:
    return (sys.executable, "-c", f"import sys; sys.stdout.write({out!r}); sys.stderr.write({err!r})")


@pytest.fixture
def told() -> list[tuple[bytes, str]]:
    return []


@pytest.fixture
def errand(qapp, told):
    """Makes an errand that notes what comes back."""
    parent = QWidget()
    made = []

    def make(command: tuple[str, ...], seconds: float = 60.0) -> Errand:
        made.append(Errand(parent, command, seconds, "too late", lambda out, wrong: told.append((out, wrong))))
        return made[-1]

    yield make
    for errand in made:
        errand.stop()
    parent.deleteLater()


def test_what_was_written_and_what_was_wrong_come_back_once(errand, told, qtbot):
    for command in (saying("out"), saying("", "Traceback\nError: no sound\n"), NOWHERE):
        running = errand(command)
        running.begin()
        qtbot.waitUntil(lambda running=running: not running.running, timeout=30_000)
    assert told == [(b"out", ""), (b"", "Error: no sound"), (b"", "/no/such/program cannot be started")]


def test_one_that_hangs_is_killed_at_its_deadline(errand, told, qtbot):
    running = errand(HANGING, 0.5)
    running.begin()
    process = psutil.Process(running.findChild(QProcess).processId())
    qtbot.waitUntil(lambda: not running.running, timeout=30_000)
    assert told == [(b"", "too late")]
    qtbot.waitUntil(lambda: not process.is_running(), timeout=30_000)
    running.begin()
    assert running.running, "and it may be tried again"


def test_of_one_that_is_begun_anew_or_stopped_nothing_is_heard(errand, told, qtbot):
    running = errand(HANGING)
    running.begin()
    first = psutil.Process(running.findChild(QProcess).processId())
    running.begin()
    qtbot.waitUntil(lambda: not first.is_running(), timeout=30_000)
    running.stop()
    running.stop()
    assert not running.running
    assert told == []


@pytest.fixture
def menus(monkeypatch):
    """What the menu of inputs would say, instead of a menu that waits for a click."""
    said = []
    monkeypatch.setattr(Inputs, "menu_of", lambda self, found, wrong: said.append((found, wrong)) or QMenu(self))
    return said


@pytest.mark.parametrize("hangs", [True, False], ids=["hangs", "cannot be started"])
def test_the_inputs_button_works_again_and_says_why(stage, qtbot, menus, hangs):
    button = Inputs(stage, HANGING if hangs else NOWHERE, 1.0)
    button.click()
    assert not button.isEnabled()
    qtbot.waitUntil(button.isEnabled, timeout=30_000)
    assert menus == [([], inputs.LATE if hangs else "/no/such/program cannot be started")]
    button.click()
    assert button.errand.running, "a second look"
    button.stop()
    button.deleteLater()


@pytest.mark.parametrize("hangs", [True, False], ids=["hangs", "cannot be started"])
def test_the_doctor_can_be_asked_again_at_any_time(stage, qtbot, hangs):
    window = QWidget()
    page = DiagnosticsPage(window, stage, HANGING if hangs else NOWHERE, 1.0)
    page.open()
    assert page.again.isEnabled(), "while it looks"
    qtbot.waitUntil(lambda: not page.errand.running, timeout=30_000)
    assert page.waiting.text() == (diagnostics.LATE if hangs else "/no/such/program cannot be started")
    page.errand._command = saying(FINDINGS)
    page.again.click()
    assert "looking" in page.waiting.text()
    qtbot.waitUntil(lambda: not page.errand.running, timeout=30_000)
    assert page.findings.itemAt(1).widget().text() == "sound"
    window.deleteLater()
