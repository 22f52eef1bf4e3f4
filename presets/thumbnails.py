"""Small pictures of presets: `library/thumbnails/NAME.jpg`, painted by `cymatic presets thumbnails`."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from presets.schema import is_name
from presets.store import SHIPPED, user_folder

FOLDER = "thumbnails"
SUFFIX = ".jpg"
WIDTH, HEIGHT = 160, 90


def place(folder: Path, name: str) -> Path:
    """Where the picture of a preset in this folder belongs."""
    return folder / FOLDER / (name + SUFFIX)


def find(name: str, folders: Sequence[Path] | None = None) -> Path | None:
    """The picture of the preset that plays under this name, or None.

    `folders` as `PresetStore` takes them, None for its standard ones: a preset of the user's own hides a shipped
    picture as it hides the shipped preset, for they would not be alike.
    """
    if is_name(name):
        for folder in reversed((SHIPPED, user_folder()) if folders is None else folders):
            if (folder / f"{name}.json").exists():
                path = place(folder, name)
                return path if path.is_file() else None
    return None
