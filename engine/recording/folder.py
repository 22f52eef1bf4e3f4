"""New files in a folder: named after the time, never in another's place."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from pathlib import Path

from engine.errors import CymaticError


def new_file(folder: Path, ending: str, now: time.struct_time | None = None) -> Path:
    """A new empty file such as "cymatic 2026-11-23 21-04-05.mp4", made together with its folder; `now`: local time.

    Where that name is taken it becomes "cymatic 2026-11-23 21-04-05 (2).mp4". `CymaticError` when nothing can be
    written there.
    """
    stem = time.strftime("cymatic %Y-%m-%d %H-%M-%S", now or time.localtime())
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for name in _names(stem):
            path = folder / f"{name}{ending}"
            try:
                os.close(os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o644))
            except FileExistsError:
                continue
            return path
    except OSError as error:
        raise CymaticError(f"nothing can be written to {folder}: {error.strerror}") from None
    raise CymaticError(f"nothing can be written to {folder}: every name for this second is taken")


def _names(stem: str) -> Iterator[str]:
    yield stem
    yield from (f"{stem} ({number})" for number in range(2, 1000))
