"""Prepared words for a set: nobody types fast enough between two beats.

A file `prompts.txt` beside the user's presets, one prompt a line, takes the place of the shipped ones.
"""

from __future__ import annotations

from pathlib import Path

from engine.control.registry import TEXT_LIMIT
from presets.store import user_folder

PREPARED = (
    "wildfire at night",
    "heavy rain at dusk",
    "thunder and lightning",
    "ocean waves at sunset",
    "a roaring waterfall",
    "an erupting volcano",
    "deep underwater, bubbles",
    "mud and ripples",
    "strong wind, bare ground",
    "calm lake at dawn, mist",
    "starry sky, moonlight",
    "rich saturated colors",
)
MAX_PROMPTS = 64
MAX_BYTES = 64 << 10


def user_file() -> Path:
    """The user's own list."""
    return user_folder().with_name("prompts.txt")


def prepared(path: Path | None = None) -> tuple[str, ...]:
    """The prompts of the user's file, or the shipped ones where there is none that can be read. Never raises."""
    try:
        with (user_file() if path is None else path).open("rb") as file:
            lines = file.read(MAX_BYTES).decode(errors="replace").splitlines()
    except OSError:
        return PREPARED
    own = [line.strip() for line in lines if line.strip() and not line.startswith("#")]
    return tuple(line for line in own if len(line) <= TEXT_LIMIT and line.isprintable())[:MAX_PROMPTS] or PREPARED
