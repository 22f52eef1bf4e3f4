"""Input devices by name. Indices change with every plug, so nothing in the project stores one."""

from __future__ import annotations

import re
from dataclasses import dataclass
from types import ModuleType

from engine.audio.loopback import SYSTEM, TITLE, advice, is_system, monitors, titled
from engine.errors import AudioError

__all__ = ["Away", "InputDevice", "find_again", "find_input", "input_devices", "portaudio"]

# On Windows one microphone shows up under several host APIs; these are the ones with a short way to the hardware.
PREFERRED_APIS = ("ASIO", "WASAPI", "WDM-KS", "Core Audio", "JACK", "PulseAudio", "ALSA")
INSTALL = (
    "PortAudio is not installed: on Debian or Ubuntu `apt install libportaudio2`, elsewhere `pip install sounddevice`"
)


class Away(AudioError):
    """A sound server does not have what was heard of it: a new list of PortAudio's would not have it either."""


@dataclass(frozen=True, slots=True)
class InputDevice:
    """One way to hear something. `index` is only valid until the next rescan; store `name`.

    `source`: what the sound server calls it, where PortAudio's device is the way to the whole server.
    """

    index: int
    name: str
    host_api: str
    channels: int
    sample_rate: int
    is_default: bool
    source: str | None = None

    @property
    def is_system(self) -> bool:
        """Whether it gives what this computer itself plays."""
        return is_system(self.name)


def portaudio() -> ModuleType:
    """The `sounddevice` module, imported when first needed; `AudioError` where it or PortAudio is missing."""
    try:
        import sounddevice
    except (ImportError, OSError) as error:  # OSError: the Python package is there, the library is not
        raise AudioError(INSTALL) from error
    module: ModuleType = sounddevice
    return module


def input_devices() -> list[InputDevice]:
    """All inputs PortAudio saw when it was last initialised, the best host API first, and then what the sound server's
    outputs play. Of what this computer plays the default output's comes first."""
    sd = portaudio()
    try:
        apis = list(sd.query_hostapis())
        default = sd.default.device[0]
        rows = list(sd.query_devices())
    except sd.PortAudioError as error:
        raise AudioError(f"PortAudio cannot list its devices: {error}") from error
    if default < 0:  # no choice made in this process: PortAudio's own
        default = next((api["default_input_device"] for api in apis), -1)
    outputs = {api["default_output_device"] for api in apis}
    played = {TITLE + _one_line(row["name"]) for row in rows if row["index"] in outputs}
    found = [
        InputDevice(
            index=row["index"],
            name=titled(_one_line(row["name"])),
            host_api=apis[row["hostapi"]]["name"],
            channels=row["max_input_channels"],
            sample_rate=round(row["default_samplerate"]),
            is_default=row["index"] == default,
        )
        for row in rows
        if row["max_input_channels"] > 0
    ]
    found.sort(key=lambda device: (_preference(device.host_api), device.is_system and device.name not in played))
    way = _way(found)
    return found if way is None else [*found, *_monitors(way)]


def find_input(name: str | None = None, devices: list[InputDevice] | None = None) -> InputDevice:
    """The input whose name is, or else contains, `name` (case does not matter); None is the system's default, "system"
    what the default output plays.

    Where several fit, the default device wins, then the better host API. What is played on an output is not taken for
    the microphone of the same device: that wants its name from "System sound" on. `AudioError` lists what exists.
    """
    devices = input_devices() if devices is None else devices
    if name is None:
        microphones = [device for device in devices if device.is_default or not device.is_system]
        if not microphones:
            raise AudioError("no microphone found: plug one in, or play `--source demo` or a sound file")
        return next((device for device in microphones if device.is_default), microphones[0])
    wanted = _one_line(name.casefold())
    fitting = [device for device in devices if device.name.casefold() == wanted]
    if not fitting and wanted == SYSTEM:
        fitting = [device for device in devices if device.is_system]
        if not fitting:
            raise AudioError(f"what this computer plays cannot be heard: {advice()}")
    elif not fitting and wanted:
        named = [device for device in devices if wanted in device.name.casefold()]
        fitting = [device for device in named if wanted.startswith(SYSTEM) or not device.name.startswith(TITLE)]
    if not fitting:
        names = ", ".join(dict.fromkeys(device.name for device in devices)) or "none"
        raise AudioError(f"no input device has {name!r} in its name; there are: {names}")
    return next((device for device in fitting if device.is_default), fitting[0])


def find_again(name: str, devices: list[InputDevice] | None = None) -> InputDevice:
    """The input that had this name before it was unplugged; no other will do. `AudioError` while there is none, `Away`
    where it is an output of a sound server that has it no more."""
    devices = input_devices() if devices is None else devices
    same = [device for device in devices if _unnumbered(device.name) == _unnumbered(name)]
    found = next((device for device in same if device.name == name), same[0] if same else None)
    if found is None:
        served = name.startswith(TITLE) and _way(devices) is not None
        raise (Away if served else AudioError)(f"there is no input device {name!r}")
    return found


def _way(devices: list[InputDevice]) -> InputDevice | None:
    """PortAudio's way to the sound server."""
    return next((device for device in devices if (device.host_api, device.name) == ("ALSA", "pulse")), None)


def _monitors(way: InputDevice) -> list[InputDevice]:
    return [
        InputDevice(
            index=way.index,
            name=TITLE + monitor.output,
            host_api="PulseAudio",
            channels=monitor.channels,
            sample_rate=monitor.sample_rate,
            is_default=False,
            source=monitor.source,
        )
        for monitor in monitors()
    ]


def _one_line(name: object) -> str:
    return " ".join(str(name).split())


def _unnumbered(name: str) -> str:
    """The name without the card's number, which a socket or an order of plugging changes: `Field (hw:2,0)`."""
    return re.sub(r" ?\(hw:\d+,\d+\)$", "", name).casefold()


def _preference(host_api: str) -> int:
    return next((i for i, api in enumerate(PREFERRED_APIS) if api in host_api), len(PREFERRED_APIS))
