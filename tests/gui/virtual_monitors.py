"""Monitors of a private X server that come and go, by RandR 1.5, and keys that are pressed on it."""

from __future__ import annotations

import contextlib
import ctypes
from collections.abc import Iterator

import pytest

_ULONG, _INT, _POINTER = ctypes.c_ulong, ctypes.c_int, ctypes.c_void_p


class _Monitor(ctypes.Structure):
    """XRRMonitorInfo of Xrandr.h."""

    _fields_ = [
        ("name", _ULONG), ("primary", _INT), ("automatic", _INT), ("noutput", _INT), ("x", _INT), ("y", _INT),
        ("width", _INT), ("height", _INT), ("mwidth", _INT), ("mheight", _INT), ("outputs", ctypes.POINTER(_ULONG)),
    ]  # fmt: skip


class _Resources(ctypes.Structure):
    """The beginning of XRRScreenResources."""

    _fields_ = [
        ("timestamp", _ULONG), ("configured", _ULONG), ("ncrtc", _INT), ("crtcs", ctypes.POINTER(_ULONG)),
        ("noutput", _INT), ("outputs", ctypes.POINTER(_ULONG)),
    ]  # fmt: skip


@ctypes.CFUNCTYPE(_INT, _POINTER, _POINTER)
def _go_on(display: int, error: int) -> int:
    """In the place of Xlib's own answer to an error, which is to end the process."""
    return 0


class Monitors:
    """The monitors of one X server. `plug` and `unplug` are seen by every program on it at once."""

    def __init__(self, display: str) -> None:
        try:
            self._x = ctypes.CDLL("libX11.so.6")
            self._randr, self._test = ctypes.CDLL("libXrandr.so.2"), ctypes.CDLL("libXtst.so.6")
        except OSError as error:
            pytest.skip(f"not installed: {error}")
        self._x.XOpenDisplay.restype = _POINTER
        self._x.XDefaultRootWindow.restype = self._x.XInternAtom.restype = self._x.XStringToKeysym.restype = _ULONG
        self._x.XKeysymToKeycode.restype = ctypes.c_ubyte
        self._randr.XRRGetScreenResources.restype = ctypes.POINTER(_Resources)
        self._x.XSetErrorHandler(_go_on)
        self._display = _POINTER(self._x.XOpenDisplay(display.encode()))
        assert self._display
        self._root = _ULONG(self._x.XDefaultRootWindow(self._display))
        self._own: set[str] = set()

    def plug(self, name: str, x: int, y: int, width: int, height: int, *, primary: bool = False) -> None:
        """A monitor of that name shows this part of the screen. The primary one takes the server's own output, whose
        monitor would else lie over all of them."""
        if name in self._own:
            self.unplug(name)
        outputs = self._randr.XRRGetScreenResources(self._display, self._root).contents.outputs
        monitor = _Monitor(
            self._atom(name), primary, 0, int(primary), x, y, width, height, width // 4, height // 4, outputs
        )
        self._randr.XRRSetMonitor(self._display, self._root, ctypes.byref(monitor))
        self._x.XSync(self._display, 0)
        self._own.add(name)

    def unplug(self, name: str) -> None:
        """It is gone."""
        self._randr.XRRDeleteMonitor(self._display, self._root, _ULONG(self._atom(name)))
        self._x.XSync(self._display, 0)
        self._own.discard(name)

    def point(self, x: int, y: int) -> None:
        """Moves the mouse; keys go to what is under it, since no window manager gives the focus to anything."""
        self._test.XTestFakeMotionEvent(self._display, -1, x, y, _ULONG(0))
        self._x.XSync(self._display, 0)

    def press(self, key: str) -> None:
        """Presses and releases a key by its X name: "f", "Escape"."""
        code = self._x.XKeysymToKeycode(self._display, _ULONG(self._x.XStringToKeysym(key.encode())))
        for down in (1, 0):
            self._test.XTestFakeKeyEvent(self._display, int(code), down, _ULONG(0))
        self._x.XSync(self._display, 0)

    def close(self) -> None:
        """As the server was before."""
        for name in list(self._own):
            self.unplug(name)
        self._x.XCloseDisplay(self._display)

    def _atom(self, name: str) -> int:
        return int(self._x.XInternAtom(self._display, name.encode(), 0))


@contextlib.contextmanager
def monitors(display: str) -> Iterator[Monitors]:
    """A laptop on the left half of a 1280×720 screen, a projector on the right; both gone afterwards."""
    found = Monitors(display)
    try:
        found.plug("eDP-1", 0, 0, 640, 720, primary=True)
        found.plug("HDMI-1", 640, 0, 640, 720)
        yield found
    finally:
        found.close()
