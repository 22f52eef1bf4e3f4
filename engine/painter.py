"""From sound to picture: what one frame is made of, whoever keeps the time.

    sound ─► mel, level, onset ─► (at the latent rate) inversion encoder, recurrent step ─► glide ─► blend
          ─► fields ─► generator ─► flash limiter

The live player gives it the sound that is there and the time on the wall; an offline run gives it the same sound by the
sound's own clock. The pictures are the same, for nothing in here looks at a clock but to say how long a stage took.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from engine.audio.conditioning import Conditioner
from engine.audio.features import FastFeatures
from engine.audio.mel import MelAnalyser
from engine.audio.tempo import Beat
from engine.bundle import Bundle
from engine.canvas import Canvas
from engine.control.registry import REGISTRY
from engine.crossfade import Way
from engine.flash import FlashLimiter
from engine.latents.blend import SlowLevel, blend
from engine.latents.loop import LatentLoop
from engine.latents.scenes import SceneReader
from engine.look import FADERS
from engine.reactivity import Map, Reactivity, measure
from engine.runtime.session import Precision, Runtime, Session
from engine.runtime.timed import Timed
from engine.slot import STAGES

GRAPHS = ("generator", "mapping", "encoder", "recurrent", "reader")
"""The graphs of a bundle that painting needs, opened."""
LONGEST_STEP_S = 0.1
"""The fields never flow further than this in one frame, whatever a stall took."""

Float32 = NDArray[np.float32]


class Painter:
    """Hears sound and paints it. One thread. For each frame: `hear`, `move`, `picture`, `catch_up`; in between it may
    `hear` on.

    `sessions`: the opened `GRAPHS`. `seed`: of the noise of the recurrent step, and of where the fields begin. Nothing
    can be painted before `go` has named a preset.

    Attributes
    ----------
    controls : values of the continuous controls by name; the caller changes them between frames.
    clock : a beat that was told, and the time at which it was there; None leaves it to what is heard.
    features : level, onset and beat of what was heard.
    limiter : holds back what would flash, while `flash/limit` is on.
    latents : the encoder and recurrent loop, with what it makes of the newest sound.
    scenes : which of the bundle's scenes the newest sound is like.
    stages_ms : how long each of `STAGES` took when it last ran.
    stats : the same for the newest picture, in the order of `STAGES`; NaN for a stage that did not run for it.
    """

    def __init__(self, bundle: Bundle, sessions: Mapping[str, Session], sample_rate: int, seed: int = 0) -> None:
        manifest = bundle.manifest
        self._sessions = {name: Timed(session) for name, session in sessions.items()}
        self._z_dim = manifest.z_dim
        self._conditioner = Conditioner(sample_rate)
        self._mel = MelAnalyser(sample_rate, manifest.mel)
        self.features = FastFeatures(sample_rate)
        self.latents = LatentLoop(bundle, self._sessions["encoder"], self._sessions["recurrent"], seed)
        self.scenes = SceneReader(bundle, self._sessions["reader"])
        self._canvas = self._whole = Canvas(bundle, self._sessions["generator"])
        self._canvas.seek(np.random.default_rng(seed).random((len(manifest.fields), 2)))
        self._small: Canvas | None = None
        self._w_avg, self._stroke = bundle.tensors["w_avg"], bundle.tensors["stroke"]
        self._groups = manifest.latents.groups.slices()
        self._slow_level = SlowLevel()
        self.limiter = FlashLimiter()
        self._reactivity = Reactivity()
        self.clock: tuple[Beat, float] | None = None
        self._way: Way | None = None
        self._seed = 0
        self._moved_at: float | None = None
        self._stepped_at: float | None = None
        self._shown_onsets = 0  # those that a picture has answered
        self._owed_at: float | None = None  # when a step of the latent was due that is not done
        self._base = self._offset = self._w_avg
        self._w_plus: Float32 = self._w_avg[np.newaxis]
        self.controls: dict[str, Any] = {c.name: c.default for c in REGISTRY if c.continuous}
        self._moved: Mapping[str, Any] = self.controls  # as the maps have moved them
        self.stages_ms = dict.fromkeys(STAGES, 0.0)
        self._frame_ms: dict[str, float] = {}
        self._picture_ms: dict[str, float] = {}

    @property
    def ready(self) -> bool:
        """Whether a preset has been named."""
        return self._way is not None

    @property
    def mel(self) -> Float32:
        """The newest mel window, `[1, 1, bands, columns]`."""
        return self._mel.window()

    @property
    def runtimes(self) -> dict[str, tuple[Runtime, Precision]]:
        """What runs each graph, and how exactly."""
        return {name: (session.runtime, session.precision) for name, session in self._sessions.items()}

    def swap(self, name: str, session: Session) -> Session:
        """Let another session run a graph from the next run on; the one that it replaces, which the caller closes."""
        return self._sessions[name].swap(session)

    def add_small(self, canvas: Canvas) -> None:
        """What small pictures can be painted on from now on."""
        self._small = canvas

    def paint_small(self, small: bool) -> None:
        """Whether the next pictures are small ones, if they can be. Nothing moves with that."""
        canvas = self._small if small and self._small is not None else self._whole
        if canvas is not self._canvas:
            canvas.seek(self._canvas.offsets)
            self._canvas = canvas

    @property
    def look(self) -> tuple[float, ...]:
        """How far maps move each of `engine.look.FADERS` for the newest picture: the audience's side draws the look."""
        return tuple(float(self._moved[name] - self.controls[name]) for name in FADERS)

    @property
    def stats(self) -> tuple[float, ...]:
        return tuple(self._picture_ms.get(stage, math.nan) for stage in STAGES)

    def go(self, preset: Mapping[str, Any], now: float) -> None:
        """Fade to a preset from time `now` (s) on; the first one is there at once.

        `preset`: `base`, which is `{"w_plus": [L][D]}` or `{"seed": n}` for a calm landscape that the seed draws;
        `offset`, the weighted sum of its anchors `[L][D]` or None; `fade_s`, `words` as for `say` and `maps`, the
        fields of each `engine.reactivity.Map`, which may be missing. `crossfader`: where that stands for this call,
        whatever the control said before; without it the control counts.
        """
        base = self._place(preset["base"])
        offset = np.zeros_like(base) if preset["offset"] is None else np.array(preset["offset"], np.float32)
        fade_s = float(preset.get("fade_s", 0.0))
        self._reactivity.go([Map(**fields) for fields in preset.get("maps", ())])
        if self._way is None:
            self._way, fade_s = Way(base, offset), 0.0
        else:
            self.controls["crossfader"] = preset.get("crossfader", self.controls["crossfader"])
            self._way.call(base, offset, fade_s, now, float(self.controls["crossfader"]))
        self.say(preset.get("words"), fade_s, now)

    def say(self, words: Sequence[Sequence[float]] | None, fade_s: float, now: float) -> None:
        """What was typed in pulls so, `[L][D]`, besides the preset and until the next; None lets go. Needs a preset."""
        assert self._way is not None, "no preset was named"
        self._way.say(None if words is None else np.array(words, np.float32), fade_s, now)

    def beat(self, now: float) -> Beat | None:
        """Where the music is at time `now` (s): as the clock says, or at the newest sound as it is heard."""
        if self.clock is None:
            return self.features.tempo.beat
        beat, at = self.clock
        return beat.after(now - at)

    @property
    def struck(self) -> bool:
        """Whether an onset was heard that no picture has answered yet."""
        return self.features.onsets != self._shown_onsets

    def hear(self, samples: Float32) -> None:
        """Take in new sound, mono `[n]`, n may be 0."""
        begun_at = time.perf_counter()
        controls = self.controls
        mono = self._conditioner.push(
            samples, controls["sound/gain"], controls["sound/gate"], controls["latency/offset"] / 1000.0
        )
        self._mel.push(mono)
        self.features.push(mono)
        self._took("mel", self._frame_ms.get("mel", 0.0) + 1000.0 * (time.perf_counter() - begun_at))

    def step(self, now: float) -> None:
        """Take the preset's fade and, when a step is due, *what* is heard to time `now` (s): the encoder and the
        recurrent step. Needs a preset.

        `move` does it unless it was done for this `now`; a caller that lives in real time does it before, and hears
        once more in between, for the encoder takes its time. A picture that answers an onset does not wait for it, nor
        until the sound's scene is read: the one is done by `catch_up`, the other with the next picture.
        """
        assert self._way is not None, "no preset was named"
        self._stepped_at = now
        controls, features, latents = self.controls, self.features, self.latents
        if (seed := round(controls["seed"])) != self._seed:
            self._seed = seed
            fade_s = 0.0 if self._moved_at is None else float(controls["fade"])
            self._way.lay(self._place({"seed": seed}) if seed else None, fade_s, now)
        self._way.hold(float(controls["crossfader"]))
        self._base, self._offset = self._way.at(now)
        if self._reactivity.wants:
            measured = measure(features, self.beat(now))
            controls = self._reactivity.move(controls, measured, self._passed(now), self._way.share)
        self._moved = controls
        if latents.due(now):
            self._owed_at = now
        if not self.struck:
            self.catch_up()
            if self.scenes.due(now):
                self.scenes.read(self._mel.window())
                self._took("encoder", self._frame_ms.get("encoder", 0.0) + self._sessions["reader"].ms)

    def catch_up(self) -> None:
        """Hear *what* sounds, if its turn came with a picture that did not wait for it. To be called after that."""
        if self._owed_at is not None:
            beat = self.beat(self._owed_at)
            self.latents.step(self._mel.window(), self._base, self._moved["noise"], beat)
            self._took("encoder", self._sessions["encoder"].ms)
            self._took("recurrent", self._sessions["recurrent"].ms)
            self._owed_at = None

    def move(self, now: float) -> Float32:
        """Take the latent and the fields to time `now` (s): float32 `[1, L, D]`, a new array. Needs a preset."""
        if self._stepped_at != now:
            self.step(now)
        passed, self._moved_at, self._stepped_at = self._passed(now), now, None
        controls, features, latents, base = self._moved, self.features, self.latents, self._base
        begun_at = time.perf_counter()
        level, onset = features.level, features.onset
        w_t = latents.glide(passed, float(controls["smoothing"]), base)
        slow = self._slow_level.follow(level, passed)
        self._w_plus = blend(
            base, w_t, self._offset, self._w_avg, self._groups, controls, level, onset, slow, self._stroke
        )
        self._shown_onsets = features.onsets
        self._canvas.advance(min(passed, LONGEST_STEP_S), float(controls["speed"]), level)
        self._took("blend", 1000.0 * (time.perf_counter() - begun_at))
        return self._w_plus

    def picture(self) -> NDArray[np.uint8]:
        """Paint what `move` came to: uint8 RGBA `[H, W, 4]`, good until the next picture."""
        rgba = self._paint(None)
        assert rgba is not None, "nothing could give it up"
        return rgba

    def picture_unless(self, better: Callable[[], bool]) -> NDArray[np.uint8] | None:
        """As `picture`, but None as soon as `better`, which is asked every few milliseconds and may `hear`, says so.
        Asked only where the generator's session is `Interruptible`. Then `move` on."""
        return self._paint(better)

    def _paint(self, better: Callable[[], bool] | None) -> NDArray[np.uint8] | None:
        begun_at = time.perf_counter()
        canvas = self._canvas
        canvas.prepare(self._w_plus)
        self._took("blend", self._frame_ms["blend"] + 1000.0 * (time.perf_counter() - begun_at))
        rgba = canvas.paint(better)
        if rgba is None:
            return None
        self._took("generator", canvas.session.ms)
        self._picture_ms, self._frame_ms = self._frame_ms, {}
        if self.controls["flash/limit"] and self._moved_at is not None:
            rgba = self.limiter.limit(rgba, self._moved_at)
        return rgba

    def _passed(self, now: float) -> float:
        """Seconds since the last move."""
        return 0.0 if self._moved_at is None else now - self._moved_at

    def _place(self, base: Mapping[str, Any]) -> Float32:
        """A preset's place in W+ `[L, D]`."""
        if "w_plus" in base:
            return np.array(base["w_plus"], np.float32)
        z = np.random.default_rng(int(base["seed"])).standard_normal((1, self._z_dim), np.float32)
        w: Float32 = self._sessions["mapping"].run({"z": z})["w"][0].copy()
        return w

    def _took(self, stage: str, ms: float) -> None:
        self._frame_ms[stage] = self.stages_ms[stage] = ms
