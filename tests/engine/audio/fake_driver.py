"""Stands in for sounddevice and its driver, and for the watch over the sound server."""

from __future__ import annotations

import threading
from typing import Any

import numpy as np

from engine.audio.devices import InputDevice


class PortAudioError(Exception):
    pass


class Stream:
    """A stream of the pretended driver."""

    latency = 0.01

    def __init__(self, driver: Driver, **settings: Any) -> None:
        if driver.refuses:
            raise PortAudioError("Device unavailable\n[PaErrorCode -9985]")
        self.settings = settings
        self.closed = False
        self._driver = driver

    def start(self) -> None:
        self._driver.streams.append(self)

    def abort(self, ignore_errors: bool) -> None:
        self._driver.thaw.wait(30)

    def close(self, ignore_errors: bool) -> None:
        self.closed = True

    def feed(self, value: float = 0.1, frames: int = 160) -> None:
        block = np.full((frames, self.settings["channels"]), value, np.float32)
        self.settings["callback"](block, frames, None, 0)

    def end(self) -> None:
        self.settings["finished_callback"]()


class Driver:
    """Stands in for the sounddevice module."""

    PortAudioError = PortAudioError

    def __init__(self) -> None:
        self.streams: list[Stream] = []
        self.devices: list[InputDevice] = []
        self.fed_by: str | None = None
        self.refuses = False
        self.initialised = 1
        self.thaw = threading.Event()
        self.thaw.set()
        self._initialized = 1

    def InputStream(self, **settings: Any) -> Stream:
        return Stream(self, **settings)

    def _initialize(self) -> None:
        self.initialised += 1

    def _terminate(self) -> None:
        assert all(stream.closed for stream in self.streams), "PortAudio terminated under a living stream"


class Watch:
    """Stands in for the watch over the sound server."""

    def __init__(self, driver: Driver) -> None:
        self._driver = driver

    def source(self) -> str | None:
        return self._driver.fed_by

    def default_news(self) -> bool:
        return True

    def close(self) -> None:
        """Nothing to close."""
