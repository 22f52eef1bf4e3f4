"""Which preset a pad, a name or a neighbour means, and the way back: the stage's memory for presets."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from engine.control.desk import Desk, Trigger
from engine.control.registry import CONTROLS, REGISTRY, Value
from engine.crossfade import eased
from presets.store import Bank, on_pads

UNDO = 32
"""Calls that can be taken back."""
LOOK = tuple(c.name for c in REGISTRY if c.kind in ("float", "choice") and c.scope in ("engine", "look"))
"""What a preset may hold."""


@dataclass(frozen=True, slots=True)
class Place:
    """Where the picture stood: the preset, what the engine was told of it, typed words and the controls of the look."""

    preset: str
    told: Mapping[str, Any]
    words: str
    controls: Mapping[str, Value]


class Pads:
    """The banks of a show, of which one lies under the fingers. Belongs to the stage's thread.

    Positions, `preset/next` and `preset/prev` count from the first pad of that bank, and go on into the next banks.
    """

    def __init__(self, desk: Desk, by_bank: Mapping[str, Sequence[str]]) -> None:
        self._desk = desk
        self._by_bank = {bank: list(names) for bank, names in by_bank.items()}
        self._past: deque[Place] = deque(maxlen=UNDO)
        self._lay()

    @property
    def banks(self) -> list[Bank]:
        """All banks, in their own order."""
        return on_pads(self._by_bank)

    def join(self, found: Mapping[str, str]) -> list[str]:
        """Put those of these presets, each with its bank, that are new to the end of it; their names.

        During a show no other pad moves and none goes, whatever becomes of its file.
        """
        new = [name for name in found if name not in self.names]
        for name in new:
            self._by_bank.setdefault(found[name], []).append(name)
        if new:
            self._lay()
        return new

    def choose(self, bank: str) -> None:
        """Lay this bank under the fingers."""
        names = {each.name: each.names for each in self.banks}
        order = list(names)
        at = order.index(bank) if bank in order else 0
        self.names = [name for key in order[at:] + order[:at] for name in names[key]]
        self._desk.set_options("preset/go", self.names)
        self._desk.show("preset/bank", bank)

    def _lay(self) -> None:
        names = [bank.name for bank in self.banks]
        self._desk.set_options("preset/bank", names)
        self.choose(str(self._desk.get("preset/bank")) or next(iter(names), ""))

    def wanted(self, trigger: Trigger, here: str) -> str | None:
        """The preset that is called, when `here` plays or waits to; None when there is none."""
        if trigger.name == "preset/go":
            return str(trigger.value)
        if not self.names:
            return None
        at = self.names.index(here) if here in self.names else -1
        return self.names[(at + (1 if trigger.name == "preset/next" else -1)) % len(self.names)]

    def remember(self, preset: str, told: Mapping[str, Any], words: str) -> None:
        """The picture is about to leave this place."""
        self._past.append(Place(preset, told, words, {name: self._desk.get(name) for name in LOOK}))

    def back(self) -> Place | None:
        """The place that was left last, which is then forgotten; None when there is none."""
        return self._past.pop() if self._past else None

    def forget(self) -> None:
        """There is no way back."""
        self._past.clear()


class Fader:
    """What the crossfader does to the controls, while the engine moves in W+ by the same share.

    At 1 the preset that was called last is there, or being faded to; moved down, the fader holds the picture on the way
    from the place before. At 0 a call only lays the next preset ready, and moving up plays it. A choice has no
    in-between, nor has what counts in whole steps, such as a seed: it changes in the middle of the way, unless a hand
    was quicker. `clock` gives seconds.
    """

    def __init__(self, desk: Desk, clock: Callable[[], float] = time.perf_counter) -> None:
        self._desk, self._clock = desk, clock
        self._from: dict[str, Value] = {}
        self._to: Mapping[str, Value] = {}
        self._turns: dict[str, tuple[float, Value, Value]] = {}
        """When each choice changes by itself, from what to what."""
        self._stood = 1.0

    def go(self, controls: Mapping[str, Value], fade_s: float) -> None:
        """A preset with these controls is called."""
        self._from, self._to = {name: self._desk.get(name) for name in controls}, dict(controls)
        if self._desk.get("crossfader") == 0.0:
            return
        self._desk.show("crossfader", 1.0)
        self._stood = 1.0
        for name, value in controls.items():
            if _turns_over(name):
                self._turns[name] = (self._clock() + fade_s / 2.0, self._from[name], value)
            else:
                self._desk.set(name, value, "preset", fade_s)
        self._turn()

    def forget(self) -> None:
        """Move no control any more until the next `go`, as after panic; the crossfader then stands at 1."""
        self._to = {}
        self._turns.clear()
        self._stood = 1.0

    def follow(self) -> None:
        """Put the controls where time and the fader have moved them to."""
        stands = float(self._desk.get("crossfader"))
        if stands == self._stood:
            self._turn()
            return
        if self._desk.mover("crossfader") == "stage":  # no hand: panic has put it back, and all that it held
            self.forget()
            return
        self._stood = stands
        self._turns.clear()
        share = eased(stands)
        for name, value in self._to.items():
            start = self._from[name]
            if _turns_over(name):
                self._desk.show(name, value if share >= 0.5 else start)
            else:
                between = float(start) + share * (float(value) - float(start))
                self._desk.set(name, value if share == 1.0 else between, "preset")

    def _turn(self) -> None:
        """Change the choices whose time has come."""
        now = self._clock()
        for name, (_, start, end) in [turn for turn in self._turns.items() if now >= turn[1][0]]:
            del self._turns[name]
            if self._desk.get(name) == start:
                self._desk.show(name, end)


def _turns_over(name: str) -> bool:
    """Whether this control has no in-between."""
    return CONTROLS[name].kind == "choice" or CONTROLS[name].step > 0.0
