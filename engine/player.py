"""The streaming loop: sound in, picture out, once a frame, on the engine's main thread.

    source ─► mel, level, onset ─► (at the latent rate) inversion encoder, recurrent step ─► glide ─► blend
           ─► fields ─► generator ─► slot

Nothing queues and nothing raises: a frame that fails leaves the last picture standing, is counted and told once.
"""

from __future__ import annotations

import math
import time
from collections import deque
from collections.abc import Mapping
from threading import Event
from typing import Any

import numpy as np
import psutil
from numpy.typing import NDArray

from engine.audio.features import FastFeatures
from engine.audio.mel import MelAnalyser
from engine.audio.sources import Source
from engine.bundle import Bundle
from engine.control.registry import REGISTRY
from engine.crossfade import Crossfade
from engine.latents.blend import SlowLevel, blend
from engine.latents.fields import FieldFlow
from engine.latents.loop import LatentLoop
from engine.links import Links
from engine.pacing import Pacer
from engine.runtime.session import Session, Tensors
from engine.slot import STAGES

STATUS_S = 0.1
EVENTS_KEPT = 20
LONGEST_STEP_S = 0.1
"""The fields never flow further than this in one frame, whatever a stall took."""

Latent = NDArray[np.float32]


class Player:
    """Plays one source through one bundle into one slot. Everything runs on the thread that calls `run`.

    `source` has been started. `sessions`: the opened graphs `encoder`, `recurrent`, `generator`, `mapping`. `fps` None:
    60 frames a second if this machine holds them, else 30. `events` are lines to begin with, such as a microphone that
    was not found.
    """

    def __init__(
        self,
        bundle: Bundle,
        sessions: Mapping[str, Session],
        source: Source,
        links: Links,
        fps: float | None = None,
        events: tuple[str, ...] = (),
    ) -> None:
        manifest = bundle.manifest
        self._source = source
        self._links = links
        self._sessions = {name: _Timed(session) for name, session in sessions.items()}
        self._mel = MelAnalyser(source.sample_rate, manifest.mel)
        self._features = FastFeatures(source.sample_rate)
        self._loop = LatentLoop(bundle, self._sessions["encoder"], self._sessions["recurrent"])
        fields = manifest.fields
        self._flow = FieldFlow(bundle.tensors["fields"], [f.velocity for f in fields], [f.drive for f in fields])
        fine = [f for f in fields if f.detail]  # once more at full size; equal steps keep both together
        self._detail = FieldFlow(bundle.tensors["detail"], [f.velocity for f in fine], [f.drive for f in fine])
        self._w_avg, self._stroke = bundle.tensors["w_avg"], bundle.tensors["stroke"]
        self._groups = manifest.latents.groups.slices()
        self._z_dim = manifest.z_dim
        self._scene_names = list(manifest.scenes)
        self._pacer = Pacer(fps)
        self._slow_level = SlowLevel()
        self._captured_at = time.perf_counter()
        self._frame_at: float | None = None
        self._controls: dict[str, Any] = {c.name: c.default for c in REGISTRY if c.continuous}
        self._controls_index = self._preset_index = 0
        self._fade: Crossfade | None = None
        self._process = psutil.Process()
        self._status_at = 0.0
        self._events: deque[tuple[float, str]] = deque(maxlen=EVENTS_KEPT)
        self._told: set[str] = set()
        self._errors = 0
        self._error: str | None = None
        self._stages_ms = dict.fromkeys(STAGES, 0.0)
        for line in events:
            self._tell(line)

    def run(self, stop: Event) -> None:
        """Plays until `stop` is set. Never raises."""
        while not stop.is_set():
            started_at = self._pacer.begin()
            try:
                self._frame(started_at)
                self._error = None
            except Exception as error:  # noqa: BLE001 - the audience sees the last picture, never a traceback
                self._errors += 1
                self._error = f"{type(error).__name__}: {error}"
                self._tell_once(f"a frame failed, the last picture stays: {self._error}")
            chosen = self._pacer.end()
            if chosen is not None:
                self._tell(chosen)
            if started_at - self._status_at >= STATUS_S:
                self._status_at = started_at
                self._links.status.put(self._status())
            self._pacer.wait()

    def _frame(self, now: float) -> None:
        """One picture, from the sound that is there now to the slot."""
        self._take_snapshots(now)
        controls = self._controls
        block = self._source.read()
        mono = block.samples * np.float32(10.0 ** (float(controls["sound/gain"]) / 20.0))
        self._mel.push(mono)
        self._features.push(mono)
        if len(mono):
            self._captured_at = block.captured_at
        if self._fade is None:
            return  # the stage has not named the preset yet
        passed = 0.0 if self._frame_at is None else now - self._frame_at
        self._frame_at = now
        base, offset = self._fade.at(now)
        encoder_ms = recurrent_ms = math.nan
        if self._loop.due(now):
            self._loop.step(self._mel.window(), base)
            encoder_ms, recurrent_ms = self._sessions["encoder"].ms, self._sessions["recurrent"].ms
            self._stages_ms |= {"encoder": encoder_ms, "recurrent": recurrent_ms}

        blending_at = time.perf_counter()
        level, onset = self._features.level, self._features.onset
        w_t = self._loop.glide(passed, float(controls["smoothing"]), base)
        slow_level = self._slow_level.follow(level, passed)
        w_plus = blend(base, w_t, offset, self._w_avg, self._groups, controls, level, onset, slow_level, self._stroke)
        for flow in (self._flow, self._detail):
            flow.advance(min(passed, LONGEST_STEP_S), float(controls["speed"]), level)
        fields, fraction = self._flow.sample()
        detail, detail_fraction = self._detail.sample()
        blend_ms = 1000.0 * (time.perf_counter() - blending_at)

        generator = self._sessions["generator"]
        feeds: dict[str, NDArray[Any]] = {
            "w_plus": w_plus,
            "fields": fields,
            "fraction": fraction,
            "detail": detail,
            "detail_fraction": detail_fraction,
        }
        rgba = generator.run(feeds)["rgba"]
        self._stages_ms |= {"blend": blend_ms, "generator": generator.ms}
        stats = (encoder_ms, recurrent_ms, blend_ms, generator.ms)
        self._links.slot.publish(rgba, self._captured_at, stats, now)

    def _take_snapshots(self, now: float) -> None:
        """Newest controls and preset from the stage."""
        if (newest := self._links.controls.get(self._controls_index)) is not None:
            self._controls_index, snapshot = newest
            self._controls.update(snapshot["controls"])
        if (newest := self._links.preset.get(self._preset_index)) is not None:
            self._preset_index, preset = newest
            base = self._place(preset["base"])
            offset = np.zeros_like(base) if preset["offset"] is None else np.array(preset["offset"], np.float32)
            if self._fade is None:
                self._fade = Crossfade(base, offset)
            else:
                self._fade.go(base, offset, float(preset["fade_s"]), now)

    def _place(self, base: Mapping[str, Any]) -> Latent:
        """A preset's place in W+ [L, D]: a vector of its own, or a calm landscape that a seed draws."""
        if "w_plus" in base:
            return np.array(base["w_plus"], np.float32)
        z = np.random.default_rng(int(base["seed"])).standard_normal((1, self._z_dim), np.float32)
        w: Latent = self._sessions["mapping"].run({"z": z})["w"][0].copy()
        return w

    def _status(self) -> dict[str, Any]:
        source, features = self._source, self._features
        return {
            "state": "playing",
            "error": self._error or source.error,
            "errors": self._errors + self._loop.resets,
            "audio": {
                "device": source.name,
                "sample_rate": source.sample_rate,
                "channels": source.channels,
                "frames": source.frames,
                "gaps": source.gaps,
                "silent_fraction": round(source.silent_fraction, 6),
                "state": str(source.state),
            },
            "stages_ms": {name: round(ms, 3) for name, ms in self._stages_ms.items()},
            "late_frames": self._pacer.late_frames,
            "frames": self._links.slot.newest_index,
            "fps": self._pacer.fps,
            "rms_db": round(features.rms_db, 2),
            "level": round(features.level, 4),
            "onset": round(features.onset, 4),
            "clip": features.clip,
            "scenes": [round(float(s), 4) for s in self._loop.scenes],
            "scene_names": self._scene_names,
            "mel": [round(float(m), 3) for m in self._mel.window()[0, 0, :, -1]],
            "runtime": {n: {"name": s.runtime, "precision": s.precision} for n, s in self._sessions.items()},
            "rss_mib": round(self._process.memory_info().rss / 2**20, 1),
            "events": list(self._events),
        }

    def _tell(self, line: str) -> None:
        self._events.append((time.perf_counter(), line))

    def _tell_once(self, line: str) -> None:
        if line not in self._told and len(self._told) < EVENTS_KEPT:
            self._told.add(line)
            self._tell(line)


class _Timed:
    """A session that remembers how long its last run took."""

    def __init__(self, session: Session) -> None:
        self._session = session
        self.runtime, self.precision = session.runtime, session.precision
        self.inputs, self.outputs = session.inputs, session.outputs
        self.ms = math.nan

    def run(self, feeds: Mapping[str, NDArray[Any]]) -> Tensors:
        started_at = time.perf_counter()
        tensors = self._session.run(feeds)
        self.ms = 1000.0 * (time.perf_counter() - started_at)
        return tensors

    def close(self) -> None:
        self._session.close()
