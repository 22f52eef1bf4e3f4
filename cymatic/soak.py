"""`cymatic soak`: a long show in which everything goes wrong on a schedule, and a verdict."""

from __future__ import annotations

import argparse
import contextlib
import json
import shutil
import signal
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cymatic.arguments import seconds
from engine.errors import CymaticError

if TYPE_CHECKING:
    from cymatic.trial.faults import Fault
    from cymatic.trial.show import Show

TOLD = ("fps", "frame_ms", "audio_to_frame_ms", "stages_ms", "runtime", "events")
"""What the verdict takes over from the show's own report."""


def add_parser(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> argparse.ArgumentParser:
    """Register the subcommand."""
    parser = subparsers.add_parser(
        "soak",
        help="play for hours, let everything go wrong, and give a verdict",
        description="Play mixed sound and OSC into a show for hours, do every kind of harm to it on a schedule, look "
        "at every picture that is shown, and end with a verdict as JSON. Exit code 1 when a limit is broken.",
    )
    parser.add_argument("--hours", type=seconds, default=0.5, metavar="H", help="how long (default: 0.5)")
    parser.add_argument("--faults", default="all", metavar="all|none|NAMES", help="names by comma, ? lists them")
    parser.add_argument(
        "--every", type=seconds, default=60.0, metavar="SECONDS", help="from one fault to the next (default: 60)"
    )
    parser.add_argument("--json", metavar="FILE", help="write the verdict there instead of to standard output")
    parser.add_argument("--window", action="store_true", help="with windows, on a private Xvfb")
    parser.add_argument("--bundle", default="landscape", metavar="NAME|PATH", help="default: landscape")
    parser.add_argument("--runtime", default="auto", metavar="NAME", help="as for `cymatic live`")
    parser.add_argument("--fps", metavar="N", help="as for `cymatic live`")
    parser.set_defaults(run=run)
    return parser


def run(args: argparse.Namespace) -> int:
    """Plays, harms, judges. Exit code 0 when all limits were held, 1 when not."""
    from cymatic.report import OutputFile, as_json
    from cymatic.trial.faults import FAULTS, choose
    from cymatic.trial.pace import in_words
    from engine.bundle import find_bundle

    if args.faults == "?":
        print("\n".join(f"{fault.name:22}{(fault.__doc__ or '').splitlines()[0]}" for fault in FAULTS))
        return 0
    faults, bundle = choose(args.faults), find_bundle(args.bundle)
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    output = OutputFile(args.json) if args.json else None
    try:
        with contextlib.ExitStack() as opened:
            folder = Path(opened.enter_context(tempfile.TemporaryDirectory(prefix="cymatic-soak-")))
            told = _soak(args, faults, bundle, folder, opened)
    except KeyboardInterrupt:
        raise CymaticError("ended before the show began: there is no verdict") from None
    if output is None:
        sys.stdout.buffer.write(as_json(told))
    else:
        output.write(as_json(told))
    for line in told["broken"]:
        _say(line)
    _say(in_words(told["outside_faults"]))
    _say("every limit was held" if told["held"] else f"{len(told['broken'])} limits were broken")
    return 0 if told["held"] else 1


def _soak(
    args: argparse.Namespace, faults: Sequence[Fault], bundle: Path, folder: Path, opened: contextlib.ExitStack
) -> dict[str, Any]:
    from cymatic.trial.faults import Trial, release
    from cymatic.trial.room import SOUND_PROGRAMS, VirtualDisplay, VirtualMicrophone, missing, private_home
    from cymatic.trial.show import Show
    from cymatic.trial.soak import Soak
    from cymatic.trial.sounds import write_mixed
    from cymatic.trial.traffic import Traffic, free_port
    from engine.runtime.machine import describe_machine

    copy = Path(shutil.copytree(bundle, folder / "bundles" / bundle.name))
    sound, report = write_mixed(folder / "mixed.wav"), folder / "report.json"
    env = private_home(folder)
    microphone, display = None, None
    if missing(*SOUND_PROGRAMS):
        _say("PulseAudio is not installed: a file is played instead of a microphone, whose faults are left out")
        heard = ["--source", str(sound)]
    else:
        (home := folder / "sound").mkdir()
        microphone = VirtualMicrophone(home)
        opened.callback(microphone.stop)
        microphone.start()
        microphone.play(sound)
        env |= microphone.env
        heard = ["--source", "mic", "--device", "vmic"]
    if args.window:
        (screen := folder / "screen").mkdir()
        display = VirtualDisplay(screen)
        opened.callback(display.stop)
        env |= display.env
    films = folder / "films"
    films.mkdir()
    arguments = [*heard, "--bundle", str(copy), "--runtime", args.runtime, "--report", str(report)]
    arguments += ["--record-to", str(films)]
    arguments += ["--fullscreen"] if args.window else ["--headless"]
    arguments += ["--fps", args.fps] if args.fps else []
    show = Show(arguments, free_port(), env, folder / "show.log")
    opened.callback(show.stop)
    first = show.wait_for_pictures()
    traffic = Traffic(show.port)
    opened.callback(traffic.close)
    trial = Trial(show, microphone, traffic, copy, films, first[-1])
    opened.callback(release, trial.harmed)
    soak = Soak(trial, display, faults, 3600.0 * args.hours, args.every, _say)
    soak.see(first)
    _say(f"playing for {args.hours:g} h; Ctrl-C ends it early")
    ending = soak.play()
    if not ending:
        ending = _end(show, trial.row["pid"])
    shown = json.loads(report.read_text(encoding="utf-8")) if report.exists() else {}
    return {
        **soak.verdict(ending),
        "bundle": bundle.name,
        "machine": describe_machine(),
        "show": {key: shown.get(key) for key in TOLD},
    }


def _end(show: Show, engine: int | None) -> list[str]:
    """Ends the show as its user would; what went wrong meanwhile."""
    import psutil

    code = show.stop()
    wrong = [] if code == 0 else [f"the show ended with exit code {code}: {show.last_words()}"]
    if engine is not None and psutil.pid_exists(engine):
        wrong.append("the engine outlived the show")
    return wrong


def _say(line: str) -> None:
    print(f"cymatic: {line}", file=sys.stderr, flush=True)
