"""Takes the pictures for the documentation: the windows of a live show, each on a virtual display of its own size.

    python benchmarks/screenshots.py docs/images -- --source demo

Everything after `--` goes to `cymatic live`. For 1280×800 and 1920×1080 it starts an Xvfb, plays a show in windows and
one in full screen, steers it a little by OSC, and saves `control.png` and `output.png`, with `-1920` in their names for
the larger display. Needs Xvfb and Pillow (extra `test`).
"""

from __future__ import annotations

import argparse
import contextlib
import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from PIL import Image, ImageGrab
from pythonosc.udp_client import SimpleUDPClient

LIVE = (sys.executable, "-m", "cymatic", "live")
SIZES = {"": (1280, 800), "-1920": (1920, 1080)}
DEADLINE_S = 180.0
STEER = (
    ("preset/bank", "storm"),
    ("preset/go", ["eruption", 2.0]),
    ("tempo/bpm", 124.0),
    ("look/saturation", 1.1),
    ("reactivity", 0.8),
)
"""What is sent by OSC, a few seconds before the picture."""
STEER_S = 8.0
LARGEST = 400_000  # bytes of a picture
FLAT = 4000  # pixels of one colour: the window's own, not the painted picture's


@contextlib.contextmanager
def display(size: tuple[int, int]) -> Iterator[str]:
    """A virtual display of this size; its name."""
    read_end, write_end = os.pipe()
    width, height = size
    command = ["Xvfb", "-displayfd", str(write_end), "-screen", "0", f"{width}x{height}x24", "-ac", "+extension", "GLX"]
    server = subprocess.Popen([*command, "+render", "-noreset", "-nolisten", "tcp"], pass_fds=(write_end,))
    try:
        os.close(write_end)
        with os.fdopen(read_end) as pipe:
            yield f":{pipe.readline().strip()}"
    finally:
        server.terminate()
        server.wait()


def free_port() -> int:
    """A port that nobody listens on, nor on the next one."""
    with socket.socket() as trial:
        trial.bind(("127.0.0.1", 0))
        return int(trial.getsockname()[1])


def photograph(name: str, arguments: list[str], seconds: float, size: tuple[int, int]) -> Image.Image:
    """Plays a show, waits until something is on the display and `seconds` more, and gives what stands there then."""
    port = free_port()
    with tempfile.TemporaryDirectory() as home:
        place = Path(home) / "cymatic" / "window.ini"  # the control window covers the display
        place.parent.mkdir()
        place.write_text(f"[control]\nplace=@Rect(0 0 {size[0]} {size[1]})\nmaximized=false\n", encoding="utf-8")
        env = {**os.environ, "DISPLAY": name, "LIBGL_ALWAYS_SOFTWARE": "1", "XDG_DATA_HOME": home}
        show = subprocess.Popen([*LIVE, "--osc-port", str(port), *arguments], env=env)
        try:
            deadline = time.monotonic() + DEADLINE_S
            while ImageGrab.grab(xdisplay=name).getbbox() is None:
                if show.poll() is not None or time.monotonic() > deadline:
                    raise SystemExit("the show put nothing on the display")
                time.sleep(0.2)
            time.sleep(max(seconds - STEER_S, 0.0))
            osc = SimpleUDPClient("127.0.0.1", port)
            for control, value in STEER:
                osc.send_message(f"/cymatic/{control}", value)
                time.sleep(STEER_S / len(STEER))
            return ImageGrab.grab(xdisplay=name).convert("RGB")
        finally:
            show.send_signal(signal.SIGTERM)
            show.wait(90)


def save(picture: Image.Image, path: Path) -> None:
    """Writes a PNG of at most `LARGEST` bytes: where it must, painted pixels get coarser and flat colours stay."""
    pixels = np.asarray(picture)
    packed = pixels.astype(np.uint32) @ np.array([1 << 16, 1 << 8, 1], np.uint32)
    _, where, counts = np.unique(packed, return_inverse=True, return_counts=True)
    flat = (counts >= FLAT)[where].reshape(packed.shape)[..., np.newaxis]
    for step in (1, 2, 3, 4, 5, 6, 7, 8, 10, 12):
        coarse = np.clip(step * np.round(pixels / step), 0, 255).astype(np.uint8)
        Image.fromarray(np.where(flat, pixels, coarse)).save(path, optimize=True)
        if path.stat().st_size <= LARGEST:
            return


def main() -> None:
    own, _, live = (" ".join(sys.argv[1:]) + " ").partition("-- ")
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--seconds", type=float, default=20.0, help="time to play before the picture (default: 20)")
    args = parser.parse_args(own.split())
    args.folder.mkdir(parents=True, exist_ok=True)
    for suffix, size in SIZES.items():
        with display(size) as name:
            for window, more in (("control", []), ("output", ["--fullscreen"])):
                path = args.folder / f"{window}{suffix}.png"
                save(photograph(name, [*live.split(), *more], args.seconds, size), path)
                print(f"{path}: {path.stat().st_size} bytes")


if __name__ == "__main__":
    main()
