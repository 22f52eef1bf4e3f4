"""MIDI controllers: knobs and faders move controls, pads press buttons, and both are told how things stand.

What moves what is learned: `learn`, touch the control (in the window, by OSC), then turn the knob or press the pad. It
is kept by `engine.control.midi_map` and found again at the next show. A fader that does not stand where its control
does moves nothing until it has passed there (soft take-over), so that no jump is seen when somebody else has moved the
control meanwhile.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, Protocol

from engine.control.desk import Desk, Trigger
from engine.control.midi_map import Binding, MapFile
from engine.control.registry import Control, Value
from engine.errors import ControlError

if TYPE_CHECKING:
    from engine.control.midi_ports import Plug, Ports

__all__ = ["Midi", "PulseClock"]

ORIGIN = "midi"
FINE = 32  # controllers 0..31 may send seven more bits as 32..63
FINE_WITHIN_S = 0.25  # of the first seven, or they belong to something else
NEAR = 0.02  # of a fader's travel: close enough to take over
PRESSED = 0.5
QUEUE = 4096  # messages between two looks
CLOCK = {"clock", "start", "continue", "stop", "songpos"}


class PulseClock(Protocol):
    """What takes MIDI clock (`engine.control.tempo.MidiClock`)."""

    def pulse(self, now: float) -> None: ...
    def start(self) -> None: ...
    def go_on(self) -> None: ...
    def halt(self) -> None: ...
    def locate(self, sixteenths: int) -> None: ...


@dataclass(slots=True)
class _Hand:
    """Where a knob stands, 0..1, and whether it has taken hold of its control."""

    stands: float | None = None
    holds: bool = False
    coarse: int = 0


class Midi:
    """One controller and the desk. One thread, the stage's, but for `hear`, which any thread may call.

    `path` keeps the map; None forgets it at the end. `send` takes `mido` messages for motors and lamps. `tell` hears
    lines for the performer.
    """

    def __init__(
        self,
        desk: Desk,
        path: Path | None = None,
        clock: PulseClock | None = None,
        send: Callable[[Any], None] | None = None,
        tell: Callable[[str], None] = lambda line: None,
    ) -> None:
        self._desk, self._clock, self._send, self._tell = desk, clock, send, tell
        self._controls: dict[str, Control] = {control.name: control for control in desk.controls}
        self._file = None if path is None else MapFile(path)
        self._bindings = self._known(() if self._file is None else self._file.bindings)
        self._hands: dict[tuple[bool, int, int], _Hand] = {}
        self._heard: deque[tuple[Any, float]] = deque(maxlen=QUEUE)
        self._serial = 0
        self._wants: Literal["", "touch", "forget", "turn"] = ""
        self._target: tuple[str, str | None] = ("", None)
        self._learned: tuple[Binding, float] | None = None
        self._plug: Plug | None = None
        self.ports: tuple[Any, ...] = ()

    @property
    def bindings(self) -> tuple[Binding, ...]:
        """What has been learned so far."""
        return tuple(self._bindings.values())

    @property
    def names(self) -> list[str]:
        """Of the controllers that are open."""
        return list(dict.fromkeys(str(port.name) for port in self.ports))

    def bound(self, name: str) -> list[str]:
        """What moves this control, a line each."""
        found = (binding for binding in self._bindings.values() if binding.control == name)
        return [f"{binding}: {binding.option}" if binding.option else str(binding) for binding in found]

    def hear(self, message: Any) -> None:
        """A `mido` message has come, now."""
        self._heard.append((message, time.perf_counter()))

    def learn(self) -> None:
        """Bind the control that is touched next to what is moved after it; a second call thinks better of it."""
        self._ask("touch", "MIDI: touch what is to be moved, then turn its knob or press its pad")

    def obey(self, trigger: str) -> None:
        """Do what `midi/learn` and `midi/forget` ask for."""
        if not self.ports:
            self._tell("no MIDI controller is open: begin the show with --midi")
        elif trigger == "midi/learn":
            self.learn()
        else:
            self.forget()

    def learn_for(self, name: str, option: str | None = None) -> None:
        """Bind this control, or this option of a choice, to what is moved next. `ControlError` for none or a text."""
        if name not in self._controls or self._controls[name].kind == "text":
            raise ControlError(f"MIDI cannot move {name[:60]}")
        self._wants = "touch"
        self._touch(name, option)

    def forget(self) -> None:
        """Take every knob and pad away from the control that is touched next."""
        self._ask("forget", "MIDI: touch what no knob shall move any more")

    def touched(self, event: Trigger) -> None:
        """A trigger has fired or a choice was made: it may be what is to be learned."""
        if not event.origin.startswith(ORIGIN):
            self._touch(event.name, str(event.value) if self._controls[event.name].kind == "choice" else None)

    def tick(self) -> None:
        """Obey what has been heard, and tell the controller what has moved. Never raises for what a device sends."""
        if self._plug is not None and (ports := self._plug.news()) is not None:
            self._replug(ports)
        self._reread()
        while self._heard:
            self._obey(*self._heard.popleft())
        told, (self._serial, changed) = self._serial, self._desk.changes_since(self._serial)
        for name in changed:
            mover = self._desk.mover(name)
            by_hand = told > 0 and mover != "" and not mover.startswith((ORIGIN, "preset", "stage"))
            if by_hand and self._controls[name].continuous:  # choices come by `touched`
                self._touch(name, None)
        if self._send is not None:
            for binding in self._bindings.values():
                if binding.control in changed:
                    self._show(binding, changed[binding.control])

    def follow(self, plug: Plug) -> None:
        """Speak through the ports of `plug`, which is started, until `stop`."""
        self._plug = plug
        self._take(plug.ports)
        plug.start()

    def stop(self) -> None:
        """Close the ports. Safe to call twice."""
        self.ports, plug, self._plug = (), self._plug, None
        if plug is not None:
            plug.stop()

    def _replug(self, ports: Ports) -> None:
        """The controller has gone or is back; then its knobs may stand anywhere and its lamps are dark."""
        was = ", ".join(self.names)
        self._take(ports)
        self._hands.clear()
        self._serial = 0
        self._tell(f"MIDI: {', '.join(self.names)} is back" if self.ports else f"MIDI: {was} is gone; it is waited for")

    def _take(self, ports: Ports) -> None:
        self.ports = tuple(port for port in ports if port is not None)
        self._send = None if ports.output is None else ports.output.send

    # -- what is heard

    def _obey(self, message: Any, now: float) -> None:
        if message.type in CLOCK:
            self._count(message, now)
        elif message.type == "control_change":
            self._turn(message.channel, message.control, message.value, now)
        elif message.type in ("note_on", "note_off"):
            pressed = message.type == "note_on" and message.velocity > 0
            if self._wants == "turn" and pressed:
                self._bind("note", message.channel, message.note, now)
            elif (binding := self._bindings.get((True, message.channel, message.note))) is not None and pressed:
                self._press(binding)

    def _count(self, message: Any, now: float) -> None:
        if self._clock is None:
            return
        match message.type:
            case "clock":
                self._clock.pulse(now)
            case "start":
                self._clock.start()
            case "continue":
                self._clock.go_on()
            case "stop":
                self._clock.halt()
            case "songpos":
                self._clock.locate(message.pos)

    def _turn(self, channel: int, number: int, value: int, now: float) -> None:
        if self._wants == "turn":
            self._bind("cc", channel, number, now)
        self._refine(channel, number, now)
        coarse = self._bindings.get((False, channel, number - FINE))
        if coarse is not None and coarse.kind == "cc14":
            hand = self._hands.setdefault(coarse.source, _Hand())
            self._move(coarse, hand, (hand.coarse << 7 | value) / 0x3FFF)
        elif (binding := self._bindings.get((False, channel, number))) is not None:
            hand = self._hands.setdefault(binding.source, _Hand())
            hand.coarse = value
            if binding.kind == "cc":
                self._move(binding, hand, value / 127)

    def _move(self, binding: Binding, hand: _Hand, to: float) -> None:
        control, before, hand.stands = self._controls[binding.control], hand.stands, to
        if control.kind == "float":
            at = control.fraction(float(self._desk.get(control.name)))
            if self._desk.mover(control.name) != _origin(binding):
                hand.holds = False
            if not hand.holds:
                passed = before is not None and min(before, to) <= at <= max(before, to)
                hand.holds = passed or abs(to - at) <= NEAR
            if hand.holds:
                self._desk.set(control.name, control.at(to), _origin(binding))
        elif (to > PRESSED) != (before is not None and before > PRESSED):  # a knob is a button at half its travel
            if control.kind == "bool":
                self._desk.set(control.name, to, _origin(binding))
            elif to > PRESSED:
                self._press(binding)

    def _press(self, binding: Binding) -> None:
        control = self._controls[binding.control]
        value: object = True
        if control.kind == "bool":
            value = not self._desk.get(control.name)
        elif control.kind == "choice":
            value = binding.option
        try:
            self._desk.set(control.name, value, _origin(binding))
        except ControlError as error:  # a preset that is gone
            self._tell(f"MIDI: {error}")

    # -- what is told

    def _show(self, binding: Binding, value: Value) -> None:
        """Move the motor, light the lamp. A knob is not told what it said itself; a pad knows only what it is told."""
        from mido import Message

        control = self._controls[binding.control]
        on = value == binding.option if control.kind == "choice" else bool(value)
        if binding.kind == "note":
            messages = [Message("note_on", channel=binding.channel, note=binding.number, velocity=127 * on)]
        elif self._desk.mover(control.name) == _origin(binding) and control.kind != "choice":
            return
        else:
            to = control.fraction(value) if isinstance(value, float) else float(on)
            parts = [(binding.number, round(127 * to))]
            if binding.kind == "cc14":
                whole = round(0x3FFF * to)
                parts = [(binding.number, whole >> 7), (binding.number + FINE, whole & 0x7F)]
            messages = [
                Message("control_change", channel=binding.channel, control=number, value=part) for number, part in parts
            ]
        assert self._send is not None
        try:
            for message in messages:
                self._send(message)
        except Exception as error:  # noqa: BLE001 - a driver raises what it likes; the show goes on without lamps
            self._send = None
            self._tell(f"MIDI: the controller is no longer told anything: {error}")

    # -- what is learned

    def _ask(self, wants: Literal["touch", "forget"], line: str) -> None:
        self._wants = "" if self._wants else wants
        self._tell(line if self._wants else "MIDI: nothing was learned")

    def _touch(self, name: str, option: str | None) -> None:
        if self._wants == "touch" and self._controls[name].kind != "text":
            self._wants, self._target = "turn", (name, option)
            self._tell(f"MIDI: now turn the knob or press the pad for {name}{f' {option}' if option else ''}")
        elif self._wants == "forget":
            self._wants = ""
            kept = {source: binding for source, binding in self._bindings.items() if binding.control != name}
            self._tell(f"MIDI: {len(self._bindings) - len(kept)} forgotten for {name}")
            self._bindings = kept
            self._save()

    def _bind(self, kind: Literal["cc", "note"], channel: int, number: int, now: float) -> None:
        name, option = self._target
        if kind == "note" and self._controls[name].kind == "float":
            self._tell(f"MIDI: a pad cannot move {name}, turn a knob")
            return
        self._wants = ""
        binding = Binding(control=name, option=option, kind=kind, channel=channel, number=number)
        self._keep(binding)
        self._learned = binding, now

    def _refine(self, channel: int, number: int, now: float) -> None:
        """Seven more bits right behind a controller that has just been learned: it has fourteen."""
        if self._learned is None or now - self._learned[1] > FINE_WITHIN_S:
            return
        binding = self._learned[0]
        if binding.source == (False, channel, number - FINE) and binding.number < FINE:
            self._learned = None
            self._keep(binding.model_copy(update={"kind": "cc14"}))

    def _keep(self, binding: Binding) -> None:
        self._bindings[binding.source] = binding
        self._tell(f"MIDI: {binding} moves {binding.control}{f' {binding.option}' if binding.option else ''}")
        self._save()

    def _save(self) -> None:
        if self._file is None:
            return
        try:
            self._file.write(self.bindings)
        except OSError as error:
            self._tell(f"MIDI: what was learned cannot be kept in {self._file.path}: {error.strerror or error}")

    def _reread(self) -> None:
        """Another one has written the file: what it says holds from now on, and every knob must take over anew."""
        try:
            if self._file is None or (bindings := self._file.news()) is None:
                return
        except ControlError as error:
            self._tell(f"{error}; what was learned before holds")
            return
        self._bindings = self._known(bindings)
        self._hands.clear()
        self._serial = 0  # all lamps and motors are told
        self._tell(f"MIDI: {self._file.path.name} was changed, and what it says holds now: {len(self._bindings)} bound")

    def _known(self, bindings: Iterable[Binding]) -> dict[tuple[bool, int, int], Binding]:
        """Those of controls that there are, by what moves them."""
        return {binding.source: binding for binding in bindings if binding.control in self._controls}


def _origin(binding: Binding) -> str:
    return f"{ORIGIN}:{binding.kind}:{binding.channel}:{binding.number}"
