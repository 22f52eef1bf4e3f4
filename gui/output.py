"""The output window: what the audience sees.

It owns one vsynced surface and no picture of its own making. A short timer asks the stage for the newest frame and
moves the stage on; `frameSwapped` asks again at once, so with vsync a new frame is taken right after the last one was
shown. Paint events drive nothing: a window that is hidden or minimised stops painting, and the stage goes on.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable
from statistics import median
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray
from PySide6.QtCore import QObject, QRect, QSize, Qt, QTimer, Signal
from PySide6.QtGui import QGuiApplication, QScreen

from engine.errors import CymaticError
from gui import testcard
from gui.surface import SIZINGS, Picture, open_surface

if TYPE_CHECKING:
    from engine.slot import Frame
    from engine.view import StageView

PULSE_MS = 4
"""How often the stage is asked for a newer frame: a quarter of a 60 Hz frame, well under what an eye can tell."""
TICK_S = 1 / 120
"""Least time between two ticks of the stage."""
BAR_STEP_S = 1 / 60
"""The test card's moving bar goes in steps of this, so that a free-running surface does not repaint without end."""

_MINIMUM_SIZE = QSize(160, 90)


class OutputWindow(QObject):
    """One surface on one display. All methods on the Qt thread.

    `display`: 1-based number of the display, or None for the first that is not the primary one (full screen) or
    wherever the desktop puts a window. `on_frame` hears every new frame once. Raises `CymaticError` for a display that
    is not there.
    """

    closed = Signal()
    """The user asked to close the window."""

    def __init__(
        self, stage: StageView, *, display: int | None = None, on_frame: Callable[[Frame], None] | None = None
    ) -> None:
        super().__init__()
        choose_screen(display)
        self._display = display
        self._stage = stage
        self._on_frame = on_frame
        self._frame: Frame | None = None
        self._shown: Frame | None = None
        self._picture: Picture | None = None
        self._card: tuple[object, NDArray[np.uint8]] | None = None
        self._windowed: QRect | None = None
        self._ticked_at = 0.0
        self._timed = 0
        self._latencies: deque[float] = deque(maxlen=60)
        self.sizing = SIZINGS[0]

        self.surface = open_surface()
        self.surface.setTitle("cymatic")
        self.surface.setMinimumSize(_MINIMUM_SIZE)
        self.surface.on_double_click = self.toggle_fullscreen
        self.surface.closed.connect(self.closed)
        self.surface.frameSwapped.connect(self._swapped)
        self._pulse_timer = QTimer(self)
        self._pulse_timer.setTimerType(Qt.TimerType.PreciseTimer)
        self._pulse_timer.setInterval(PULSE_MS)
        self._pulse_timer.timeout.connect(self.pulse)

    @property
    def frame(self) -> Frame | None:
        """The newest frame that came, whether or not the audience sees it; None before the first."""
        return self._frame

    @property
    def latency_ms(self) -> float | None:
        """Newest sound sample to the picture handed to the display, median of the last 60 pictures; None before any."""
        return 1e3 * median(self._latencies) if self._latencies else None

    def start(self, *, fullscreen: bool) -> None:
        """Shows the window and begins to move the stage."""
        height, width = self._stage.image_size
        screen = choose_screen(self._display) if self._display or fullscreen else QGuiApplication.primaryScreen()
        room = screen.availableGeometry()
        scale = min(960 / width, 0.75 * room.width() / width, 0.75 * room.height() / height)
        size = QSize(round(width * scale), round(height * scale)).expandedTo(_MINIMUM_SIZE)
        if self._display or fullscreen:
            self.surface.setScreen(screen)
            self.surface.setPosition(room.center() - QRect(0, 0, size.width(), size.height()).center())
        self.surface.resize(size)
        if fullscreen:
            self.toggle_fullscreen()
        else:
            self.surface.show()
        self._pulse_timer.start()

    def stop(self) -> None:
        """Stops moving the stage and frees the surface. Safe to call twice."""
        self._pulse_timer.stop()
        if self._picture is not None or self.surface.handle() is not None:
            self.surface.frameSwapped.disconnect(self._swapped)
            self.surface.release()
            self._picture = None

    @property
    def fullscreen(self) -> bool:
        """True while the window covers its display."""
        return self._windowed is not None

    def toggle_fullscreen(self) -> None:
        """Covers the display, without a cursor; or goes back to the window as it was."""
        if self.fullscreen:
            self.leave_fullscreen()
            return
        self._windowed = self.surface.geometry()
        self.surface.setGeometry(self._screen().geometry())  # also where no window manager listens
        self.surface.setCursor(Qt.CursorShape.BlankCursor)
        self.surface.showFullScreen()

    def leave_fullscreen(self) -> None:
        """Back to a window; nothing happens when it is one."""
        if self._windowed is None:
            return
        geometry, self._windowed = self._windowed, None
        self.surface.unsetCursor()
        self.surface.showNormal()
        self.surface.setGeometry(geometry)

    def next_sizing(self) -> None:
        """Fit, fill, stretch, and round again."""
        self.sizing = SIZINGS[(SIZINGS.index(self.sizing) + 1) % len(SIZINGS)]

    def pulse(self) -> None:
        """Takes a newer frame if there is one, repaints if anything changed, and moves the stage on."""
        frame = self._stage.newest_frame()
        if frame is not None:
            self._frame = frame
            if self._on_frame is not None:
                self._on_frame(frame)
        picture = self._compose()
        if not picture.same_as(self._picture):
            self._picture = picture
            self.surface.show_picture(picture)
        now = time.perf_counter()
        if now - self._ticked_at >= TICK_S:
            self._ticked_at = now
            self._stage.tick()

    def _swapped(self) -> None:
        shown, picture = self._shown, self._picture
        painted = shown is not None and picture is not None and picture.rgba is shown.rgba
        if painted and shown.index != self._timed:
            self._timed = shown.index
            self._latencies.append(time.perf_counter() - shown.captured_at)
        self.pulse()

    def _compose(self) -> Picture:
        """What the audience sees now, by the rule of `engine.present`: blackout wins, the test card is not faded.

        The level is left to the surface, so that a fade costs no copy of the picture.
        """
        desk = self._stage.desk
        level = 0.0 if desk.get("blackout") else float(desk.get("master"))
        if desk.get("testcard"):
            steps = time.perf_counter() // BAR_STEP_S
            level = 0.0 if desk.get("blackout") else 1.0
            return Picture(self._test_card(), level, "stretch", testcard.moving_bar(steps * BAR_STEP_S))
        if self._shown is None or not desk.get("freeze"):
            self._shown = self._frame
        if self._shown is None:
            return Picture(self._loading_card(), level, "stretch")
        return Picture(self._shown.rgba, level, self.sizing)

    def _screen(self) -> QScreen:
        # Not `surface.screen()`: PySide makes the screen a child of the window that was asked, and drops it with it.
        return QGuiApplication.screenAt(self.surface.geometry().center()) or QGuiApplication.primaryScreen()

    def _pixels(self) -> tuple[int, int]:
        ratio = self.surface.devicePixelRatio()
        return round(self.surface.width() * ratio), round(self.surface.height() * ratio)

    def _test_card(self) -> NDArray[np.uint8]:
        screen = self._screen()
        key = ("test", *self._pixels(), display_name(screen), screen.refreshRate())
        if self._card is None or self._card[0] != key:
            self._card = key, testcard.draw_test_card(*key[1:])
        return self._card[1]

    def _loading_card(self) -> NDArray[np.uint8]:
        key = ("loading", *self._pixels(), loading_line(self._stage))
        if self._card is None or self._card[0] != key:
            self._card = key, testcard.draw_loading_card(*key[1:])
        return self._card[1]


def loading_line(stage: StageView) -> str:
    """One line that says what the first frame is waiting for."""
    status = stage.status
    if status.get("state") == "error":
        return str(status.get("error") or "The engine stopped and is being started again")
    if status.get("state") == "playing":
        return "Waiting for the first picture"
    return "Loading"


def display_name(screen: QScreen) -> str:
    """What the display calls itself, e.g. "HDMI-1"."""
    return screen.name() or screen.model() or "Display"


def choose_screen(display: int | None) -> QScreen:
    """The display of that 1-based number; None gives the first that is not the primary one, if there is one.

    Raises `CymaticError`, which lists the displays.
    """
    screens = QGuiApplication.screens()
    if display is None:
        primary = QGuiApplication.primaryScreen()
        return next((screen for screen in screens if screen is not primary), primary)
    if not 1 <= display <= len(screens):
        sizes = (f"{i} ({display_name(s)}, {s.size().width()}×{s.size().height()})" for i, s in enumerate(screens, 1))
        raise CymaticError(f"display {display} is not there: choose {', '.join(sizes)}")
    return screens[display - 1]
