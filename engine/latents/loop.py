"""From mel windows to a latent that lives: the inversion encoder and the recurrent step, at their own rate.

    Δ_t = encoder(mel)
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
from engine.latents.turns import Turns
from engine.runtime import Session

Float32 = NDArray[np.float32]

NOISE_STD = 0.1  # the value that the recurrent step is trained with
LIMIT = 100.0  # latents are of order 1: anything farther from the base is a broken step, not a picture
GLIDE_S = (0.010, 0.400)  # time constants at smoothing 0 and 1
SWAY_LEAD_S = 0.13  # by which the leak and the glide at its default delay a swing of 60 to 180 beats a minute


class LatentLoop:
    """State of the recurrent latent. Player thread only; nothing here raises on bad numbers.

    `w` and `delta`, `[L, D]`, are the newest results, float32 (the batch axis is the graphs' own affair); the next step
    rewrites them. `resets` counts steps that were not finite or ran away; each put the
    latent back onto the base with empty memory.
    """

    def __init__(self, bundle: Bundle, encoder: Session, recurrent: Session, seed: int = 0) -> None:
        d = bundle.manifest.dimensions
        shape = (1, d.layers, d.dim)
        self._encoder = encoder
        self._recurrent = recurrent
        self._rng = np.random.default_rng(seed)
        self._turns = Turns(bundle.manifest.latents.rate_hz)
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
        self.resets = 0

    def due(self, now: float) -> bool:
        """Whether a step is due at time `now` (s); asking takes the turn. Missed steps are not made up for."""
        return self._turns.due(now)

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
        feeds["delta"][:] = self._encoder.run({"mel": mel_window})["delta"]
        if self._sway is not None and beat is not None:
            phase = beat.after(SWAY_LEAD_S).phase
            feeds["delta"] += np.float32(beat.confidence * math.cos(2.0 * math.pi * phase)) * self._sway
        self._rng.standard_normal(dtype=np.float32, out=feeds["noise"])
        feeds["noise"] *= np.float32(NOISE_STD * noise)
        moved = self._recurrent.run(feeds)
        hidden = [moved[f"h_{group}_next"] for group in GROUPS]
        away = np.abs(moved["w_next"] - feeds["base"]).max()
        # Written so that a NaN, which is under no limit, counts as broken.
        sound = away < LIMIT and all(np.isfinite(h).all() for h in hidden)
        if not sound:
            self._reset()
            return
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
