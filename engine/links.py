"""All that the two processes share: one frame slot, one reel of sound and three latest-value channels."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Self

from engine.channel import LatestValue
from engine.reel import SOUND_BYTES, SOUND_RECORDS, Reel
from engine.slot import FrameSlot

PRESET_BYTES = 4 << 20
"""Room for three vectors of W+ as JSON text."""


@dataclass(frozen=True, slots=True)
class Links:
    """One side's ends. The stage creates and unlinks them, an engine attaches and lets go.

    slot       engine → stage  pictures
    sound      engine → stage  the newest seconds of what is heard, as it came in, for those who record
    status     engine → stage  ten times a second
    controls   stage → engine  `{"controls": {name: value}, "clock", "preset"}` when a value has changed; `clock` is the
                               beat of a told clock, `{"count", "bpm", "at"}`, or None; `preset` the serial of the call
                               before
    preset     stage → engine  `{"serial", "name", "base", "offset", "maps", "fade_s", "crossfader"}` when a preset is
                               called, with `words` and `words_fade_s` when some were typed in since; apart from the
                               controls, since its vectors are long and a fader moves sixty times a second. A call
                               moves the crossfader, so it says where that stands: controls of an earlier call may be
                               read after it
    """

    slot: FrameSlot
    sound: Reel
    controls: LatestValue
    preset: LatestValue
    status: LatestValue

    @classmethod
    def create(cls, height: int, width: int) -> Self:
        """New links for pictures of height × width."""
        slot = FrameSlot.create(height, width)
        sound = Reel.create(SOUND_RECORDS, SOUND_BYTES)
        return cls(slot, sound, LatestValue.create(), LatestValue.create(PRESET_BYTES), LatestValue.create())

    @classmethod
    def attach(cls, names: Mapping[str, str]) -> Self:
        """The other process's links by their names. FileNotFoundError when they are gone."""
        return cls(
            FrameSlot.attach(names["slot"]),
            Reel.attach(names["sound"]),
            LatestValue.attach(names["controls"]),
            LatestValue.attach(names["preset"]),
            LatestValue.attach(names["status"]),
        )

    @property
    def names(self) -> dict[str, str]:
        """What `attach` needs."""
        return {
            "slot": self.slot.name,
            "sound": self.sound.name,
            "controls": self.controls.name,
            "preset": self.preset.name,
            "status": self.status.name,
        }

    def close(self) -> None:
        """Lets go of all of it; the creator also unlinks it."""
        for link in (self.slot, self.sound, self.controls, self.preset, self.status):
            link.close()
