"""What comes in by OSC and MIDI, and learning which address and knob belongs to what is clicked."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from PySide6.QtCore import QPointF, QRectF, QSize, Qt
from PySide6.QtGui import QGuiApplication, QPainter, QPaintEvent
from PySide6.QtWidgets import QFrame, QHBoxLayout, QSizePolicy, QWidget

from engine.control.desk import Desk, Move
from engine.control.registry import Control
from engine.errors import ControlError
from gui import style
from gui.fader import reading
from gui.widgets import Button, elastic, panel, say, text

if TYPE_CHECKING:
    from engine.view import StageView
    from gui.board import Board

FRESH_S = 0.5
CLOCKS = 3  # that are shown, those furthest off


class Messages(QWidget):
    """The newest messages, newest first; one that comes again and again keeps its row and is counted."""

    ROW = 19

    def __init__(self, controls: Mapping[str, Control]) -> None:
        super().__init__()
        self._controls = controls
        self.setSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Expanding)
        self.rows: list[tuple[Move, int]] = []
        self._seen: tuple[Move, ...] = ()
        self._fresh = False

    def sizeHint(self) -> QSize:
        return QSize(style.px(200), style.px(3 * self.ROW))

    def minimumSizeHint(self) -> QSize:
        return QSize(style.px(100), style.px(self.ROW))

    def show_moves(self, moves: Sequence[Move]) -> None:
        """Shows what the desk has heard, oldest first."""
        moves = tuple(moves)
        fresh = bool(moves) and time.perf_counter() - moves[-1].at < FRESH_S
        if moves[-1:] == self._seen[-1:] and fresh == self._fresh:
            return
        self._seen, self._fresh = moves, fresh
        rows: dict[tuple[str, str], tuple[Move, int]] = {}
        for move in reversed(moves):
            newest, count = rows.get((move.origin, move.name), (move, 0))
            rows[move.origin, move.name] = newest, count + 1
        self.rows = list(rows.values())
        self.update()

    def paintEvent(self, event: QPaintEvent) -> None:
        painter = QPainter(self)
        painter.setRenderHint(QPainter.RenderHint.Antialiasing)
        painter.setFont(style.face(style.SMALL))
        step, centre = style.px(self.ROW), Qt.AlignmentFlag.AlignVCenter
        if not self.rows:
            painter.setPen(style.color(style.FAINT))
            painter.drawText(QRectF(0, 0, self.width(), step), centre, "Nothing has come in yet")
        now = time.perf_counter()
        for at, (move, count) in enumerate(self.rows[: max(1, self.height() // step)]):
            line = QRectF(0, at * step, self.width(), step)
            lit = now - move.at < FRESH_S
            painter.setPen(Qt.PenStyle.NoPen)
            shade = style.ALARM if move.refused else style.GOOD if lit else style.LINE
            painter.setBrush(style.color(shade))
            painter.drawEllipse(QPointF(style.px(4), line.center().y()), style.px(3), style.px(3))
            figure = "refused" if move.refused else _value(move.value, self._controls.get(move.name))
            if count > 1:
                figure += f"  ×{count}"
            painter.setPen(style.color(style.ALARM if move.refused else style.TEXT if lit else style.MUTED))
            painter.drawText(line, centre | Qt.AlignmentFlag.AlignRight, figure)
            left = line.adjusted(style.px(13), 0, -painter.fontMetrics().horizontalAdvance(figure) - style.px(8), 0)
            painter.setPen(style.color(style.TEXT if lit else style.MUTED))
            painter.drawText(left, centre, move.name)
            left.setLeft(left.left() + painter.fontMetrics().horizontalAdvance(move.name) + style.px(8))
            origin = painter.fontMetrics().elidedText(
                _origin(move.origin), Qt.TextElideMode.ElideRight, max(int(left.width()), 0)
            )
            painter.setPen(style.color(style.FAINT))
            painter.drawText(left, centre, origin)
        painter.end()


class Activity:
    """The panel."""

    def __init__(self, stage: StageView, board: Board) -> None:
        self._stage = stage
        learn = board.trigger("midi/learn", "MIDI learn")
        forget = board.trigger("midi/forget", "Forget")
        self.frame, layout = panel("Activity", learn, forget)
        self.inputs = elastic(text("", style.SMALL, "faint"))
        self.messages = Messages(board.controls)
        layout.setSpacing(style.px(4))
        layout.addWidget(self.inputs)
        layout.addWidget(self.messages, 1)

    @property
    def widget(self) -> QFrame:
        """The panel."""
        return self.frame

    def refresh(self) -> None:
        """Shows what has come in."""
        say(self.inputs, "   ".join([*self._stage.inputs, *clocks(self._stage.desk)]), "faint")
        self.messages.show_moves(self._stage.desk.moves)


class LearnStrip(QFrame):
    """Along the bottom while learning: what was clicked, its address to copy, and the knob that moves it."""

    def __init__(self, stage: StageView, board: Board) -> None:
        super().__init__()
        self._stage, self._board = stage, board
        self._name = ""
        self.setObjectName("learn")
        self.address = text("", style.LARGE, bold=True)
        self.address.setTextInteractionFlags(Qt.TextInteractionFlag.TextSelectableByMouse)
        self.takes = text("", style.BODY, "muted")
        self.knob = elastic(text("", style.BODY, "muted"))
        self.copy_button = Button("Copy", "", "Copies the address (C)")
        self.copy_button.clicked.connect(self.copy)
        self.done = Button("Done", "", "Leaves learning (L or Esc)")
        layout = QHBoxLayout(self)
        layout.setContentsMargins(style.px(style.PAD), 0, style.px(2), 0)
        layout.setSpacing(style.px(12))
        layout.addWidget(text("LEARN", style.SMALL, "muted", bold=True))
        for widget in (self.address, self.takes):
            layout.addWidget(widget)
        layout.addWidget(self.knob, 1)
        layout.addWidget(self.copy_button)
        layout.addWidget(self.done)
        self.begin()

    def begin(self) -> None:
        """Nothing was clicked yet."""
        self._name = ""
        self.copy_button.setVisible(False)
        say(self.address, "Click a control", "figure")
        say(self.takes, "It does not move; its OSC address and MIDI knob are shown here.", "muted")
        say(self.knob, "", "muted")

    def point(self, name: str, option: str | None) -> None:
        """This control was clicked, or this option of it: its address is shown, and the next MIDI knob is its own."""
        control = self._board.controls[name]
        self._name = name
        self.copy_button.setVisible(True)
        say(self.address, control.address() + (f"/{option}" if option else ""), "figure")
        say(self.takes, takes(control), "muted")
        if self._stage.midi.ports and control.kind != "text":
            try:
                self._stage.midi.learn_for(name, option)
            except ControlError as error:
                say(self.knob, error, "error")
        self.refresh()

    def refresh(self) -> None:
        """Which knob moves what was clicked, as it is now."""
        if not self._name:
            return
        bound = ", ".join(self._stage.midi.bound(self._name))
        if not self._stage.midi.ports:
            say(self.knob, bound or "No MIDI controller: begin with --midi", "muted")
        else:
            say(self.knob, f"{bound}; move another to bind it" if bound else "Move a knob or press a pad", "figure")

    def copy(self) -> None:
        """Puts the address on the clipboard."""
        if self._name:
            QGuiApplication.clipboard().setText(self.address.text())
            say(self.takes, "copied", "good")


def clocks(desk: Desk) -> list[str]:
    """By how much the clocks of those are ahead who stamp their OSC bundles, a line each."""
    furthest = sorted(desk.clock_offsets.items(), key=lambda clock: -abs(clock[1]))[:CLOCKS]
    return [f"clock of {host} {ahead_s:+.2f} s".replace("-", "−") for host, ahead_s in furthest]


def takes(control: Control) -> str:
    """What a control takes, in a few words."""
    if control.kind == "float":
        unit = f" {control.unit}" if control.unit else ""
        return f"{control.minimum:g} … {control.maximum:g}{unit}".replace("-", "−")
    words = {"bool": "0 or 1", "trigger": "1 fires", "choice": "a name, or a position from 1", "text": "words"}
    return words[control.kind]


def _origin(origin: str) -> str:
    kind, _, rest = origin.partition(":")
    return f"{kind.upper()} {rest.rpartition(':')[0] or rest}" if kind == "osc" else f"{kind.upper()} {rest}"


def _value(value: object, control: Control | None) -> str:
    if isinstance(value, bool):
        return "on" if value else "off"
    if isinstance(value, float):
        return reading(control, value) if control is not None and control.kind == "float" else f"{value:g}"
    return str(value)[:24]
