"""Choosing what is heard: the inputs that this machine has now, their channels, and the built-in demo.

They are listed by a process of its own, whose PortAudio sees what was plugged in after the show began. Choosing one
starts the engine anew; the last picture stays meanwhile. A channel is changed without that, unless it is one of the
many of a device of which only the first two are open.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from PySide6.QtCore import QProcess, Qt
from PySide6.QtWidgets import QMenu

import engine
from engine.audio.microphone import MOST_CHANNELS
from engine.control.registry import CONTROLS
from gui import style
from gui.widgets import Button, List

if TYPE_CHECKING:
    from engine.view import StageView
    from gui.board import Board

CHANNEL = "sound/channel"
DEMO = "demo"
LOOK = """
import json, sys
from engine.audio.devices import input_devices
sys.stdout.write(json.dumps([(device.name, device.channels) for device in input_devices()]))
"""
COMMAND = (sys.executable, "-c", LOOK)
KILL_MS = 2000


class Inputs(Button):
    """A button that looks for inputs and then shows them as a menu. `stop` before the application ends."""

    def __init__(self, stage: StageView, command: Sequence[str] = COMMAND) -> None:
        super().__init__("Inputs", "quiet", "Choose what is heard")
        self._stage, self._command = stage, tuple(command)
        self._process: QProcess | None = None
        self.clicked.connect(self.look)

    def look(self) -> None:
        """Begins to look, unless it does already."""
        if self._process is not None:
            return
        self.setEnabled(False)
        self._process = QProcess(self)
        self._process.setWorkingDirectory(str(Path(engine.__file__).parents[1]))
        self._process.finished.connect(self._finished)
        self._process.start(self._command[0], list(self._command[1:]))

    def stop(self) -> None:
        """Ends the look. Safe to call twice."""
        process, self._process = self._process, None
        if process is not None:
            process.finished.disconnect(self._finished)
            process.kill()
            process.waitForFinished(KILL_MS)
            process.deleteLater()

    def _finished(self) -> None:
        assert self._process is not None
        told = bytes(self._process.readAllStandardOutput().data())
        wrong = bytes(self._process.readAllStandardError().data()).decode(errors="replace").strip().splitlines()
        self._process.deleteLater()
        self._process = None
        self.setEnabled(True)
        try:
            found = [(str(name), int(channels)) for name, channels in json.loads(told)]
        except (ValueError, TypeError):
            found = []
        menu = self.menu_of(found, wrong[-1] if wrong and not found else "")
        menu.setAttribute(Qt.WidgetAttribute.WA_DeleteOnClose)
        menu.popup(self.mapToGlobal(self.rect().bottomLeft()))

    def menu_of(self, found: Sequence[tuple[str, int]], wrong: str = "") -> QMenu:
        """The menu for these inputs, (name, channels) each; `wrong` says why there is none."""
        menu = QMenu(self)
        heard = (self._stage.status.get("audio") or {}).get("device")
        if not found:
            menu.addAction(wrong.partition("Error: ")[2] or wrong or "No input was found").setEnabled(False)
        for name, channels in dict.fromkeys(found):
            words = f"{name}   {channels} ch"
            if channels > MOST_CHANNELS:
                self._add_channels(menu.addMenu(words), name, channels, name == heard)
                continue
            action = menu.addAction(words)
            action.setCheckable(True)
            action.setChecked(name == heard)
            action.triggered.connect(lambda _, name=name: self._stage.listen(name))
        menu.addSeparator()
        demo = menu.addAction("The built-in demo")
        demo.setCheckable(True)
        demo.setChecked(heard == DEMO)
        demo.triggered.connect(lambda: self._stage.listen(DEMO))
        return menu

    def _add_channels(self, menu: QMenu, name: str, channels: int, heard: bool) -> None:
        """What can be heard of a device with so many channels that they are not all opened."""
        chosen = round(float(self._stage.desk.get(CHANNEL))) if heard else None
        for channel in range(min(channels, round(CONTROLS[CHANNEL].maximum)) + 1):
            action = menu.addAction(f"Channel {channel}" if channel else "The first two, mixed")
            action.setCheckable(True)
            action.setChecked(channel == chosen)
            action.triggered.connect(lambda _, channel=channel: self._stage.listen(name, channel))


class Channels(List):
    """Which channel of the input is heard, or all of them mixed; hidden where there is no choice. The control
    `sound/channel`."""

    def __init__(self, board: Board) -> None:
        super().__init__()
        control = board.controls[CHANNEL]
        board.elsewhere.add(CHANNEL)
        board.watch(self, CHANNEL)
        self.setAccessibleName(CHANNEL)
        self.setToolTip(f"{control.description}\n{control.address()}")
        self.setProperty("role", "small")
        self.setFixedSize(style.px(92), style.px(22))
        self._shown: tuple[int, int] | None = None
        self.activated.connect(lambda row: board.edit(CHANNEL, self.itemData(row)))
        self.hide()

    def show_value(self, channels: int, chosen: int) -> None:
        """Shows the channels of the input and the one that is chosen, 0 for all."""
        if (channels, chosen) == self._shown:
            return
        self._shown = (channels, chosen)
        self.clear()
        self.addItem(f"All {channels} ch", 0)
        for channel in range(1, channels + 1):
            self.addItem(f"Channel {channel}", channel)
        if chosen > channels:
            self.addItem(f"No ch {chosen}: all", chosen)
        self.setCurrentIndex(self.findData(chosen))
        self.setVisible(channels > 1 or chosen > channels)
