"""Stills: what the audience sees now, as a PNG file, made on a thread of its own.

Trails are light of pictures that are gone. While a look has them, some of those pictures are kept, so that a still can
be given its trails; the show pays nothing for that but memory.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np

from engine.errors import CymaticError
from engine.finish import Finish, Shown
from engine.look import TRAIL_S
from engine.recording.folder import new_file

KEPT = 16
"""Pictures that a still's trails are made of: two time constants of the trail, evenly."""


class Stills:
    """Every method belongs to the stage's thread; none waits but `stop`. `tell` hears a line whenever one is done."""

    def __init__(self, folder: Path, tell: Callable[[str], None]) -> None:
        self._folder, self._tell = folder, tell
        self._before: deque[Shown] = deque(maxlen=KEPT)
        self._thread: threading.Thread | None = None
        self._lines: list[str] = []

    def follow(self, shown: Shown) -> None:
        """Takes note of what is shown now; the picture is never written to afterwards."""
        trails = shown.look.trails
        if trails <= 0.0:
            self.forget()
        elif not self._before or shown.at - self._before[-1].at >= 2.0 * TRAIL_S * trails**2 / KEPT:
            self._before.append(shown)

    def forget(self) -> None:
        """The pictures before have left no trail."""
        self._before.clear()

    def take(self, shown: Shown | None) -> None:
        """Writes it down; None when there is no picture yet."""
        if shown is None:
            self._tell("no still: there is no picture yet")
        elif self._thread is not None and self._thread.is_alive():
            self._tell("no still: the one before is still being written")
        else:
            self.follow(shown)
            self._thread = threading.Thread(target=self._write, args=([*self._before, shown],), name="still")
            self._thread.start()

    def tick(self) -> None:
        """Tells what has been written."""
        while self._lines:
            self._tell(self._lines.pop(0))

    def stop(self, grace_s: float) -> None:
        """Waits so long for a still that is being written."""
        if self._thread is not None:
            self._thread.join(grace_s)
        self.tick()

    def _write(self, pictures: list[Shown]) -> None:
        """On its own thread."""
        from cymatic.png import encode_png

        path = None
        try:
            path = new_file(self._folder, ".png")
            path.write_bytes(encode_png(_developed(pictures)))
            line = f"still: {path}"
        except CymaticError as error:
            line = f"no still: {error}"
        except OSError as error:
            line = f"no still: {path} cannot be written: {error.strerror}"
            if path is not None:
                path.unlink(missing_ok=True)
        self._lines.append(line)


def _developed(pictures: list[Shown]) -> np.ndarray:
    """The last of the pictures with the trails of those before it. A single picture cannot flash."""
    finish = Finish()
    return [finish.show(replace(shown, limit=False)) for shown in pictures][-1]
