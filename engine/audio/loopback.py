"""What this computer itself plays, heard as an input.

PulseAudio, and PipeWire in its place, give every output a monitor, a source of what is played there. PortAudio does not
list these, but the server as a whole, as the device `pulse` of ALSA; which source that one records libpulse reads from
the environment of the process. On Windows newer builds of PortAudio list an output once more, with `[Loopback]` behind
its name; the one that comes with sounddevice 0.5 does not. There, and on macOS, a virtual cable does it.
"""

from __future__ import annotations

import os
import re
import shutil
import sys
from collections import Counter
from dataclasses import dataclass

from engine.audio.route import pactl
from engine.packages import install

__all__ = ["SYSTEM", "TITLE", "Monitor", "advice", "is_system", "monitors", "record_from", "titled"]

SYSTEM = "system"
"""What to ask for to hear the default output, by whatever name it goes."""
TITLE = "System sound: "
"""Before the name of an output, it is the name of what is played there."""
VARIABLE = "PULSE_SOURCE"

_FACT = re.compile(r"^\t(Name|Description|Sample Specification|Monitor Source): (.+)$", re.MULTILINE)
_SHAPE = re.compile(r"(\d+)ch (\d+)Hz")
_LISTED = re.compile(r"(.+) \[Loopback\]")
_CABLE = re.compile(r"BlackHole|CABLE Output")  # on macOS and on Windows
_given = os.environ.get(VARIABLE)


@dataclass(frozen=True, slots=True)
class Monitor:
    """What is played on one output: the sound server's name for it, and what people call the output."""

    source: str
    output: str
    channels: int
    sample_rate: int


def monitors() -> list[Monitor]:
    """Those of the sound server, the default output's first; none where no server answers `pactl`.

    Takes some 40 ms, and at most two seconds of a server that hangs.
    """
    told: list[dict[str, str]] = [dict(_FACT.findall(sink)) for sink in pactl("list", "sinks").split("\nSink #")]
    sinks = [sink for sink in told if {"Name", "Description"} <= sink.keys() and sink.get("Monitor Source") != "n/a"]
    default = re.search(r"^Default Sink: (.+)$", pactl("info") if sinks else "", re.MULTILINE)
    sinks.sort(key=lambda sink: default is None or sink["Name"] != default[1])
    alike = Counter(sink["Description"] for sink in sinks)
    found = []
    for sink in sinks:
        shape = _SHAPE.search(sink.get("Sample Specification", ""))
        if shape is not None and "Monitor Source" in sink:
            name = sink["Description"] if alike[sink["Description"]] == 1 else f"{sink['Description']} ({sink['Name']})"
            found.append(Monitor(sink["Monitor Source"], " ".join(name.split()), int(shape[1]), int(shape[2])))
    return found


def record_from(source: str | None) -> None:
    """What PortAudio's device `pulse` records in the streams that are opened from now on; None: what it would anyway.

    For the whole process, which hears one input at a time.
    """
    wanted = _given if source is None else source
    if wanted == os.environ.get(VARIABLE):
        return
    if wanted is None:
        del os.environ[VARIABLE]
    else:
        os.environ[VARIABLE] = wanted


def titled(name: str) -> str:
    """PortAudio's name of an input, as it is called here."""
    listed = _LISTED.fullmatch(name)
    return name if listed is None else TITLE + listed[1]


def is_system(name: str) -> bool:
    """Whether the input of this name gives what this computer plays."""
    return name.startswith(TITLE) or _CABLE.match(name) is not None


def advice() -> str:
    """What to do where there is no such input, in a line."""
    if sys.platform == "darwin":
        return (
            "install BlackHole (`brew install blackhole-2ch`, or existential.audio/blackhole), make a multi-output "
            "device of it and your loudspeakers in Audio MIDI Setup, and play into that"
        )
    if sys.platform == "win32":
        return "install VB-CABLE (vb-audio.com/Cable) and play into CABLE Input"
    if shutil.which("pactl") is None:
        return install("pactl", "alsa-pulse")
    if not pactl("info"):
        return "start the sound server, PulseAudio or PipeWire with pipewire-pulse"
    return install("alsa-pulse")
