"""Shows a made-up stage in the real windows; lines on standard input ("master 0.5") move its desk.

    python show_fake_stage.py [--still] [--bicubic] [--refuse] [--fullscreen]
                              [--display NAME] [--place FILE] [--seconds N]

`--still` paints one picture for ever, `--bicubic` takes the software driver for a graphics card, `--refuse` gives the
driver shaders that it cannot compile. What the performer is told goes to the log.
"""

from __future__ import annotations

import argparse
import logging
import sys
import threading
from pathlib import Path

from fake_stage import FakeStage

import gui.app
import gui.shaders
import gui.surface

log = logging.getLogger("show")


def obey(stage: FakeStage) -> None:
    for line in sys.stdin:
        name, value = line.split()
        stage.desk.set(name, float(value), origin="test")


def main() -> int:
    parser = argparse.ArgumentParser()
    parser.add_argument("--still", action="store_true")
    parser.add_argument("--bicubic", action="store_true")
    parser.add_argument("--refuse", action="store_true")
    parser.add_argument("--fullscreen", action="store_true")
    parser.add_argument("--display")
    parser.add_argument("--place", type=Path)
    parser.add_argument("--seconds", type=float)
    args = parser.parse_args()
    logging.basicConfig(level=logging.INFO, format="%(levelname)s %(name)s %(message)s")
    stage = FakeStage(72, 128, play=not args.still)
    stage.tell = lambda line: log.info("told: %s", line)
    if args.still:
        stage.paint(stage.landscape(1.0))
        stage.status = stage.invent_status(1.0)
    if args.bicubic:
        gui.surface._SOFTWARE_DRIVERS = ()
    if args.refuse:
        gui.shaders._VERTEX = "void main() { gl_Position = nowhere; }"
    threading.Thread(target=obey, args=(stage,), daemon=True).start()
    code = gui.app.run(stage, fullscreen=args.fullscreen, display=args.display, place=args.place, seconds=args.seconds)
    log.info("ticks %d", stage.ticks)
    return code


if __name__ == "__main__":
    sys.exit(main())
