"""`cymatic live`: the show, with windows or headless."""

from __future__ import annotations

import argparse
import importlib.util
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING

import platformdirs

from cymatic.arguments import channel, frame_rate, seconds
from engine.control.osc import DEFAULT_PORT
from engine.errors import CymaticError

if TYPE_CHECKING:
    from cymatic.report import Recorder
    from cymatic.stage import Stage

__all__ = ["add_parser", "run"]

RUNTIMES = (
    "auto", "openvino", "onnxruntime", "tensorrt", "torch-cuda", "onnxruntime-tensorrt-rtx", "onnxruntime-cuda",
    "onnxruntime-coreml", "onnxruntime-directml",
)  # fmt: skip
LOOK_S = 0.004
"""How often the headless loop looks for a new picture."""
PROBE_S = 60.0


def add_parser(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> argparse.ArgumentParser:
    """Adds the subcommand to the command line."""
    parser = subparsers.add_parser(
        "live",
        help="listen and paint: microphone, demo soundscape or a sound file",
        description="Listen and paint. Ctrl-C, or closing a window twice, ends the show.",
    )
    hear = parser.add_argument_group("what is heard")
    hear.add_argument(
        "--source", default="mic", metavar="mic|demo|FILE", help="microphone (default), built-in demo, or a sound file"
    )
    hear.add_argument(
        "--device", metavar="NAME", help="part of the input's name, or system; `cymatic devices` lists them"
    )
    hear.add_argument(
        "--channel", type=channel, default=0, metavar="N", help="hear this channel of it (default: the mean of all)"
    )
    paint = parser.add_argument_group("what is painted")
    paint.add_argument("--bundle", default="landscape", metavar="NAME|PATH", help="trained bundle (default: landscape)")
    paint.add_argument("--preset", metavar="NAME", help="where to begin; `cymatic presets` lists them")
    paint.add_argument(
        "--runtime", default="auto", choices=RUNTIMES, metavar="NAME", help=f"{', '.join(RUNTIMES)} (default: auto)"
    )
    paint.add_argument(
        "--fps", type=frame_rate, metavar="N", help="frames a second; default: 60 if this machine can, else 30"
    )
    show = parser.add_argument_group("where it is shown")
    show.add_argument("--headless", action="store_true", help="no window")
    show.add_argument("--fullscreen", action="store_true", help="cover the display")
    show.add_argument(
        "--display", metavar="NAME|N", help="display by name or number from 1, ? lists them (default: the one before)"
    )
    steer = parser.add_argument_group("what steers it")
    steer.add_argument("--osc-port", type=int, default=DEFAULT_PORT, metavar="N", help=f"default: {DEFAULT_PORT}")
    steer.add_argument(
        "--osc-host", default="127.0.0.1", metavar="HOST", help="0.0.0.0: the whole network (OSC knows no passwords)"
    )
    steer.add_argument(
        "--osc-allow", action="append", default=[], metavar="ADDRESS", help="listen to this address or network only"
    )
    steer.add_argument("--oscquery-port", type=int, metavar="N", help="default: the port after --osc-port")
    steer.add_argument("--advertise", action="store_true", help="tell the network by zeroconf where OSC is heard")
    steer.add_argument(
        "--midi", nargs="?", const="", metavar="NAME", help="listen to the MIDI controller with this in its name"
    )
    steer.add_argument("--link", action="store_true", help="follow the Ableton Link session (extra `link`)")
    end = parser.add_argument_group("what stays of it")
    end.add_argument(
        "--record-to", metavar="FOLDER", help="for recordings and stills (default: your folders of videos and pictures)"
    )
    end.add_argument(
        "--share", action="append", default=[], choices=("camera", "ndi", "spout", "syphon"),
        help="hand the picture to other programs: as a camera, or by NDI, Spout or Syphon",
    )  # fmt: skip
    end.add_argument("--seconds", type=seconds, metavar="N", help="end by itself so long after the first picture")
    end.add_argument("--report", metavar="FILE.json", help="write frame times, latency, memory and events")
    end.add_argument("--snapshot", metavar="FILE.png", help="write the last picture")
    parser.set_defaults(run=run)
    return parser


def run(args: argparse.Namespace, stage_class: type[Stage] | None = None) -> int:
    """Plays until the show ends. Raises `CymaticError`, one line, for what cannot be played.

    `stage_class`: what a trial puts in the place of `Stage` to watch the show.
    """
    from cymatic.report import OutputFile, Recorder, as_json
    from cymatic.stage import EngineOptions, Stage
    from engine import heap
    from engine.bundle import find_bundle, load_bundle
    from engine.sinks import missing
    from presets.store import PresetStore

    heap.settle()
    report = OutputFile(args.report) if args.report else None
    snapshot = OutputFile(args.snapshot) if args.snapshot else None
    bundle = load_bundle(find_bundle(args.bundle))
    for sink in args.share:
        if (why := missing(sink)) is not None:
            raise CymaticError(why)
    source = args.source if args.source in ("mic", "demo") else str(Path(args.source).expanduser().absolute())
    stage = (stage_class or Stage)(
        bundle,
        PresetStore.standard(),
        EngineOptions(source, args.device, args.runtime, args.fps, channel=args.channel),
        preset=args.preset,
        osc_host=args.osc_host,
        osc_port=args.osc_port,
        osc_allow=args.osc_allow,
        oscquery_port=args.oscquery_port,
        advertise=args.advertise,
        link=args.link,
        midi=args.midi,
        record_to=Path(args.record_to).expanduser().absolute() if args.record_to else None,
        share=args.share,
        say=_say,
    )
    try:
        with _signals_close(stage):
            stage.start()
            recorder = Recorder(stage)
            if args.headless or not _display_works(stage):
                _play_headless(stage, recorder, args.seconds)
            else:
                _play_in_windows(stage, recorder, args)
            if stage.fatal is not None:
                raise CymaticError(stage.fatal)
            summary, picture = recorder.report(), stage.present()
    finally:
        stage.stop()
    if report is not None:
        report.write(as_json(summary))
    if snapshot is not None:
        if picture is None:
            raise CymaticError(f"no snapshot written to {snapshot.path}: the show ended before its first picture")
        from cymatic.png import encode_png

        snapshot.write(encode_png(picture))
    return 0


def _play_headless(stage: Stage, recorder: Recorder, seconds: float | None) -> None:
    while not stage.closing:
        stage.tick()
        frame = stage.newest_frame()
        if frame is not None:
            recorder.take(frame)
        if seconds is not None and recorder.first is not None and recorder.seconds >= seconds:
            stage.close()
        time.sleep(LOOK_S)


def _play_in_windows(stage: Stage, recorder: Recorder, args: argparse.Namespace) -> None:
    from PySide6.QtCore import QCoreApplication, QTimer

    from engine.slot import Frame
    from gui import app

    def take(frame: Frame) -> None:
        if recorder.first is None and args.seconds is not None:
            QTimer.singleShot(round(1000 * args.seconds), stage.close)
        recorder.take(frame)

    # By way of the event queue: the end of a loop that has not begun yet would be forgotten.
    stage.on_close = lambda: QTimer.singleShot(0, lambda: QCoreApplication.exit(0))
    place = platformdirs.user_data_path("cymatic", appauthor=False) / "output.json"
    memory = place.with_name("window.ini")
    app.run(stage, fullscreen=args.fullscreen, display=args.display, place=place, memory=memory, on_frame=take)


def _display_works(stage: Stage) -> bool:
    """Whether Qt can open a window here; says why not. The engine is loading meanwhile.

    Qt ends the whole process when it cannot reach the display it was promised, so another one is sent ahead.
    """
    if sys.platform.startswith("linux"):
        elsewhere = os.environ.get("QT_QPA_PLATFORM", "") not in ("", "xcb", "wayland")
        if not (elsewhere or os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY")):
            stage.tell("no display found: running headless")
            return False
    if importlib.util.find_spec("PySide6") is None:
        stage.tell("PySide6 is not installed: running headless")
        return False
    command = [sys.executable, "-c", "from PySide6.QtWidgets import QApplication; QApplication([])"]
    try:
        worked = subprocess.run(command, capture_output=True, stdin=subprocess.DEVNULL, timeout=PROBE_S).returncode == 0
    except subprocess.TimeoutExpired:
        worked = False
    if not worked:
        stage.tell("Qt cannot open a window on this display: running headless")
    return worked


@contextmanager
def _signals_close(stage: Stage) -> Iterator[None]:
    """Ctrl-C and SIGTERM end the show at once."""

    def close(number: int, frame: FrameType | None) -> None:
        stage.close()

    before = {number: signal.signal(number, close) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _say(line: str) -> None:
    print(f"cymatic: {line}", file=sys.stderr, flush=True)
