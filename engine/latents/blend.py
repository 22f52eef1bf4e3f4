"""The blend of preset, sound and text in `W+`, once a frame.

    w = base + gain_g · sound_weight · (1 + reactivity · pulse) · (w_t − base) + text_weight · Σ weight_i · offset_i
           + sound_weight · min(1, 2 · reactivity · onset) · stroke
    w_plus = w_avg + truncation · (w − w_avg)

`w_t` says *what* is heard and takes about a second to know it; `pulse` says *when*, from the newest 20 ms, so that a
beat is seen in the very next frame. `g` is the group (coarse, mid, fine) of a layer. `stroke` is the bundle's
direction of an instant: where it thunders the sky lights up with the onset, where a volcano stands it bursts, calm
land glares.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

Float32 = NDArray[np.float32]

LEVEL_SHARE, ONSET_SHARE = 1.5, 0.8
STROKE_GAIN = 2.0  # reactivity at its default of a half gives the whole stroke to the hardest onset
SLOW_LEVEL_S = 6.0


def pulse(level: float, slow_level: float, onset: float) -> float:
    """How much the sound stands out right now, −1..2.3; 0 for steady sound, however loud.

    The level counts against its own recent mean: music sits at one loudness for minutes, and an absolute level would
    only shift every picture by a constant. An onset counts whole.
    """
    return min(max(LEVEL_SHARE * (level - slow_level), -1.0), LEVEL_SHARE) + ONSET_SHARE * onset


class SlowLevel:
    """The recent mean of the level, which `pulse` compares with: of all that was heard at first, then one pole of six
    seconds. Player thread only."""

    def __init__(self) -> None:
        self._value = self._heard_s = 0.0

    def follow(self, level: float, dt: float) -> float:
        """Take in the level of the last `dt` seconds, 0..1, and return the mean."""
        self._heard_s = min(self._heard_s + dt, SLOW_LEVEL_S)
        share = 1.0 if self._heard_s == 0.0 else max(-math.expm1(-dt / SLOW_LEVEL_S), dt / self._heard_s)
        self._value += share * (level - self._value)
        return self._value


def blend(
    base: Float32,
    w_t: Float32,
    anchors_offset: Float32 | None,
    w_avg: Float32,
    groups: Mapping[str, slice],
    controls: Mapping[str, Any],
    level: float,
    onset: float,
    slow_level: float = 0.5,
    stroke: Float32 | None = None,
) -> Float32:
    """Mix one frame's latent: float32 `[1, L, D]`, a new array.

    `base`, `w_t`, `anchors_offset` (the weighted sum; None: no anchors), `stroke` and `w_avg` are `[L, D]`; `groups`
    are the layers of each group (`Groups.slices()`). Of `controls` it reads `sound/weight`, `text/weight`,
    `reactivity`, `truncation`, `gain/coarse`, `gain/mid` and `gain/fine`. `slow_level` comes from `SlowLevel`; without
    it the level counts against the middle of its range.
    """
    w = np.subtract(w_t, base, dtype=np.float32)[np.newaxis]
    heard = controls["sound/weight"] * (1.0 + controls["reactivity"] * pulse(level, slow_level, onset))
    for group, layers in groups.items():
        w[:, layers] *= np.float32(heard * controls[f"gain/{group}"])
    w += base
    if anchors_offset is not None:
        w += np.float32(controls["text/weight"]) * anchors_offset
    if stroke is not None:
        w += np.float32(controls["sound/weight"] * min(1.0, STROKE_GAIN * controls["reactivity"] * onset)) * stroke
    w -= w_avg
    w *= np.float32(controls["truncation"])
    w += w_avg
    return w
