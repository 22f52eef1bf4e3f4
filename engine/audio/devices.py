"""Input devices by name. Indices change with every plug, so nothing in the project stores one."""

from __future__ import annotations

import re
from dataclasses import dataclass
from types import ModuleType

from engine.errors import AudioError

__all__ = ["InputDevice", "find_again", "find_input", "input_devices", "portaudio"]

# On Windows one microphone shows up under several host APIs; these are the ones with a short way to the hardware.
PREFERRED_APIS = ("ASIO", "WASAPI", "WDM-KS", "Core Audio", "JACK", "PulseAudio", "ALSA")
INSTALL = (
    "PortAudio is not installed: on Debian or Ubuntu `apt install libportaudio2`, elsewhere `pip install sounddevice`"
)


@dataclass(frozen=True, slots=True)
class InputDevice:
    """One way to hear something. `index` is only valid until the next rescan; store `name`."""

    index: int
    name: str
    host_api: str
    channels: int
    sample_rate: int
    is_default: bool


def portaudio() -> ModuleType:
    """The `sounddevice` module, imported when first needed; `AudioError` where it or PortAudio is missing."""
    try:
        import sounddevice
    except (ImportError, OSError) as error:  # OSError: the Python package is there, the library is not
        raise AudioError(INSTALL) from error
    module: ModuleType = sounddevice
    return module


def input_devices() -> list[InputDevice]:
    """All inputs PortAudio saw when it was last initialised, the best host API first."""
    sd = portaudio()
    try:
        apis = [api["name"] for api in sd.query_hostapis()]
        default = sd.default.device[0]
        rows = list(sd.query_devices())
    except sd.PortAudioError as error:
        raise AudioError(f"PortAudio cannot list its devices: {error}") from error
    if default < 0:  # no choice made in this process: PortAudio's own
        default = next((api["default_input_device"] for api in sd.query_hostapis()), -1)
    found = [
        InputDevice(
            index=row["index"],
            name=" ".join(str(row["name"]).split()),
            host_api=apis[row["hostapi"]],
            channels=row["max_input_channels"],
            sample_rate=round(row["default_samplerate"]),
            is_default=row["index"] == default,
        )
        for row in rows
        if row["max_input_channels"] > 0
    ]
    return sorted(found, key=lambda device: _preference(device.host_api))


def find_input(name: str | None = None, devices: list[InputDevice] | None = None) -> InputDevice:
    """The input whose name is, or else contains, `name` (case does not matter); None is the system's default.

    Where several fit, the default device wins, then the better host API. `AudioError` lists what exists.
    """
    devices = input_devices() if devices is None else devices
    if not devices:
        raise AudioError("no microphone found: plug one in, or play `--source demo` or a sound file")
    if name is None:
        return next((device for device in devices if device.is_default), devices[0])
    wanted = " ".join(name.casefold().split())
    exact = [device for device in devices if device.name.casefold() == wanted]
    fitting = exact or [device for device in devices if wanted and wanted in device.name.casefold()]
    if not fitting:
        names = ", ".join(dict.fromkeys(device.name for device in devices))
        raise AudioError(f"no input device has {name!r} in its name; there are: {names}")
    return next((device for device in fitting if device.is_default), fitting[0])


def find_again(name: str, devices: list[InputDevice] | None = None) -> InputDevice:
    """The input that had this name before it was unplugged; no other will do. `AudioError` while there is none."""
    devices = input_devices() if devices is None else devices
    same = [device for device in devices if _unnumbered(device.name) == _unnumbered(name)]
    found = next((device for device in same if device.name == name), same[0] if same else None)
    if found is None:
        raise AudioError(f"there is no input device {name!r}")
    return found


def _unnumbered(name: str) -> str:
    """The name without the card's number, which a socket or an order of plugging changes: `Field (hw:2,0)`."""
    return re.sub(r" ?\(hw:\d+,\d+\)$", "", name).casefold()


def _preference(host_api: str) -> int:
    return next((i for i, api in enumerate(PREFERRED_APIS) if api in host_api), len(PREFERRED_APIS))
