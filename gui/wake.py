"""Keeps the screen saver away while the picture covers a display, on each system by the means it has.

Whatever was asked for ends with this process, however that ends.
"""

from __future__ import annotations

import ctypes
import logging
import os
import sys
from pathlib import Path

from PySide6.QtCore import QObject, QProcess

try:
    from PySide6.QtDBus import QDBusConnection, QDBusMessage, QDBusPendingCallWatcher
except ImportError:  # not part of every build of Qt
    QDBusConnection = None

log = logging.getLogger(__name__)

_CONNECTION = "cymatic-awake"
_SERVICE, _PATH = "org.freedesktop.ScreenSaver", "/org/freedesktop/ScreenSaver"
_CONTINUOUS, _DISPLAY, _SYSTEM = 0x80000000, 0x2, 0x1  # ES_... of winbase.h
_KILL_MS = 2000


class KeepAwake(QObject):
    """Asks the system not to blank the screen from `hold` to `release`. Qt thread; nobody waits for the answer.

    `platform` is what Python calls the system; on one that is not known nothing is asked.
    """

    def __init__(self, parent: QObject | None = None, platform: str = sys.platform) -> None:
        super().__init__(parent)
        ways = {"linux": Desktop, "win32": ExecutionState, "darwin": Caffeinate}
        self._way = ways[platform](self) if platform in ways else None
        self._held = False

    def hold(self) -> None:
        """Keeps the screen saver away. Safe to call twice."""
        if self._way is not None and not self._held:
            self._held = True
            self._way.hold()

    def release(self) -> None:
        """Lets it come again. Safe to call twice."""
        if self._way is not None and self._held:
            self._held = False
            self._way.release()


class Desktop(QObject):
    """Linux: the desktop's own service on D-Bus (GNOME, KDE, Xfce, Cinnamon and others have it).

    It holds for as long as the connection on which it was asked for.
    """

    def __init__(self, parent: QObject) -> None:
        super().__init__(parent)
        self._asked: QObject | None = None

    def hold(self) -> None:
        """Asks, where there is somebody to ask."""
        if not _bus_is_there():
            return
        bus = QDBusConnection.connectToBus(QDBusConnection.BusType.SessionBus, _CONNECTION)
        message = QDBusMessage.createMethodCall(_SERVICE, _PATH, _SERVICE, "Inhibit")
        message.setArguments(["cymatic", "The output covers a display"])
        self._asked = QDBusPendingCallWatcher(bus.asyncCall(message), self)
        self._asked.finished.connect(_note_answer)

    def release(self) -> None:
        """Ends the connection."""
        if self._asked is not None:
            self._asked.finished.disconnect(_note_answer)
            self._asked.deleteLater()
            self._asked = None
            QDBusConnection.disconnectFromBus(_CONNECTION)


class ExecutionState(QObject):
    """Windows: the execution state of this thread."""

    def hold(self) -> None:
        """Display and system are in use from now on."""
        if not _set_execution_state(_CONTINUOUS | _SYSTEM | _DISPLAY):
            _note_refusal("Windows refuses")

    def release(self) -> None:
        """They are no more."""
        _set_execution_state(_CONTINUOUS)


class Caffeinate(QObject):
    """macOS: the program `caffeinate`, which ends by itself should this process end without `release`."""

    def __init__(self, parent: QObject) -> None:
        super().__init__(parent)
        self._process: QProcess | None = None

    def hold(self) -> None:
        """Starts it."""
        self._process = QProcess(self)
        self._process.errorOccurred.connect(self._failed)
        self._process.finished.connect(self._ended)
        self._process.start("caffeinate", ["-d", "-w", str(os.getpid())])

    def release(self) -> None:
        """Stops it."""
        process, self._process = self._process, None
        if process is not None:
            process.errorOccurred.disconnect(self._failed)
            process.finished.disconnect(self._ended)
            process.kill()
            process.waitForFinished(_KILL_MS)
            process.deleteLater()

    def _failed(self, error: QProcess.ProcessError) -> None:
        if error == QProcess.ProcessError.FailedToStart:
            _note_refusal("caffeinate cannot be started")

    def _ended(self, code: int) -> None:
        _note_refusal(f"caffeinate ended with {code}")


def _note_answer(watcher: QDBusPendingCallWatcher) -> None:
    reply = watcher.reply()
    if reply.type() != QDBusMessage.MessageType.ReplyMessage:
        _note_refusal(reply.errorMessage())


def _note_refusal(why: str) -> None:
    log.warning("the screen saver is not held off, switch it off by hand: %s", why)


def _bus_is_there() -> bool:
    """Whether the user has a session bus; Qt would start one of its own, to which nobody listens."""
    if QDBusConnection is None:
        return False
    runtime = os.environ.get("XDG_RUNTIME_DIR")
    return bool(os.environ.get("DBUS_SESSION_BUS_ADDRESS") or (runtime and (Path(runtime) / "bus").exists()))


def _set_execution_state(state: int) -> int:
    """The state before, or 0 where Windows refuses."""
    return ctypes.windll.kernel32.SetThreadExecutionState(ctypes.c_uint(state))
