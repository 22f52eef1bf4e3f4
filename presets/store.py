"""Presets as files: one JSON a preset, found by name in a few folders; a crash while saving leaves the old or the new.

A preset's file is `NAME.json`; beside it `NAME.json.bak` keeps the last good one that a save has replaced,
`NAME.json.v1.bak` the one of another schema, here 1, and `NAME.json.damaged` the last one that could not be read.
"""

from __future__ import annotations

import contextlib
import json
import os
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from pydantic import ValidationError

from engine.errors import PresetError
from engine.files import replace_file
from presets.migrations import migrate, version
from presets.schema import NAME_RULE, SCHEMA, Preset, describe, is_name

SHIPPED = Path(__file__).parent / "library"
MAX_BYTES = 8 << 20
_SUFFIX = ".json"
_STALE_S = 3600.0
PADS = 16
"""In a bank; what is more goes to a second one."""
UNBANKED = "others"


Stamp = tuple[int, ...]
"""What tells a file from what it was or will be; empty where there is none."""


class Bank(NamedTuple):
    """Up to `PADS` presets under one name."""

    name: str
    names: tuple[str, ...]


def user_folder() -> Path:
    """The user's own presets, in the platform's data folder."""
    import platformdirs

    return platformdirs.user_data_path("cymatic", appauthor=False) / "presets"


class PresetStore:
    """Presets in `folders`, later ones first: a preset of the user hides a shipped one of its name.

    Saves go to the last folder. Holds no state, so that a file changed by hand is seen at the next load.
    """

    def __init__(self, folders: Sequence[Path]) -> None:
        self._folders = tuple(folders)

    @classmethod
    def standard(cls) -> PresetStore:
        """The shipped library, and the user's folder above it."""
        return cls((SHIPPED, user_folder()))

    def names(self) -> list[str]:
        """Names of all presets that can be loaded, bank by bank: the order of `preset/next` and of positions."""
        return [name for bank in self.banks() for name in bank.names]

    def banks(self) -> list[Bank]:
        """The presets that can be loaded on their pads: banks by name, and last the presets that are in none."""
        return on_pads(self.by_bank())

    def by_bank(self) -> dict[str, list[str]]:
        """Names of the presets that can be loaded, by the bank that they state, which may be "", in order."""
        names: dict[str, list[str]] = {}
        for path in self._found():
            with contextlib.suppress(PresetError):
                preset = read_preset(path)
                names.setdefault(preset.bank, []).append(preset.name)
        return names

    def own_names(self) -> list[str]:
        """Names of all files in the last folder, where saves go, good or not; none where there is no folder."""
        files = [path for folder in self._folders[-1:] for path in folder.glob("*" + _SUFFIX)]
        return sorted(path.name.removesuffix(_SUFFIX) for path in files)

    def check(self) -> list[tuple[Path, str | None]]:
        """Every preset file that is not hidden by another, by name, with what is wrong with it, or None."""
        return [(path, _problem(path)) for path in self._found()]

    def _found(self) -> list[Path]:
        """Every preset file that is not hidden by another, by name."""
        found = {path.name: path for folder in self._folders for path in folder.glob("*" + _SUFFIX)}
        return [path for _, path in sorted(found.items())]

    def load(self, name: str) -> Preset:
        """The preset of that name. Raises `PresetError`, one line: no such name, or a file that cannot be used."""
        if is_name(name):
            for folder in reversed(self._folders):
                path = folder / (name + _SUFFIX)
                if os.path.lexists(path):
                    return read_preset(path)
        known = ", ".join(self.names()) or "none"
        raise PresetError(f"there is no preset {name[:60]!r}; there are {known}")

    def stamp(self, name: str) -> Stamp:
        """Changes whenever what `load` gives does. Costs no reading."""
        for folder in reversed(self._folders) if is_name(name) else ():
            with contextlib.suppress(OSError):
                found = os.lstat(folder / (name + _SUFFIX))
                return found.st_dev, found.st_ino, found.st_mtime_ns, found.st_size
        return ()

    def save(self, preset: Preset, backup: bool = True) -> Path:
        """Write to the last folder; with `backup` the file that was there stays beside it. Raises `PresetError`.

        Atomic: whatever goes wrong on the way, the file under that name is the old one or the new one.
        """
        if not is_name(preset.name):  # a copy made without validation could hold anything
            raise PresetError(f"cannot save preset {preset.name[:60]!r}: {NAME_RULE}")
        path = self._folders[-1] / (preset.name + _SUFFIX)
        data = to_json(preset)
        if len(data) > MAX_BYTES:
            raise PresetError(f"cannot save preset {preset.name!r}: {len(data) >> 20} MiB is too large")
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            if backup and path.exists():
                old = path.read_bytes()
                replace_file(path.with_name(path.name + _kept_as(path, old)), old)
            replace_file(path, data)
            _sweep(path)
        except OSError as error:
            raise PresetError(f"cannot save preset {preset.name!r} to {path}: {error.strerror or error}") from error
        return path


