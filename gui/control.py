"""The control window: what the program hears, what it paints, and everything a performer may touch.

It reads the stage up to thirty times a second, each time when a picture has just been shown and the next is not due;
every widget shows what the desk says and writes to the desk only.
The panels stand in modules of their own. A window that becomes much larger or smaller is built again at another
density, so that it can be read at arm's length on a large display and nothing is cut off on a small one.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TYPE_CHECKING

from PySide6.QtCore import QEvent, Qt, QTimer, Signal
from PySide6.QtGui import QCloseEvent, QKeyEvent, QMouseEvent
from PySide6.QtWidgets import QHBoxLayout, QLayout, QVBoxLayout, QWidget

from gui import style
from gui.activity import Activity, LearnStrip
from gui.board import Board
from gui.commands import PAD_KEYS, Commands
from gui.diagnostics import DiagnosticsPage
from gui.headline import Headline
from gui.hears import Hears
from gui.memory import Memory
from gui.meters import MelPicture
from gui.mixer import Controls, StagePanel
from gui.pads import Pads
from gui.pages import HelpPage, Page
from gui.paints import Paints
from gui.performance import FrameTimes, Performance
from gui.widgets import elastic, say, text

if TYPE_CHECKING:
    from engine.slot import Frame
    from engine.view import StageView

REFRESH_S, SPARING_S = 0.028, 0.056
"""Least time from one look at the stage to the next: a little less than two pictures at 60 a second, and than two at 30
on a machine that holds no more and needs its cores for them."""
IDLE_MS = 100
"""How often it looks where no pictures come."""
SIZE = (1280, 800)
MINIMUM = (1024, 640)
DENSITIES = (0.78, 0.85, 1.0, 1.12, 1.25, 1.45, 1.75, 2.1)
"""How large things are built; the largest that leaves the room of `SIZE` or a little more."""
AIR = 0.8
"""How much of the room that a larger window has goes into larger things: the rest goes into more of them."""
LEFT, RIGHT = 290, 340
"""Widths of the outer columns at 1280×800."""


class ControlWindow(QWidget):
    """Shows a stage.

    `newest` gives the newest frame without taking it away from the output; `latency_ms` is what the output measured,
    `flashes_limited` how many pictures it held back because they would have flashed. `memory` remembers place and
    words. `commands` is set by the owner, which tells `times` of every new frame.
    """

    closed = Signal()
    """The user asked to close the window."""

    def __init__(
        self,
        stage: StageView,
        newest: Callable[[], Frame | None],
        latency_ms: Callable[[], float | None] = lambda: None,
        memory: Memory | None = None,
        flashes_limited: Callable[[], int] = lambda: 0,
    ) -> None:
        super().__init__()
        self._stage, self._newest, self._latency_ms = stage, newest, latency_ms
        self._flashes_limited = flashes_limited
        self._memory = Memory() if memory is None else memory
        self.commands: Commands | None = None
        self.times = FrameTimes()
        self._mel = MelPicture()
        self._pages: dict[str, Page] = {}
        self.setWindowTitle("cymatic · control")
        self.setMinimumSize(*MINIMUM)
        self.setFocusPolicy(Qt.FocusPolicy.StrongFocus)
        self._whole = QVBoxLayout(self)
        self._whole.setContentsMargins(0, 0, 0, 0)
        self._inside: QWidget | None = None
        if not self._memory.place(self, "control"):
            self.resize(*SIZE)
        self._build()
        self._refreshed_at = 0.0
        self._question, self._asked_until = "", 0.0
        self._timer = QTimer(self)
        self._timer.setInterval(IDLE_MS)
        self._timer.timeout.connect(self.refresh)
        self.refresh()
        self._timer.start()

    # what stands where

    def _build(self) -> None:
        """Builds everything at the density of this size; what was there before goes."""
        style.set_density(density_for(self.width(), self.height()))
        self._mel.setParent(None)
        self._stop_processes()
        for page in self._pages.values():
            page.deleteLater()
        self._pages = {}
        if self._inside is not None:
            self._whole.removeWidget(self._inside)
            self._inside.hide()
            self._inside.deleteLater()
        stage = self._stage
        board = self.board = Board(stage)
        board.pointed.connect(self._point)
        self.headline = Headline(stage, board)
        self.hears = Hears(stage, board, self._mel)
        self.performance = Performance(stage, self.times)
        self.paints = Paints(stage, board, self._memory)
        self.pads = Pads(stage, board, PAD_KEYS)
        self.stage_panel = StagePanel(board)
        self.activity = Activity(stage, board)
        self.controls = Controls(board)  # the last: it takes what nobody else wanted
        self.learn_strip = LearnStrip(stage, board)
        self.learn_strip.hide()
        self.learn_strip.done.clicked.connect(self.toggle_learn)
        self.headline.learn.clicked.connect(self.toggle_learn)
        self.headline.diagnose.clicked.connect(self.toggle_diagnostics)
        self.headline.help.clicked.connect(self.toggle_help)

        left = _column(self.hears.widget, self.performance.widget, self.activity.widget, stretch=(1, 0, 0))
        middle = _column(self.paints.widget, self.pads.widget, stretch=(100, 1))
        right = _column(self.stage_panel.widget, self.controls.widget, stretch=(0, 1))
        for column, width in ((left, LEFT), (right, RIGHT)):
            column.setFixedWidth(style.px(width))
        for panel, height in ((self.performance, 156), (self.activity, 132)):
            panel.widget.setFixedHeight(style.px(height))
        columns = QHBoxLayout()
        columns.setSpacing(style.px(style.GAP))
        columns.addWidget(left)
        columns.addWidget(middle, 1)
        columns.addWidget(right)
        self._inside = QWidget()
        inside = QVBoxLayout(self._inside)
        gap = style.px(style.GAP)
        inside.setContentsMargins(gap, gap, gap, style.px(2))
        inside.setSpacing(0)
        inside.addWidget(self.headline.widget)
        inside.addSpacing(gap)
        inside.addLayout(columns, 1)
        inside.addSpacing(style.px(2))
        inside.addLayout(self._footer())
        self._whole.addWidget(self._inside)
        self._balance()
        self.setFocus()  # else the first bar takes the arrow keys

    def _balance(self) -> None:
        """Gives the preview the height that fills its width, and the pads the rest."""
        gap = style.px(style.GAP)
        width = self.width() - style.px(LEFT) - style.px(RIGHT) - 4 * gap
        self.paints.widget.setMaximumHeight(self.paints.best_height(width))

    def _footer(self) -> QLayout:
        self.message = elastic(text("", style.BODY, "muted"))
        line = QHBoxLayout()
        line.setContentsMargins(style.px(4), 0, style.px(4), 0)
        line.addWidget(self.message, 1)
        line.addWidget(self.learn_strip, 1)
        for widget in (self.message, self.learn_strip):
            widget.setFixedHeight(style.px(32))
        return line

    # what happens up to thirty times a second

    def follow(self) -> None:
        """A picture has just been shown: shows the stage as it is now, unless it was shown a moment ago."""
        pause = SPARING_S if self._stage.status.get("quality") else REFRESH_S
        if time.perf_counter() - self._refreshed_at >= pause:
            self.refresh()
            self._timer.start()  # which waits from now on

    def refresh(self) -> None:
        """Shows the stage as it is now."""
        status, now = self._stage.status, time.perf_counter()
        self._refreshed_at = now
        values = self._stage.desk.snapshot()
        self.board.refresh(values)
        self.headline.refresh(status)
        self.hears.refresh(status, now)
        self.performance.refresh(status, self._latency_ms(), now)
        frame = self._newest()
        self.paints.refresh(status, values, None if frame is None else frame.rgba, self._flashes_limited())
        self.pads.refresh()
        self.activity.refresh()
        if self.board.learning:
            self.learn_strip.refresh()
        diagnostics = self._pages.get("diagnostics")
        if isinstance(diagnostics, DiagnosticsPage) and diagnostics.isVisible():
            diagnostics.refresh()
        lines = self._stage.errors
        wrong = status.get("error") or self.board.refused
        if now < self._asked_until:
            say(self.message, self._question, "accent")
        else:
            say(self.message, wrong or (lines[-1] if lines else ""), "error" if wrong else "muted")

    # what the performer does

    def toggle_help(self) -> None:
        """Shows or hides the page of keys."""
        if self.commands is not None:
            commands = self.commands
            self._toggle_page("help", lambda: HelpPage(self, commands))

    def toggle_diagnostics(self) -> None:
        """Shows or hides the page of diagnostics."""
        self._toggle_page("diagnostics", lambda: DiagnosticsPage(self, self._stage))

    def toggle_learn(self) -> None:
        """Begins or ends learning: a click on a control then shows its address instead of moving it."""
        on = not self.board.learning
        self.board.learn(on)
        self.headline.learn.setChecked(on)
        self.learn_strip.begin()
        self.learn_strip.setVisible(on)
        self.message.setVisible(not on)
        cursor = Qt.CursorShape.WhatsThisCursor if on else Qt.CursorShape.ArrowCursor
        self.setCursor(cursor)

    def type_words(self) -> None:
        """The next keys are words for the picture."""
        self.raise_()
        self.activateWindow()
        self.paints.prompt.line.setFocus()
        self.paints.prompt.line.selectAll()

    def send_prepared(self, at: int) -> None:
        """Sends a prepared prompt, counted from 0."""
        self.paints.prompt.send_prepared(at)

    def ask(self, words: str, seconds: float) -> None:
        """Says this for so long, before all else there is to say; what lies over that line is put away."""
        self._question, self._asked_until = words, time.perf_counter() + seconds
        while self.leave():
            pass
        self.refresh()

    def leave(self) -> bool:
        """Puts away the page that is open, or ends learning; False when there is nothing of the kind."""
        for page in self._pages.values():
            if page.isVisible():
                page.hide()
                return True
        if self.board.learning:
            self.toggle_learn()
            return True
        return False

    def _toggle_page(self, name: str, make: Callable[[], Page]) -> None:
        visible = name in self._pages and self._pages[name].isVisible()
        for page in self._pages.values():
            page.hide()
        if not visible:
            if name not in self._pages:
                self._pages[name] = make()
            self._pages[name].open()

    def _point(self, name: str, option: object) -> None:
        self.learn_strip.point(name, None if option is None else str(option))

    def keyPressEvent(self, event: QKeyEvent) -> None:
        copies = self.board.learning and event.key() == Qt.Key.Key_C
        if copies:
            self.learn_strip.copy()
        elif self.commands is None or not self.commands.press(event):
            super().keyPressEvent(event)

    def mousePressEvent(self, event: QMouseEvent) -> None:
        self.setFocus()

    def resizeEvent(self, event: QEvent) -> None:
        if self._inside is None:
            return
        if density_for(self.width(), self.height()) != style.density():
            learning = self.board.learning
            self._build()
            self.refresh()
            if learning:
                self.toggle_learn()
        self._balance()
        for page in self._pages.values():
            page.cover()

    def closeEvent(self, event: QCloseEvent) -> None:
        # As with the output: closing is a wish, and the owner ends the run in order.
        event.ignore()
        self.closed.emit()

    def _stop_processes(self) -> None:
        for page in self._pages.values():
            if isinstance(page, DiagnosticsPage):
                page.stop()
        if self._inside is not None:
            self.hears.inputs.stop()

    def finish(self) -> None:
        """Stops the timer, the doctor if it is looking, and hides the window for good."""
        self._timer.stop()
        self._stop_processes()
        if self.isVisible():
            self._memory.keep_place(self, "control")
        self.hide()


def density_for(width: int, height: int) -> float:
    """How large things are built in a window of this size, in pixels that do not count the display's own scale."""
    room = min(width / SIZE[0], height / SIZE[1])
    wanted = 1 + AIR * (room - 1) if room > 1 else room
    return max((density for density in DENSITIES if density <= wanted + 1e-6), default=DENSITIES[0])


def _column(*panels: QWidget, stretch: tuple[int, ...]) -> QWidget:
    whole = QWidget()
    column = QVBoxLayout(whole)
    column.setContentsMargins(0, 0, 0, 0)
    column.setSpacing(style.px(style.GAP))
    for widget, share in zip(panels, stretch, strict=True):
        column.addWidget(widget, share)
    return whole
