"""What the windows remember from one show to the next: where they stood, and the words that were typed.

Kept as an INI file; without a path nothing is remembered. Qt thread. A file that cannot be read or written is no reason
to stop a show: what is in it is then forgotten.
"""

from __future__ import annotations

from pathlib import Path

from PySide6.QtCore import QRect, QSettings, Qt
from PySide6.QtGui import QGuiApplication
from PySide6.QtWidgets import QWidget

PROMPTS = 30


class Memory:
    """One file. `path` None: remembers while the program runs."""

    def __init__(self, path: Path | None = None) -> None:
        self._settings = None if path is None else QSettings(str(path), QSettings.Format.IniFormat)
        self._prompts: list[str] = []
        if self._settings is not None:
            kept = self._settings.value("prompts", [])
            lines = [kept] if isinstance(kept, str) else kept if isinstance(kept, list) else []
            self._prompts = [line for line in lines if isinstance(line, str) and line][:PROMPTS]

    @property
    def prompts(self) -> list[str]:
        """The words that were typed, newest first, each once."""
        return list(self._prompts)

    def add_prompt(self, words: str) -> None:
        """These words were typed now."""
        if words:
            self._prompts = [words, *(old for old in self._prompts if old != words)][:PROMPTS]
            if self._settings is not None:
                self._settings.setValue("prompts", self._prompts)

    def place(self, window: QWidget, name: str) -> bool:
        """Puts a window where it stood; False where that is not known or no display shows it any more."""
        kept = None if self._settings is None else self._settings.value(f"{name}/place")
        if not isinstance(kept, QRect) or kept.isEmpty():
            return False
        if not any(_shows(screen.availableGeometry(), kept) for screen in QGuiApplication.screens()):
            return False
        window.setGeometry(kept)
        if self._settings is not None and self._settings.value(f"{name}/maximized") in (True, "true"):
            window.setWindowState(Qt.WindowState.WindowMaximized)
        return True

    def keep_place(self, window: QWidget, name: str) -> None:
        """Remembers where a window stands."""
        if self._settings is not None:
            normal = window.normalGeometry()
            self._settings.setValue(f"{name}/place", normal if normal.isValid() else window.geometry())
            self._settings.setValue(f"{name}/maximized", window.isMaximized())
            self._settings.sync()


def _shows(screen: QRect, window: QRect) -> bool:
    """Whether enough of a window is on a screen to be seen and moved."""
    common = screen.intersected(window)
    return common.width() * common.height() * 2 >= window.width() * window.height()
