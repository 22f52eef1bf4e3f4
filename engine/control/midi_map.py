"""What MIDI has learned, and the file that keeps it: which knob or pad moves which control."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from engine.errors import ControlError
from engine.files import replace_file

__all__ = ["Binding", "MapFile", "MidiMap", "read_map"]

MAX_BYTES = 1 << 20
LOOK_S = 1.0


class _Model(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Binding(_Model):
    """One knob or pad and what it moves. `channel` 0..15 and `number` as MIDI has them; `option` of a choice.

    `kind`: a controller of 7 or of 14 bits, or a note.
    """

    control: str
    kind: Literal["cc", "cc14", "note"]
    channel: Annotated[int, Field(ge=0, le=15)]
    number: Annotated[int, Field(ge=0, le=127)]
    option: str | None = None

    @property
    def source(self) -> tuple[bool, int, int]:
        """What it is that moves it: is it a note, channel, number."""
        return self.kind == "note", self.channel, self.number

    def __str__(self) -> str:
        what = "note" if self.kind == "note" else "controller"
        fine = " (14 bits)" if self.kind == "cc14" else ""
        return f"{what} {self.number}{fine} on channel {self.channel + 1}"


class MidiMap(_Model):
    """All that has been learned."""

    schema_version: Literal[1] = 1
    bindings: Annotated[tuple[Binding, ...], Field(max_length=1024)] = ()


def read_map(path: Path) -> MidiMap:
    """The map in this file; an empty one where there is none. `ControlError`, one line, for one that cannot be used."""
    try:
        with path.open("rb") as file:
            return MidiMap.model_validate_json(file.read(MAX_BYTES))
    except FileNotFoundError:
        return MidiMap()
    except OSError as error:
        raise ControlError(f"MIDI map {path} cannot be read: {error.strerror or error}") from None
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        where = ".".join(map(str, first["loc"]))
        raise ControlError(
            f"MIDI map {path} cannot be used: {where}: {first['msg']}; delete it to begin anew"
        ) from None


class MapFile:
    """The map of a running show. Others may write it meanwhile, as `cymatic presets import` does, and that is obeyed:
    the knobs of a show that is taken in move at once, and what is learned next is added to them. One thread.

    Raises `ControlError`, one line, for a file that cannot be used.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._looked_at = time.monotonic()
        self._stamp = self._newest()
        self.bindings = read_map(path).bindings

    def news(self) -> tuple[Binding, ...] | None:
        """What others have written, if they have; looks once a second. `ControlError` once for what cannot be used."""
        now = time.monotonic()
        if now - self._looked_at < LOOK_S:
            return None
        self._looked_at = now
        stamp = self._newest()
        if stamp == self._stamp or stamp is None:  # what was learned outlives its file
            return None
        self._stamp = stamp
        self.bindings = read_map(self.path).bindings
        return self.bindings

    def write(self, bindings: tuple[Binding, ...]) -> None:
        """Keep these. OSError when the system refuses."""
        self.path.parent.mkdir(parents=True, exist_ok=True)
        replace_file(self.path, MidiMap(bindings=bindings).model_dump_json(indent=1).encode() + b"\n")
        self.bindings, self._stamp = bindings, self._newest()

    def _newest(self) -> tuple[int, int, int] | None:
        """By which a file is known to be another one; None while there is none."""
        try:
            found = self.path.stat()
        except OSError:
            return None
        return found.st_ino, found.st_mtime_ns, found.st_size
