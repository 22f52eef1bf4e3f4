"""What the program paints: the newest picture, what the audience sees instead of it, and the reading of the scenes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray
from PySide6.QtCore import QRectF, QSize, Qt
from PySide6.QtGui import QPainter, QPaintEvent, QResizeEvent
from PySide6.QtWidgets import QFrame, QSizePolicy, QWidget

from gui import style
from gui.prompt import Prompt
from gui.surface import as_image, placement
from gui.widgets import panel, say, text

if TYPE_CHECKING:
    from engine.view import StageView
    from gui.board import Board
    from gui.memory import Memory

DIMMED = 0.25
"""Brightness of the preview under a blackout: the performer still sees what is painted."""
LIT = 30
"""So many times it is shown in colour that a flash was held back: a second."""


class SceneBars(QWidget):
    """How much each scene is in what is heard: one row a scene, the strongest lit."""

    CALM = 0.35  # of the way to the newest reading, each time it is shown

    def __init__(self) -> None:
        super().__init__()
        self.names: tuple[str, ...] = ()
        self.values = np.zeros(9)

    def sizeHint(self) -> QSize:
        return QSize(style.px(164), style.px(180))

    def show_values(self, values: Sequence[float], names: Sequence[str]) -> None:
        """Shows readings of 0..1, one for each name."""
        fresh = np.clip(np.nan_to_num(np.asarray(values, float)), 0.0, 1.0)
        known = fresh.shape == self.values.shape
        values = self.values + self.CALM * (fresh - self.values) if known else fresh
        if known and tuple(names) == self.names and np.abs(values - self.values).max(initial=0.0) < 5e-4:
            return
        self.values, self.names = values, tuple(names)
        self.update()

    def paintEvent(self, event: QPaintEvent) -> None:
        painter = QPainter(self)
        step = self.height() / max(len(self.values), 1)
        strongest = int(np.argmax(self.values)) if self.values.any() else -1
        thick = style.px(4)
        for number, value in enumerate(self.values):
            top, lit = number * step, number == strongest
            name = self.names[number] if number < len(self.names) else ""
            painter.setFont(style.face(style.SMALL, bold=lit))
            words = QRectF(0, top, self.width(), step - thick - style.px(4))
            painter.setPen(style.color(style.TEXT if lit else style.MUTED))
            bottom = Qt.AlignmentFlag.AlignBottom
            figure = f"{value:.2f}"
            left = words.adjusted(0, 0, -painter.fontMetrics().horizontalAdvance(figure) - style.px(6), 0)
            short = painter.fontMetrics().elidedText(name, Qt.TextElideMode.ElideRight, int(left.width()))
            painter.drawText(left, bottom | Qt.AlignmentFlag.AlignLeft, short)
            painter.setPen(style.color(style.TEXT if lit else style.FAINT))
            painter.drawText(words, bottom | Qt.AlignmentFlag.AlignRight, figure)
            bar = QRectF(0, words.bottom() + style.px(2), self.width(), thick)
            painter.fillRect(bar, style.color(style.RAISED))
            bar.setWidth(self.width() * value)
            painter.fillRect(bar, style.color(style.ACCENT if lit else style.FAINT))
        painter.end()


class Preview(QWidget):
    """The newest frame, small, and a word across it when the audience sees something else."""

    def __init__(self, image_size: tuple[int, int]) -> None:
        super().__init__()
        self.aspect = image_size[1] / image_size[0]
        self._rgba: NDArray[np.uint8] | None = None
        self._word, self._level = "", 1.0
        self.setSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Expanding)

    def sizeHint(self) -> QSize:
        return QSize(style.px(400), round(style.px(400) / self.aspect))

    def show_frame(self, rgba: NDArray[np.uint8] | None, word: str, level: float) -> None:
        """`rgba` uint8 [H, W, 4] or None before the first; `word` says why the audience sees something else."""
        if rgba is not self._rgba or word != self._word or level != self._level:
            self._rgba, self._word, self._level = rgba, word, level
            self.update()

    def paintEvent(self, event: QPaintEvent) -> None:
        painter = QPainter(self)
        painter.setRenderHint(QPainter.RenderHint.SmoothPixmapTransform)
        room = self.rect()
        width = min(room.width(), room.height() * self.aspect)
        picture = QRectF(0, 0, width, width / self.aspect)
        picture.moveCenter(QRectF(room).center())
        painter.fillRect(picture, Qt.GlobalColor.black)
        if self._rgba is not None:
            height, width = self._rgba.shape[:2]
            painter.setOpacity(self._level)
            x, y, across, down = placement((width, height), (picture.width(), picture.height()), "fit")
            painter.drawImage(QRectF(picture.x() + x, picture.y() + y, across, down), as_image(self._rgba))
            painter.setOpacity(1.0)
        if self._word:
            strip = QRectF(picture.left(), picture.center().y() - style.px(22), picture.width(), style.px(44))
            painter.fillRect(strip, style.color(style.BACKGROUND, 0.8))
            painter.setFont(style.face(style.LARGE, bold=True))
            painter.setPen(style.color(style.TEXT))
            painter.drawText(strip, Qt.AlignmentFlag.AlignCenter, self._word)
        painter.end()


class Beside(QWidget):
    """A preview as large as its shape lets it be, and the scenes in all the room that is left."""

    def __init__(self, preview: Preview, scenes: SceneBars) -> None:
        super().__init__()
        self._preview, self._scenes = preview, scenes
        for widget in (preview, scenes):
            widget.setParent(self)
        self.setSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Expanding)

    def minimumSizeHint(self) -> QSize:
        return QSize(style.px(300), style.px(120))

    def resizeEvent(self, event: QResizeEvent) -> None:
        gap, width, height = style.px(14), self.width(), self.height()
        shown = not self._scenes.isHidden()
        most = width - gap - self._scenes.sizeHint().width() if shown else width
        across = min(most, round(height * self._preview.aspect))
        self._preview.setGeometry(0 if shown else (width - across) // 2, 0, across, height)
        self._scenes.setGeometry(across + gap, 0, width - across - gap, height)


class Paints:
    """The panel: preview, scenes, and beneath them the words that pull the picture."""

    def __init__(self, stage: StageView, board: Board, memory: Memory) -> None:
        self._stage = stage
        height, width = stage.image_size
        self.limited = text("", style.SMALL, "faint")
        self.limited.setContentsMargins(0, 0, style.px(8), 0)
        self._flashes, self._lit = 0, 0
        self.size = text(f"{width} × {height}", style.SMALL, "faint")
        self.preset = text("", style.BODY, "accent")
        self.frame, layout = panel("Paints", self.limited, self.preset, self.size)
        self.preview = Preview(stage.image_size)
        self.scenes = SceneBars()
        self.prompt = Prompt(board, memory)
        self.beside = Beside(self.preview, self.scenes)
        layout.addWidget(self.beside, 1)
        layout.addWidget(self.prompt)

    @property
    def widget(self) -> QFrame:
        """The panel."""
        return self.frame

    def best_height(self, width: int) -> int:
        """The height of the panel at which preview and scenes fill this width."""
        across = width - style.px(2 * style.PAD) - style.px(14) - self.scenes.sizeHint().width()
        chrome = self.frame.minimumSizeHint().height() - self.beside.minimumSizeHint().height()
        return round(across / self.preview.aspect) + chrome

    def refresh(
        self,
        status: Mapping[str, Any],
        values: Mapping[str, Any],
        rgba: NDArray[np.uint8] | None,
        output_limited: int = 0,
    ) -> None:
        """Shows the newest picture `rgba` [H, W, 4], or None before the first one. `output_limited`: how many pictures
        the output held back so far because they would have flashed on the display."""
        level = DIMMED if values["blackout"] else float(values["master"])
        self.preview.show_frame(rgba, instead(values, status), level)
        scenes = status.get("scenes")
        self.scenes.setVisible(bool(status.get("scene_names", True)))  # an imported bundle knows no scenes
        if scenes:
            self.scenes.show_values(scenes, status.get("scene_names", ()))
        say(self.preset, self._stage.preset, "figure")
        self._show_limited(int(status.get("flashes_limited", 0)), output_limited)

    def _show_limited(self, painted: int, output: int) -> None:
        """What the flash limiter has done: in the picture as it is painted, and in what is made of it on its way."""
        self._lit = LIT if painted + output > self._flashes else max(self._lit - 1, 0)
        self._flashes = painted + output
        words = f"{self._flashes} pictures held back" + (f", {output} by the output" if output else "")
        say(self.limited, words if self._flashes else "", "accent" if self._lit else "faint")
        self.limited.setToolTip(
            f"So that nothing flashes more than three times a second: {painted} pictures as they were painted,"
            f" {output} as look, faders and sizing had made them (flash/limit)"
        )


def instead(values: Mapping[str, Any], status: Mapping[str, Any]) -> str:
    """The word for what the audience sees in the place of the newest picture; "" while it sees that."""
    for name, word in (("blackout", "Blackout"), ("testcard", "Test card"), ("freeze", "Frozen")):
        if values[name]:
            return word
    if status.get("state") == "playing":
        return ""
    return "The last picture is held" if status.get("state") == "error" else "Loading"
