"""The desk: the state of every control, shared by OSC, the window, presets and the stage.

Continuous controls are newest-wins: however many messages arrive between two frames, the frame sees the last value.
Events (triggers and choices) are kept in order until the stage takes them, so none is lost and none fires twice.
A value may be given a fade: the desk then moves it in a straight line on its clock, and every read sees where it is.
"""

from __future__ import annotations

import threading
import time
from collections import Counter, deque
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from engine.control.registry import MAX_FADE_S, REGISTRY, Control, Value, finite, unknown
from engine.errors import ControlError

MOVES_KEPT = 64
CLOCKS_KEPT = 32  # hosts whose clock is known
NO_PANIC = frozenset({"record", "preset/lock", "sound/gain"})
"""What `panic` leaves as it is besides the room: whoever wants the picture back does not want its film to end, an elbow
to change the scene, nor the microphone to be as loud as it never was here."""
EVENT_LIMIT = 4096
"""Events kept for a stage that has stopped taking them; past it they are counted as `events_lost`."""


@dataclass(frozen=True, slots=True)
class Trigger:
    """An event for the stage: a trigger that fired (`value` True) or a choice that was made (`value` its name).

    `fade_s` is the time that came with it, or None for the stage's own.
    """

    name: str
    value: Value
    fade_s: float | None
    origin: str


@dataclass(frozen=True, slots=True)
class Move:
    """Something that came from outside, by OSC or MIDI: what was sent, whether or not it was taken.

    `at`: the desk's clock. `refused`: why it was not taken, "" if it was.
    """

    at: float
    origin: str
    name: str
    value: object
    refused: str = ""


@dataclass(slots=True)
class _Ramp:
    start: float
    target: float
    begins: float
    ends: float

    def at(self, now: float) -> float:
        if now >= self.ends:
            return self.target
        passed = max(now - self.begins, 0.0) / (self.ends - self.begins)
        return self.start + passed * (self.target - self.start)


@dataclass(slots=True)
class _State:
    control: Control
    value: Value
    options: tuple[str, ...] = ()
    serial: int = 1
    mover: str = ""
    ramp: _Ramp | None = None


