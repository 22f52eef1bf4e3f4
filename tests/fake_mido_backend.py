"""A backend for mido with one controller, for machines without MIDI: what it is sent is kept."""

from __future__ import annotations

from typing import Any

from mido.ports import BaseInput, BaseOutput

NAME = "Faderbox 8"
plugged = True
sent: list[Any] = []
inputs: list[Input] = []


class Input(BaseInput):
    """Speaks through the callback when the test says so."""

    def _open(self, callback: Any = None, **_: Any) -> None:
        self.callback = callback
        inputs.append(self)

    def _receive(self, block: bool = True) -> None:
        return None


class Output(BaseOutput):
    """Keeps what it is sent."""

    def _send(self, message: Any) -> None:
        sent.append(message)


def get_devices(**_: Any) -> list[dict[str, Any]]:
    """The controller, and the loop that every ALSA system has."""
    names = ("Midi Through Port-0", NAME)[: 1 + plugged]
    return [{"name": name, "is_input": True, "is_output": True} for name in names]
