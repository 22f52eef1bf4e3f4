"""`cymatic latency`: from a sound at the microphone to the picture on the display, measured end to end."""

from __future__ import annotations

import argparse
import contextlib
import signal
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from cymatic.arguments import seconds
from engine.errors import CymaticError

MAY_MISS_MS = 30.0


def add_parser(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> argparse.ArgumentParser:
    """Register the subcommand."""
    parser = subparsers.add_parser(
        "latency",
        help="measure how long a sound takes to be seen",
        description="Play clicks from the default output into the microphone (a cable, or loudspeaker and microphone "
        "close together) and time the change in the window. Prints a table with the share of every stage.",
    )
    parser.add_argument("--seconds", type=seconds, default=30.0, metavar="N", help="of clicks (default: 30)")
    parser.add_argument(
        "--virtual", action="store_true", help="on a private PulseAudio and a private Xvfb, without any hardware"
    )
    parser.add_argument(
        "--size", type=_size, default=(1280, 720), metavar="WxH", help="of the private display (default: 1280x720)"
    )
    parser.add_argument("--device", metavar="NAME", help="part of the microphone's name (default: the system's)")
    parser.add_argument("--bundle", default="landscape", metavar="NAME|PATH", help="default: landscape")
    parser.add_argument("--runtime", default="auto", metavar="NAME", help="as for `cymatic live`")
    parser.add_argument("--fps", metavar="N", help="as for `cymatic live`")
    parser.add_argument(
        "--check",
        action="store_true",
        help="test the measurement itself: every other quarter with 200 ms added, which must be found (or exit code 1)",
    )
    parser.add_argument("--json", metavar="FILE", help="write the figures there, too")
    parser.set_defaults(run=run)
    return parser


def run(args: argparse.Namespace) -> int:
    """Measures and prints."""
    from cymatic.report import OutputFile, as_json

    output = OutputFile(args.json) if args.json else None
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # what was opened is closed again
    try:
        with contextlib.ExitStack() as opened:
            folder = opened.enter_context(tempfile.TemporaryDirectory(prefix="cymatic-latency-"))
            told = _measure(args, Path(folder), opened)
    except KeyboardInterrupt:
        raise CymaticError("ended early: nothing was measured") from None
    print("\n".join(table(told)))
    if output is not None:
        output.write(as_json(told))
    return 0 if told["check"] is None or told["check"]["held"] else 1


def _measure(args: argparse.Namespace, folder: Path, opened: contextlib.ExitStack) -> dict[str, Any]:
    from cymatic.trial.clicks import ADDED_MS, Clicks, Speaker, budgets, found_more, summary
    from cymatic.trial.room import VirtualDisplay, VirtualMicrophone
    from cymatic.trial.show import Show
    from cymatic.trial.traffic import Traffic, free_port
    from engine.runtime.machine import describe_machine

    arguments = ["--source", "mic", "--bundle", args.bundle, "--runtime", args.runtime]
    arguments += ["--fps", args.fps] if args.fps else []
    env: dict[str, str] = {}
    pixels = None
    if args.virtual:
        for name in ("sound", "screen"):
            (folder / name).mkdir()
        microphone = VirtualMicrophone(folder / "sound")
        opened.callback(microphone.stop)
        microphone.start()
        microphone.prepare_click()
        display = VirtualDisplay(folder / "screen", *args.size)
        opened.callback(display.stop)
        env, pixels, click = microphone.env | display.env, display.pixels, microphone.click
        arguments += ["--device", "vmic", "--fullscreen"]
    else:
        speaker = Speaker()
        opened.callback(speaker.stop)
        click = speaker.click
        arguments += ["--device", args.device] if args.device else []
    show = Show(arguments, free_port(), env, folder / "show.log")
    opened.callback(show.stop)
    show.wait_for_pictures()
    traffic = Traffic(show.port)
    opened.callback(traffic.close)
    clicks = Clicks(show, traffic, click, pixels)
    turns = (0.0, ADDED_MS, 0.0, ADDED_MS) if args.check else (0.0,)
    for added_ms in turns:  # in turns, so that a machine that gets busier is no difference
        clicks.run(args.seconds / len(turns), added_ms)
    found = budgets(clicks.clicks, clicks.rows)
    plain = [budget for budget in found if not budget["added"]]
    told: dict[str, Any] = {
        "clicks": len(clicks.clicks),
        "seen": len(found),
        "seen_by": "the window's swap" if pixels is None else "the pixels of the display",
        "ms": summary(plain),
        "check": None,
        "bundle": args.bundle,
        "machine": describe_machine(),
    }
    if args.check:
        added = found_more(found)
        held = abs(added - ADDED_MS) <= MAY_MISS_MS
        told["check"] = {"added_ms": ADDED_MS, "found_ms": round(added, 2), "may_miss_ms": MAY_MISS_MS, "held": held}
        if not held:
            print(f"cymatic: {ADDED_MS:g} ms were added and {added:.0f} ms found", file=sys.stderr)
    return told


def _size(text: str) -> tuple[int, int]:
    width, times, height = text.partition("x")
    if not (times and width.isdecimal() and height.isdecimal() and min(int(width), int(height)) >= 64):
        raise argparse.ArgumentTypeError(f"{text} is not a size such as 1920x1080")
    return int(width), int(height)


def table(told: dict[str, Any]) -> Iterator[str]:
    """The figures in Markdown."""
    machine = told["machine"]
    yield f"{told['seen']} of {told['clicks']} clicks seen, by {told['seen_by']}; bundle {told['bundle']}."
    yield f"{machine['cpu']}, {machine['cores']} cores, GPU: {machine['gpu']}."
    yield ""
    yield "| ms | p50 | p95 | max |"
    yield "|---|---|---|---|"
    for name, row in told["ms"].items():
        label = "**click to picture**" if name == "total" else name
        yield f"| {label} | {row['p50']:.1f} | {row['p95']:.1f} | {row['max']:.1f} |"
    if told["check"] is not None:
        yield ""
        yield f"With {told['check']['added_ms']:g} ms added, {told['check']['found_ms']:.1f} ms more were found."
