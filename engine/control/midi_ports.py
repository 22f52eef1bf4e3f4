"""The ports of a MIDI controller: found by name, opened, and opened again when it was unplugged and has come back.

No driver says that a controller is gone, so its name is looked for once a second, on a thread of its own: asking the
system may take longer than a frame lasts.
"""

from __future__ import annotations

import contextlib
import re
import threading
from collections.abc import Callable, Sequence
from pathlib import Path
from types import ModuleType
from typing import Any, NamedTuple

from engine.control.desk import Desk
from engine.control.midi import Midi, PulseClock
from engine.errors import ControlError

__all__ = ["Plug", "Ports", "open_midi"]

LOOK_S = 1.0
_CLIENT = re.compile(r" \d+:\d+$")
"""ALSA gives a controller another number each time that it is plugged in."""


class Ports(NamedTuple):
    """What is open of a controller; `input` None while it is unplugged, `output` None for one that cannot be told."""

    input: Any = None
    output: Any = None

    def close(self) -> None:
        """Close both. Never raises: a driver may dislike to close what is no longer there."""
        for port in self:
            if port is not None:
                with contextlib.suppress(Exception):
                    port.close()


class Plug:
    """Keeps the ports of one controller open, on its thread "midi" from `start` to `stop`.

    `mido`: the module. `name`: of the port, as the system said it. `hear` is called by the driver's thread with every
    message. Raises `ControlError` when the ports cannot be opened at first; later it tries again every `LOOK_S`.
    """

    def __init__(self, mido: ModuleType, name: str, hear: Callable[[Any], None]) -> None:
        self._mido, self._name, self._hear = mido, _CLIENT.sub("", name), hear
        self._lock = threading.Lock()
        self._stopping = threading.Event()
        self._thread: threading.Thread | None = None
        self.name = name
        self._ports = self._told = self._open(name)

    @property
    def ports(self) -> Ports:
        """What is open now."""
        return self._ports

    def news(self) -> Ports | None:
        """What is open now, if that has changed since the last call. Never blocks; one thread, the desk's."""
        ports = self._ports
        if ports is self._told:
            return None
        self._told = ports
        return ports

    def start(self) -> None:
        """Begin to look whether the controller is there."""
        self._thread = threading.Thread(target=self._watch, name="midi", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """Close the ports and end the thread, within two seconds. Safe to call twice."""
        self._stopping.set()
        if self._thread is not None:
            self._thread.join(2.0)
        with self._lock:
            self._ports.close()

    def _watch(self) -> None:
        while not self._stopping.wait(LOOK_S):
            with contextlib.suppress(Exception):  # what a driver raises that is just losing its device
                self._look()

    def _look(self) -> None:
        names = [name for name in self._mido.get_input_names() if _CLIENT.sub("", name) == self._name]
        if self._ports.input is not None and self.name not in names:
            self._ports, gone = Ports(), self._ports
            gone.close()
        if self._ports.input is None and names:
            ports = self._open(names[0])
            with self._lock:
                if self._stopping.is_set():
                    ports.close()
                    return
                self.name, self._ports = names[0], ports

    def _open(self, name: str) -> Ports:
        output = None
        try:
            output = self._mido.open_output(name) if name in self._mido.get_output_names() else None
            return Ports(self._mido.open_input(name, callback=self._hear), output)
        except Exception as error:  # noqa: BLE001 - each driver raises what it likes
            Ports(output=output).close()
            raise ControlError(f"MIDI controller {name!r} cannot be opened: {error or type(error).__name__}") from None


def open_midi(
    name: str,
    desk: Desk,
    path: Path | None = None,
    clock: PulseClock | None = None,
    tell: Callable[[str], None] = lambda line: None,
) -> Midi:
    """The controller whose name has `name` in it ("" takes the first), listened to, and told if it can be.

    `ControlError`, one line, where the extra `midi` is missing, the system has no MIDI or no such controller.
    """
    try:
        import mido
    except ImportError:
        raise ControlError("MIDI needs an extra: pip install 'cymatic[midi]'") from None
    try:
        found: Sequence[str] = [port for port in mido.get_input_names() if "through" not in port.lower()]
    except Exception as error:  # noqa: BLE001 - each driver has its own way to say that there is no MIDI
        raise ControlError(f"this system has no MIDI: {error or type(error).__name__}") from None
    chosen = next((port for port in found if name.lower() in port.lower()), None)
    if chosen is None:
        there = ", ".join(map(repr, found)) or "none"
        raise ControlError(f"no MIDI controller is called {name!r}; there are {there}")
    midi = Midi(desk, path, clock, tell=tell)
    midi.follow(Plug(mido, chosen, midi.hear))
    return midi
