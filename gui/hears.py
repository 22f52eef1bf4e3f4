"""What the program hears: device, level with its warnings, onset and beat, the mel picture, gain and gate."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from PySide6.QtWidgets import QFrame

from gui import style
from gui.inputs import CHANNEL, Channels, Inputs
from gui.meters import FLOOR_DB, QUIET_DB, LevelMeter, Light, MelPicture
from gui.widgets import elastic, panel, row, say, text

if TYPE_CHECKING:
    from engine.view import StageView
    from gui.board import Board

QUIET_AFTER_S = 2.0
"""A pause between two hits is no fault: only a longer one is called too quiet."""

TROUBLE = {
    "silent": ("Only zeros", "Nothing but zeros: may the program use it? Of an output: does anything play there?"),
    "stalled": ("No sound comes", "The device is open and gives no sound"),
    "moved": ("Another device", "The sound server has put another device in its place"),
    "lost": ("Device is gone", "The device has gone; it is opened again as soon as it is back"),
}
"""What is said of each state of a source that is not well, in short and in full."""

BESIDE = ("sound/weight",)
"""Controls of the sound that stand with the others of the picture."""


class Hears:
    """The panel; `mel` outlives it, so that its past is not lost when the window is built again."""

    def __init__(self, stage: StageView, board: Board, mel: MelPicture) -> None:
        self._stage, self.mel = stage, mel
        self.rate, self.channels = text("", style.SMALL, "faint"), Channels(board)
        self.frame, layout = panel("Hears", self.rate, self.channels)
        self.device = elastic(text("", style.LARGE, bold=True))
        self.inputs = Inputs(stage)
        self.meter = LevelMeter()
        self.meter.setToolTip(f"Level of the input; under {QUIET_DB:.0f} dB it is too quiet to be read, at 0 it clips")
        self.mel.setToolTip("What was heard in the last 16 seconds: low tones at the foot, what is loud is bright")
        self.advice = elastic(text("", style.BODY, "muted"))
        self.onset, self.beat = Light(), Light(style.COOL)
        lamps = row(
            self.advice, text("Onset", style.SMALL, "muted"), self.onset, text("Beat", style.SMALL, "muted"), self.beat
        )
        lamps.setStretch(0, 1)
        named = row(self.device, self.inputs)
        named.setStretch(0, 1)
        layout.addLayout(named)
        layout.addWidget(self.meter)
        layout.addLayout(lamps)
        layout.addWidget(mel, 1)
        mine = [control for control in board.controls.values() if control.name.startswith("sound/")]
        for kind in ("choice", "float"):
            names = [c.name for c in mine if c.kind == kind and c.name not in (*BESIDE, CHANNEL)]
            widgets = [board.widget(name, "sound") for name in names]
            if widgets:
                layout.addLayout(row(*widgets))
        self._heard: object = None
        self._beat = 0
        self._quiet_since: float | None = None

    @property
    def widget(self) -> QFrame:
        """The panel."""
        return self.frame

    def refresh(self, status: Mapping[str, Any], now: float) -> None:
        """Shows the newest status; `now` in seconds, by any clock."""
        audio = status.get("audio") or {}
        rms_db, clip = float(status.get("rms_db", -90.0)), bool(status.get("clip"))
        name = str(audio.get("device", "No sound yet"))
        say(self.device, name, "figure")
        self.device.setToolTip(name)
        parts = [f"{audio['sample_rate'] / 1000:g} kHz"] if audio.get("sample_rate") else []
        count = int(audio.get("channels") or 0)
        if count == 1:
            parts.append("1 ch")
        self.channels.show_value(count, round(float(self._stage.desk.get(CHANNEL))))
        if audio.get("gaps"):
            parts.append(f"gaps {audio['gaps']}")
        say(self.rate, "  ·  ".join(parts), "faint")
        self.meter.show_level(rms_db, clip=clip)
        self.onset.show_value(float(status.get("onset", 0.0)))
        self._show_beat()
        self._advise(audio, rms_db, clip, now)
        if (mel := status.get("mel")) is not None and status is not self._heard:
            self._heard = status
            self.mel.push(mel)

    def _show_beat(self) -> None:
        beat = int(self._stage.tempo.get("beat", 0))
        self.beat.show_value(1.0 if beat != self._beat else self.beat.value * 0.82 if self.beat.value > 0.02 else 0.0)
        self._beat = beat

    def _advise(self, audio: Mapping[str, Any], rms_db: float, clip: bool, now: float) -> None:
        if not rms_db < QUIET_DB:
            self._quiet_since = None
        elif self._quiet_since is None:
            self._quiet_since = now
        trouble = TROUBLE.get(str(audio.get("state", "")))
        if clip:
            say(self.advice, "Clipping", "error")
            self.advice.setToolTip("The input is at full scale: turn it down")
        elif trouble is not None:
            say(self.advice, trouble[0], "error")
            self.advice.setToolTip(trouble[1])
        elif audio and self._quiet_since is not None and now - self._quiet_since >= QUIET_AFTER_S:
            say(self.advice, "Too quiet", "accent")
        elif not audio:
            say(self.advice, "", "muted")
        else:
            say(self.advice, f"{max(rms_db, FLOOR_DB):.0f} dB".replace("-", "−"), "muted")
