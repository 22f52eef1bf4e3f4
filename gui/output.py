"""The output window: what the audience sees.

It owns one vsynced surface and no picture of its own making. A short timer asks the stage for the newest frame and
moves the stage on; `frameSwapped` asks again at once, so with vsync a new frame is taken right after the last one was
shown. A new frame is drawn before anything else is done about it. Paint events drive nothing: a window that is hidden
or minimised stops painting, and the stage goes on.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable
from statistics import median
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray
from PySide6.QtCore import QObject, QPoint, QRect, QSize, Qt, QTimer, Signal
from PySide6.QtGui import QGuiApplication, QScreen

from engine.look import Look
from gui import testcard
from gui.displays import Display, PlaceFile, choose_screen
from gui.surface import SIZINGS, Picture, open_surface
from gui.wake import KeepAwake

if TYPE_CHECKING:
    from engine.slot import Frame
    from engine.view import StageView

PULSE_MS = 2
"""How often the stage is asked for a newer frame: half of it is what a picture waits here on average."""
TICK_S = 1 / 120
"""Least time between two ticks of the stage."""
SETTLED_MS = 300
"""By then a desktop has arranged itself after a display came back."""
GLOW_S = 1 / 60
"""A picture that is held back is shown again after so long, though nothing has changed, until all of it is seen."""
BAR_STEP_S = 1 / 60
"""The test card's moving bar goes in steps of this, so that a free-running surface does not repaint without end."""

_MINIMUM_SIZE = QSize(160, 90)


