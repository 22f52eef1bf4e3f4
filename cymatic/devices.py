"""`cymatic devices`: the inputs that `--device` can name."""

from __future__ import annotations

import argparse
import sys
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from engine.audio.devices import InputDevice

__all__ = ["add_parser", "run"]


def add_parser(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> argparse.ArgumentParser:
    """Add the subcommand to the command line."""
    parser = subparsers.add_parser(
        "devices",
        help="list the microphones, and the outputs that can be heard",
        description="List the input devices, and what this computer itself plays as `System sound: OUTPUT`, where that "
        "can be heard. Part of a name is enough for `cymatic live --device NAME`; `system` is the default output.",
    )
    parser.set_defaults(run=run)
    return parser


def run(args: argparse.Namespace) -> int:
    """Print one line for each input device, the system's default marked; `AudioError` without PortAudio, and when the
    sound system does not answer."""
    from engine.audio.deadline import answer
    from engine.audio.devices import input_devices

    sys.stdout.write(table(answer(input_devices)))
    return 0


def table(devices: list[InputDevice]) -> str:
    """The list as text, one line each, in the order given."""
    if not devices:
        return "no input device found: plug in a microphone, or play `cymatic live --source demo`\n"
    name_width = max(len(device.name) for device in devices)
    api_width = max(len(device.host_api) for device in devices)
    lines = (
        f"{'*' if device.is_default else ' '} {device.name:<{name_width}}  {device.host_api:<{api_width}}"
        f"  {device.channels:>3} ch  {device.sample_rate:>6} Hz\n"
        for device in devices
    )
    return "".join(lines)
