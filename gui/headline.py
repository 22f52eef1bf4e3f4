"""The line on top: how the show is doing, the tempo and what moves it, recording, and the pages."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from PySide6.QtCore import Qt
from PySide6.QtWidgets import QFrame, QHBoxLayout, QLabel

from gui import style
from gui.fader import label
from gui.meters import BarOfBeats
from gui.widgets import Button, row, say, text

if TYPE_CHECKING:
    from engine.view import StageView
    from gui.board import Board

STATES = {"playing": ("Playing", "good"), "error": ("Engine down", "error"), "loading": ("Loading", "accent")}
RECORDING = ("record", "still")
"""Controls that begin with these stand at the right."""


class Headline:
    """A bar across the window. `learn`, `diagnose` and `help` are buttons for the owner to connect."""

    def __init__(self, stage: StageView, board: Board) -> None:
        self._stage = stage
        self.frame = QFrame()
        self.frame.setObjectName("panel")
        layout = QHBoxLayout(self.frame)
        layout.setContentsMargins(style.px(style.PAD), style.px(6), style.px(style.PAD), style.px(6))
        layout.setSpacing(style.px(7))
        mark = QLabel()
        mark.setPixmap(style.mark(style.px(26), self.frame.devicePixelRatioF()))
        self.dot = text("●", style.SMALL, "accent")
        self.state = text("Loading", style.BODY, "figure")
        layout.addWidget(mark)
        roomy = style.density() >= 1.0
        if roomy:
            layout.addWidget(text("cymatic", style.LARGE, bold=True))
        layout.addSpacing(style.px(10))
        layout.addWidget(self.dot)
        layout.addWidget(self.state)
        layout.addStretch(1)

        self.beats = BarOfBeats()
        self.bpm = text("–", style.LARGE, bold=True)
        self.bpm.setMinimumWidth(style.px(58))
        self.bpm.setAlignment(Qt.AlignmentFlag.AlignRight | Qt.AlignmentFlag.AlignVCenter)
        self.clock = text("", style.SMALL, "muted")
        self.clock.setMinimumWidth(style.px(64))
        layout.addWidget(self.beats)
        layout.addWidget(self.bpm)
        layout.addWidget(self.clock)
        tap = board.trigger("tempo/tap", "Tap", "")
        tap.setMinimumWidth(style.px(52))
        nudges = row(board.trigger("tempo/nudge/earlier", "◀"), board.trigger("tempo/nudge/later", "▶"), gap=1)
        tempo = board.fader("tempo/bpm", "Tempo", tall=26)
        tempo.setFixedWidth(style.px(146))
        layout.addWidget(tap)
        layout.addWidget(board.trigger("tempo/resync", "Sync"))
        layout.addLayout(nudges)
        layout.addWidget(tempo)
        layout.addStretch(1)

        for control in board.left():
            if control.name.partition("/")[0] in RECORDING and control.kind in ("bool", "trigger"):
                if control.kind == "bool":
                    layout.addWidget(board.toggle(control.name, f"● {label(control)}", "record"))
                else:
                    layout.addWidget(board.trigger(control.name))
        self.record = board.toggles.get("record")
        if self.record is not None:
            self.record.setMinimumWidth(self.record.sizeHint().width())
        self.learn = Button("Learn", "plain", "Click a control for its OSC address and MIDI knob (L)")
        self.learn.setCheckable(True)
        self.diagnose = Button("Diagnostics", "plain", "What is here, what is missing (I)")
        self.help = Button("Keys  F1", "plain", "Every key")
        for button in (self.learn, self.diagnose, self.help):
            layout.addWidget(button)

    @property
    def widget(self) -> QFrame:
        """The bar."""
        return self.frame

    def _show_recording(self) -> None:
        """How long the recording has gone on, on its button; what it lost, beside it."""
        told = self._stage.recording
        if self.record is None:
            return
        words = "● Record"
        if told is not None:
            minutes, seconds = divmod(int(told["seconds"]), 60)
            words = f"● {minutes}:{seconds:02d}" + (f"  −{told['dropped']}" if told["dropped"] else "")
        if self.record.text() != words:
            self.record.setText(words)

    def refresh(self, status: Mapping[str, Any]) -> None:
        """Shows the newest status and the beat."""
        words, role = STATES.get(str(status.get("state")), STATES["loading"])
        if role == "good" and status.get("error"):
            words, role = "Trouble", "error"
        say(self.dot, "●", role)
        say(self.state, words, "figure")
        self._show_recording()
        tempo = self._stage.tempo
        bpm, clock = float(tempo.get("bpm", 0.0)), str(tempo.get("clock", ""))
        self.beats.show_beat(int(tempo.get("beat", 0)))
        say(self.bpm, f"{bpm:.1f}" if bpm else "–", "figure" if bpm else "faint")
        say(self.clock, f"bpm {clock}" if bpm else "no beat", "muted" if bpm else "faint")
