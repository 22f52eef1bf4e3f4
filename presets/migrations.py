"""Preset files of older versions, brought to the newest schema one version at a time.

A file is never rewritten by reading it. When it is saved again, the old one stays beside it as `NAME.json.vN.bak`.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from typing import Any

from engine.errors import PresetError
from presets.schema import SCHEMA

__all__ = ["migrate", "version"]

Fields = dict[str, Any]


def _maps_and_banks(fields: Fields) -> Fields:
    """1 → 2: a preset may hold maps from sound to controls, and be in a bank. Nothing that was there means another."""
    return fields


STEPS: Mapping[int, Callable[[Fields], Fields]] = {1: _maps_and_banks}
"""From each version to the next."""


def version(data: bytes) -> int | None:
    """The schema version that a preset file states; None for what is no JSON object or states none."""
    try:
        fields = json.loads(data)
    except (ValueError, RecursionError):
        return None
    stated = fields.get("schema_version") if isinstance(fields, dict) else None
    return stated if isinstance(stated, int) and not isinstance(stated, bool) else None


def migrate(data: bytes) -> bytes:
    """The file as this version would have written it; unchanged where it is no older one.

    Raises `PresetError`, which names no file, for a version that is newer than this program.
    """
    stated = version(data)
    if stated is None or stated == SCHEMA or stated < min(STEPS):
        return data
    if stated > SCHEMA:
        raise PresetError(f"it was written by a newer cymatic (schema {stated}, this one reads up to {SCHEMA})")
    fields = json.loads(data)
    for step in range(stated, SCHEMA):
        fields = STEPS[step](fields)
    fields["schema_version"] = SCHEMA
    return json.dumps(fields).encode()
