"""Every control of the show, once: from these rows come the OSC addresses, validation, the window's widgets, presets.

One rule for values, wherever they come from (OSC, the window, a preset, the command line): **a value is in the
control's own unit**. `/cymatic/sound/gain -6` means −6 dB, `/cymatic/fade 12` means twelve seconds; most faders have
the range 0..1, so that a controller's fader fits them as it is. A number outside the range is clamped, never refused.
A widget that only knows 0..1 goes through `Control.at` and `Control.fraction`, which bend by `curve`.

| kind    | takes                                                             | is, once parsed |
|---------|-------------------------------------------------------------------|-----------------|
| float   | any finite number or true/false; clamped                          | float           |
| bool    | true/false or a number: on above 0.5                              | bool            |
| trigger | nothing, true/false or a number: fires above 0.5, so that a button's release (0) does nothing | bool |
| choice  | an option's name, or its 1-based position (3 or 3.0)              | str             |
| text    | a string of up to 200 characters, without control characters      | str             |
"""

from __future__ import annotations

import math
import numbers
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Literal, TypeAlias

from engine.errors import ControlError

Kind = Literal["float", "bool", "trigger", "choice", "text"]
Value: TypeAlias = float | bool | str

PREFIX = "/cymatic/"
TEXT_LIMIT = 200
MAX_FADE_S = 600.0
"""Longest fade that a message may ask for, seconds."""
MOST_CHANNELS = 64
"""Channels of an input that can be told apart."""


@dataclass(frozen=True, slots=True)
class Control:
    """One control. All of them may be moved at any time; none needs a restart.

    `minimum`, `maximum`, `curve` and `step` (of whole numbers 1, else 0) matter for floats only; `unit` is "" for a
    plain ratio. `options`: the names that a choice always has; those of the presets are told to the desk.
    `scope`: "stage" works while the engine is dead; "engine" is part of how the picture is painted, and a preset may
    hold it; "look" is what the output window does to the picture, works while the engine is dead, and a preset may hold
    it, but no sound moves it; "room" is set once for the microphone and the house, and presets leave it alone.
    """

    name: str
    kind: Kind
    default: Value
    minimum: float = 0.0
    maximum: float = 1.0
    unit: str = ""
    curve: Literal["linear", "square"] = "linear"
    description: str = ""
    scope: Literal["stage", "engine", "look", "room"] = "engine"
    step: float = 0.0
    options: tuple[str, ...] = ()

    @property
    def continuous(self) -> bool:
        """True for controls that have a lasting state (float, bool, text); triggers and choices are events."""
        return self.kind in ("float", "bool", "text")

    def address(self) -> str:
        """The OSC address, e.g. `/cymatic/sound/weight`."""
        return PREFIX + self.name

    def parse(self, value: object, options: Sequence[str] = ()) -> Value:
        """The value this control takes for what was sent; clamped. `options` are the names a choice may take.

        Raises `ControlError`, one line, for a wrong type, NaN, infinity or an unknown choice.
        """
        if self.kind == "choice":
            return self._choose(value, options)
        if self.kind == "text":
            return self._text(value)
        if self.kind == "trigger" and value is None:
            return True
        number = finite(value, self.name)
        if self.kind == "float":
            return self._stepped(min(max(number, self.minimum), self.maximum))
        return number > 0.5

    def at(self, fraction: float) -> float:
        """The value at 0..1 of a fader's travel. A square curve gives the low end more room."""
        travel = min(max(fraction, 0.0), 1.0)
        if self.curve == "square":
            travel *= travel
        return self._stepped(self.minimum + travel * (self.maximum - self.minimum))

    def _stepped(self, value: float) -> float:
        return round(value / self.step) * self.step if self.step else value

    def fraction(self, value: float) -> float:
        """Where on its travel, 0..1, a fader stands that shows the value: the inverse of `at`."""
        travel = min(max((value - self.minimum) / (self.maximum - self.minimum), 0.0), 1.0)
        return math.sqrt(travel) if self.curve == "square" else travel

    def _choose(self, value: object, options: Sequence[str]) -> str:
        if isinstance(value, str):
            if value in options:
                return value
            known = ", ".join(options) or "none"
            raise ControlError(f"{self.name}: nothing is called {value[:60]!r}; known are {known}")
        if isinstance(value, bool):  # a button that sends true must not mean "the first one"
            raise ControlError(f"{self.name}: wants a name or a position from 1, not {value}")
        position = finite(value, self.name)
        if not position.is_integer() or not 1 <= position <= len(options):
            raise ControlError(f"{self.name}: position {position:g} is not between 1 and {len(options)}")
        return options[int(position) - 1]

    def _text(self, value: object) -> str:
        if not isinstance(value, str):
            raise ControlError(f"{self.name}: wants a text, not {_kind_of(value)}")
        if len(value) > TEXT_LIMIT or not value.isprintable():
            raise ControlError(f"{self.name}: wants one line of at most {TEXT_LIMIT} characters")
        return value


