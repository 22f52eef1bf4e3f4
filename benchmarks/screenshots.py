"""Takes the pictures for the documentation: the windows of a live show on a virtual display.

    Xvfb :77 -screen 0 1280x800x24 -ac +extension GLX &
    DISPLAY=:77 LIBGL_ALWAYS_SOFTWARE=1 python benchmarks/screenshots.py docs/images -- --source demo

Everything after `--` goes to `cymatic live`. Writes `control.png` and, from a second run in full screen, `output.png`.
Needs Pillow (extra `test`).
"""

from __future__ import annotations

import argparse
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

from PIL import ImageGrab

LIVE = (sys.executable, "-m", "cymatic", "live")
DEADLINE_S = 60.0


def photograph(path: Path, arguments: list[str], seconds: float) -> None:
    """Plays a show, waits until something is on the display and `seconds` more, and saves what stands there."""
    show = subprocess.Popen([*LIVE, *arguments])
    try:
        deadline = time.monotonic() + DEADLINE_S
        while ImageGrab.grab(xdisplay=os.environ["DISPLAY"]).getbbox() is None:
            if show.poll() is not None or time.monotonic() > deadline:
                raise SystemExit("the show put nothing on the display")
            time.sleep(0.2)
        time.sleep(seconds)
        ImageGrab.grab(xdisplay=os.environ["DISPLAY"]).save(path, optimize=True)
    finally:
        show.send_signal(signal.SIGTERM)
        show.wait(10)


def main() -> None:
    own, _, live = (" ".join(sys.argv[1:]) + " ").partition("-- ")
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--seconds", type=float, default=16.0, help="time to play before the picture (default: 16)")
    args = parser.parse_args(own.split())
    if "DISPLAY" not in os.environ:
        parser.error("there is no DISPLAY")
    args.folder.mkdir(parents=True, exist_ok=True)
    photograph(args.folder / "control.png", live.split(), args.seconds)
    photograph(args.folder / "output.png", [*live.split(), "--fullscreen"], args.seconds)


if __name__ == "__main__":
    main()
