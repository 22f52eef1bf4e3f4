"""A controller on a desk, for tests: what it says and what it is told."""

from __future__ import annotations

from pathlib import Path

import pytest

from engine.control.desk import Desk
from engine.control.midi import Midi
from engine.control.tempo import MidiClock

mido = pytest.importorskip("mido")


class Box:
    """A controller on a desk, with what it is told."""

    def __init__(self, desk: Desk, path: Path | None = None) -> None:
        self.desk, self.told, self.lines = desk, [], []
        self.clock = MidiClock()
        self.midi = Midi(desk, path, self.clock, self.told.append, self.lines.append)
        self.midi.tick()
        self.told.clear()

    def say(self, *messages) -> None:
        for message in messages:
            self.midi.hear(message)
        self.midi.tick()

    def knob(self, number: int, *values: int, channel: int = 0) -> None:
        self.say(*(cc(number, value, channel) for value in values))

    def pad(self, note: int, velocity: int = 100) -> None:
        self.say(mido.Message("note_on", note=note, velocity=velocity))

    def learn(self, name: str, value: object) -> None:
        """The performer asks to learn and touches a control in the window."""
        self.midi.learn()
        self.desk.set(name, value, "window")
        for event in self.desk.take_triggers():
            self.midi.touched(event)
        self.midi.tick()


def cc(number: int, value: int, channel: int = 0):
    return mido.Message("control_change", control=number, value=value, channel=channel)
