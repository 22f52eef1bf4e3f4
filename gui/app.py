"""Runs the windows of a show until the user, a signal or the clock ends it."""

from __future__ import annotations

import logging
import signal
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType, TracebackType
from typing import TYPE_CHECKING

from PySide6.QtCore import QEvent, QMessageLogContext, QTimer, QtMsgType, qInstallMessageHandler
from PySide6.QtGui import QSurfaceFormat
from PySide6.QtWidgets import QApplication

from gui import style
from gui.commands import Commands
from gui.control import ControlWindow
from gui.displays import PlaceFile
from gui.memory import Memory
from gui.output import OutputWindow

if TYPE_CHECKING:
    from engine.slot import Frame
    from engine.view import StageView

__all__ = ["run"]

log = logging.getLogger(__name__)

_QT_LEVELS = {
    QtMsgType.QtDebugMsg: logging.DEBUG,
    QtMsgType.QtInfoMsg: logging.INFO,
    QtMsgType.QtWarningMsg: logging.WARNING,
    QtMsgType.QtCriticalMsg: logging.ERROR,
    QtMsgType.QtFatalMsg: logging.CRITICAL,
}


def run(
    stage: StageView,
    *,
    fullscreen: bool = False,
    display: str | None = None,
    place: Path | None = None,
    seconds: float | None = None,
    on_frame: Callable[[Frame], None] | None = None,
    memory: Path | None = None,
) -> int:
    """Shows `stage` until a window is closed twice, Ctrl-C, SIGTERM, or `seconds` have passed; returns the exit code 0.

    Call it on the main thread. `display` is the name or 1-based number of the display for the output, `place` the file
    that remembers it, `memory` the one for the control window and the words typed there (None: nothing is remembered);
    `on_frame` hears every new frame once, on this thread. The stage is moved on (`tick`) while this runs and is left
    running. Raises `CymaticError` for a display that is not there; when it returns, no window, timer or OpenGL object
    is left.
    """
    with _qt_messages_to_log(), _slot_errors_to_log():
        app = _application()

        def end() -> None:
            # Through the event queue: an exit before the loop has begun would be forgotten. And not quit(): that asks
            # the windows to close, and they answer by asking for the end.
            QTimer.singleShot(0, lambda: app.exit(0))

        def take(frame: Frame) -> None:
            control.times.take(frame)
            if on_frame is not None:
                on_frame(frame)
            control.follow()

        output = OutputWindow(stage, display=display, places=PlaceFile(place), on_frame=take)
        control = ControlWindow(
            stage, lambda: output.frame, lambda: output.latency_ms, Memory(memory), lambda: output.flashes_limited
        )
        commands = Commands(stage, output, control, quit_run=end)
        control.commands = commands
        output.surface.on_key = commands.press
        output.closed.connect(commands.end)
        control.closed.connect(commands.end)
        clock = QTimer()
        clock.setSingleShot(True)
        clock.timeout.connect(end)
        with _signals_end(end):
            try:
                control.show()
                output.start(fullscreen=fullscreen)
                if not fullscreen:
                    control.raise_()
                    control.activateWindow()
                if seconds is not None:
                    clock.start(round(1000 * seconds))
                return app.exec()
            finally:
                clock.stop()
                output.stop()
                control.finish()
                control.deleteLater()
                output.deleteLater()
                app.sendPostedEvents(None, QEvent.Type.DeferredDelete)
                app.processEvents()


def _application() -> QApplication:
    """The one application object; the surface format must be set before it is made."""
    existing = QApplication.instance()
    if isinstance(existing, QApplication):
        style.apply(existing)
        return existing
    surface = QSurfaceFormat.defaultFormat()
    surface.setSwapInterval(1)
    surface.setSwapBehavior(QSurfaceFormat.SwapBehavior.DoubleBuffer)
    QSurfaceFormat.setDefaultFormat(surface)
    app = QApplication(["cymatic"])
    app.setApplicationName("cymatic")
    app.setQuitOnLastWindowClosed(False)  # the run ends by `closed`, so that the teardown has one path
    style.apply(app)
    return app


@contextmanager
def _signals_end(end: Callable[[], None]) -> Iterator[None]:
    """Ctrl-C and SIGTERM end the run. Python sees a signal between two slots; the timers give it the chance."""

    def heard(number: int, frame: FrameType | None) -> None:
        log.info("ending on signal %s", signal.Signals(number).name)
        end()

    before = {number: signal.signal(number, heard) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


@contextmanager
def _qt_messages_to_log() -> Iterator[None]:
    """What Qt says goes to the log `gui.qt`."""
    qt_log = logging.getLogger("gui.qt")

    def take(kind: QtMsgType, context: QMessageLogContext, message: str) -> None:
        qt_log.log(_QT_LEVELS.get(kind, logging.WARNING), "%s", message)

    before = qInstallMessageHandler(take)
    try:
        yield
    finally:
        qInstallMessageHandler(before)


@contextmanager
def _slot_errors_to_log() -> Iterator[None]:
    """An error in a slot must not reach the audience: each place is logged once, the picture stays."""
    seen: set[tuple[str, int]] = set()
    before = sys.excepthook

    def take(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
        last = trace
        while last is not None and last.tb_next is not None:
            last = last.tb_next
        place = (last.tb_frame.f_code.co_filename, last.tb_lineno) if last is not None else ("", 0)
        if place not in seen:
            seen.add(place)
            log.error("a window failed and goes on: %s", error, exc_info=(kind, error, trace))

    sys.excepthook = take
    try:
        yield
    finally:
        sys.excepthook = before
