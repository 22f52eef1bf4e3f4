"""What a show was like, in numbers: the report that `cymatic live --report` writes as JSON.

| key | meaning |
|---|---|
| `frames`, `seconds`, `fps` | pictures from the first to the last, the time between these two, their rate |
| `frame_ms` | the engine's work on one picture, from reading the sound to the published picture |
| `audio_to_frame_ms` | newest sound sample in a picture to that picture in the slot |
| `late_frames` | pictures that were finished later than one period after they were due |
| `stages_ms` | medians of mel, encoder, recurrent, blend, generator and publish (copying into the slot) |
| `audio`, `runtime` | the source, and each graph's runtime and precision, as the engine last told them |
| `bundle` | name, folder and picture size |
| `controls_received` | control messages from OSC and the window, refused ones too |
| `clock_offsets_s` | by host that stamps its OSC bundles, how far its clock is ahead, a latency that it adds included |
| `rss_mib` | resident memory of both processes at the first picture and at the end |
| `first_frame_s` | from the start of the process to the first picture |
| `events` | what was said during the show, with seconds since the start of the process |

Percentiles are those of the newest `WINDOW` pictures that were looked at, so a show may last for days.
"""

from __future__ import annotations

import json
import math
import os
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import psutil

from engine.errors import CymaticError
from engine.files import replace_file
from engine.slot import STAGES, Frame

if TYPE_CHECKING:
    from cymatic.stage import Stage

WINDOW = 36_000  # ten minutes at 60 frames a second, 2 MB
_COLUMNS = ("frame_ms", "audio_to_frame_ms", *STAGES, "publish")


class Recorder:
    """Hears every picture that the stage takes (`take`), and tells in the end what they were like. One thread."""

    def __init__(self, stage: Stage) -> None:
        self._stage = stage
        self._rows = np.full((WINDOW, len(_COLUMNS)), np.nan, np.float32)
        self._taken = 0
        self._max = {"frame_ms": 0.0, "audio_to_frame_ms": 0.0}
        self._process = psutil.Process()
        self._process_started_at = time.perf_counter() - (time.time() - self._process.create_time())
        self._rss_start = {"stage": 0.0, "engine": 0.0}
        self.first: Frame | None = None
        self.last: Frame | None = None

    @property
    def seconds(self) -> float:
        """Time since the first picture, by the clock of the pictures; 0 before it."""
        if self.first is None:
            return 0.0
        return time.perf_counter() - self.first.published_at

    def take(self, frame: Frame) -> None:
        """Takes note of a picture."""
        if self.first is None:
            self.first = frame
            self._rss_start["stage"] = self._process.memory_info().rss / 2**20
        if self._rss_start["engine"] == 0.0:
            self._rss_start["engine"] = float(self._stage.status.get("rss_mib", 0.0))
        self.last = frame
        frame_ms = 1000.0 * (frame.published_at - frame.started_at)
        audio_ms = 1000.0 * (frame.published_at - frame.captured_at)
        publish_ms = 1000.0 * (frame.published_at - frame.written_at)
        self._max["frame_ms"] = max(self._max["frame_ms"], frame_ms)
        self._max["audio_to_frame_ms"] = max(self._max["audio_to_frame_ms"], audio_ms)
        self._rows[self._taken % WINDOW] = (frame_ms, audio_ms, *frame.stats, publish_ms)
        self._taken += 1

    def report(self) -> dict[str, Any]:
        """The report; every key is there whatever happened. Ask before the stage stops."""
        stage, status = self._stage, self._stage.status
        frames = seconds = first_frame_s = 0.0
        if self.first is not None and self.last is not None:
            frames = self.last.index - self.first.index + 1
            seconds = self.last.published_at - self.first.published_at
            first_frame_s = self.first.published_at - self._process_started_at
        columns = dict(zip(_COLUMNS, self._rows[: min(self._taken, WINDOW)].T, strict=True))
        manifest = stage.bundle.manifest
        audio = status.get("audio", {})
        return {
            "frames": int(frames),
            "seconds": round(seconds, 3),
            "fps": round((frames - 1) / seconds, 2) if seconds > 0.0 else 0.0,
            "frame_ms": _percentiles(columns["frame_ms"], self._max["frame_ms"]),
            "audio_to_frame_ms": _percentiles(columns["audio_to_frame_ms"], self._max["audio_to_frame_ms"]),
            "late_frames": stage.late_frames,
            "stages_ms": {name: _median(columns[name]) for name in (*STAGES, "publish")},
            "audio": {
                key: audio.get(key)
                for key in ("device", "sample_rate", "channels", "frames", "gaps", "silent_fraction")
            },
            "runtime": status.get("runtime", {}),
            "bundle": {
                "name": manifest.name,
                "folder": str(stage.bundle.folder),
                "image": [manifest.image.height, manifest.image.width],
            },
            "controls_received": stage.controls_received,
            "clock_offsets_s": {host: round(ahead_s, 3) for host, ahead_s in stage.desk.clock_offsets.items()},
            "rss_mib": {
                "start": {name: round(mib, 1) for name, mib in self._rss_start.items()},
                "end": {
                    "stage": round(self._process.memory_info().rss / 2**20, 1),
                    "engine": round(float(status.get("rss_mib", 0.0)), 1),
                },
            },
            "first_frame_s": round(first_frame_s, 3),
            "events": [{"at_s": round(at - self._process_started_at, 3), "event": line} for at, line in stage.events],
        }


class OutputFile:
    """A file that is written once, at the end, as a whole; that it can be written is known at the start."""

    def __init__(self, path: str | Path) -> None:
        """Raises `CymaticError` when nothing could be written there."""
        self.path = Path(path).expanduser().absolute()
        if self.path.is_dir():
            raise CymaticError(f"cannot write {self.path}: it is a folder")
        try:
            handle, name = tempfile.mkstemp(dir=self.path.parent, prefix=f".{self.path.name}-")
        except OSError as error:
            raise CymaticError(f"cannot write {self.path}: {error.strerror}") from None
        os.close(handle)
        os.unlink(name)

    def write(self, data: bytes) -> None:
        """Puts the file in place, or leaves what was there. `CymaticError` when the disk has filled up meanwhile."""
        try:
            replace_file(self.path, data)
        except OSError as error:
            raise CymaticError(f"cannot write {self.path}: {error.strerror}") from None


def as_json(report: dict[str, Any]) -> bytes:
    """The report as a JSON file."""
    return (json.dumps(report, indent=2, ensure_ascii=False, allow_nan=False) + "\n").encode()


def _percentiles(values: np.ndarray, maximum: float) -> dict[str, float]:
    if not len(values):
        return {"p50": 0.0, "p95": 0.0, "p99": 0.0, "max": 0.0}
    p50, p95, p99 = np.percentile(values, (50, 95, 99))
    return {"p50": _ms(p50), "p95": _ms(p95), "p99": _ms(p99), "max": _ms(maximum)}


def _median(values: np.ndarray) -> float:
    ran = values[~np.isnan(values)]
    return _ms(np.median(ran)) if len(ran) else 0.0


def _ms(value: float) -> float:
    return round(float(value), 3) if math.isfinite(value) else 0.0
