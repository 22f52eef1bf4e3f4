"""`cymatic osc-map`: the reference of all controls, for people and for other programs."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from engine.errors import ControlError

__all__ = ["add_parser", "run"]

FORMATS = ("markdown", "html", "touchosc", "json")


def add_parser(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> argparse.ArgumentParser:
    """Adds the subcommand to the command line."""
    parser = subparsers.add_parser(
        "osc-map",
        help="print the reference of all controls",
        description="Print every control with its OSC address: to read, or for TouchOSC, Max and Live.",
    )
    parser.add_argument("--format", choices=FORMATS, default="markdown", help="default: markdown")
    parser.add_argument("--out", type=Path, metavar="FILE", help="write it there instead of to standard output")
    parser.set_defaults(run=run)
    return parser


def run(args: argparse.Namespace) -> int:
    """Prints or writes the reference. `ControlError` where it cannot be written."""
    data = _render(args.format)
    if args.out is None:
        if args.format == "touchosc" and sys.stdout.isatty():
            raise ControlError("a TouchOSC layout is no text: name a file with --out cymatic.tosc")
        sys.stdout.flush()
        sys.stdout.buffer.write(data)
        sys.stdout.buffer.flush()
        return 0
    from engine.files import replace_file

    try:
        replace_file(args.out, data)
    except OSError as error:
        raise ControlError(f"cannot write {args.out}: {error.strerror or error}") from error
    return 0


def _render(form: str) -> bytes:
    from engine.control import reference

    if form == "touchosc":
        from engine.control.touchosc import as_touchosc

        return as_touchosc()
    texts = {"markdown": reference.as_markdown, "html": reference.as_html, "json": reference.as_json}
    return texts[form]().encode()
