"""A short command beside the windows: what it wrote comes back, or why it did not.

A command that asks the sound system hangs as long as that does, so each has a deadline.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

from PySide6.QtCore import QObject, QProcess, QTimer

import engine

KILL_MS = 2000


class Errand(QObject):
    """One command, run as often as it is begun, once at a time. Belongs to the Qt thread and never holds it, but for
    `stop`, which comes before the end of the application.

    `ended` hears what the command wrote to its standard output, and in a line what was wrong: the last one of its
    standard error, that it cannot be started, or `late` when it was not done within `seconds` and was killed.
    """

    def __init__(
        self, parent: QObject, command: Sequence[str], seconds: float, late: str, ended: Callable[[bytes, str], None]
    ) -> None:
        super().__init__(parent)
        self._command, self._late, self._ended = tuple(command), late, ended
        self._process: QProcess | None = None
        self._deadline = QTimer(self)
        self._deadline.setSingleShot(True)
        self._deadline.setInterval(round(1000 * seconds))
        self._deadline.timeout.connect(self._expired)

    @property
    def running(self) -> bool:
        """Whether it was begun and has not ended."""
        return self._process is not None

    def begin(self) -> None:
        """Runs the command; one that still runs is killed, and nothing is heard of it."""
        self._drop()
        self._process = process = QProcess(self)
        process.setWorkingDirectory(str(Path(engine.__file__).parents[1]))
        process.finished.connect(self._finished)
        process.errorOccurred.connect(self._failed)
        self._deadline.start()
        process.start(self._command[0], list(self._command[1:]))

    def stop(self) -> None:
        """Kills the command if it still runs, within `KILL_MS`; nothing is heard of it. Safe to call twice."""
        process = self._drop()
        if process is not None:
            process.waitForFinished(KILL_MS)

    def _drop(self) -> QProcess | None:
        process, self._process = self._process, None
        self._deadline.stop()
        if process is not None:
            process.finished.disconnect(self._finished)
            process.errorOccurred.disconnect(self._failed)
            process.finished.connect(process.deleteLater)
            process.kill()
        return process

    def _finished(self) -> None:
        process = self._process
        assert process is not None
        told = bytes(process.readAllStandardOutput().data())
        lines = bytes(process.readAllStandardError().data()).decode(errors="replace").strip().splitlines()
        self._end(told, lines[-1] if lines else "")

    def _failed(self, error: QProcess.ProcessError) -> None:
        if error == QProcess.ProcessError.FailedToStart:  # all others are followed by `finished`
            self._end(b"", f"{self._command[0]} cannot be started")

    def _end(self, told: bytes, wrong: str) -> None:
        process, self._process = self._process, None
        self._deadline.stop()
        if process is not None:
            process.deleteLater()
        self._ended(told, wrong)

    def _expired(self) -> None:
        self._drop()
        self._ended(b"", self._late)
