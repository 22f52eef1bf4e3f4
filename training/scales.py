"""How long each stage trains: `smoke` proves the chain in minutes, `landscape` makes the shipped bundle."""

from __future__ import annotations

from dataclasses import dataclass

from training.networks.stylegan2 import GeneratorConfig
from training.world import factors, fields


@dataclass(frozen=True, slots=True)
class Phase:
    """One growth step of the generator: `images` at `depth`, `batch` a step, each picture used about `reuse` times.

    `quarters`: the last grid and the head see a random quarter of each picture, which makes room for more of them.
    """

    depth: int
    images: int
    batch: int
    reuse: int = 2
    quarters: bool = False


@dataclass(frozen=True, slots=True)
class Scale:
    """The lengths of a run. Sizes in pictures, windows and steps; learning rates at the start of each cosine."""

    name: str
    generator: GeneratorConfig
    phases: tuple[Phase, ...]
    settled: int  # phases after which the mapping is frozen and the early generator kept
    adversarial_steps: int
    embedding_clips: int
    embedding_steps: int
    inversion_steps: int
    recurrent_steps: int
    frames: int = 6
    batch: int = 32
    embedding_dim: int = 64
    hidden: int = 96
    seed: int = 1


def _config(channels: tuple[int, ...], head: int) -> GeneratorConfig:
    normals = factors.SCENE_SLICE.start
    return GeneratorConfig(
        channels=channels,
        head=head,
        factors=factors.COUNT,
        normals=normals,
        fields=fields.COUNT,
        detail=fields.DETAIL,
    )


SCALES = {
    "smoke": Scale(
        name="smoke",
        generator=_config((24, 24, 16), 16),
        phases=(Phase(depth=3, images=320, batch=16), Phase(depth=4, images=160, batch=8)),
        settled=1,
        adversarial_steps=4,
        embedding_clips=72,
        embedding_steps=60,
        inversion_steps=30,
        recurrent_steps=6,
        batch=16,
    ),
    "landscape": Scale(
        name="landscape",
        generator=_config((96, 96, 64, 48, 32), 48),
        phases=(
            Phase(depth=3, images=28_000, batch=8),
            Phase(depth=4, images=12_000, batch=8),
            Phase(depth=5, images=10_000, batch=8, reuse=4, quarters=True),
            Phase(depth=6, images=7_200, batch=8, reuse=4, quarters=True),
        ),
        settled=2,
        adversarial_steps=0,
        embedding_clips=1_000,
        embedding_steps=1_200,
        inversion_steps=1_250,
        recurrent_steps=160,
    ),
}