class OutputWindow(QObject):
    """One surface on one display. All methods on the Qt thread.

    `display`: name or 1-based number of the display (`gui.displays.choose_screen`); None for the one that it covered
    last, as `places` remembers it, else the first that is not the primary one (full screen) or wherever the desktop
    puts a window. `on_frame` hears every new frame once. Raises `CymaticError` for a display that is not there.

    When the display that it covers is unplugged, it becomes a window on the primary one, and covers the display again
    when that is back, unless the performer has chosen otherwise meanwhile.
    """

    closed = Signal()
    """The user asked to close the window."""

    def __init__(
        self,
        stage: StageView,
        *,
        display: str | None = None,
        places: PlaceFile | None = None,
        on_frame: Callable[[Frame], None] | None = None,
    ) -> None:
        super().__init__()
        if display is not None:
            choose_screen(display)
        self._display = display
        self._places = places or PlaceFile()
        self._stage = stage
        self._on_frame = on_frame
        self._frame: Frame | None = None
        self._shown: Frame | None = None
        self._picture: Picture | None = None
        self._card: tuple[object, NDArray[np.uint8]] | None = None
        self._windowed: QRect | None = None
        self._covered: Display | None = None
        self._away: Display | None = None  # it was covered when it was unplugged
        self._stopped = False
        self._ticked_at = self._drawn_at = 0.0
        self._timed = 0
        self._latencies: deque[float] = deque(maxlen=60)
        self.sizing = self._places.place.sizing if self._places.place.sizing in SIZINGS else SIZINGS[0]
        self._awake = KeepAwake(self)

        self.surface = open_surface(stage.tell)
        self.surface.setTitle("cymatic")
        self.surface.setMinimumSize(_MINIMUM_SIZE)
        self.surface.on_double_click = self.toggle_fullscreen
        self.surface.closed.connect(self.closed)
        self.surface.frameSwapped.connect(self._swapped)
        self._pulse_timer = QTimer(self)
        self._pulse_timer.setTimerType(Qt.TimerType.PreciseTimer)
        self._pulse_timer.setInterval(PULSE_MS)
        self._pulse_timer.timeout.connect(self._look)

    @property
    def frame(self) -> Frame | None:
        """The newest frame that came, whether or not the audience sees it; None before the first."""
        return self._frame

    @property
    def latency_ms(self) -> float | None:
        """Newest sound sample to the picture handed to the display, median of the last 60 pictures; None before any."""
        return 1e3 * median(self._latencies) if self._latencies else None

    @property
    def flashes_limited(self) -> int:
        """How many pictures were held back so far because they would have flashed on the display."""
        return self.surface.flashes_limited

    def start(self, *, fullscreen: bool) -> None:
        """Shows the window and begins to move the stage."""
        app = QGuiApplication.instance()
        app.screenAdded.connect(self._screen_added)
        app.screenRemoved.connect(self._screen_removed)
        for screen in QGuiApplication.screens():
            screen.geometryChanged.connect(self._screen_reshaped)
        screen = self._first_screen(fullscreen=fullscreen)
        self._lie_on(screen or QGuiApplication.primaryScreen(), move=screen is not None)
        if fullscreen and screen is not None:
            self._cover(screen)
        else:
            self.surface.show()
        self._pulse_timer.start()

    def stop(self) -> None:
        """Stops moving the stage and frees the surface. Safe to call twice."""
        if self._pulse_timer.isActive():
            app = QGuiApplication.instance()
            app.screenAdded.disconnect(self._screen_added)
            app.screenRemoved.disconnect(self._screen_removed)
            for screen in QGuiApplication.screens():
                screen.geometryChanged.disconnect(self._screen_reshaped)
        self._pulse_timer.stop()
        self._awake.release()
        if not self._stopped:
            self._stopped = True
            self.surface.frameSwapped.disconnect(self._swapped)
            self.surface.release()
            self._picture = None

    # -- where it is

    @property
    def fullscreen(self) -> bool:
        """True while the window covers its display."""
        return self._covered is not None

    def toggle_fullscreen(self) -> None:
        """Covers the display, without a cursor; or goes back to the window as it was."""
        if self.fullscreen:
            self.leave_fullscreen()
        else:
            self._cover(self._screen())
            self._places.keep(display=self._covered)

    def leave_fullscreen(self) -> None:
        """Back to a window; nothing happens when it is one."""
        self._away = None
        if self._windowed is None:
            return
        geometry, self._windowed, self._covered = self._windowed, None, None
        self._awake.release()
        self.surface.unsetCursor()
        self.surface.showNormal()
        self.surface.setGeometry(geometry)

    def next_display(self) -> None:
        """On to the next display, covering it or as a window, as it is on this one."""
        screens = QGuiApplication.screens()
        if len(screens) == 1:
            self._stage.tell(f"there is only one display, {Display.of(screens[0]).label}")
            return
        here = Display.of(self._screen())
        at = next((number for number, screen in enumerate(screens) if Display.of(screen) == here), 0)
        screen = screens[(at + 1) % len(screens)]
        if self.fullscreen:
            self.surface.showNormal()  # what covers a display does not let itself be moved
            self._cover(screen)
            self._places.keep(display=self._covered)
        else:
            self._away = None
            self._lie_on(screen)
        self._stage.tell(f"the output is on {Display.of(screen).label}")

    def next_sizing(self) -> None:
        """Fit, fill, stretch, 1:1, and round again."""
        self.sizing = SIZINGS[(SIZINGS.index(self.sizing) + 1) % len(SIZINGS)]
        self._places.keep(sizing=self.sizing)

    def _first_screen(self, *, fullscreen: bool) -> QScreen | None:
        """Where it opens; None where the desktop likes."""
        if self._display is not None:
            return choose_screen(self._display)
        otherwise = choose_screen(None) if fullscreen else None
        last = self._places.place.display
        if last is None:
            return otherwise
        found = last.found(QGuiApplication.screens())
        if found is None:
            opens = Display.of(otherwise or QGuiApplication.primaryScreen()).label
            self._stage.tell(f"display {last.label} is not there: the output opens on {opens}")
        return found or otherwise

    def _lie_on(self, screen: QScreen, *, move: bool = True) -> None:
        """A window of a good size, in the middle of that display if it is to `move` there."""
        height, width = self._stage.image_size
        room = screen.availableGeometry()
        scale = min(960 / width, 0.75 * room.width() / width, 0.75 * room.height() / height)
        size = QSize(round(width * scale), round(height * scale)).expandedTo(_MINIMUM_SIZE)
        if move:
            self.surface.setScreen(screen)
            self.surface.setPosition(room.center() - QRect(QPoint(), size).center())
        self.surface.resize(size)

    def _cover(self, screen: QScreen) -> None:
        if self._windowed is None:
            self._windowed = self.surface.geometry()
        self._covered, self._away = Display.of(screen), None
        self.surface.setScreen(screen)
        self.surface.setGeometry(screen.geometry())  # also where no window manager listens
        self.surface.setCursor(Qt.CursorShape.BlankCursor)
        self.surface.showFullScreen()
        self.surface.raise_()
        self._awake.hold()

    def _screen_removed(self, screen: QScreen) -> None:
        # Qt sees to the windows of that display when this signal is over: what is done to them now is undone then.
        gone = Display.of(screen)
        QTimer.singleShot(0, lambda: self._lost(gone))

    def _lost(self, gone: Display) -> None:
        covered = gone == self._covered
        if not self._pulse_timer.isActive() or not (covered or QGuiApplication.screenAt(self._middle()) is None):
            return
        self.leave_fullscreen()
        home = QGuiApplication.primaryScreen()
        self._lie_on(home)
        self.surface.show()
        if covered:
            self._away = gone
            self._stage.tell(
                f"display {gone.label} is gone: the output is a window on {Display.of(home).label} until it is back"
            )
            self._found_again()  # one that only changed may have been added before it was removed

    def _screen_added(self, screen: QScreen) -> None:
        screen.geometryChanged.connect(self._screen_reshaped)
        QTimer.singleShot(0, self._found_again)

    def _found_again(self) -> None:
        back = self._away.found(QGuiApplication.screens()) if self._away is not None else None
        if back is not None and self._pulse_timer.isActive():
            self._cover(back)
            # Once more when the desktop is done with the change: it may have moved the window after this.
            QTimer.singleShot(SETTLED_MS, self._screen_reshaped)
            self._stage.tell(f"display {Display.of(back).label} is back: the output covers it again")

    def _screen_reshaped(self) -> None:
        if self.fullscreen:
            self.surface.setGeometry(self._screen().geometry())

    def _screen(self) -> QScreen:
        # Not `surface.screen()`: PySide makes the screen a child of the window that was asked, and drops it with it.
        covered = self._covered.found(QGuiApplication.screens()) if self._covered is not None else None
        return covered or QGuiApplication.screenAt(self._middle()) or QGuiApplication.primaryScreen()

    def _middle(self) -> QPoint:
        return self.surface.geometry().center()

    # -- what it shows

    def pulse(self) -> None:
        """Takes a newer frame if there is one, repaints if anything changed, and moves the stage on."""
        self._go_on(self._stage.newest_frame())

    def _look(self) -> None:
        """`pulse`, unless there is neither a newer frame nor time for a tick: between two ticks no control moves."""
        frame = self._stage.newest_frame()
        if frame is not None or time.perf_counter() - self._ticked_at >= TICK_S:
            self._go_on(frame)

    def _go_on(self, frame: Frame | None) -> None:
        if frame is not None:
            self._frame = frame
        picture, now = self._compose(), time.perf_counter()
        glows = self.surface.limiting and now - self._drawn_at >= GLOW_S
        if glows or not picture.same_as(self._picture):
            self._picture, self._drawn_at = picture, now
            self.surface.show_picture(picture)
        if frame is not None and self._on_frame is not None:
            self._on_frame(frame)
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
        limit = bool(desk.get("flash/limit"))
        if desk.get("testcard"):
            steps = time.perf_counter() // BAR_STEP_S
            level = 0.0 if desk.get("blackout") else 1.0
            return Picture(self._test_card(), level, "stretch", testcard.moving_bar(steps * BAR_STEP_S), limit=limit)
        if self._shown is None or not desk.get("freeze"):
            self._shown = self._frame
        if self._shown is None:
            return Picture(self._loading_card(), level, "stretch", limit=limit)
        look = Look.of(desk).moved(self._shown.look)
        return Picture(self._shown.rgba, level, self.sizing, look=look, limit=limit)

    def _pixels(self) -> tuple[int, int]:
        ratio = self.surface.devicePixelRatio()
        return round(self.surface.width() * ratio), round(self.surface.height() * ratio)

    def _test_card(self) -> NDArray[np.uint8]:
        screen = self._screen()
        key = ("test", *self._pixels(), Display.of(screen).label, screen.refreshRate())
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
