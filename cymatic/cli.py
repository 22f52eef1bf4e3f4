"""The command line. Only the chosen subcommand is imported: a module with `add_parser(subparsers)` and `run(args)`."""

from __future__ import annotations

import argparse
import importlib
import os
import sys
from collections.abc import Sequence

from cymatic import __version__
from engine.errors import CymaticError

COMMANDS = {
    "live": "listen and paint: microphone, demo soundscape or a sound file",
    "render": "paint a sound file into an MP4",
    "devices": "list the microphones, and the outputs that can be heard",
    "osc-map": "print the reference of all controls",
    "presets": "list, show, check and make presets",
    "train": "train a bundle, every stage from world to export",
    "evaluate": "measure a bundle with independent judges",
    "export": "convert a bundle for other runtimes and precisions",
    "bench": "measure every runtime on a bundle",
    "import": "make a bundle of a StyleGAN2 or StyleGAN3 checkpoint",
    "adapt": "train the encoders of an imported bundle on a folder of sounds",
    "doctor": "say what is here, what is missing and how to install it",
    "latency": "measure how long a sound takes to be seen",
    "soak": "play for hours, let everything go wrong, and give a verdict",
    "world": "look at the synthetic landscape world",
}


def main(argv: Sequence[str] | None = None) -> int:
    """Runs one command and returns the exit code: 0, or 2 after one line on standard error."""
    argv = sys.argv[1:] if argv is None else list(argv)
    parser = argparse.ArgumentParser(
        prog="cymatic", description="Listens to a live microphone, understands what it hears, and paints it."
    )
    parser.add_argument("--version", action="version", version=f"cymatic {__version__}")
    subparsers = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    chosen = next((argument for argument in argv if argument in COMMANDS), None)
    for name, help_line in COMMANDS.items():
        if name == chosen:
            module = importlib.import_module(f"cymatic.{name.replace('-', '_')}")
            module.add_parser(subparsers)
        else:
            subparsers.add_parser(name, help=help_line)
    args = parser.parse_args(argv)
    try:
        code = int(module.run(args))
        sys.stdout.flush()
        return code
    except CymaticError as error:
        print(f"cymatic: {error}", file=sys.stderr)
        return 2
    except BrokenPipeError:  # whoever read the output, such as `head`, has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
