"""The control window: what the program hears, what it paints, and everything a performer may touch.

One calm timer reads the stage thirty times a second; every widget shows what the desk says and writes to the desk only.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from PySide6.QtCore import QEvent, Qt, QTimer, Signal
from PySide6.QtGui import QCloseEvent, QKeyEvent, QMouseEvent, QPainter, QPaintEvent
from PySide6.QtWidgets import (
    QComboBox,
    QFrame,
    QGridLayout,
    QHBoxLayout,
    QLabel,
    QLineEdit,
    QPushButton,
    QScrollArea,
    QSizePolicy,
    QVBoxLayout,
    QWidget,
)

from engine.control.registry import CONTROLS, REGISTRY, TEXT_LIMIT, Control
from engine.errors import ControlError
from gui import style
from gui.commands import ORIGIN, PRESET_KEYS, Commands
from gui.widgets import FLOOR_DB, QUIET_DB, Fader, LevelMeter, Light, MelPicture, Pad, Preview, SceneBars, label

if TYPE_CHECKING:
    from engine.slot import Frame
    from engine.view import StageView

REFRESH_MS = 33
QUIET_AFTER_S = 2.0
"""A pause between two hits is no fault: only a longer one is called too quiet."""

PAD_COLUMNS = MOMENT_COLUMNS = 4
LINE_WIDTH = 460


class ControlWindow(QWidget):
    """Shows a stage.

    `newest` gives the newest frame without taking it away from the output; `latency_ms` is what the output measured.
    `commands` is set by the owner.
    """

    closed = Signal()
    """The user asked to close the window."""

    def __init__(
        self,
        stage: StageView,
        newest: Callable[[], Frame | None],
        latency_ms: Callable[[], float | None] = lambda: None,
    ) -> None:
        super().__init__()
        self._stage, self._newest, self._latency_ms = stage, newest, latency_ms
        self.commands: Commands | None = None
        self.faders: dict[str, Fader] = {}
        self.toggles: dict[str, QPushButton] = {}
        self.buttons: dict[str, QPushButton] = {}
        self.texts: dict[str, QLineEdit] = {}
        self.choices: dict[str, QComboBox] = {}
        self.pads: dict[str, Pad] = {}
        self._heard: object = None
        self._quiet_ticks = 0
        self._refused = ""
        self.setWindowTitle("cymatic · control")
        self.resize(1280, 800)
        self.setFocusPolicy(Qt.FocusPolicy.StrongFocus)
        self.setFocus()  # else the first fader takes the arrow keys

        self._build()
        self._help: HelpPage | None = None
        self._timer = QTimer(self)
        self._timer.setInterval(REFRESH_MS)
        self._timer.timeout.connect(self.refresh)
        self.refresh()
        self._timer.start()

    # what stands where

    def _build(self) -> None:
        left = QVBoxLayout()
        left.setSpacing(style.GAP)
        upper = QHBoxLayout()
        upper.setSpacing(style.GAP)
        upper.addWidget(self._hears(), 10)
        upper.addWidget(self._paints(), 14)
        left.addLayout(upper, 1)
        left.addWidget(self._presets())
        columns = QHBoxLayout()
        columns.setSpacing(style.GAP)
        columns.addLayout(left, 1)
        columns.addWidget(self._controls())
        whole = QVBoxLayout(self)
        whole.setContentsMargins(style.GAP, style.GAP, style.GAP, 12)
        whole.setSpacing(12)
        whole.addLayout(columns, 1)
        whole.addLayout(self._footer())

    def _hears(self) -> QFrame:
        self.rate = _text("", style.BODY, "faint")
        panel, layout = _panel("Hears", self.rate)
        self.device = _text("", style.LARGE, "figure")
        self.meter = LevelMeter()
        self.advice = _text("", style.BODY, "muted")
        self.onset = Light()
        self.mel = MelPicture()
        line = QHBoxLayout()
        line.addWidget(self.advice, 1)
        line.addWidget(_text("Onset", style.BODY, "muted"))
        line.addWidget(self.onset)
        layout.addWidget(self.device)
        layout.addWidget(self.meter)
        layout.addLayout(line)
        layout.addWidget(self.mel, 1)
        return panel

    def _paints(self) -> QFrame:
        panel, layout = _panel("Paints")
        self.preview = Preview(self._stage.image_size)
        self.scenes = SceneBars()
        layout.addWidget(self.preview)
        layout.addStretch(1)
        layout.addWidget(self.scenes)
        return panel

    def _presets(self) -> QFrame:
        lines = [self._line(control) for control in REGISTRY if control.kind == "text"]
        panel, layout = _panel("Presets", *lines, self._trigger("preset/prev", "‹"), self._trigger("preset/next", "›"))
        self._pad_grid = QGridLayout()
        self._pad_grid.setSpacing(8)
        self._pad_grid.setContentsMargins(0, 0, 0, 0)
        inside = QWidget()
        inside.setLayout(self._pad_grid)
        scroll = QScrollArea()
        scroll.setWidgetResizable(True)
        scroll.setHorizontalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAlwaysOff)
        scroll.setFocusPolicy(Qt.FocusPolicy.NoFocus)
        scroll.setFixedHeight(2 * 46 + 8)
        scroll.setWidget(inside)
        layout.addWidget(scroll)
        return panel

    def _controls(self) -> QFrame:
        panel, layout = _panel("Controls", self._trigger("panic", "Defaults"))
        panel.setFixedWidth(404)
        layout.setSpacing(0)
        stage_buttons = QHBoxLayout()
        stage_buttons.setSpacing(8)
        groups: dict[str, list[Control]] = {}
        for control in REGISTRY:
            if control.kind == "float":
                groups.setdefault(_group(control), []).append(control)
            elif control.kind == "bool":
                stage_buttons.addWidget(self._toggle(control))
        for members in groups.values():
            for control in members:
                fader = self.faders[control.name] = Fader(control)
                fader.moved.connect(self._edit)
                layout.addWidget(fader, 1)
            layout.addSpacing(14)
        layout.addLayout(self._moments())
        layout.addSpacing(14)
        layout.addLayout(stage_buttons)
        return panel

    def _moments(self) -> QGridLayout:
        """The choices and triggers that have no place elsewhere."""
        grid = QGridLayout()
        grid.setSpacing(8)
        for control in REGISTRY:
            widget: QWidget | None = None
            if control.kind == "choice" and control.name != "preset/go":  # which are the pads
                widget = self._choice(control)
            elif control.kind == "trigger" and control.name not in self.buttons:
                widget = self._trigger(control.name, label(control).split()[-1].capitalize())
            if widget is not None:
                grid.addWidget(widget, grid.count() // MOMENT_COLUMNS, grid.count() % MOMENT_COLUMNS)
        return grid

    def _choice(self, control: Control) -> QComboBox:
        box = self.choices[control.name] = QComboBox()
        box.setFont(style.font(style.SMALL))
        box.setFocusPolicy(Qt.FocusPolicy.NoFocus)
        box.setAccessibleName(control.name)
        box.setToolTip(f"{control.description}\n{control.address()}")
        box.activated.connect(lambda row: self._edit(control.name, box.itemData(row)))
        return box

    def _trigger(self, name: str, words: str) -> QPushButton:
        button = self.buttons[name] = QPushButton(words)
        button.setFont(style.font(style.SMALL))
        button.setFocusPolicy(Qt.FocusPolicy.NoFocus)
        button.setToolTip(CONTROLS[name].description)
        button.setProperty("role", "quiet")
        button.clicked.connect(lambda: self._edit(name, True))
        return button

    def _toggle(self, control: Control) -> QPushButton:
        button = self.toggles[control.name] = QPushButton("Test card" if control.name == "testcard" else label(control))
        button.setCheckable(True)
        button.setFocusPolicy(Qt.FocusPolicy.NoFocus)  # Space belongs to freeze
        button.setToolTip(control.description)
        button.setProperty("role", "alarm" if control.name == "blackout" else "stage")
        button.clicked.connect(lambda on, name=control.name: self._edit(name, on))
        return button

    def _line(self, control: Control) -> QLineEdit:
        line = self.texts[control.name] = QLineEdit()
        line.setPlaceholderText(f"{label(control)}: {control.description[0].lower()}{control.description[1:]}")
        line.setFont(style.font(style.SMALL))
        line.setMinimumWidth(LINE_WIDTH)
        line.setAccessibleName(control.name)
        line.setMaxLength(TEXT_LIMIT)
        line.setFocusPolicy(Qt.FocusPolicy.ClickFocus)
        line.setToolTip(f"{control.description}\n{control.address()}")
        line.editingFinished.connect(lambda: self._edit(control.name, line.text()))
        line.returnPressed.connect(self.setFocus)  # the keys are the show's again
        return line

    def _footer(self) -> QHBoxLayout:
        self.figures = _text("", style.BODY, "muted")
        self.message = _text("", style.BODY, "muted")
        self.message.setSizePolicy(QSizePolicy.Policy.Ignored, QSizePolicy.Policy.Preferred)
        line = QHBoxLayout()
        line.setSpacing(style.GAP)
        line.addWidget(self.figures)
        line.addWidget(self.message, 1)
        line.addWidget(_text("F1  keys", style.BODY, "faint"))
        return line

    # what happens thirty times a second

    def refresh(self) -> None:
        """Shows the stage as it is now."""
        desk, status = self._stage.desk, self._stage.status
        values = desk.snapshot()
        for name, fader in self.faders.items():
            fader.show_value(float(values[name]))
        for name, button in self.toggles.items():
            button.setChecked(bool(values[name]))
        for name, line in self.texts.items():
            if not line.hasFocus() and line.text() != values[name]:
                line.setText(str(values[name]))
        for name, box in self.choices.items():
            options = desk.options(name)
            if tuple(box.itemData(row) for row in range(box.count())) != options:
                box.clear()
                for option in options:
                    box.addItem(f"{label(CONTROLS[name])} {option}", option)
            box.setCurrentIndex(box.findData(desk.get(name)))
        self._show_presets()
        self._show_sound(status)
        frame = self._newest()
        level = 0.25 if values["blackout"] else float(values["master"])
        self.preview.show_frame(None if frame is None else frame.rgba, self._instead(values, status), level)
        if scenes := status.get("scenes"):
            self.scenes.show_values(scenes, status.get("scene_names", ()))
        self._show_figures(status)

    def _instead(self, values: dict[str, Any], status: Any) -> str:
        if values["blackout"]:
            return "Blackout"
        if values["testcard"]:
            return "Test card"
        if values["freeze"]:
            return "Frozen"
        return "" if status.get("state") == "playing" else "Loading"

    def _show_presets(self) -> None:
        names = tuple(self._stage.preset_names())
        if names != tuple(self.pads):
            for pad in self.pads.values():
                self._pad_grid.removeWidget(pad)
                pad.deleteLater()
            self.pads = {name: self._pad(position, name) for position, name in enumerate(names)}
        for name, pad in self.pads.items():
            pad.setChecked(name == self._stage.preset)

    def _pad(self, position: int, name: str) -> Pad:
        key = PRESET_KEYS[position] if position < len(PRESET_KEYS) else ""
        pad = Pad(key, name)
        pad.clicked.connect(lambda: self._edit("preset/go", name))
        self._pad_grid.addWidget(pad, position // PAD_COLUMNS, position % PAD_COLUMNS)
        return pad

    def _show_sound(self, status: Any) -> None:
        audio = status.get("audio") or {}
        rms_db, clip = float(status.get("rms_db", -90.0)), bool(status.get("clip"))
        self.device.setText(str(audio.get("device", "No sound yet")))
        self.rate.setText(f"{audio['sample_rate'] / 1000:g} kHz" if audio.get("sample_rate") else "")
        self.meter.show_level(rms_db, clip=clip)
        self.onset.show_value(float(status.get("onset", 0.0)))
        self._quiet_ticks = self._quiet_ticks + 1 if rms_db < QUIET_DB else 0
        quiet = self._quiet_ticks * REFRESH_MS >= 1000 * QUIET_AFTER_S
        if clip:
            _say(self.advice, "Clipping: turn it down", "error")
        elif quiet and audio:
            _say(self.advice, "Too quiet to read", "figure")
        elif not audio:
            _say(self.advice, "", "muted")
        else:
            _say(self.advice, f"{max(rms_db, FLOOR_DB):.0f} dB".replace("-", "−"), "muted")
        if (mel := status.get("mel")) is not None and status is not self._heard:
            self._heard = status
            self.mel.push(mel)

    def _show_figures(self, status: Any) -> None:
        latency = self._latency_ms()
        parts = [f"{self._stage.fps:.1f} fps", f"{int(status.get('late_frames', 0))} late"]
        if latency is not None:
            parts.append(f"{latency:.0f} ms sound to picture")
        self.figures.setText("     ".join(parts))
        lines = self._stage.errors
        wrong = self._refused or status.get("error") or ""
        _say(self.message, wrong or (lines[-1] if lines else ""), "error" if wrong else "muted")

    # what the performer does

    def _edit(self, name: str, value: object) -> None:
        try:
            self._stage.desk.set(name, value, origin=ORIGIN)
            self._refused = ""
        except ControlError as error:
            self._refused = str(error)

    def toggle_help(self) -> None:
        """Shows or hides the page of keys."""
        if self._help is None and self.commands is not None:
            self._help = HelpPage(self, self.commands)
        if self._help is not None:
            self._help.setVisible(not self._help.isVisible())
            self._help.cover()

    def keyPressEvent(self, event: QKeyEvent) -> None:
        if self._help is not None and self._help.isVisible() and event.key() == Qt.Key.Key_Escape:
            self._help.hide()
        elif self.commands is None or not self.commands.press(event):
            super().keyPressEvent(event)

    def mousePressEvent(self, event: QMouseEvent) -> None:
        if (focused := self.focusWidget()) is not None:
            focused.clearFocus()

    def resizeEvent(self, event: QEvent) -> None:
        if self._help is not None:
            self._help.cover()

    def closeEvent(self, event: QCloseEvent) -> None:
        # As with the output: closing is a wish, and the owner ends the run in order.
        event.ignore()
        self.closed.emit()

    def finish(self) -> None:
        """Stops the timer and hides the window for good."""
        self._timer.stop()
        self.hide()


class HelpPage(QWidget):
    """The keys, over the control window, which is dimmed meanwhile."""

    def __init__(self, parent: QWidget, commands: Commands) -> None:
        super().__init__(parent)
        page = QFrame()
        page.setObjectName("help")
        grid = QGridLayout(page)
        grid.setContentsMargins(36, 28, 36, 28)
        grid.setHorizontalSpacing(36)
        grid.setVerticalSpacing(8)
        grid.addWidget(_text("Keys", style.HUGE, "figure"), 0, 0, 1, 2)
        for row, command in enumerate(commands.rows, 1):
            grid.addWidget(_text(command.keys, style.LARGE, "figure"), row, 0)
            grid.addWidget(_text(command.does, style.LARGE, "muted"), row, 1)
        hint = "On a fader: Shift drags finely, a double click puts the default back, Tab and arrows move."
        note = _text(hint, style.BODY, "muted")
        note.setWordWrap(True)
        grid.setRowMinimumHeight(len(commands.rows) + 1, 8)
        grid.addWidget(note, len(commands.rows) + 2, 0, 1, 2)
        outer = QGridLayout(self)
        outer.addWidget(page, 0, 0, Qt.AlignmentFlag.AlignCenter)
        self.hide()

    def cover(self) -> None:
        """Lies over the whole of its window."""
        self.setGeometry(self.parentWidget().rect())
        self.raise_()

    def paintEvent(self, event: QPaintEvent) -> None:
        painter = QPainter(self)
        painter.fillRect(self.rect(), style.color(style.BACKGROUND, 0.8))
        painter.end()

    def mousePressEvent(self, event: QMouseEvent) -> None:
        self.hide()


def _group(control: Control) -> str:
    """Faders that belong together and stand together."""
    family = control.name.partition("/")[0]
    if family in ("sound", "text", "latency"):
        return "mix"
    return family if "/" in control.name else control.scope


def _panel(title: str, *beside: QWidget) -> tuple[QFrame, QVBoxLayout]:
    panel = QFrame()
    panel.setObjectName("panel")
    layout = QVBoxLayout(panel)
    layout.setContentsMargins(style.PAD, 12, style.PAD, style.PAD)
    layout.setSpacing(10)
    head = QHBoxLayout()
    head.setSpacing(8)
    head.addWidget(_text(title, style.BODY, "title"), 1)
    for widget in beside:
        head.addWidget(widget)
    layout.addLayout(head)
    return panel, layout


def _text(words: str, pixels: int, role: str) -> QLabel:
    text = QLabel(words)
    text.setFont(style.font(pixels))
    text.setTextFormat(Qt.TextFormat.PlainText)
    text.setProperty("role", role)
    return text


def _say(text: QLabel, words: object, role: str) -> None:
    line = " ".join(str(words).split())
    room = text.width() if text.sizePolicy().horizontalPolicy() == QSizePolicy.Policy.Ignored else 10_000
    text.setText(text.fontMetrics().elidedText(line, Qt.TextElideMode.ElideRight, room))
    text.setToolTip(line)
    if text.property("role") != role:
        text.setProperty("role", role)
        text.style().polish(text)