def on_pads(by_bank: Mapping[str, Sequence[str]]) -> list[Bank]:
    """Banks of up to `PADS`, by name, and last the presets that are in none; in each as they come."""
    banks = []
    for bank in sorted(by_bank, key=lambda bank: (not bank, bank)):
        for first in range(0, len(by_bank[bank]), PADS):
            number = f" {first // PADS + 1}" if first else ""
            banks.append(Bank((bank or UNBANKED) + number, tuple(by_bank[bank][first : first + PADS])))
    return banks


def parse_preset(data: bytes, where: str) -> Preset:
    """A preset from the bytes of its file, of this schema or an older one. Raises `PresetError`, one line that begins
    with `where` and names the key."""
    if len(data) > MAX_BYTES:
        raise PresetError(f"{where} is larger than {MAX_BYTES >> 20} MiB")
    try:
        return Preset.model_validate_json(data)
    except ValidationError as error:
        refused = error
    try:
        migrated = migrate(data)
        if migrated is not data:
            return Preset.model_validate_json(migrated)
    except PresetError as error:
        raise PresetError(f"{where} cannot be used: {error}") from None
    except ValidationError as error:
        refused = error
    raise PresetError(f"{where} cannot be used: {describe(refused)}") from None


def read_preset(path: Path) -> Preset:
    """A preset from its file. Raises `PresetError`, one line that says which file and which key."""
    try:
        with path.open("rb") as file:
            data = file.read(MAX_BYTES + 1)
    except OSError as error:
        raise PresetError(f"preset {path} cannot be read: {error.strerror or error}") from None
    try:
        preset = parse_preset(data, f"preset {path}")
    except PresetError as error:
        raise PresetError(f"{error}{_rescue(path)}") from None
    if path.name != preset.name + _SUFFIX:
        raise PresetError(f"preset {path} calls itself {preset.name!r}: file and name must agree")
    return preset


def to_json(preset: Preset) -> bytes:
    """One line a field: what a person edits can be read, what only a machine reads does not fill a thousand lines."""
    unstated = {"fade_s"} - preset.model_fields_set  # left to the performer's own fade time
    fields = preset.model_dump(mode="json", exclude=unstated).items()
    lines = (f" {json.dumps(key)}: {json.dumps(value, ensure_ascii=False)}" for key, value in fields)
    return ("{\n" + ",\n".join(lines) + "\n}\n").encode()


def _sweep(path: Path) -> None:
    """Remove what saves have left that were killed in the middle."""
    for stale in path.parent.glob(f".{path.name}*-*"):
        with contextlib.suppress(OSError):
            if time.time() - stale.stat().st_mtime > _STALE_S:
                stale.unlink()


def _kept_as(path: Path, old: bytes) -> str:
    """The suffix under which a file is kept that a save replaces; what cannot be read here never hides a good one."""
    stated = version(old) or SCHEMA
    if stated > SCHEMA or (stated < SCHEMA and _problem(path) is None):
        return f".v{stated}.bak"
    return ".bak" if _problem(path) is None else ".damaged"


def _problem(path: Path) -> str | None:
    try:
        read_preset(path)
    except PresetError as error:
        return str(error)
    return None


def _rescue(path: Path) -> str:
    backup = path.with_name(path.name + ".bak")
    return f" (the last good one is {backup.name} beside it)" if backup.exists() else ""
