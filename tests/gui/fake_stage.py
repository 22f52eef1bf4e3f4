"""A stage without an engine: moving frames and a made-up status, on the clock or on command."""

from __future__ import annotations

import math
import time
from typing import Any

import numpy as np

from engine.control.desk import Desk
from engine.control.midi import Midi
from engine.slot import Frame

NAMES = ("Still lake", "Ember", "Storm front", "Deep blue", "White water", "Dust road", "Night rain", "Under glass")
SCENES = (
    "explosion",
    "fire crackling",
    "raining",
    "splashing water",
    "squishing water",
    "thunder",
    "underwater bubbling",
    "waterfall",
    "wind noise",
)


class FakeStage:
    """Satisfies `engine.view.StageView`. `play=False` gives frames only through `paint`."""

    def __init__(self, height: int = 288, width: int = 512, rate_hz: float = 30.0, play: bool = True) -> None:
        self.desk = Desk()
        self.desk.set_options("preset/go", NAMES)
        self.desk.set_options("preset/bank", ("first", "second"))
        self.desk.show("preset/bank", "first")
        self.midi = Midi(self.desk)
        self.recording: dict[str, Any] | None = None
        self.image_size = (height, width)
        self.errors: list[str] = []
        self.recording: dict[str, Any] | None = None
        self.preset = NAMES[1]
        self.fps = rate_hz
        self.ticks = 0
        self.rate_hz = rate_hz
        self.play = play
        self.fired: list[tuple[str, Any]] = []
        self.status: dict[str, Any] = {"state": "loading"}
        self._began = time.perf_counter()
        self._index = 0
        self._waiting: Frame | None = None
        y, x = np.mgrid[0:height, 0:width]
        self._y, self._x = (y / height).astype(np.float32), (x / width).astype(np.float32)

    @property
    def tempo(self) -> dict[str, Any]:
        seconds = time.perf_counter() - self._began
        return {"beat": int(2 * seconds) % 4 + 1, "bpm": 120.0, "clock": "heard"}

    @property
    def inputs(self) -> list[str]:
        return ["OSC 127.0.0.1:9123", *(f"MIDI {name}" for name in self.midi.names)]

    def listen(self, device: str, channel: int = 0) -> None:
        self.fired.append(("listen", device, channel) if channel else ("listen", device))

    def banks(self) -> list[tuple[str, tuple[str, ...]]]:
        return [("first", NAMES[:6]), ("second", NAMES[6:])]

    def preset_names(self) -> tuple[str, ...]:
        return NAMES

    def tell(self, line: str) -> None:
        self.errors.append(line)

    def tick(self) -> None:
        self.ticks += 1
        for event in self.desk.take_triggers():
            self.fired.append((event.name, event.value))
            if event.name == "preset/go":
                self.preset = str(event.value)
        if self.play:
            self.status = self.invent_status(time.perf_counter() - self._began)

    def newest_frame(self) -> Frame | None:
        seconds = time.perf_counter() - self._began
        if self.play and int(seconds * self.rate_hz) > self._index:
            self.paint(self.landscape(seconds))
            self._index = int(seconds * self.rate_hz)
        frame, self._waiting = self._waiting, None
        return frame

    def present(self, frame: Frame) -> np.ndarray:
        return frame.rgba

    def paint(self, rgba: np.ndarray) -> None:
        """Makes this the newest frame."""
        self._index += 1
        now = time.perf_counter()
        self._waiting = Frame(self._index, rgba, now - 0.034, now - 0.012, now - 0.001, now, (1.0, 0.5, 0.1, 8.0))

    def landscape(self, seconds: float) -> np.ndarray:
        """A dusk over water, uint8 [H, W, 4]; the sun wanders so that two moments differ."""
        y, x = self._y, self._x
        horizon = 0.6
        sun = np.exp(-40 * ((x - 0.5 - 0.35 * math.sin(seconds)) ** 2 + 0.4 * (y - 0.45) ** 2))
        wave = 0.5 + 0.5 * np.sin(160 * (y - horizon) / (0.3 + y - horizon + 1e-3) + 9 * x + 4 * seconds)
        sky = np.stack([0.35 + 0.5 * y + sun, 0.16 + 0.32 * y + 0.6 * sun, 0.30 - 0.1 * y + 0.2 * sun], -1)
        sea = np.stack([0.05 + 0.3 * wave * sun, 0.10 + 0.12 * wave, 0.20 + 0.16 * wave], -1)
        rgb = np.where((y > horizon)[..., None], sea, sky)
        rgba = np.full((*y.shape, 4), 255, np.uint8)
        rgba[..., :3] = np.clip(rgb * 255, 0, 255)
        return rgba

    def invent_status(self, seconds: float) -> dict[str, Any]:
        """A status as the engine sends it: a beat twice a second over a pad."""
        beat = math.exp(-6 * (seconds * 2 % 1.0))
        bands = np.arange(128)
        mel = (
            1.6 * beat * np.exp(-(((bands - 14) / 9) ** 2))
            + 1.0 * np.exp(-(((bands - 58 - 18 * math.sin(seconds)) / 6) ** 2))
            + 0.8 * math.exp(-9 * (seconds * 4 % 1.0)) * (bands > 88)
            - 0.9
            + 0.15 * np.random.default_rng(int(seconds * 97)).standard_normal(128)
        )
        scenes = np.exp(3.0 * np.sin(seconds * 0.6 + np.arange(9) * 0.9))
        level_db = -34 + 26 * beat
        return {
            "state": "playing",
            "error": None,
            "audio": {
                "device": "Scarlett 2i2 USB",
                "sample_rate": 48000,
                "channels": 2,
                "frames": int(48000 * seconds),
                "gaps": 0,
                "silent_fraction": 0.02,
            },
            "stages_ms": {"encoder": 1.1, "recurrent": 0.4, "blend": 0.1, "generator": 8.2, "publish": 0.2},
            "late_frames": 2,
            "frames": int(seconds * self.rate_hz),
            "rms_db": level_db,
            "level": 1 + level_db / 60,
            "onset": beat,
            "clip": False,
            "scenes": [float(v) for v in scenes / scenes.sum()],
            "scene_names": list(SCENES),
            "mel": [float(v) for v in np.clip(mel, -2, 2)],
            "rss_mib": 412.0,
            "events": [],
        }