class Desk:
    """Holds every control of a registry. All methods may be called from any thread and return at once.

    `clock` gives seconds, monotonic; tests pass their own.
    """

    def __init__(self, registry: Iterable[Control] = REGISTRY, clock: Callable[[], float] = time.perf_counter) -> None:
        self._clock = clock
        self._lock = threading.RLock()
        self._states = {control.name: _State(control, control.default, control.options) for control in registry}
        self._fading: list[_State] = []
        self._serial = 1
        self._events: list[Trigger] = []
        self._moves: deque[Move] = deque(maxlen=MOVES_KEPT)
        self._clock_offsets: dict[str, float] = {}
        self._counters: Counter[str] = Counter(received=0, clamped=0, refused=0, events_lost=0)

    @property
    def controls(self) -> tuple[Control, ...]:
        """The registry this desk holds, in its order."""
        return tuple(state.control for state in self._states.values())

    @contextmanager
    def together(self) -> Iterator[None]:
        """Everything set inside the `with` block reaches the readers as one change."""
        with self._lock:
            yield

    def set(self, name: str, value: object, origin: str, fade_s: object = None) -> Value:
        """Move a control; returns the value it took (for a fade, the one it moves to).

        `origin` says who moved it: "window", "preset", "midi", "osc:HOST:PORT"; what stands before the first colon is
        what is counted. `fade_s`: seconds, 0..600, for floats and events;
        other kinds have no in-between and change at once. Raises `ControlError`, counted as `refused`, and then
        nothing has changed. `panic` puts what makes the picture back at once and still reaches the stage as an event.
        """
        with self._lock:
            self._counters["received"] += 1
            self._counters[f"received/{origin.partition(':')[0]}"] += 1
            try:
                state = self._state(name)
                parsed = state.control.parse(value, state.options)
                seconds = None if fade_s is None else _fade(name, fade_s)
            except ControlError as error:
                self._counters["refused"] += 1
                self._note(origin, name, value, str(error))
                raise
            self._note(origin, name, parsed)
            control = state.control
            if control.kind == "float" and not control.minimum <= float(value) <= control.maximum:  # type: ignore[arg-type]
                self._counters["clamped"] += 1
            if control.continuous:
                self._move(state, parsed, seconds or 0.0, origin)
            elif parsed is not False:  # a trigger's release is no event
                if control.kind == "choice":
                    self._move(state, parsed, 0.0, origin)
                if name == "panic":
                    self._reset()
                self._fire(Trigger(name, parsed, seconds, origin))
            return parsed

    def show(self, name: str, value: Value) -> None:
        """State where a control now stands, without firing it: `preset/go` after `preset/next` has moved on.

        A number is clamped. What stands there already was moved by whoever moved it.
        """
        with self._lock:
            state = self._state(name)
            if state.control.kind == "float":
                value = state.control.parse(value)
            if state.ramp is not None or state.value != value:
                self._move(state, value, 0.0, "stage")

    def mover(self, name: str) -> str:
        """Who has moved a control last; "" before anyone has, "stage" when it followed from something else."""
        with self._lock:
            return self._state(name).mover

    def set_options(self, name: str, options: Iterable[str]) -> None:
        """The names a choice may take, in the order of their positions."""
        with self._lock:
            self._state(name).options = tuple(options)

    def options(self, name: str) -> tuple[str, ...]:
        """The names a choice may take."""
        with self._lock:
            return self._state(name).options

    def get(self, name: str) -> Value:
        """Where a control stands now; a choice tells the last name chosen, a trigger is always False."""
        with self._lock:
            self._advance()
            return self._state(name).value

    def snapshot(self) -> dict[str, Value]:
        """All continuous controls at one moment."""
        with self._lock:
            self._advance()
            return {name: state.value for name, state in self._states.items() if state.control.continuous}

    def changes_since(self, serial: int) -> tuple[int, dict[str, Value]]:
        """What has moved since the serial that an earlier call returned, and the new serial. 0 gives everything."""
        with self._lock:
            self._advance()
            changed = {name: state.value for name, state in self._states.items() if state.serial > serial}
            return self._serial, changed

    @property
    def moves(self) -> tuple[Move, ...]:
        """The newest that came by OSC and MIDI, oldest first; those of windows and presets are not among them."""
        with self._lock:
            return tuple(self._moves)

    def compare_clock(self, host: str, ahead_s: float) -> None:
        """Who stamps messages on this host is so many seconds ahead of our clock, by the newest of them."""
        with self._lock:
            if host in self._clock_offsets or len(self._clock_offsets) < CLOCKS_KEPT:
                self._clock_offsets[host] = ahead_s

    @property
    def clock_offsets(self) -> dict[str, float]:
        """By host, what `compare_clock` was told; a latency that its program adds is in it."""
        with self._lock:
            return dict(self._clock_offsets)

    def take_triggers(self) -> list[Trigger]:
        """Every event since the last call, oldest first. One owner takes them: the stage."""
        with self._lock:
            events, self._events = self._events, []
            return events

    @property
    def counters(self) -> dict[str, int]:
        """`received` (also `received/ORIGIN`), `clamped`, `refused`, `events_lost`; they only grow."""
        with self._lock:
            return dict(self._counters)

    def _state(self, name: str) -> _State:
        try:
            return self._states[name]
        except KeyError:
            raise unknown(name, self._states) from None

    def _move(self, state: _State, value: Value, fade_s: float, origin: str) -> None:
        if state.ramp is not None:
            self._advance()
            if state.ramp is not None:
                state.ramp = None
                self._fading.remove(state)
        state.mover = origin
        if state.control.kind == "float" and fade_s > 0.0:
            now = self._clock()
            state.ramp = _Ramp(float(state.value), float(value), now, now + fade_s)
            self._fading.append(state)
        else:
            self._put(state, value)

    def _note(self, origin: str, name: str, value: object, refused: str = "") -> None:
        if origin.startswith(("osc", "midi")):
            self._moves.append(Move(self._clock(), origin, name, value, refused))

    def _put(self, state: _State, value: Value) -> None:
        if state.value != value:
            state.value = value
            self._serial += 1
            state.serial = self._serial

    def _advance(self) -> None:
        """Move all fades to where they are now."""
        if not self._fading:
            return
        now = self._clock()
        for state in self._fading:
            assert state.ramp is not None
            self._put(state, state.ramp.at(now))
            if now >= state.ramp.ends:
                state.ramp = None
        self._fading = [state for state in self._fading if state.ramp is not None]

    def _reset(self) -> None:
        for state in self._states.values():
            control = state.control
            kept = control.scope == "room" or control.name in NO_PANIC
            if (control.continuous or control.options) and not kept:
                self._move(state, control.default, 0.0, "stage")

    def _fire(self, event: Trigger) -> None:
        if len(self._events) < EVENT_LIMIT:
            self._events.append(event)
        else:
            self._counters["events_lost"] += 1


def _fade(name: str, fade_s: object) -> float:
    return min(max(finite(fade_s, f"{name}: fade"), 0.0), MAX_FADE_S)
