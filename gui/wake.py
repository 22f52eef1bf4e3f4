"""Keeps the screen saver away while the picture covers a display.

Linux only, by the desktop's own service (`org.freedesktop.ScreenSaver` on D-Bus: GNOME, KDE, Xfce, Cinnamon and others
have it). It holds for as long as the connection on which it was asked for, so it ends with this process, however that
ends.
"""

from __future__ import annotations

import logging
import os
import sys
from pathlib import Path

from PySide6.QtCore import QObject

try:
    from PySide6.QtDBus import QDBusConnection, QDBusMessage, QDBusPendingCallWatcher
except ImportError:  # not part of every build of Qt
    QDBusConnection = None

log = logging.getLogger(__name__)

_CONNECTION = "cymatic-awake"
_SERVICE, _PATH = "org.freedesktop.ScreenSaver", "/org/freedesktop/ScreenSaver"


class KeepAwake(QObject):
    """Asks the desktop not to blank the screen from `hold` to `release`. Qt thread; nobody waits for the answer."""

    def __init__(self, parent: QObject | None = None) -> None:
        super().__init__(parent)
        self._asked: QObject | None = None

    def hold(self) -> None:
        """Keeps the screen saver away. Safe to call twice."""
        if self._asked is not None or not _bus_is_there():
            return
        bus = QDBusConnection.connectToBus(QDBusConnection.BusType.SessionBus, _CONNECTION)
        message = QDBusMessage.createMethodCall(_SERVICE, _PATH, _SERVICE, "Inhibit")
        message.setArguments(["cymatic", "The output covers a display"])
        self._asked = QDBusPendingCallWatcher(bus.asyncCall(message), self)
        self._asked.finished.connect(_note_refusal)

    def release(self) -> None:
        """Lets it come again. Safe to call twice."""
        if self._asked is not None:
            self._asked.finished.disconnect(_note_refusal)
            self._asked.deleteLater()
            self._asked = None
            QDBusConnection.disconnectFromBus(_CONNECTION)


def _note_refusal(watcher: QDBusPendingCallWatcher) -> None:
    reply = watcher.reply()
    if reply.type() != QDBusMessage.MessageType.ReplyMessage:
        log.warning("the screen saver is not held off, switch it off by hand: %s", reply.errorMessage())


def _bus_is_there() -> bool:
    """Whether the user has a session bus; Qt would start one of its own, to which nobody listens."""
    if not sys.platform.startswith("linux") or QDBusConnection is None:
        return False
    runtime = os.environ.get("XDG_RUNTIME_DIR")
    return bool(os.environ.get("DBUS_SESSION_BUS_ADDRESS") or (runtime and (Path(runtime) / "bus").exists()))
