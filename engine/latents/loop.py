"""From mel windows to a latent that lives: the inversion encoder and the recurrent step, at their own rate.

    Δ_t, embedding = encoder(mel)
    w_{t+1}, h = recurrent(w_t, base, Δ_t + cos(2π · beat) · sway, noise, h)

`sway` is the way in which a bundle swings with the beat; imported ones have it. The display is faster than this loop.
Between two steps the picture glides towards the newest latent (one pole), instead of interpolating between the last
two, which would show everything one step late.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from engine.audio.tempo import Beat
from engine.bundle import Bundle
from engine.contract import GROUPS
from engine.runtime import Session

Float32 = NDArray[np.float32]

NOISE_STD = 0.1  # the value that the recurrent step is trained with
LIMIT = 100.0  # latents are of order 1: anything farther from the base is a broken step, not a picture
EARLY_S = 0.0005  # counts as due, or rounding would make 30 Hz beat against 60 frames a second
SCENE_TEMPERATURE = 0.1
GLIDE_S = (0.010, 0.400)  # time constants at smoothing 0 and 1
SWAY_LEAD_S = 0.13  # by which the leak and the glide at its default delay a swing of 60 to 180 beats a minute


class LatentLoop:
    """State of the recurrent latent. Player thread only; nothing here raises on bad numbers.

    `w` `[L, D]`, `delta` `[L, D]` and `embedding` `[E]` are the newest results, float32 (the batch axis is the graphs'
    own affair); the next step rewrites them. `resets` counts steps that were not finite or ran away; each put the
    latent back onto the base with empty memory.
    """

    def __init__(self, bundle: Bundle, encoder: Session, recurrent: Session, seed: int = 0) -> None:
        d = bundle.manifest.dimensions
        shape = (1, d.layers, d.dim)
        self._encoder = encoder
        self._recurrent = recurrent
        self._rng = np.random.default_rng(seed)
        self._period = 1.0 / bundle.manifest.latents.rate_hz
        self._next_step = -math.inf
        self._scene_embeddings: Float32 = bundle.tensors.get(
            "scene_embeddings", np.empty((0, d.embedding_dim), np.float32)
        )
        # The recurrent step reads and rewrites the same arrays for hours, so a session binds them once.
        self._feeds: dict[str, Float32] = {
            name: np.zeros(shape, np.float32) for name in ("w", "base", "delta", "noise")
        }
        self._feeds |= {f"h_{group}": np.zeros((1, d.hidden), np.float32) for group in GROUPS}
        self._feeds["w"][:] = self._feeds["base"][:] = bundle.tensors["w_avg"]
        self._sway: Float32 | None = bundle.tensors.get("sway")
        self._shown = np.zeros((d.layers, d.dim), np.float32)
        self.w: Float32 = self._feeds["w"][0]
        self.delta: Float32 = self._feeds["delta"][0]
        self.embedding: Float32 = np.zeros(d.embedding_dim, np.float32)
        self.resets = 0

    @property
    def scenes(self) -> Float32:
        """How much the newest sound is like each of the nine scenes: softmax of its closeness, sums to 1.

        Empty where the bundle knows no scenes.
        """
        closeness = (self._scene_embeddings @ self.embedding) / SCENE_TEMPERATURE
        likeness = np.exp(closeness - closeness.max(initial=-np.inf))
        return np.asarray(likeness / likeness.sum(), np.float32)

    def due(self, now: float) -> bool:
        """Whether a step is due at time `now` (s); asking takes the turn. Missed steps are not made up for."""
        late = now - self._next_step
        if late < -EARLY_S:
            return False
        self._next_step = now + self._period if late > self._period else self._next_step + self._period
        return True

    def step(self, mel_window: Float32, base: Float32, noise: float = 1.0, beat: Beat | None = None) -> None:
        """Hear one mel window `[1, 1, bands, columns]` and move `w` by one step over `base` `[L, D]`.

        `noise` times as much noise as in training lets the picture wander. `beat`: where the music is now, if it has
        one; what swings with it is at its farthest when the beat falls.

        When the base has moved since the last step, `w` moves with it: a preset's fade is then the straight line that
        was asked for, and the step sees the distance to its base that it was trained on.
        """
        feeds = self._feeds
        feeds["w"] += base - feeds["base"]
        feeds["base"][:] = base
        heard = self._encoder.run({"mel": mel_window})
        feeds["delta"][:] = heard["delta"]
        if self._sway is not None and beat is not None:
            phase = beat.after(SWAY_LEAD_S).phase
            feeds["delta"] += np.float32(beat.confidence * math.cos(2.0 * math.pi * phase)) * self._sway
        self._rng.standard_normal(dtype=np.float32, out=feeds["noise"])
        feeds["noise"] *= np.float32(NOISE_STD * noise)
        moved = self._recurrent.run(feeds)
        hidden = [moved[f"h_{group}_next"] for group in GROUPS]
        away = np.abs(moved["w_next"] - feeds["base"]).max()
        # Written so that a NaN, which is under no limit, counts as broken.
        sound = away < LIMIT and all(np.isfinite(h).all() for h in (*hidden, heard["embedding"]))
        if not sound:
            self._reset()
            return
        self.embedding[:] = heard["embedding"][0]
        feeds["w"][:] = moved["w_next"]
        for group, h in zip(GROUPS, hidden, strict=True):
            feeds[f"h_{group}"][:] = h

    def glide(self, dt: float, smoothing: float, base: Float32) -> Float32:
        """The latent to show `dt` seconds after the last call, `[L, D]`, a new array.

        It approaches the newest `w` with a time constant of 10 ms at `smoothing` 0, 400 ms at 1 and 63 ms halfway. Only
        the distance to the base glides; the base is followed at once, because its fades have a time of their own.
        """
        shortest, longest = GLIDE_S
        time_constant = shortest * (longest / shortest) ** smoothing
        goal = self.w - self._feeds["base"][0]
        self._shown += (goal - self._shown) * np.float32(-math.expm1(-dt / time_constant))
        return self._shown + base

    def _reset(self) -> None:
        self.resets += 1
        self._feeds["w"][:] = self._feeds["base"]
        self._feeds["delta"][:] = 0.0
        for group in GROUPS:
            self._feeds[f"h_{group}"][:] = 0.0
