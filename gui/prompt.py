"""Words that pull the picture: a field with its history, and prompts that were prepared.

Return sends what was typed, Esc leaves the field as the desk has it, Up and Down go through what was typed before.
"""

from __future__ import annotations

from PySide6.QtCore import QEvent, QObject, QSize, Qt
from PySide6.QtGui import QKeyEvent, QResizeEvent
from PySide6.QtWidgets import QHBoxLayout, QMenu, QVBoxLayout, QWidget

from gui import style
from gui.board import Board
from gui.memory import Memory
from gui.widgets import Button, row
from presets.prompts import prepared

NAME = "text"
RECENT = 12  # of the history, in the menu


class Chips(QWidget):
    """Buttons side by side, as many as there is room for."""

    def __init__(self, buttons: list[Button]) -> None:
        super().__init__()
        self._buttons = buttons
        layout = QHBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.setSpacing(style.px(5))
        for button in buttons:
            layout.addWidget(button)
        layout.addStretch(1)

    def resizeEvent(self, event: QResizeEvent) -> None:
        left = self.width() + style.px(5)
        for button in self._buttons:
            left -= button.sizeHint().width() + style.px(5)
            button.setVisible(left >= 0)

    def minimumSizeHint(self) -> QSize:
        return QSize(style.px(60), super().minimumSizeHint().height())


class Prompt(QWidget):
    """The control `text`, with the prompts at hand beneath it."""

    def __init__(self, board: Board, memory: Memory) -> None:
        super().__init__()
        self._board, self._memory = board, memory
        self.prepared = prepared()
        self._at = -1  # in the history, while one goes through it
        self.line = board.line(NAME)
        self.line.setPlaceholderText("Words that pull the picture, e.g. " + ", ".join(self.prepared[:2]))
        self.line.installEventFilter(self)
        self.line.returnPressed.connect(self._sent)
        self.line.setClearButtonEnabled(False)
        self.menu_button = Button("Prompts", "quiet", "Prepared prompts, and what was typed before")
        self.menu_button.clicked.connect(self.open_menu)
        self.clear_button = Button("Clear", "quiet", "Lets go of the words")
        self.clear_button.clicked.connect(lambda: self.send(""))
        self.chips = [self._chip(at, words) for at, words in enumerate(self.prepared)]
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.setSpacing(style.px(5))
        line = row(self.line, self.menu_button, self.clear_button)
        line.setStretch(0, 1)
        layout.addLayout(line)
        layout.addWidget(Chips(self.chips))

    def _chip(self, at: int, words: str) -> Button:
        key = f" (Ctrl {at + 1})" if at < 9 else ""
        chip = Button(words, "plain", f"{words}{key}")
        chip.setFocusPolicy(Qt.FocusPolicy.NoFocus)  # Ctrl and a digit reach it
        chip.setStyleSheet(f"min-height: {style.px(22)}px; padding: 0 {style.px(7)}px;")
        chip.clicked.connect(lambda: self.send(words))
        return chip

    def send(self, words: str) -> None:
        """Takes these words for those that were typed."""
        self.line.setText(words)
        self._board.edit(NAME, words)
        self._remember(words)

    def send_prepared(self, at: int) -> None:
        """Sends the prepared prompt at this place, from 0; nothing happens where there is none."""
        if at < len(self.prepared):
            self.send(self.prepared[at])

    def open_menu(self) -> None:
        """Prepared prompts and recent words, to choose from."""
        menu = self.menu()
        menu.setAttribute(Qt.WidgetAttribute.WA_DeleteOnClose)
        menu.popup(self.menu_button.mapToGlobal(self.menu_button.rect().bottomLeft()))

    def menu(self) -> QMenu:
        """The menu, built from what is known now."""
        menu = QMenu(self)
        for title, prompts in (("Prepared", self.prepared), ("Typed before", self._memory.prompts[:RECENT])):
            if prompts:
                menu.addAction(title).setEnabled(False)
            for words in prompts:
                menu.addAction(words).triggered.connect(lambda _, words=words: self.send(words))
        return menu

    def _sent(self) -> None:
        self._remember(self.line.text())
        self.window().setFocus()  # the keys are the show's again

    def _remember(self, words: str) -> None:
        self._at = -1
        self._memory.add_prompt(words.strip())

    def eventFilter(self, watched: QObject, event: QEvent) -> bool:
        if event.type() != QEvent.Type.KeyPress or not isinstance(event, QKeyEvent):
            return False
        if event.key() == Qt.Key.Key_Escape:
            self.line.setText(str(self._board.value(NAME)))
            self.window().setFocus()
            return True
        if event.key() in (Qt.Key.Key_Up, Qt.Key.Key_Down):
            past = self._memory.prompts
            self._at = min(max(self._at + (1 if event.key() == Qt.Key.Key_Up else -1), -1), len(past) - 1)
            self.line.setText(past[self._at] if self._at >= 0 else "")
            self.line.setModified(True)  # as if it had been typed
            return True
        return False
