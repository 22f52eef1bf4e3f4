"""How the machine keeps up: pictures a second, late pictures, latency, and both over the last seconds as a plot."""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
import pyqtgraph as pg
from PySide6.QtCore import Qt
from PySide6.QtWidgets import QFrame, QGridLayout, QLabel, QVBoxLayout

from gui import style
from gui.widgets import elastic, panel, say, text

if TYPE_CHECKING:
    from engine.slot import Frame
    from engine.view import StageView

KEPT = 600  # frames: ten seconds at 60 a second
REDRAW_S = 0.2
CEILING_MS = 50.0
"""Least height of the plot, so that a quiet line stays quiet."""


class FrameTimes:
    """When the newest frames came: `take` each once. It outlives the panel."""

    def __init__(self) -> None:
        self.intervals: deque[float] = deque(maxlen=KEPT)
        """Milliseconds from each picture to the next, as they reached the slot."""
        self.latencies: deque[float] = deque(maxlen=KEPT)
        """Milliseconds from the newest sound in each picture to when it could first be shown."""
        self._index, self._at = 0, 0.0

    def take(self, frame: Frame) -> None:
        """The next frame."""
        if self._index and frame.index > self._index:  # a frame that nobody took in between is no pause
            self.intervals.append(1e3 * (frame.published_at - self._at) / (frame.index - self._index))
            self.latencies.append(1e3 * (frame.published_at - frame.captured_at))
        self._index, self._at = frame.index, frame.published_at


class Performance:
    """The panel."""

    def __init__(self, stage: StageView, times: FrameTimes) -> None:
        self._stage, self._times = stage, times
        self._drawn_at = -REDRAW_S
        self.quality = elastic(text("", style.SMALL, "accent"))
        self.frame, layout = panel("Performance")
        figures = QGridLayout()
        figures.setSpacing(0)
        self.fps = self._figure(figures, 0, "frames/s", "accent")
        self.late = self._figure(figures, 1, "late frames")
        self.latency = self._figure(figures, 2, "ms sound to picture", "cool")
        layout.addLayout(figures)
        self.plot = self._plot()
        layout.addWidget(self.plot, 1)
        layout.addWidget(self.quality)

    @property
    def widget(self) -> QFrame:
        """The panel."""
        return self.frame

    @staticmethod
    def _figure(grid: QGridLayout, column: int, caption: str, role: str = "faint") -> QLabel:
        cell = QVBoxLayout()
        cell.setSpacing(0)
        figure = text("–", style.LARGE + 2, bold=True)
        cell.addWidget(figure)
        cell.addWidget(text(caption, style.TINY, role))
        grid.addLayout(cell, 0, column)
        grid.setColumnStretch(column, 1)
        return figure

    def _plot(self) -> pg.PlotWidget:
        plot = pg.PlotWidget(background=None)
        plot.setFocusPolicy(Qt.FocusPolicy.NoFocus)
        plot.setMinimumHeight(style.px(48))
        plot.setToolTip("Milliseconds between pictures (orange), and from sound to picture (blue); dashed: the budget")
        item = plot.getPlotItem()
        item.setMenuEnabled(False)
        item.hideButtons()
        item.setMouseEnabled(False, False)
        item.hideAxis("bottom")
        axis = item.getAxis("left")
        axis.setPen(style.color(style.LINE))
        axis.setTextPen(style.color(style.FAINT))
        axis.setStyle(tickFont=style.face(style.TINY), tickLength=0, autoExpandTextSpace=False)
        axis.setWidth(style.px(26))
        item.showGrid(y=True, alpha=0.15)
        width = max(1.0, style.density())
        self._budget = pg.InfiniteLine(angle=0, pen=pg.mkPen(style.FAINT, width=1, style=Qt.PenStyle.DashLine))
        item.addItem(self._budget)
        self._interval_curve = item.plot(pen=pg.mkPen(style.color(style.ACCENT, 0.8), width=width))
        self._latency_curve = item.plot(pen=pg.mkPen(style.COOL, width=width))
        item.setXRange(0, KEPT, padding=0)
        return plot

    def refresh(self, status: Mapping[str, Any], latency_ms: float | None, now: float) -> None:
        """Shows the newest figures; the plot a few times a second. `now` in seconds, by any clock."""
        late = int(status.get("late_frames", 0))
        say(self.fps, f"{self._stage.fps:.1f}", "figure")
        say(self.late, late, "figure")
        say(self.latency, "–" if latency_ms is None else f"{latency_ms:.0f}", "figure")
        say(self.quality, status.get("quality") or "", "accent")
        self.quality.setVisible(bool(status.get("quality")))
        if now - self._drawn_at < REDRAW_S:
            return
        self._drawn_at = now
        wanted = status.get("fps")
        budget = 1e3 / wanted if wanted else None
        self._budget.setVisible(budget is not None)
        if budget is not None:
            self._budget.setValue(budget)
        highest = CEILING_MS
        times = self._times
        for curve, values in ((self._interval_curve, times.intervals), (self._latency_curve, times.latencies)):
            told = np.array(values)
            curve.setData(np.arange(KEPT - len(told), KEPT), told)
            if len(told):
                highest = max(highest, 1.1 * float(np.percentile(told, 99)))
        item = self.plot.getPlotItem()
        item.setYRange(0, highest, padding=0)
        # Two figures tell the scale; more would lie on each other in so low a plot.
        marks = [10 * int(highest / 11), 0 if budget is None else round(budget)]
        apart = abs(marks[0] - marks[1]) > highest / 4
        item.getAxis("left").setTicks([[(mark, str(mark)) for mark in marks[: 2 if apart else 1] if mark]])