def finite(value: object, what: str) -> float:
    """A finite number as float, or `ControlError` that begins with `what`. True and false count as 1 and 0."""
    if not isinstance(value, numbers.Real):
        raise ControlError(f"{what}: wants a number, not {_kind_of(value)}")
    try:
        number = float(value)
    except OverflowError:
        raise ControlError(f"{what}: wants a finite number") from None
    if not math.isfinite(number):
        raise ControlError(f"{what}: wants a finite number, not {number}")
    return number


def unknown(name: str, known: Iterable[str]) -> ControlError:
    """The error for a name that is no control."""
    return ControlError(f"no control is called {name[:60]!r}; the controls are {', '.join(known)}")


def _kind_of(value: object) -> str:
    names = {str: "a text", bool: "true or false", int: "a number", float: "a number", type(None): "nothing"}
    return names.get(type(value), type(value).__name__)


def _look(
    name: str, default: float, minimum: float, maximum: float, unit: Literal["", "×", "dB"], description: str
) -> Control:
    return Control(name, "float", default, float(minimum), float(maximum), unit, description=description)


def _shown(name: str, default: float, minimum: float, maximum: float, unit: str, description: str) -> Control:
    return Control(name, "float", default, minimum, maximum, unit, description=description, scope="look")


def _room(name: str, default: float, minimum: float, maximum: float, unit: str, description: str) -> Control:
    return Control(name, "float", default, minimum, maximum, unit, description=description, scope="room")


def _stage(name: str, kind: Kind, default: Value, description: str) -> Control:
    return Control(name, kind, default, description=description, scope="stage")


