"""Keeps the screen saver away while the picture covers a display.

Linux only, by the desktop's own service (`org.freedesktop.ScreenSaver` on D-Bus: GNOME, KDE, Xfce, Cinnamon and others
have it). It ends by itself when this process does.
"""

from __future__ import annotations

import logging
import os
import sys
from pathlib import Path

from PySide6.QtCore import QObject, Slot

try:
    from PySide6.QtDBus import QDBusConnection, QDBusMessage, QDBusPendingCallWatcher
except ImportError:  # not part of every build of Qt
    QDBusConnection = None

log = logging.getLogger(__name__)

_SERVICE, _PATH = "org.freedesktop.ScreenSaver", "/org/freedesktop/ScreenSaver"


class KeepAwake(QObject):
    """Asks the desktop not to blank the screen from `hold` to `release`. Qt thread; neither ever waits."""

    def __init__(self, parent: QObject | None = None) -> None:
        super().__init__(parent)
        self._wanted = False
        self._cookie: int | None = None
        self._asking: QObject | None = None

    @property
    def held(self) -> bool:
        """True when the desktop has said yes."""
        return self._cookie is not None

    def hold(self) -> None:
        """Keeps the screen saver away. Safe to call twice."""
        self._wanted = True
        if self._cookie is None and self._asking is None and (bus := _session_bus()) is not None:
            message = QDBusMessage.createMethodCall(_SERVICE, _PATH, _SERVICE, "Inhibit")
            message.setArguments(["cymatic", "The output covers a display"])
            self._asking = QDBusPendingCallWatcher(bus.asyncCall(message), self)
            self._asking.finished.connect(self._answered)

    def release(self) -> None:
        """Lets it come again. Safe to call twice."""
        self._wanted = False
        if self._cookie is not None and (bus := _session_bus()) is not None:
            message = QDBusMessage.createMethodCall(_SERVICE, _PATH, _SERVICE, "UnInhibit")
            message.setArguments([self._cookie])
            bus.asyncCall(message)
        self._cookie = None

    @Slot("QDBusPendingCallWatcher*")
    def _answered(self, watcher: QDBusPendingCallWatcher) -> None:
        self._asking = None
        reply = watcher.reply()
        watcher.deleteLater()
        answer = reply.arguments()
        if reply.type() == QDBusMessage.MessageType.ReplyMessage and answer:
            self._cookie = int(answer[0])
            if not self._wanted:
                self.release()
        else:
            log.warning("the screen saver cannot be held off, switch it off by hand: %s", reply.errorMessage())


def _session_bus() -> QDBusConnection | None:
    """The user's bus; None where there is none. Qt would start one of its own that nobody listens to."""
    here = os.environ.get("DBUS_SESSION_BUS_ADDRESS")
    runtime = os.environ.get("XDG_RUNTIME_DIR")
    if not sys.platform.startswith("linux") or QDBusConnection is None:
        return None
    if not here and not (runtime and (Path(runtime) / "bus").exists()):
        return None
    bus = QDBusConnection.sessionBus()
    return bus if bus.isConnected() else None
