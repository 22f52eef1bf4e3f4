"""Choosing what is heard: the inputs that this machine has now, their channels, and the built-in demo.

They are listed by a process of its own, whose PortAudio sees what was plugged in after the show began. Choosing one
starts the engine anew; the last picture stays meanwhile. A channel is changed without that, unless it is one of the
many of a device of which only the first two are open.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING

from PySide6.QtCore import Qt
from PySide6.QtWidgets import QMenu

from engine.audio.microphone import MOST_CHANNELS
from engine.control.registry import CONTROLS
from gui import style
from gui.errand import Errand
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
LOOK_S = 6.0
LATE = "The sound system does not answer: restart its server"


class Inputs(Button):
    """A button that looks for inputs and then shows them as a menu. `stop` before the application ends."""

    def __init__(self, stage: StageView, command: Sequence[str] = COMMAND, seconds: float = LOOK_S) -> None:
        super().__init__("Inputs", "quiet", "Choose what is heard")
        self._stage = stage
        self.errand = Errand(self, command, seconds, LATE, self._found)
        self.clicked.connect(self.look)

    def look(self) -> None:
        """Begins to look; the button waits until it has looked."""
        self.setEnabled(False)
        self.errand.begin()

    def stop(self) -> None:
        """Ends the look. Safe to call twice."""
        self.errand.stop()

    def _found(self, told: bytes, wrong: str) -> None:
        self.setEnabled(True)
        try:
            found = [(str(name), int(channels)) for name, channels in json.loads(told)]
        except (ValueError, TypeError):
            found = []
        menu = self.menu_of(found, "" if found else wrong)
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
