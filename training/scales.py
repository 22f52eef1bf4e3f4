"""How long each stage trains: `smoke` proves the chain in minutes, `landscape` makes the shipped bundle.

`smoke-3` and `landscape-3` train a StyleGAN3 in the generator's place.
"""

from __future__ import annotations

from dataclasses import dataclass

from training.networks import stylegan2, stylegan3
from training.networks.generators import GeneratorConfig
from training.world import factors, fields


@dataclass(frozen=True, slots=True)
class Phase:
    """One growth step of the generator: `images` at `depth`, `batch` a step, each picture used about `reuse` times.

    `quarters`: the head, or the last grid, sees a random quarter of each picture, which makes room for more of them.
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
    looking_pictures: int
    looking_steps: int
    inversion_steps: int
    reading_steps: int
    recurrent_steps: int
    frames: int = 6
    batch: int = 32
    embedding_dim: int = 64
    hidden: int = 96
    seed: int = 1


_WORLD = {
    "factors": factors.COUNT,
    "normals": factors.SCENE_SLICE.start,
    "fields": fields.COUNT,
    "detail": fields.DETAIL,
}

_SCALES = (
    Scale(
        name="smoke",
        generator=stylegan2.GeneratorConfig(channels=(24, 24), fine=16, head=32, **_WORLD),
        phases=(Phase(depth=2, images=320, batch=16), Phase(depth=3, images=160, batch=8, quarters=True)),
        settled=1,
        adversarial_steps=4,
        embedding_clips=72,
        embedding_steps=60,
        looking_pictures=32,
        looking_steps=10,
        inversion_steps=30,
        reading_steps=20,
        recurrent_steps=6,
        batch=16,
    ),
    Scale(
        name="landscape",
        generator=stylegan2.GeneratorConfig(channels=(96, 96, 64, 48), fine=32, head=96, **_WORLD),
        phases=(
            Phase(depth=3, images=28_000, batch=8),
            Phase(depth=4, images=12_000, batch=8),
            Phase(depth=5, images=32_000, batch=8, reuse=8, quarters=True),
        ),
        settled=2,
        adversarial_steps=0,
        embedding_clips=5_000,
        embedding_steps=2_000,
        looking_pictures=8_000,
        looking_steps=3_000,
        inversion_steps=3_000,
        reading_steps=4_000,
        recurrent_steps=160,
    ),
    Scale(
        name="smoke-3",
        generator=stylegan3.GeneratorConfig(channels=(24, 24, 16), **_WORLD),
        phases=(Phase(depth=2, images=320, batch=16), Phase(depth=3, images=160, batch=8)),
        settled=1,
        adversarial_steps=4,
        embedding_clips=72,
        embedding_steps=60,
        looking_pictures=32,
        looking_steps=10,
        inversion_steps=30,
        reading_steps=20,
        recurrent_steps=6,
        batch=16,
    ),
    Scale(
        name="landscape-3",
        generator=stylegan3.GeneratorConfig(channels=(64, 64, 48, 32, 24), **_WORLD),
        phases=(
            Phase(depth=3, images=28_000, batch=8),
            Phase(depth=4, images=12_000, batch=8),
            Phase(depth=5, images=10_000, batch=8, reuse=4, quarters=True),
        ),
        settled=2,
        adversarial_steps=0,
        embedding_clips=5_000,
        embedding_steps=2_000,
        looking_pictures=8_000,
        looking_steps=3_000,
        inversion_steps=3_000,
        reading_steps=4_000,
        recurrent_steps=160,
    ),
)
SCALES = {scale.name: scale for scale in _SCALES}
