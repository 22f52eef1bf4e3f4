"""The right-hand column: what acts on the stage itself, and every other control of the registry in its group."""

from __future__ import annotations

from typing import TYPE_CHECKING

from PySide6.QtWidgets import QFrame, QGridLayout, QScrollArea, QSizePolicy, QVBoxLayout, QWidget

from engine.control.registry import Control
from gui import style
from gui.board import TALL
from gui.fader import label
from gui.widgets import heading, panel, row

if TYPE_CHECKING:
    from gui.board import Board

MIX = ("sound/weight", "text/weight")
LAST = "Room"
"""What is set once for a house stands at the foot."""
ORDER = ("float", "choice", "bool", "trigger", "text")
NARROW = 7  # letters: three bars of such names fit side by side


class StagePanel:
    """Master and what cuts: these work while the engine is dead, so they look as if they did."""

    def __init__(self, board: Board) -> None:
        self.frame, layout = panel("Stage", board.trigger("panic"))
        layout.addWidget(board.fader("master", tall=34))
        layout.addLayout(
            row(
                board.toggle("blackout", "Blackout", "alarm"),
                board.toggle("freeze", "Freeze", "stage"),
                board.toggle("testcard", "Test card", "stage"),
            )
        )

    @property
    def widget(self) -> QFrame:
        """The panel."""
        return self.frame


class Controls:
    """Every control that no other panel has asked for, by group; so a new row of the registry appears by itself."""

    def __init__(self, board: Board) -> None:
        self.frame, layout = panel("")
        inside = QWidget()
        column = QVBoxLayout(inside)
        column.setContentsMargins(0, 0, 0, 0)
        column.setSpacing(style.px(5))
        groups: dict[str, list[Control]] = {}
        for control in board.left():
            groups.setdefault(group_of(control), []).append(control)
        if LAST in groups:
            groups[LAST] = groups.pop(LAST)
        self.groups = {group: [control.name for control in members] for group, members in groups.items()}
        for at, (group, members) in enumerate(groups.items()):
            if at:
                column.addStretch(1)
            column.addWidget(heading(group))
            column.addLayout(_grid(board, group.lower(), members))
        scroll = QScrollArea()
        scroll.setWidgetResizable(True)
        scroll.setWidget(inside)
        scroll.setSizePolicy(QSizePolicy.Policy.Preferred, QSizePolicy.Policy.Expanding)
        layout.addWidget(scroll)
        self.scroll = scroll

    @property
    def widget(self) -> QFrame:
        """The panel."""
        return self.frame


def group_of(control: Control) -> str:
    """Under which heading a control stands: the first word of its name, for most."""
    if control.name in MIX:
        return "Mix"
    if control.scope == "room":
        return "Room"
    return control.name.partition("/")[0].capitalize() if "/" in control.name else "Picture"


def _grid(board: Board, prefix: str, controls: list[Control]) -> QGridLayout:
    """Bars, switches and lists side by side, bars first; what guards the house shows that it is on, not more."""
    controls = sorted(controls, key=lambda control: ORDER.index(control.kind))
    longest = max(len(label(control, prefix)) for control in controls)
    across = 3 if len(controls) % 3 == 0 and longest <= NARROW else 2
    grid = QGridLayout()
    grid.setSpacing(style.px(5))
    for at, control in enumerate(controls):
        guard = control.kind == "bool" and control.default is True
        words = f"● {label(control, prefix)}"
        widget = board.toggle(control.name, words, "guard") if guard else board.widget(control.name, prefix)
        if control.kind != "float":  # as tall as the bars beside it
            widget.setSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Expanding)
            widget.setMaximumHeight(style.px(TALL))
        grid.addWidget(widget, at // across, at % across)
        grid.setColumnStretch(at % across, 1)
    return grid
