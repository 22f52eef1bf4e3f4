"""The look: what is done to a picture on its way to the audience. Hue, saturation, contrast, mirror, trails, vignette.

The output window does it in a shader (`gui.look`). What the shader computes is written here once more in numpy: the
flash limiter watches a small copy of the looked-at picture, and the tests hold both equal. Everything works on sRGB
values as they are stored, as picture editors do. A neutral look changes no bit.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from engine.control.desk import Desk
from engine.control.registry import CONTROLS

MIRRORS = CONTROLS["look/mirror"].options
LUMA = (0.2126, 0.7152, 0.0722)  # Rec. 709: what hue and saturation leave as bright as it was
SECTORS = 6  # of the kaleidoscope
TRAIL_S = 2.5
"""Time constant of the longest trails."""
DRIFT = 0.2
"""How much larger the trails grow in a second, from the middle outwards."""

_FADERS = ("hue", "saturation", "contrast", "trails", "vignette")

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
        hue, saturation, contrast, trails, vignette = (float(desk.get(f"look/{name}")) for name in _FADERS)
        return cls(hue, saturation, contrast, str(desk.get("look/mirror")), trails, vignette)

    @property
    def neutral(self) -> bool:
        """True when every picture stays as it was painted."""
        return self == NEUTRAL

    @property
    def colours(self) -> Float32:
        """Hue and saturation as one matrix `[3, 3]` that is multiplied with a column (r, g, b)."""
        luma = np.tile(np.array(LUMA), (3, 1))
        cos, sin = math.cos(math.radians(self.hue)), math.sin(math.radians(self.hue))
        # The turn round the grey axis that keeps luma: feColorMatrix hueRotate of SVG 1.1, in the digits of Rec. 709.
        across = np.array([[-0.2126, -0.7152, 0.9278], [0.143, 0.140, -0.283], [-0.7874, 0.7152, 0.0722]])
        turn = luma + cos * (np.eye(3) - luma) + sin * across
        colours: Float32 = (luma + self.saturation * (turn - luma)).astype(np.float32)
        return colours

    def keep(self, passed: float) -> float:
        """The part of a trail that is left after `passed` seconds."""
        return math.exp(-passed / (TRAIL_S * self.trails**2)) if self.trails > 0.0 else 0.0


NEUTRAL = Look()


def looked_at(rgba: NDArray[np.uint8], look: Look, size: tuple[int, int]) -> NDArray[np.uint8]:
    """The picture `[H, W, 4]` under that look, uint8 `[height, width, 3]` for `size` = (height, width), each pixel the
    nearest one of the picture. Trails, which need the pictures before, and the vignette, which only darkens, are left
    to the caller."""
    rows, columns = _places(look.mirror, rgba.shape[:2], size)
    points = rgba[rows, columns, :3].astype(np.float32) / 255.0
    if (look.hue, look.saturation) != (0.0, 1.0):
        points = np.clip(points @ look.colours.T, 0.0, 1.0)
    if look.contrast < 1.0:
        points = 0.5 + look.contrast * (points - 0.5)
    elif look.contrast > 1.0:  # an S that meets black and white, so that neither is lost
        low = points < 0.5
        bent = 0.5 * (2.0 * np.where(low, points, 1.0 - points)) ** look.contrast
        points = np.where(low, bent, 1.0 - bent)
    result: NDArray[np.uint8] = np.rint(points * 255.0).astype(np.uint8)
    return result


def _places(mirror: str, image: tuple[int, ...], size: tuple[int, int]) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    """Rows and columns of the image of which an output of `size` is made, each broadcast to it."""
    y, x = ((np.arange(count)[:, None] + 0.5) / count for count in size)
    x = x.T
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
    rows, columns = (
        np.minimum((place * count).astype(np.intp), count - 1) for place, count in zip((y, x), image, strict=True)
    )
    return rows, columns
