"""The look: what is done to a picture on its way to the audience. Hue, saturation, contrast, mirror, trails, vignette.

The output window does it in a shader (`gui.look`), recordings and sinks on the processor (`engine.finish`). What both
compute is said here: where each point comes from, what becomes of its colour, and what is left of the pictures before.
The tests hold them equal. Everything works on sRGB values as they are stored, as picture editors do. A neutral look
changes no bit.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from engine.control.desk import Desk
from engine.control.registry import CONTROLS
from engine.flash import WHOLE, Part

MIRRORS = CONTROLS["look/mirror"].options
LUMA = (0.2126, 0.7152, 0.0722)  # Rec. 709: what hue and saturation leave as bright as it was
SECTORS = 6  # of the kaleidoscope
TRAIL_S = 2.5
"""Time constant of the longest trails."""
DRIFT = 0.2
"""How much larger the trails grow in a second, from the middle outwards."""
LONGEST_GROWTH_S = 1.0
"""After a longer pause the trails have grown by this much all the same."""
LOSS = 1.0 / 1024.0
"""What a trail loses each time besides: the step of half floats, so that rounding holds none for ever."""
VIGNETTE = (0.3, 1.7)
"""Where the vignette begins and is full: squared distance from the middle, the edges of the picture at 1."""

FADERS = ("look/hue", "look/saturation", "look/contrast", "look/trails", "look/vignette")
"""The controls that sound can move (`engine.reactivity`), in the order in which a picture says how far."""

Float32 = NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class Look:
    """Where the controls `look/...` stand; as it is made, neutral. `hue` in degrees."""

    hue: float = 0.0
    saturation: float = 1.0
    contrast: float = 1.0
    mirror: str = "off"
    trails: float = 0.0
    vignette: float = 0.0

    @classmethod
    def of(cls, desk: Desk) -> Look:
        """As the desk has it now."""
        hue, saturation, contrast, trails, vignette = (float(desk.get(name)) for name in FADERS)
        return cls(hue, saturation, contrast, str(desk.get("look/mirror")), trails, vignette)

    @classmethod
    def held_by(cls, controls: Mapping[str, Any]) -> Look:
        """As a preset's controls have it; what they do not name is neutral."""
        return cls(**{name.removeprefix("look/"): at for name, at in controls.items() if name.startswith("look/")})

    def moved(self, by: Sequence[float]) -> Look:
        """This look with each of `FADERS` so much further, within its range: as sound moves it for one picture."""
        if not any(by):
            return self
        faders = zip(FADERS, (self.hue, self.saturation, self.contrast, self.trails, self.vignette), by, strict=True)
        hue, saturation, contrast, trails, vignette = (
            min(max(at + further, CONTROLS[name].minimum), CONTROLS[name].maximum) for name, at, further in faders
        )
        return Look(hue, saturation, contrast, self.mirror, trails, vignette)

    @property
    def neutral(self) -> bool:
        """True when every picture stays as it was painted."""
        return self == NEUTRAL

    @property
    def colours(self) -> Float32:
        """Hue and saturation as one matrix `[3, 3]` that is multiplied with a column (r, g, b)."""
        return _colours(self.hue, self.saturation)

    def keep(self, passed: float) -> float:
        """The part of a trail that is left after `passed` seconds."""
        return math.exp(-passed / (TRAIL_S * self.trails**2)) if self.trails > 0.0 else 0.0


NEUTRAL = Look()


class Step(NamedTuple):
    """How the pictures before go into the next one.

    `keep`: what is left of the trail, by which the picture before is first enlarged (`growth`).
    """

    keep: float
    growth: float


class LookState:
    """What a look has to know of the pictures before: when the last was drawn, and whether it leaves a trail. One
    thread; times in seconds."""

    def __init__(self) -> None:
        self._drawn_at = -math.inf
        self._trailing = False

    def forget(self) -> None:
        """The pictures before are gone: the next one leaves a trail, and follows none."""
        self._trailing = False

    def step(self, look: Look, now: float) -> Step:
        """The step to the picture that is drawn at `now`."""
        passed = now - self._drawn_at
        keep = look.keep(passed) if self._trailing else 0.0
        self._drawn_at, self._trailing = now, look.trails > 0.0
        return Step(keep, math.exp(DRIFT * min(passed, LONGEST_GROWTH_S)))


