"""A desktop's screen saver service on the session bus; says on standard output what it is asked.

python screen_saver.py
"""

from __future__ import annotations

import sys

from PySide6.QtCore import ClassInfo, QCoreApplication, QObject, Slot
from PySide6.QtDBus import QDBusConnection


def say(line: str) -> None:
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


@ClassInfo({"D-Bus Interface": "org.freedesktop.ScreenSaver"})
class ScreenSaver(QObject):
    """Holds off while those who asked for it are on the bus, as the specification wants it."""

    @Slot(str, str, result="uint")
    def Inhibit(self, application: str, reason: str) -> int:
        say(f"held off for {application}")
        return 41

    @Slot(str, str, str)
    def owner_changed(self, name: str, before: str, now: str) -> None:
        if before and not now:
            say("let go")


def main() -> int:
    app = QCoreApplication([])
    saver = ScreenSaver()
    bus = QDBusConnection.sessionBus()
    options = QDBusConnection.RegisterOption.ExportAllSlots
    assert bus.registerObject("/org/freedesktop/ScreenSaver", saver, options)
    assert bus.registerService("org.freedesktop.ScreenSaver")
    bus.interface().serviceOwnerChanged.connect(saver.owner_changed)
    say("ready")
    return app.exec()


if __name__ == "__main__":
    sys.exit(main())
