"""Plays a bundle in the real windows and writes down, picture by picture, what stands on the display.

    python show_and_tell.py BUNDLE SOUND ROWS.jsonl

The first line of the file is the OSC port. Then one line for each picture that the window takes:
[time, index of the picture, level of the sound, blackout on the desk, [r, g, b] of the display, its brightest value].
"""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path

import numpy as np
from PySide6.QtGui import QGuiApplication, QImage

import gui.app
from cymatic.stage import EngineOptions, Stage
from engine.bundle import load_bundle
from engine.slot import Frame
from presets.store import PresetStore

PATCH = 64  # pixels of the display's middle, which a full-screen picture covers


def look() -> np.ndarray:
    """What stands in the middle of the display, uint8 [n, n, 3]."""
    screen = QGuiApplication.primaryScreen()
    middle = screen.geometry().center()
    pixels = screen.grabWindow(0, middle.x() - PATCH // 2, middle.y() - PATCH // 2, PATCH, PATCH)
    image = pixels.toImage().convertToFormat(QImage.Format.Format_RGBX8888)
    rows = np.frombuffer(image.constBits(), np.uint8).reshape(image.height(), image.bytesPerLine())
    return rows[:, : 4 * image.width()].reshape(image.height(), image.width(), 4)[..., :3].copy()


def main() -> int:
    bundle, sound, rows = sys.argv[1:]
    options = EngineOptions(sound, runtime="onnxruntime", fps=30.0, threads=1)
    stage = Stage(load_bundle(bundle), PresetStore([]), options, osc_port=0)
    with Path(rows).open("w", buffering=1) as file:

        def tell(frame: Frame) -> None:
            seen = look()
            level, blackout = stage.status.get("level", 0.0), stage.desk.get("blackout")
            colour = [round(float(value), 2) for value in seen.mean((0, 1))]
            file.write(json.dumps([time.perf_counter(), frame.index, level, blackout, colour, int(seen.max())]) + "\n")

        try:
            stage.start()
            file.write(f"{stage.osc_port}\n")
            return gui.app.run(stage, fullscreen=True, on_frame=tell)
        finally:
            stage.stop()


if __name__ == "__main__":
    sys.exit(main())
