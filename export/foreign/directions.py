"""Where in W a foreign generator's pictures change most: closed-form factorisation, then a look at the pictures.

Shen & Zhou, *Closed-Form Factorization of Latent Semantics in GANs* (CVPR 2021): a step `n` in W moves the styles of a
group of layers by `A n`, so the steps that move them most are the eigenvectors of `AᵀA` with the largest eigenvalues.
How much of that is seen is measured: each candidate is painted beside a few latents.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from export.foreign.layouts import Foreign
from training.networks.stylegan2 import latent_groups

CANDIDATES = 6  # of each group that are painted
KEPT = 3
SIDES = (1.0, -1.0)  # of which latents they are painted: one side of each
SAMPLES = 1000  # w's that say how wide W is
STEP = 0.25  # of W's width: how far a candidate is moved to be measured
REACH = 0.5  # a direction at its full amplitude changes the picture half as much as another latent would
FARTHEST = 0.75  # and moves at most this share of W's width, however little is seen of it


@dataclass(frozen=True, slots=True)
class Direction:
    """A unit step `[D]` in the W of one group's layers. `change`: mean absolute change of the picture in grey levels,
    of a `STEP`; `amplitude`: length of the way at which sound has its full effect."""

    group: str
    rank: int
    step: Tensor
    change: float
    amplitude: float

    @property
    def way(self) -> Tensor:
        return self.amplitude * self.step


@torch.no_grad()
def find_directions(
    foreign: Foreign, paint: Callable[[Tensor], Tensor], progress: Callable[[], None] = lambda: None
) -> dict[str, list[Direction]]:
    """The `KEPT` most visible directions of each group, the most visible first.

    `paint(w_plus [1, L, D])` gives a picture in grey levels, of any shape; `progress` is called for each.
    Deterministic: the latents that are looked at come from fixed seeds.
    """
    groups = latent_groups(foreign.layers)
    draws = torch.Generator().manual_seed(5)
    w = foreign.mapping(torch.randn(SAMPLES, foreign.z_dim, generator=draws))
    width = float((w - foreign.w_avg).square().sum(1).mean().sqrt())
    places = [at[None, None].repeat(1, foreign.layers, 1) for at in w[: len(SIDES)]]

    def look(w_plus: Tensor) -> Tensor:
        progress()
        return paint(w_plus)

    pictures = [look(place) for place in places]
    apart = float((pictures[0] - pictures[1]).abs().mean())
    styles = foreign.synthesis.styles()
    found = {}
    for group, (start, stop) in groups.items():
        measured = []
        for rank, step in enumerate(_steepest([s.weight for layer in styles[start:stop] for s in layer], foreign.dim)):
            change = 0.0
            for place, picture, side in zip(places, pictures, SIDES, strict=True):
                moved = place.clone()
                moved[:, start:stop] += side * STEP * width * step
                change += float((look(moved) - picture).abs().mean()) / len(SIDES)
            amplitude = width * min(STEP * REACH * apart / max(change, 1e-6), FARTHEST)
            measured.append(Direction(group, rank, step, change, amplitude))
        found[group] = sorted(measured, key=lambda direction: -direction.change)[:KEPT]
    return found


def pictures_painted() -> int:
    """How often `find_directions` calls `progress`."""
    return len(SIDES) * (1 + 3 * CANDIDATES)


def _steepest(weights: list[Tensor], dim: int) -> list[Tensor]:
    """Unit steps `[D]` in the order of how much they move the styles. A sign is chosen, for eigenvectors have none."""
    gram = sum((weight.double().t() @ weight.double() for weight in weights), torch.zeros(dim, dim).double())
    _, vectors = torch.linalg.eigh(gram)
    steps = vectors.flip(1).t()[:CANDIDATES]
    leading = steps.gather(1, steps.abs().argmax(1, keepdim=True))
    return list((steps * leading.sign()).float())
