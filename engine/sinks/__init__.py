"""Where the picture goes besides the windows: into other programs on this machine and on the network.

A sink runs in a process of its own (`python -m engine.sinks`), which follows what the stage shows and hands the newest
picture on. Each needs a library that is no part of the base install; `open_sink` says in one line what to install.

| sink | library | where |
|---|---|---|
| `camera` | pyvirtualcam (GPL-2.0) | Linux (v4l2loopback), Windows and macOS (OBS, Unity Capture) |
| `ndi` | cyndilib (MIT, with the NDI runtime) | everywhere |
| `spout` | SpoutGL (BSD) | Windows |
| `syphon` | syphon-python (MIT) | macOS |
"""

from __future__ import annotations

import importlib
import importlib.util
import sys
from dataclasses import dataclass
from typing import Literal, Protocol

import numpy as np
from numpy.typing import NDArray

from engine.errors import RuntimeUnavailable

__all__ = ["NAME", "SINKS", "OutputSink", "SinkName", "missing", "open_sink"]

SinkName = Literal["camera", "ndi", "spout", "syphon"]
NAME = "cymatic"
"""What the picture is called where others choose among several."""


class OutputSink(Protocol):
    """Takes pictures of one size. One thread; methods may wait and may raise anything: the process is theirs.

    Its module has `open_sink(height, width, fps) -> OutputSink`, where `fps` is the rate to be announced; pictures come
    as they are shown.
    """

    @property
    def name(self) -> str:
        """Where others find the picture, in the performer's words."""

    def send(self, rgba: NDArray[np.uint8]) -> None:
        """Hands a picture on: uint8 `[height, width, 4]`, top row first, contiguous, sRGB, opaque."""

    def close(self) -> None:
        """Takes the picture away from those who look at it."""


@dataclass(frozen=True, slots=True)
class _Library:
    module: str
    package: str
    platforms: tuple[str, ...] = ()
    system: str = ""


SINKS: dict[SinkName, _Library] = {
    "camera": _Library("pyvirtualcam", "pyvirtualcam"),
    "ndi": _Library("cyndilib", "cyndilib"),
    "spout": _Library("SpoutGL", "SpoutGL", ("win32",), "Windows"),
    "syphon": _Library("syphon", "syphon-python", ("darwin",), "macOS"),
}


def missing(sink: SinkName) -> str | None:
    """One line that says why this sink cannot be opened here and what to do about it, or None."""
    library = SINKS[sink]
    if library.platforms and sys.platform not in library.platforms:
        return f"{sink} is a part of {library.system}: share by camera or ndi on this system"
    if importlib.util.find_spec(library.module) is None:
        return f"{sink} needs {library.package}: pip install 'cymatic[{sink}]'"
    return None


def open_sink(sink: SinkName, height: int, width: int, fps: float) -> OutputSink:
    """An open sink. `RuntimeUnavailable` when its library is not there; whatever the library raises besides."""
    if (why := missing(sink)) is not None:
        raise RuntimeUnavailable(why)
    opened: OutputSink = importlib.import_module(f"engine.sinks.{sink}").open_sink(height, width, fps)
    return opened
