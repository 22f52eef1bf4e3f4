"""Sound in musical words moves the controls of the picture's look: the maps of a preset.

    value = control + gain · amount · (maximum − minimum) · f^curve

`f` is a feature of the sound, 0..1, after an envelope follower with the map's attack and release; `gain` fades a map in
and out with its preset. The control stays where the performer has it, the map only plays around it.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, get_args

from engine.audio.features import FastFeatures
from engine.audio.tempo import Beat
from engine.control.registry import CONTROLS, REGISTRY

__all__ = ["FEATURES", "Feature", "Map", "Reactivity", "mappable", "measure"]

Feature = Literal["level", "bass", "mid", "treble", "onset", "beat", "centroid"]
FEATURES: tuple[Feature, ...] = get_args(Feature)
"""level     loudness of the last 20 ms
bass      the same below about 300 Hz, `mid` up to 2.5 kHz, `treble` above
onset     jumps when something is struck and is gone 150 ms later
beat      1 on the beat, falling in a straight line to 0 just before the next; 0 while there is no beat
centroid  how high the sound lies on the mel scale; 0 in silence
"""


@dataclass(frozen=True, slots=True)
class Map:
    """One feature moves one control. `amount` −1..1: of the control's whole range; `attack_s`, `release_s`: time
    constants of the follower, 0 at once; `curve`: above 1 only the loud counts, below 1 also the soft."""

    feature: Feature
    control: str
    amount: float
    attack_s: float = 0.0
    release_s: float = 0.2
    curve: float = 1.0


def mappable() -> tuple[str, ...]:
    """The controls that a map may move: all faders of the picture and of its look. Not the gain before analysis, whose
    answer would come back to it, and not what counts in whole steps."""
    return tuple(
        control.name
        for control in REGISTRY
        if control.kind == "float"
        and control.scope in ("engine", "look")
        and not control.step
        and control.name != "sound/gain"
    )


def measure(features: FastFeatures, beat: Beat | None) -> dict[Feature, float]:
    """Every feature of the newest sound, 0..1."""
    bass, mid, treble = features.bands
    return {
        "level": features.level,
        "bass": bass,
        "mid": mid,
        "treble": treble,
        "onset": features.onset,
        "beat": 0.0 if beat is None else 1.0 - beat.phase,
        "centroid": features.centroid,
    }


@dataclass(slots=True)
class _Playing:
    """A map, its envelope follower, and the gain that it comes from and goes to."""

    map: Map
    begins: float = 0.0
    gain: float = 0.0
    goal: float = 1.0
    followed: float = 0.0


class Reactivity:
    """The maps of the preset and of the place before, to which the crossfader may go back. One thread."""

    def __init__(self) -> None:
        self._playing: list[_Playing] = []

    @property
    def wants(self) -> bool:
        """Whether any map plays, so that the features are worth measuring."""
        return bool(self._playing)

    def go(self, maps: Sequence[Map]) -> None:
        """Fade to these maps; one that plays already goes on."""
        wanted = list(maps)
        self._playing = [playing for playing in self._playing if playing.gain > 0.0]
        for playing in self._playing:
            playing.begins, playing.goal = playing.gain, 0.0
            if playing.map in wanted:
                wanted.remove(playing.map)
                playing.goal = 1.0
        self._playing += [_Playing(map) for map in wanted]

    def move(
        self, controls: Mapping[str, Any], heard: Mapping[Feature, float], passed: float, share: float
    ) -> dict[str, Any]:
        """The controls as the sound moves them: a new dictionary, every value within its control's range.

        `heard`: as `measure` gives it, `passed` seconds after the last time; `share`: of the newest fade, 0..1.
        """
        moved = dict(controls)
        for playing in self._playing:
            map = playing.map
            feature = heard[map.feature]
            time_s = map.attack_s if feature > playing.followed else map.release_s
            playing.followed += (feature - playing.followed) * (-math.expm1(-passed / time_s) if time_s > 0.0 else 1.0)
            playing.gain = playing.begins + share * (playing.goal - playing.begins)
            control = CONTROLS[map.control]
            reach = map.amount * (control.maximum - control.minimum)
            moved[map.control] += playing.gain * reach * playing.followed**map.curve
        for name in {playing.map.control for playing in self._playing}:
            control = CONTROLS[name]
            moved[name] = min(max(moved[name], control.minimum), control.maximum)
        return moved
