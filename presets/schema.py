"""A preset, as its JSON file holds it. Every size is bounded, every number finite, every unknown key refused."""

from __future__ import annotations

import re
from itertools import groupby
from typing import Annotated, Final, Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray
from pydantic import AfterValidator, BaseModel, ConfigDict, Discriminator, Field, Tag, ValidationError, field_validator

from engine.control.registry import MAX_FADE_S, TEXT_LIMIT, find
from engine.errors import ControlError
from engine.reactivity import Feature, mappable

SCHEMA: Final = 2
"""Of the files that this version writes; `presets.migrations` reads the older ones."""
MAX_ANCHORS = 8
MAX_MAPS = 16
MAX_LAYERS = 32
MAX_DIM = 1024
DIGITS = 5  # significant digits of a stored latent: far below what the eye can tell, half the file

NAME_RULE = "a preset's name is lower-case letters and digits in words joined by '-', at most 48 characters"

# Names that Windows gives to devices, whatever their extension.
_RESERVED = {"con", "prn", "aux", "nul", *(f"{port}{n}" for port in ("com", "lpt") for n in range(10))}


def is_name(name: str) -> bool:
    """True if the name follows `NAME_RULE`, and so is safe as a file name on every system."""
    return len(name) <= 48 and bool(re.fullmatch(r"[a-z0-9]+(-[a-z0-9]+)*", name)) and name not in _RESERVED


def _check_name(name: str) -> str:
    if not is_name(name):
        raise ValueError(NAME_RULE)
    return name


def _check_line(text: str) -> str:
    if not text.isprintable():
        raise ValueError("one line without control characters is wanted")
    return text


def _check_rectangle(rows: tuple[tuple[float, ...], ...]) -> tuple[tuple[float, ...], ...]:
    if len({len(row) for row in rows}) != 1:
        raise ValueError("rows differ in length")
    return rows


Name = Annotated[str, AfterValidator(_check_name)]
Line = Annotated[str, Field(max_length=TEXT_LIMIT), AfterValidator(_check_line)]
Row = Annotated[tuple[float, ...], Field(min_length=1, max_length=MAX_DIM)]
Latent = Annotated[tuple[Row, ...], Field(min_length=1, max_length=MAX_LAYERS), AfterValidator(_check_rectangle)]
"""`[L, D]`, rows first."""
Settings = dict[str, float | str]
"""Where controls stand: a number, or the name of a choice."""


class _Model(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, allow_inf_nan=False)


class Seed(_Model):
    """A base latent by number: the bundle's mapping network makes a calm landscape of it."""

    seed: Annotated[int, Field(ge=0, lt=2**32)]


class Vector(_Model):
    """A base latent as it is: `w_plus` `[L, D]`, for bundles of that layout only."""

    w_plus: Latent


def _base_kind(value: object) -> str:
    """Which base is meant, so that an error speaks of that one and not of both."""
    vector = "w_plus" in value if isinstance(value, dict) else isinstance(value, Vector)
    return "w_plus" if vector else "seed"


Base = Annotated[Annotated[Seed, Tag("seed")] | Annotated[Vector, Tag("w_plus")], Discriminator(_base_kind)]


class Anchor(_Model):
    """Something the picture is pulled towards, with what its graph made of it, so that a show needs no model for it.

    `source`: the words, or what the sound or image was called. `weight`: how hard it pulls; below 0 pushes away.
    `embedding` `[E]`, `offset` `[L, D]`, `bundle`: SHA-256 of the graph that made both, or for which a projection did.
    """

    kind: Literal["text", "sound", "image"]
    source: Annotated[Line, Field(min_length=1)]
    weight: Annotated[float, Field(ge=-2.0, le=2.0)] = 1.0
    embedding: Annotated[tuple[float, ...], Field(min_length=1, max_length=4096)]
    offset: Latent
    bundle: Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]


class SoundMap(_Model):
    """A feature of the sound that moves a control of the look: `engine.reactivity.Map`, as a file holds it."""

    feature: Feature
    control: str
    amount: Annotated[float, Field(ge=-1.0, le=1.0)]
    attack_s: Annotated[float, Field(ge=0.0, le=10.0)] = 0.0
    release_s: Annotated[float, Field(ge=0.0, le=30.0)] = 0.2
    curve: Annotated[float, Field(ge=0.1, le=10.0)] = 1.0

    @field_validator("control")
    @classmethod
    def _control_exists(cls, name: str) -> str:
        if name not in mappable():
            raise ValueError(f"sound cannot move {name[:60]!r}; it can move {', '.join(mappable())}")
        return name


class Preset(_Model):
    """A place to begin from, what pulls at it, how the controls of the picture's look stand, and how sound moves them.

    Controls that are not named stay where the performer has them. `bank`: whose pads it is on, "" for those without a
    bank. `fade_s`: seconds of the crossfade to this preset; a
    file that does not state it (`"fade_s" not in model_fields_set`) leaves the time to the control `fade`.
    """

    schema_version: Literal[2] = SCHEMA
    name: Name
    description: Line = ""
    bank: Annotated[Line, Field(max_length=32)] = ""
    base: Base
    controls: Settings = Field(default_factory=dict)
    maps: Annotated[tuple[SoundMap, ...], Field(max_length=MAX_MAPS)] = ()
    fade_s: Annotated[float, Field(ge=0.0, le=MAX_FADE_S)] = 3.0
    anchors: Annotated[tuple[Anchor, ...], Field(max_length=MAX_ANCHORS)] = ()

    @field_validator("controls")
    @classmethod
    def _controls_exist(cls, controls: Settings) -> Settings:
        for name, value in controls.items():
            try:
                control = find(name)
            except ControlError as error:
                raise ValueError(str(error)) from None
            # A preset must not black the stage out.
            if control.kind not in ("float", "choice") or control.scope not in ("engine", "look"):
                raise ValueError(f"{name} is no control of the picture's look, so a preset cannot hold it")
            if isinstance(value, str) != (control.kind == "choice"):
                wanted = f"one of {', '.join(control.options)}" if control.options else "a number"
                raise ValueError(f"{name}: wants {wanted}")
            try:
                parsed = control.parse(value, control.options)
            except ControlError as error:
                raise ValueError(str(error)) from None
            if parsed != value:
                raise ValueError(f"{name}: {value:g} is not between {control.minimum:g} and {control.maximum:g}")
        return controls


def latent(array: ArrayLike) -> Latent:
    """An `[L, D]` array as a preset stores it, rounded to `DIGITS`."""
    return tuple(numbers(row) for row in np.asarray(array, np.float64))


def numbers(array: ArrayLike) -> tuple[float, ...]:
    """A vector as a preset stores it, rounded to `DIGITS`."""
    return tuple(float(f"{value:.{DIGITS}g}") for value in np.asarray(array, np.float64))


def as_array(rows: Latent) -> NDArray[np.float32]:
    """A stored latent as float32 `[L, D]`."""
    return np.array(rows, np.float32)


def describe(error: ValidationError) -> str:
    """The first thing that is wrong, as one line that names the key."""
    first = error.errors(include_url=False, include_input=False)[0]
    if first["type"] == "json_invalid":
        return " ".join(first["msg"].split())
    # Without tags and kinds: base.seed.seed is base.seed, controls.speed.float is controls.speed.
    place = first["loc"][:2] if first["loc"][:1] == ("controls",) else first["loc"]
    where = ".".join(part for part, _ in groupby(map(str, place)))
    if first["type"] == "extra_forbidden":
        return f"unknown key {where!r}"
    reason = " ".join(first["msg"].removeprefix("Value error, ").split())
    return f"{where}: {reason}" if where else reason
