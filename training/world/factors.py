"""What the world is made of: a named vector of factors, how to draw one, and how it moves in time.

A factor vector holds three kinds, in this order:

- *ambient* factors, standard normal, the calm landscape behind every scene;
- *placement* factors, standard normal, where and how the event of a scene stands in the picture;
- *scene* factors, 0..1, one for each scene: presence times intensity. All zero is the calm landscape.

`squash` maps a standard normal factor to 0..1 through the normal distribution function, so a draw is uniform there.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

SCENES = (
    "explosion",
    "fire",
    "rain",
    "splash",
    "mud",
    "thunder",
    "underwater",
    "waterfall",
    "wind",
)

AMBIENT = (
    "time_of_day",  # 0 deep night, 0.5 golden hour, 1 high noon
    "sun_x",  # 0 left edge, 1 right edge
    "horizon",  # 0 high in the picture, 1 low
    "cloud_cover",
    "mood",  # 0 cold, 1 warm
    "saturation",
    "ridge",  # height of the far mountains
    "hills",  # height of the near hills
    "trees",  # height and density of the tree line
    "water",  # 0 meadow, 1 lake or sea
    "haze",
    "swell",  # how rough the water is
)

PLACEMENT = (
    "event_x",  # volcano, hearth, bolt, fall, splash
    "reach",  # flame height, plume height, width of the fall, bubble density
    "lean",  # drift of plume and light rays, side of a branching bolt; gusts in the sound of wind
    "depth",  # distance: far thunder, deep water
    "flash",  # the lightning stroke or the eruption of this instant
)

NAMES = AMBIENT + PLACEMENT + SCENES
COUNT = len(NAMES)
INDEX = {name: i for i, name in enumerate(NAMES)}
AMBIENT_SLICE = slice(0, len(AMBIENT))
PLACEMENT_SLICE = slice(len(AMBIENT), len(AMBIENT) + len(PLACEMENT))
SCENE_SLICE = slice(len(AMBIENT) + len(PLACEMENT), COUNT)
REST = -1.5  # `flash` between strokes, and of a calm landscape
STROKE = 1.5  # `flash` at the height of a stroke
STROKES = {"thunder": (1.6, 0.18), "explosion": (1.3, 0.7)}  # seconds from stroke to stroke, seconds each fades in


def squash(normal: Tensor) -> Tensor:
    """Standard normal → uniform 0..1 (the normal distribution function)."""
    return 0.5 * (1.0 + torch.erf(normal * 0.7071067811865476))


def factor(vector: Tensor, name: str) -> Tensor:
    """One factor of `vector [..., COUNT]` in 0..1, scenes as they are, the others squashed."""
    value = vector[..., INDEX[name]]
    return value if name in SCENES else squash(value)


def draw(count: int, generator: torch.Generator, *, calm: float = 0.15, pair: float = 0.15) -> Tensor:
    """`[count, COUNT]` still factors: `calm` of them without a scene, `pair` of them with two, the rest with one."""
    vector = torch.zeros(count, COUNT)
    normal = torch.randn(count, len(AMBIENT) + len(PLACEMENT), generator=generator)
    vector[:, : normal.shape[1]] = normal
    scenes = vector[:, SCENE_SLICE]
    first = torch.randint(len(SCENES), (count,), generator=generator)
    other = (first + torch.randint(1, len(SCENES), (count,), generator=generator)) % len(SCENES)
    intensity = 0.25 + 0.75 * torch.rand(count, 2, generator=generator)
    kind = torch.rand(count, generator=generator)
    rows = torch.arange(count)
    scenes[rows, first] = torch.where(kind < calm, 0.0, intensity[:, 0])
    paired = kind > max(calm, 1.0 - pair)
    both = 0.9 * intensity[paired] - 0.1  # the fainter one of two is often fainter than any that stands alone
    scenes[rows[paired], first[paired]] = both[:, 0]
    scenes[rows[paired], other[paired]] = both[:, 1]
    return vector


@dataclass(frozen=True, slots=True)
class Tracks:
    """Factors that move: `values [T, COUNT]` at `rate` Hz. `scene` is the leading scene's index, −1 for calm."""

    values: Tensor
    rate: float
    scene: int

    @property
    def seconds(self) -> float:
        return self.values.shape[0] / self.rate

    def at(self, seconds: Tensor) -> Tensor:
        """`[N, COUNT]`: factors at the given times, linear between the track's points."""
        position = (seconds * self.rate).clamp(0, self.values.shape[0] - 1.001)
        low = position.floor().long()
        part = (position - low).unsqueeze(-1).to(self.values.dtype)
        return torch.lerp(self.values[low], self.values[low + 1], part)


