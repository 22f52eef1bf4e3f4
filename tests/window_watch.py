"""What a test of windows leaves behind beside processes and shared memory: threads, timers, Qt's processes, windows."""

from __future__ import annotations

import gc
import threading

from PySide6.QtCore import QEvent, QProcess, QThread, QTimer
from PySide6.QtWidgets import QApplication
from shiboken6 import getCppPointer, isValid


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
    found["window"] = {getCppPointer(window)[0] for window in QApplication.allWindows() if window.isVisible()}
    return found


def left_behind(before: dict[str, set[int]]) -> list[str]:
    """What is alive now and was not then, a word each."""
    now = alive()
    return [kind for kind in sorted(now) for _ in now[kind] - before.get(kind, set())]