REGISTRY: tuple[Control, ...] = (
    _stage("master", "float", 1.0, "Brightness of the output: 0 is black, 1 the picture as painted"),
    _stage("blackout", "bool", False, "Cuts the output to black at once; works even while the engine is stuck"),
    _stage("freeze", "bool", False, "Holds the picture that is showing now"),
    _stage("testcard", "bool", False, "Shows the test card, to line up projectors and screens"),
    _look("sound/weight", 1.0, 0, 1, "", "How much the sound moves the picture: 0 rests on the preset, 1 follows it"),
    _look("text/weight", 1.0, 0, 1, "", "How much the preset's words pull the picture towards their scene"),
    _look("sound/gain", 0.0, -24, 24, "dB", "Gain before analysis: more for a quiet microphone, less when it clips"),
    _room("sound/gate", -90.0, -90.0, 0.0, "dB", "Noise gate: what stays softer than this is heard as silence"),
    Control(
        "sound/channel",
        "float",
        0.0,
        0.0,
        float(MOST_CHANNELS),
        step=1.0,
        description="Which channel of the input is heard: 0 is the mean of all of them",
        scope="room",
    ),
    Control(
        "flash/limit",
        "bool",
        True,
        description="Holds back what flashes more than three times a second; off only where nobody is harmed",
        scope="room",
    ),
    _look("reactivity", 0.5, 0, 1, "", "How hard the picture jumps on level and onsets: 0 drifts, 1 punches"),
    _look("truncation", 1.0, 0, 1.5, "", "Diversity: 0 is the average landscape, 1 as learned, above 1 wilder"),
    _look("speed", 1.0, 0, 4, "×", "How fast the textures flow: 0 stands still, 1 is natural"),
    _look("gain/coarse", 1.0, 0, 2, "×", "How much the sound changes the layout: horizon, sky, terrain"),
    _look("gain/mid", 1.0, 0, 2, "×", "How much the sound changes what stands in the landscape"),
    _look("gain/fine", 1.0, 0, 2, "×", "How much the sound changes colour and texture"),
    _look("smoothing", 0.3, 0, 1, "", "How slowly the picture follows the sound: 0 at once, 1 very slowly"),
    _look("noise", 1.0, 0, 3, "×", "How much the picture wanders by itself: 0 not at all, 1 as learned"),
    Control(
        "seed",
        "float",
        0.0,
        0.0,
        999.0,
        step=1.0,
        description="Which calm land lies beneath: 0 is the preset's own, any other number draws another",
    ),
    _shown("look/hue", 0.0, -180.0, 180.0, "°", "Turns every colour round the wheel"),
    _shown("look/saturation", 1.0, 0.0, 2.0, "×", "How strong the colours are: 0 is grey, 1 as painted"),
    _shown("look/contrast", 1.0, 0.0, 2.0, "×", "Difference of light and dark: 0 is flat grey, 1 as painted"),
    Control(
        "look/mirror",
        "choice",
        "off",
        options=("off", "horizontal", "vertical", "kaleidoscope"),
        description="Mirrors left on right, top on bottom, or round the middle",
        scope="look",
    ),
    _shown("look/trails", 0.0, 0.0, 1.0, "", "How long light lingers, and drifts outwards"),
    _shown("look/vignette", 0.0, 0.0, 1.0, "", "How dark the corners are"),
    _room(
        "latency/offset", 0.0, 0.0, 500.0, "ms", "Lets the picture wait, where the loudspeakers are late or far away"
    ),
    Control(
        "fade", "float", 3.0, 0.0, 30.0, "s", "square", "Crossfade of a preset that is called without a time", "stage"
    ),
    _stage("text", "text", "", "Words that pull the picture besides the preset's own; an empty text lets go"),
    _stage("preset/go", "choice", "", "Goes to a preset, by its name or its position from 1"),
    _stage("preset/next", "trigger", False, "Goes to the next preset"),
    _stage("preset/prev", "trigger", False, "Goes to the previous preset"),
    _stage("preset/bank", "choice", "", "Lays a bank of presets under the fingers: positions begin at its first pad"),
    _stage("preset/lock", "bool", False, "Presets that are called are refused, so that no elbow ends a scene"),
    _stage("preset/undo", "trigger", False, "Goes back to where the picture stood before the newest preset"),
    _stage(
        "crossfader",
        "float",
        1.0,
        "From the place before (0) to the preset called last (1); a call at 0 waits for the fader",
    ),
    Control(
        "quantise",
        "choice",
        "off",
        options=("off", "beat", "bar"),
        scope="stage",
        description="What a preset that is called waits for, while there is a beat",
    ),
    Control(
        "tempo/bpm",
        "float",
        0.0,
        0.0,
        240.0,
        "bpm",
        scope="stage",
        description="Tempo; 0 leaves it to Link, MIDI clock or what is heard",
    ),
    _stage("tempo/tap", "trigger", False, "Says that a beat is now; from the second tap on there is a tempo"),
    _stage("tempo/resync", "trigger", False, "Says that a bar begins now"),
    _stage("tempo/nudge/earlier", "trigger", False, "Moves the beat 15 ms earlier"),
    _stage("tempo/nudge/later", "trigger", False, "Moves the beat 15 ms later"),
    _stage("midi/learn", "trigger", False, "Binds what is touched next to the knob or pad that is moved after it"),
    _stage("midi/forget", "trigger", False, "Takes every knob and pad away from what is touched next"),
    _stage("record", "bool", False, "Records what is shown and heard to a new film, until it is off again"),
    _stage("still", "trigger", False, "Writes what is shown now as a PNG picture"),
    _stage("panic", "trigger", False, "Brings the picture back, lit, at its defaults; room, lock and recording stay"),
)

CONTROLS: dict[str, Control] = {control.name: control for control in REGISTRY}


def find(name: str) -> Control:
    """The control of that name. Raises `ControlError`."""
    try:
        return CONTROLS[name]
    except KeyError:
        raise unknown(name, CONTROLS) from None
