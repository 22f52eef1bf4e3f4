"""The world's randomness: a few tileable textures that scroll.

The picture draws every cloud, flame tongue, raindrop and ripple from these tiles, and the generator gets the same
tiles, at the same offsets, as its noise inputs. So texture can be *taught*, and on stage the tiles flow and nothing
sticks to the screen. Each tile is a texture in its own right, independent of horizon and position; values 0..1.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True, slots=True)
class Field:
    """One tile. `velocity` is (down, right) in tiles per second at speed 1; `drive` is how much loudness hastens it.

    Fields with `detail` have features of a pixel or two: only they reach the generator's last layers at full size.
    """

    name: str
    velocity: tuple[float, float]
    drive: float = 0.0
    detail: bool = False


FIELDS = (
    Field("cloud", (0.0, 0.010)),
    Field("wisp", (0.0, 0.022), 0.5),
    Field("ridge", (0.0, 0.0)),
    Field("hills", (0.0, 0.0)),
    Field("trees", (0.0, 0.0), detail=True),
    Field("swell", (0.05, 0.030), 0.6),
    Field("glint", (-0.04, 0.020), 0.4, detail=True),
    Field("flame", (-0.55, 0.0), 1.0, detail=True),
    Field("streak", (1.70, 0.0), 0.4, detail=True),
    Field("caustic", (0.020, 0.035), 0.5, detail=True),
    Field("bubble", (-0.28, 0.0), 0.8, detail=True),
    Field("spark", (-0.22, 0.050), 1.0, detail=True),
    Field("wander", (0.43, 0.0), 1.0),
    Field("fall", (0.95, 0.0), 0.5, detail=True),
    Field("smoke", (-0.11, 0.015), 0.8),
    Field("gust", (0.02, 0.75), 1.0),
)
NAMES = tuple(field.name for field in FIELDS)
COUNT = len(FIELDS)
INDEX = {name: i for i, name in enumerate(NAMES)}
DETAIL = tuple(i for i, field in enumerate(FIELDS) if field.detail)
VELOCITIES = torch.tensor([field.velocity for field in FIELDS])


def _spectrum(h: int, w: int, slope: float, stretch_x: float, low: float, generator: torch.Generator) -> Tensor:
    """Tileable Gaussian noise with a 1/f^slope spectrum, equalised to 0..1; features are `stretch_x` times longer
    across than down."""
    fy = torch.fft.fftfreq(h).unsqueeze(1) * h
    fx = torch.fft.rfftfreq(w).unsqueeze(0) * w * stretch_x * (h / w)
    radius = torch.sqrt(fy**2 + fx**2)
    gain = torch.where(radius < 0.5, torch.zeros(()), 1.0 / (radius.clamp(min=0.5) ** 2 + low**2) ** (slope / 2))
    noise = torch.fft.rfft2(torch.randn(h, w, generator=generator)) * gain
    return _equalise(torch.fft.irfft2(noise, s=(h, w)))


def _equalise(image: Tensor) -> Tensor:
    """Any texture → a bell-shaped 0..1 (mean 0.5, deviation 0.2)."""
    image = (image - image.mean()) / image.std().clamp(min=1e-6)
    return (0.5 + 0.2 * image).clamp(0.0, 1.0)


def _line(length: int, slope: float, low: float, generator: torch.Generator) -> Tensor:
    """A tileable 1-D path, equalised to 0..1."""
    f = torch.fft.rfftfreq(length) * length
    gain = torch.where(f < 0.5, torch.zeros(()), 1.0 / (f.clamp(min=0.5) ** 2 + low**2) ** (slope / 2))
    return _equalise(torch.fft.irfft(torch.fft.rfft(torch.randn(length, generator=generator)) * gain, n=length))


def _firs(w: int, count: int, generator: torch.Generator) -> Tensor:
    """The outline of a conifer wood: the highest of many narrow triangles over a rolling floor."""
    x = torch.arange(w).float()
    outline = 0.25 * _line(w, 1.5, 3.0, generator)
    centre = torch.rand(count, generator=generator) * w
    height = 0.3 + 0.7 * torch.rand(count, generator=generator) ** 1.5
    half = w * (0.006 + 0.010 * torch.rand(count, generator=generator))
    for c, h, r in zip(centre, height, half, strict=True):
        distance = (x - c).abs()
        distance = torch.minimum(distance, w - distance)
        outline = torch.maximum(outline, h * (1 - distance / r))
    return outline.clamp(0, 1)


def _dots(h: int, w: int, count: int, radius: tuple[float, float], ring: float, generator: torch.Generator) -> Tensor:
    """Soft discs (`ring=0`) or bright-rimmed bubbles (`ring=1`) on a torus; radii in tile heights."""
    image = torch.zeros(h, w)
    for _ in range(count):
        y, x, size, light = torch.rand(4, generator=generator).tolist()
        r = (radius[0] + (radius[1] - radius[0]) * size**2) * h
        span = math.ceil(r * 1.6) + 1
        ys = torch.arange(-span, span + 1) + round(y * h)
        xs = torch.arange(-span, span + 1) + round(x * w)
        d = torch.sqrt((ys[:, None] - y * h) ** 2 + (xs[None, :] - x * w) ** 2) / r
        disc = torch.exp(-(d**2) * 1.8)
        rim = (
            torch.exp(-(((d - 0.85) / 0.16) ** 2)) * 0.75
            + 0.22 * (d < 0.85)
            + torch.exp(-(((d - 0.45) / 0.2) ** 2)) * 0.1
        )
        stamp = (0.45 + 0.55 * light) * (ring * rim + (1 - ring) * disc)
        window = image[ys[:, None] % h, xs[None, :] % w]
        image[ys[:, None] % h, xs[None, :] % w] = torch.maximum(window, stamp)
    return image.clamp(0, 1)


def _streaks(h: int, w: int, count: int, length: tuple[float, float], generator: torch.Generator) -> Tensor:
    """Thin vertical strokes with a bright head, on a torus; lengths in tile heights."""
    image = torch.zeros(h, w)
    for _ in range(count):
        y, x, size, light = torch.rand(4, generator=generator).tolist()
        n = max(4, round((length[0] + (length[1] - length[0]) * size) * h))
        ys = (torch.arange(n) + round(y * h)) % h
        ramp = torch.linspace(0.05, 1.0, n) * (0.35 + 0.65 * light)
        for dx, gain in ((0, 1.0), (1, 0.35 + 0.5 * size)):
            xs = (round(x * w) + dx) % w
            image[ys, xs] = torch.maximum(image[ys, xs], ramp * gain)
    return image.clamp(0, 1)


def _caustic(h: int, w: int, generator: torch.Generator) -> Tensor:
    """A net of light: where two slowly bent wave fields cross zero."""
    a = _spectrum(h, w, 3.0, 1.0, 5.0, generator) - 0.5
    b = _spectrum(h, w, 3.0, 1.0, 7.0, generator) - 0.5
    net = torch.exp(-((a / 0.045) ** 2)) + 0.8 * torch.exp(-((b / 0.05) ** 2))
    return (net / 1.5).clamp(0, 1)


def _flame(h: int, w: int, generator: torch.Generator) -> Tensor:
    """Tongues: vertically stretched ridged noise, bent sideways by a slower noise."""
    ridged = 1.0 - (2.0 * _spectrum(h, w, 2.6, 0.42, 4.0, generator) - 1.0).abs() * 1.6
    fine = _spectrum(h, w, 2.2, 0.5, 9.0, generator)
    bend = ((_spectrum(h, w, 3.0, 1.0, 3.0, generator) - 0.5) * 0.09 * w).round().long()
    columns = (torch.arange(w)[None, :] + bend) % w
    return _equalise(0.65 * ridged.gather(1, columns) + 0.6 * fine.gather(1, columns))


def make_tiles(height: int, width: int, seed: int = 20260) -> Tensor:
    """`[COUNT, height, width]` in 0..1, tileable both ways, drawn at this size from one seed."""
    g = torch.Generator().manual_seed(seed)
    h, w = height, width
    tiles = {
        "cloud": _spectrum(h, w, 3.0, 1.9, 2.5, g),
        "wisp": _spectrum(h, w, 2.3, 2.6, 7.0, g),
        "ridge": _line(w, 2.0, 2.0, g).expand(h, w),
        "hills": _line(w, 2.6, 2.0, g).expand(h, w),
        "trees": _firs(w, 70, g).expand(h, w),
        "swell": _spectrum(h, w, 2.8, 4.5, 12.0, g),
        "glint": _spectrum(h, w, 2.0, 3.0, 34.0, g),
        "flame": _flame(h, w, g),
        "streak": _streaks(h, w, 420, (0.05, 0.16), g),
        "caustic": _caustic(h, w, g),
        "bubble": _dots(h, w, 90, (0.008, 0.045), 1.0, g),
        "spark": _dots(h, w, 170, (0.004, 0.012), 0.0, g),
        "wander": _line(h, 1.9, 1.5, g)[:, None].expand(h, w),
        "fall": _equalise(_spectrum(h, w, 2.1, 0.14, 6.0, g) + 0.5 * _spectrum(h, w, 1.6, 0.33, 20.0, g)),
        "smoke": _equalise(
            1.0 - (2.0 * _spectrum(h, w, 2.8, 1.0, 3.0, g) - 1.0).abs() + 0.7 * _spectrum(h, w, 2.4, 1.0, 6.0, g)
        ),
        "gust": _spectrum(h, w, 2.2, 8.0, 14.0, g),
    }
    return torch.stack([tiles[name] for name in NAMES])


def scroll(tiles: Tensor, offsets: Tensor, rows: Tensor | None = None, columns: Tensor | None = None) -> Tensor:
    """`tiles [F, H, W]` moved by `offsets [B, F, 2]` (down, right; in tiles) → `[B, F, H, W]`, whole pixels; only the
    `rows` and `columns` with these numbers if they are named."""
    count, h, w = tiles.shape
    down, across = (
        torch.arange(n, device=tiles.device) if some is None else some for n, some in ((h, rows), (w, columns))
    )
    down = (down - (offsets[..., :1] * h).round().long()) % h
    across = (across - (offsets[..., 1:] * w).round().long()) % w
    which = torch.arange(count, device=tiles.device)[None, :, None, None]
    return tiles[which, down[:, :, :, None], across[:, :, None, :]]
