"""Presets under the fingers: banks of sixteen pads with their pictures, neighbours, undo, lock, crossfader."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from PySide6.QtCore import QRectF, QSize, Qt
from PySide6.QtGui import QImageReader, QLinearGradient, QPainter, QPainterPath, QPaintEvent, QPen, QPixmap
from PySide6.QtWidgets import QFrame, QGridLayout, QSizePolicy

from gui import style
from gui.widgets import Button, panel, row, text
from presets.thumbnails import find

if TYPE_CHECKING:
    from engine.view import StageView
    from gui.board import Board

COLUMNS, ROWS = 4, 4
PADS = COLUMNS * ROWS
LEAST = {2: 88, 3: 66, 4: 52}
"""Height of a pad, by the number of rows."""


class Pad(Button):
    """A preset: its picture, its key and its name; framed while it plays. One without a preset is an empty place."""

    RADIUS = 5

    def __init__(self, key: str) -> None:
        super().__init__("", "pad")
        self._key = key
        self.name = ""
        self._picture: QPixmap | None = None
        self.setCheckable(True)
        self.setSizePolicy(QSizePolicy.Policy.Ignored, QSizePolicy.Policy.Expanding)
        self.setCursor(Qt.CursorShape.PointingHandCursor)

    def sizeHint(self) -> QSize:
        return QSize(style.px(140), style.px(50))

    def show_preset(self, name: str) -> None:
        """Which preset lies here; "" for none."""
        if name == self.name:
            return
        self.name = name
        path = find(name)
        picture = None if path is None else QPixmap.fromImageReader(QImageReader(str(path)))
        self._picture = None if picture is None or picture.isNull() else picture
        self.setEnabled(bool(name))
        self.setToolTip(name)
        self.setAccessibleName(name)
        self.update()

    def paintEvent(self, event: QPaintEvent) -> None:
        painter = QPainter(self)
        painter.setRenderHints(QPainter.RenderHint.Antialiasing | QPainter.RenderHint.SmoothPixmapTransform)
        room = QRectF(self.rect()).adjusted(1, 1, -1, -1)
        radius = style.px(self.RADIUS)
        if not self.name:
            painter.setPen(QPen(style.color(style.RAISED), 1))
            painter.drawRoundedRect(room, radius, radius)
            painter.end()
            return
        shape = QPainterPath()
        shape.addRoundedRect(room, radius, radius)
        painter.setClipPath(shape)
        painter.fillRect(room, style.color(style.RAISED))
        if self._picture is not None:
            scale = max(room.width() / self._picture.width(), room.height() / self._picture.height())
            where = QRectF(0, 0, self._picture.width() * scale, self._picture.height() * scale)
            where.moveCenter(room.center())
            painter.drawPixmap(where, self._picture, QRectF(self._picture.rect()))
        shade = QLinearGradient(room.topLeft(), room.bottomLeft())
        shade.setColorAt(0.0, style.color(style.BACKGROUND, 0.30))
        shade.setColorAt(0.35, style.color(style.BACKGROUND, 0.05 if self._picture is not None else 0.0))
        shade.setColorAt(1.0, style.color(style.BACKGROUND, 0.88))
        painter.fillRect(room, shade)
        if self.underMouse():
            painter.fillRect(room, style.color(style.TEXT, 0.10))
        self._write(painter, room)
        painter.setClipping(False)
        painter.setBrush(Qt.BrushStyle.NoBrush)
        outline = style.COOL if self.property("learned") else style.ACCENT if self.isChecked() else ""
        if outline or self.hasFocus():
            painter.setPen(QPen(style.color(outline or style.MUTED), style.px(2.5) if outline else 1))
            painter.drawRoundedRect(room, radius, radius)
        painter.end()

    def _write(self, painter: QPainter, room: QRectF) -> None:
        inset = style.px(7)
        words = room.adjusted(inset, style.px(3), -inset, -style.px(4))
        if self._key:
            painter.setFont(style.face(style.TINY))
            painter.setPen(style.color(style.TEXT, 0.8))
            painter.drawText(words, Qt.AlignmentFlag.AlignTop | Qt.AlignmentFlag.AlignRight, self._key)
        painter.setFont(style.face(style.SMALL + 1, bold=True))
        painter.setPen(style.color(style.ACCENT if self.isChecked() else style.TEXT))
        name = painter.fontMetrics().elidedText(self.name, Qt.TextElideMode.ElideRight, int(words.width()))
        painter.drawText(words, Qt.AlignmentFlag.AlignBottom | Qt.AlignmentFlag.AlignLeft, name)


class Pads:
    """The panel. The bank that lies under the fingers is shown; `preset/bank` changes it."""

    def __init__(self, stage: StageView, board: Board, keys: tuple[str, ...]) -> None:
        self._stage, self._board = stage, board
        self.bank = board.choice("preset/bank")
        lock = board.toggle("preset/lock", "Lock")
        steps = [
            board.trigger("preset/prev", "◀"),
            board.trigger("preset/next", "▶"),
            board.trigger("preset/undo", "Undo"),
        ]
        when = text("Quantise", style.SMALL, "muted"), board.choice("quantise")
        self.frame, layout = panel("Presets", self.bank, *steps, lock, *when)
        grid = QGridLayout()
        grid.setSpacing(style.px(5))
        board.elsewhere.add("preset/go")
        self.pads: list[Pad] = []
        for at in range(PADS):
            pad = Pad(keys[at] if at < len(keys) else "")
            pad.clicked.connect(lambda _, pad=pad: self._call(pad))
            grid.addWidget(pad, at // COLUMNS, at % COLUMNS)
            self.pads.append(pad)
        layout.addLayout(grid, 1)
        fades = row(board.fader("crossfader"), board.fader("fade"), gap=5)
        fades.setStretch(0, 3)
        fades.setStretch(1, 2)
        layout.addLayout(fades)
        self.refresh()

    @property
    def widget(self) -> QFrame:
        """The panel."""
        return self.frame

    def _call(self, pad: Pad) -> None:
        pad.setChecked(pad.name == self._stage.preset)  # lit when the stage has obeyed
        self._board.edit("preset/go", pad.name)

    def refresh(self) -> None:
        """Shows the bank that lies under the fingers, and which of its presets plays."""
        names = under_the_fingers(self._stage)
        rows = min(max(-(-len(names) // COLUMNS), 2), ROWS)  # few presets get large pads
        for at, pad in enumerate(self.pads):
            pad.setVisible(at < rows * COLUMNS)
            pad.setMinimumHeight(style.px(LEAST[rows]))
            name = names[at] if at < len(names) else ""
            if name != pad.name:
                pad.show_preset(name)
                self._board.watch(pad, "preset/go", name)
            pad.setChecked(bool(name) and name == self._stage.preset)


def under_the_fingers(stage: StageView) -> Sequence[str]:
    """The presets on the pads, first pad first: those of the bank that is chosen, or all where it has none."""
    return dict(stage.banks()).get(str(stage.desk.get("preset/bank"))) or stage.preset_names()
