"""Draws pictures in the real OpenGL surface on this display and reads the display back.

    python draw_looks.py CASES.json PICTURES.npz SHOTS.npz

A case: {"at": s, "picture": name, ...} with what else `Picture` takes; `look` as a dictionary. "at" is what the clock
says while it is drawn, so that trails and flashes do not depend on the machine. "window": [width, height] from here on.
In the first case, "bicubic": true takes the software driver for a graphics card, "bytes": true leaves the look no half
floats, and "opengl" asks for the dialect "es" or "core".
"""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path

import numpy as np
from PySide6.QtCore import Qt
from PySide6.QtGui import QGuiApplication, QImage, QSurfaceFormat
from PySide6.QtTest import QSignalSpy

import gui.look
import gui.surface
from engine.look import Look
from gui.surface import GlSurface, Picture


class Clock:
    """Stands where the case says."""

    now = 0.0

    def perf_counter(self) -> float:
        return self.now


def main() -> int:
    cases = json.loads(Path(sys.argv[1]).read_text())
    pictures = dict(np.load(sys.argv[2], allow_pickle=False))
    clock = Clock()
    gui.surface.time = clock
    if cases[0].pop("bicubic", False):
        gui.surface._SOFTWARE_DRIVERS = ()
    if cases[0].pop("bytes", False):
        gui.look._FORMATS = gui.look._FORMATS[-1:]
    wanted = QSurfaceFormat()
    if dialect := cases[0].pop("opengl", ""):
        wanted.setVersion(*{"es": (2, 0), "core": (3, 3)}[dialect])
        wanted.setProfile(QSurfaceFormat.OpenGLContextProfile.CoreProfile)
        wanted.setRenderableType(
            QSurfaceFormat.RenderableType.OpenGLES if dialect == "es" else QSurfaceFormat.RenderableType.OpenGL
        )
    QSurfaceFormat.setDefaultFormat(wanted)
    _app = QGuiApplication([])
    surface = GlSurface()
    surface.setFlag(Qt.WindowType.FramelessWindowHint)
    shots, limiting = [], []
    for case in cases:
        if window := case.pop("window", None):
            surface.setGeometry(0, 0, *window)
            surface.show()
            settle(surface)
            assert surface.context().isOpenGLES() == (dialect == "es")
        clock.now = case.pop("at")
        look = Look(**case.pop("look", {}))
        swaps = QSignalSpy(surface.frameSwapped)  # at once, or by the event queue
        surface.show_picture(Picture(pictures[case.pop("picture")], look=look, **case))
        assert swaps.count() or swaps.wait(20_000), "the picture was not drawn"
        assert surface._look is not None
        shots.append(grab(surface))
        limiting.append(surface.limiting)
    assert surface.flashes_limited >= sum(limiting)
    surface.release()
    np.savez(sys.argv[3], shots=np.stack(shots), limiting=np.array(limiting))
    return 0


def settle(surface: GlSurface) -> None:
    """Until the window stands as large as it was asked to be."""
    deadline = time.monotonic() + 20
    while time.monotonic() < deadline and not (surface.isExposed() and surface.renderer):
        QGuiApplication.processEvents()
        time.sleep(0.01)
    for _ in range(10):
        QGuiApplication.processEvents()
        time.sleep(0.01)


def grab(surface: GlSurface) -> np.ndarray:
    """What stands on the display where the window is, uint8 [H, W, 3]."""
    room = surface.geometry()
    image = surface.screen().grabWindow(0, room.x(), room.y(), room.width(), room.height()).toImage()
    image = image.convertToFormat(QImage.Format.Format_RGBX8888)
    rows = np.frombuffer(image.constBits(), np.uint8).reshape(image.height(), image.bytesPerLine() // 4, 4)
    return rows[:, : image.width(), :3].copy()


if __name__ == "__main__":
    sys.exit(main())