def looked_at(rgba: NDArray[np.uint8], look: Look, size: tuple[int, int], part: Part = WHOLE) -> NDArray[np.uint8]:
    """A part of the picture `[H, W, 4]` under that look, uint8 `[height, width, 3]` for `size` = (height, width), each
    pixel the nearest one of the picture. Trails, which need the pictures before, and the vignette are left to the
    caller."""
    image = rgba.shape[:2]
    y, x = places(look.mirror, image, size, part)
    rows, columns = (
        np.minimum((place * count).astype(np.intp), count - 1) for place, count in zip((y, x), image, strict=True)
    )
    points = coloured(rgba[rows, columns, :3].astype(np.float32) / np.float32(255.0), look)
    result: NDArray[np.uint8] = np.rint(points * 255.0).astype(np.uint8)
    return result


def coloured(points: Float32, look: Look) -> Float32:
    """Colours `[..., 3]`, 0..1, after hue, saturation and contrast."""
    if (look.hue, look.saturation) != (0.0, 1.0):
        points = np.clip(points @ look.colours.T, 0.0, 1.0)
    contrast = np.float32(look.contrast)
    if contrast < 1.0:
        points = contrast * points + np.float32(0.5) * (1 - contrast)
    elif contrast > 1.0:  # an S that meets black and white, so that neither is lost
        near = np.maximum(2 * np.minimum(points, 1 - points), np.float32(1e-9))
        bent = np.float32(0.5) * np.exp(contrast * np.log(near))  # a third of the time of a power
        points = np.where(points < 0.5, bent, 1 - bent)
    return points


def shade(size: tuple[int, int], part: Part = WHOLE) -> Float32:
    """By how much a whole vignette darkens each pixel of `size` = (height, width) that show a part of a picture:
    `[height, width]`."""
    y, x = _centres(size, part)
    begins, full = VIGNETTE
    t = np.clip(((2.0 * x - 1.0) ** 2 + (2.0 * y - 1.0) ** 2 - begins) / (full - begins), 0.0, 1.0)
    return (t * t * (3.0 - 2.0 * t)).astype(np.float32)


def places(
    mirror: str, image: tuple[int, ...], size: tuple[int, int], part: Part = WHOLE
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Where in the image each pixel of an output of `size`, which shows a part of what the mirror makes of it, comes
    from: y and x, 0..1 from the upper left corner, each to be broadcast to it. `image` is (height, width)."""
    y, x = _centres(size, part)
    if mirror == "horizontal":
        x = np.minimum(x, 1.0 - x)
    elif mirror == "vertical":  # from the band with the horizon, as a lake would: above it is only sky
        y = 0.25 + np.minimum(y, 1.0 - y)
    elif mirror == "kaleidoscope":
        aspect = image[1] / image[0]
        across, down = (x - 0.5) * aspect, y - 0.5
        sector = 2.0 * math.pi / SECTORS
        angle = np.abs(np.mod(np.arctan2(down, across), sector) - sector / 2)
        reach = np.hypot(across, down)
        x, y = reach * np.cos(angle) / aspect + 0.5, reach * np.sin(angle) + 0.5
        x, y = (1.0 - np.abs(1.0 - np.mod(place, 2.0)) for place in (x, y))  # beyond the edge it comes back
    return y, x


@lru_cache(maxsize=8)
def _colours(hue: float, saturation: float) -> Float32:
    luma = np.tile(np.array(LUMA), (3, 1))
    cos, sin = math.cos(math.radians(hue)), math.sin(math.radians(hue))
    # The turn round the grey axis that keeps luma: feColorMatrix hueRotate of SVG 1.1, in the digits of Rec. 709.
    across = np.array([[-0.2126, -0.7152, 0.9278], [0.143, 0.140, -0.283], [-0.7874, 0.7152, 0.0722]])
    turn = luma + cos * (np.eye(3) - luma) + sin * across
    colours: Float32 = (luma + saturation * (turn - luma)).astype(np.float32)
    colours.setflags(write=False)
    return colours


def _centres(size: tuple[int, int], part: Part) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Of the pixels that show a part of a picture: y as a column, x as a row."""
    (height, width), (top, left, bottom, right) = size, part
    y, x = (np.arange(height)[:, None] + 0.5) / height, (np.arange(width)[None] + 0.5) / width
    return top + (bottom - top) * y, left + (right - left) * x
