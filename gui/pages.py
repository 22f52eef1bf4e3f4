"""Pages that lie over the control window: the keys, and what every page has in common. Qt thread."""

from __future__ import annotations

from typing import TYPE_CHECKING

from PySide6.QtCore import Qt
from PySide6.QtGui import QMouseEvent, QPainter, QPaintEvent
from PySide6.QtWidgets import QFrame, QGridLayout, QHBoxLayout, QVBoxLayout, QWidget

from gui import style
from gui.widgets import Button, heading, text

if TYPE_CHECKING:
    from gui.commands import Commands

COLUMNS = 2  # of keys


class Page(QWidget):
    """A sheet in the middle of its window, which is dimmed meanwhile; a click beside it or Esc puts it away."""

    def __init__(self, parent: QWidget, title: str) -> None:
        super().__init__(parent)
        self.sheet = QFrame()
        self.sheet.setObjectName("page")
        self.body = QVBoxLayout(self.sheet)
        self.body.setContentsMargins(style.px(30), style.px(22), style.px(30), style.px(24))
        self.body.setSpacing(style.px(10))
        self.close_button = Button("Close", "plain", "Esc")
        self.close_button.clicked.connect(self.hide)
        self.head = QHBoxLayout()
        self.head.setSpacing(style.px(8))
        self.head.addWidget(text(title, style.HUGE, bold=True))
        self.head.addStretch(1)
        self.head.addWidget(self.close_button)
        self.body.addLayout(self.head)
        outer = QGridLayout(self)
        outer.setContentsMargins(*[style.px(24)] * 4)
        outer.addWidget(self.sheet, 0, 0, Qt.AlignmentFlag.AlignCenter)
        self.hide()

    def open(self) -> None:
        """Shows the page, over the whole of its window."""
        self.cover()
        self.show()

    def cover(self) -> None:
        """Lies over the whole of its window, whose size may have changed."""
        self.setGeometry(self.parentWidget().rect())
        self.raise_()

    def paintEvent(self, event: QPaintEvent) -> None:
        painter = QPainter(self)
        painter.fillRect(self.rect(), style.color(style.BACKGROUND, 0.82))
        painter.end()

    def mousePressEvent(self, event: QMouseEvent) -> None:
        if not self.sheet.geometry().contains(event.position().toPoint()):
            self.hide()


class HelpPage(Page):
    """Every key, by what it is for."""

    def __init__(self, parent: QWidget, commands: Commands) -> None:
        super().__init__(parent, "Keys")
        columns = QHBoxLayout()
        columns.setSpacing(style.px(56))
        sections: dict[str, list[tuple[str, str]]] = {}
        for command in commands.rows:
            sections.setdefault(command.section, []).append((command.keys, command.does))
        grids = [QGridLayout() for _ in range(COLUMNS)]
        total, filled = sum(len(keys) + 2 for keys in sections.values()), 0
        for title, keys in sections.items():
            tall = len(keys) + 2
            grid = grids[int(COLUMNS * (filled + tall / 2) / total)]
            filled += tall
            self._section(grid, title, keys)
        for grid in grids:
            grid.setHorizontalSpacing(style.px(22))
            grid.setVerticalSpacing(style.px(5))
            grid.setRowStretch(grid.rowCount(), 1)
            columns.addLayout(grid)
        self.body.addLayout(columns)
        self.body.addSpacing(style.px(6))
        for hint in (
            "Tab goes from control to control. Return presses a button and opens a list.",
            "On a bar: arrows step, Shift drags finely, Delete or a double click puts the default back.",
        ):
            self.body.addWidget(text(hint, style.SMALL, "faint"))

    @staticmethod
    def _section(grid: QGridLayout, title: str, keys: list[tuple[str, str]]) -> None:
        row = grid.rowCount()
        if row > 1:
            grid.setRowMinimumHeight(row, style.px(6))
            row += 1
        grid.addWidget(heading(title), row, 0, 1, 2)
        for key, does in keys:
            row += 1
            grid.addWidget(text(key, style.BODY + 1, bold=True), row, 0)
            grid.addWidget(text(does, style.BODY + 1, "muted"), row, 1)