def _wander(steps: int, rate: float, correlation_s: float, generator: torch.Generator) -> Tensor:
    """A smooth standard normal path: white noise through a Gaussian of `correlation_s` seconds, unit variance."""
    width = max(1, round(3 * correlation_s * rate))
    axis = torch.arange(-width, width + 1) / (correlation_s * rate)
    kernel = torch.exp(-0.5 * axis**2)
    kernel = kernel / kernel.square().sum().sqrt()
    noise = torch.randn(1, 1, steps + 2 * width, generator=generator)
    return torch.nn.functional.conv1d(noise, kernel[None, None])[0, 0]


def draw_tracks(
    seconds: float,
    generator: torch.Generator,
    *,
    scene: int | None = None,
    rate: float = 30.0,
    calm: float = 0.1,
    pair: float = 0.15,
) -> Tracks:
    """A clip's factors over time. Ambient factors drift slowly, intensity moves, strokes and eruptions strike.

    `scene=None` draws one, or none with probability `calm`; of the rest a part `pair` holds a second scene, always
    fainter than the first. −1 asks for the calm landscape, a number for that scene alone.
    """
    steps = max(2, round(seconds * rate))
    start = draw(1, generator, calm=0.0, pair=0.0)[0]
    other = -1
    if scene is None:
        drawn = int(torch.randint(len(SCENES), (1,), generator=generator))
        scene = -1 if float(torch.rand(1, generator=generator)) < calm else drawn
        if scene >= 0 and float(torch.rand(1, generator=generator)) < pair:
            other = (scene + int(torch.randint(1, len(SCENES), (1,), generator=generator))) % len(SCENES)
    values = start.repeat(steps, 1)
    for i in range(len(AMBIENT)):
        values[:, i] += 0.15 * _wander(steps, rate, 4.0, generator)
    for name in ("reach", "lean"):
        values[:, INDEX[name]] += 0.35 * _wander(steps, rate, 1.0, generator)
    values[:, SCENE_SLICE] = 0.0
    values[:, INDEX["flash"]] = REST
    if scene >= 0:
        mean = 0.35 + 0.6 * float(torch.rand(1, generator=generator))
        leading = _intensity(mean, steps, rate, generator).clamp(min=0.12)
        values[:, SCENE_SLICE.start + scene] = leading
        if other >= 0:
            share = 0.3 + 0.4 * float(torch.rand(1, generator=generator))
            second = torch.minimum(_intensity(share * mean, steps, rate, generator).clamp(min=0.06), 0.8 * leading)
            values[:, SCENE_SLICE.start + other] = second
        for struck in (scene, other):  # the first that strikes has the strokes: there is one `flash`
            if struck >= 0 and SCENES[struck] in STROKES:
                intensity = values[:, SCENE_SLICE.start + struck]
                values[:, INDEX["flash"]] = strokes(intensity, rate, SCENES[struck], generator)
                break
    return Tracks(values, rate, scene)


def _intensity(mean: float, steps: int, rate: float, generator: torch.Generator) -> Tensor:
    """A scene's intensity over time `[T]`, at most 1."""
    return (mean + 0.28 * _wander(steps, rate, 1.2, generator)).clamp(max=1.0)


def strokes(intensity: Tensor, rate: float, scene: str, generator: torch.Generator) -> Tensor:
    """The `flash` track `[T]` of a scene in `STROKES` whose intensity is `[T]`.

    `REST`, up to 2 at each stroke of lightning or eruption. The more intense, the sooner the next and the harder.
    """
    steps = intensity.shape[0]
    flash = torch.full((steps,), REST)
    every, fall = STROKES[scene]
    time = torch.arange(steps) / rate
    at = float(torch.rand(1, generator=generator)) * every
    while at < steps / rate:
        strength = float(intensity[int(at * rate)])
        size = 2.1 + 0.9 * strength + 0.5 * float(torch.rand(1, generator=generator))
        since = time - at
        flash = torch.maximum(flash, REST + size * torch.where(since < 0, 0.0, torch.exp(-since.clamp(min=0) / fall)))
        at += every * (1.6 - strength) * (0.4 + 1.2 * float(torch.rand(1, generator=generator)))
    return flash
