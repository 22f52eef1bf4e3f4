"""The graphs of a bundle around a foreign generator: names, shapes and ranges as in `engine.contract.graph_contract`.

No encoder was trained for such a generator. Until one is, *what is heard* is how strong four bands, the level and
onsets are, and each of them moves the picture along a direction of its own (`export.foreign.directions`). One more is
left to the beat, which the engine knows (`engine.latents.loop`). The recurrent step is the usual leak towards
`base + Δ`; its hidden states let the picture drift a little by itself.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping, Sequence

import torch
from torch import Tensor, nn

from engine.audio.mel import MelConfig
from engine.latents.loop import NOISE_STD
from export.foreign.directions import Direction
from export.foreign.layouts import Foreign
from training.networks.recurrent import LEAK
from training.networks.stylegan2 import latent_groups

HEARD = ("bass", "low", "mid", "high", "level", "onset")
EDGES_HZ = (0.0, 160.0, 600.0, 2500.0, math.inf)
ROUTES: dict[str, tuple[str, int]] = {
    "bass": ("coarse", 0), "level": ("coarse", 1), "low": ("mid", 0), "onset": ("mid", 1),
    "mid": ("fine", 0), "high": ("fine", 1), "tempo": ("coarse", 2),
}  # fmt: skip
"""The default map: what is heard, and the tempo, to the group and rank of a direction."""

RECENT = 8  # columns of 10 ms: what sounds now
NEWEST = 4  # columns of an onset, against as many before them
PRESENCE, CONTRAST = 0.6, 2.0  # shares of how strong a band is, and of how much stronger than in the last second
RISE = 3.0  # onset for each unit of the mel's scale (40 dB) that bands rise by
DRIFT = 0.35  # of a direction's amplitude, at one standard deviation
DRIFT_S = 5.0


class MapGraph(nn.Module):
    """`mel [1, 1, bands, columns]` → `delta [1, L, D]`: the sum of where all that is heard leads."""

    def __init__(self, mel: MelConfig, ways: Tensor) -> None:
        """`ways [6, L, D]`: where each of `HEARD` leads at its full strength."""
        super().__init__()
        self.strengths = Strengths(mel)
        self.register_buffer("ways", ways.flatten(1))
        self.shape = ways.shape[1:]

    def forward(self, mel: Tensor) -> Tensor:
        return (self.strengths(mel) @ self.ways).view(1, *self.shape)


class ReadGraph(nn.Module):
    """`mel [1, 1, bands, columns]` → `embedding [1, 6]`: how strongly each of `HEARD` is heard, of unit length."""

    def __init__(self, mel: MelConfig) -> None:
        super().__init__()
        self.strengths = Strengths(mel)

    def forward(self, mel: Tensor) -> Tensor:
        heard = self.strengths(mel)
        return heard * torch.rsqrt(heard.square().sum(1, keepdim=True) + 1e-6)


class Strengths(nn.Module):
    """`mel [1, 1, bands, columns]` → `[1, 6]`: how strongly each of `HEARD` is heard now."""

    def __init__(self, mel: MelConfig) -> None:
        super().__init__()
        low, high = (2595 * math.log10(1 + f / 700) for f in (mel.f_min, mel.f_max))
        centres = 700 * (10 ** (torch.linspace(low, high, mel.bands + 2)[1:-1] / 2595) - 1)
        edges = [int((centres < edge).sum()) for edge in EDGES_HZ]
        self.bands = [slice(a, max(b, a + 1)) for a, b in itertools.pairwise(edges)]
        self.silence = mel.silence

    def forward(self, mel: Tensor) -> Tensor:
        # The loudest row of a band: a tone is as much as a chord, where a mean of decibels would lose it.
        bands = torch.stack([mel[0, 0, rows].amax(0) for rows in self.bands])
        strength = torch.cat([bands, bands.mean(0, keepdim=True)])  # [5, columns]; the last is the level
        recent = strength[:, -RECENT:].mean(1)
        presence = (1 - recent / self.silence).clamp(0, 1)  # 0 in silence, 1 as loud as the loudest lately
        heard = PRESENCE * presence + torch.tanh(CONTRAST * (recent - strength.mean(1)))
        rise = mel[0, 0, :, -NEWEST:].mean(1) - mel[0, 0, :, -2 * NEWEST : -NEWEST].mean(1)
        onset = (RISE * rise.clamp(min=0).mean(0, keepdim=True)).clamp(0, 1)
        return torch.cat([heard, onset])[None]


class DriftGraph(nn.Module):
    """`w + leak·(base + Δ + drift − w)`; each hidden state is where the drift stands along its group's directions.

    `h ← ρ·h + √(1−ρ²)·ξ` stays about one standard deviation wide for ever; ξ is the noise that the engine feeds.
    """

    def __init__(self, directions: Mapping[str, Sequence[Direction]], layers: int, rate_hz: float) -> None:
        super().__init__()
        self.keep = math.exp(-1 / (DRIFT_S * rate_hz))
        for group, (start, stop) in latent_groups(layers).items():
            where = torch.zeros(layers, 1)
            where[start:stop] = 1.0
            steps = torch.stack([direction.step for direction in directions[group]])
            ways = torch.stack([direction.way for direction in directions[group]])
            listen = (where * steps[:, None]) / (NOISE_STD * math.sqrt(stop - start))
            self.register_buffer(f"listen_{group}", listen.flatten(1).t().contiguous())  # noise → unit variance
            self.register_buffer(f"ways_{group}", (DRIFT * where * ways[:, None]).flatten(1))

    def forward(
        self, w: Tensor, base: Tensor, delta: Tensor, noise: Tensor, h_coarse: Tensor, h_mid: Tensor, h_fine: Tensor
    ) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        goal, after = base + delta, []
        for group, hidden in (("coarse", h_coarse), ("mid", h_mid), ("fine", h_fine)):
            fresh = noise.flatten(1) @ getattr(self, f"listen_{group}")
            after.append(self.keep * hidden + math.sqrt(1 - self.keep**2) * fresh)
            goal = goal + (torch.tanh(after[-1]) @ getattr(self, f"ways_{group}")).view_as(w)
        return w + LEAK * (goal - w), *after


class PaintGraph(nn.Module):
    """`w_plus [1, L, D]` → `rgba uint8 [H, W, 4]`."""

    def __init__(self, foreign: Foreign) -> None:
        super().__init__()
        self.synthesis = foreign.synthesis

    def forward(self, w_plus: Tensor) -> Tensor:
        grey = (self.synthesis(w_plus) * 127.5 + 128.0).clamp(0.0, 255.0).to(torch.uint8)
        opaque = torch.full_like(grey[:, :1], 255)
        return torch.cat([grey, opaque], 1)[0].permute(1, 2, 0)


class PlaceGraph(nn.Module):
    """`z [1, Z]`, standard normal → `w [1, L, D]`."""

    def __init__(self, foreign: Foreign) -> None:
        super().__init__()
        self.mapping, self.layers = foreign.mapping, foreign.layers

    def forward(self, z: Tensor) -> Tensor:
        return self.mapping(z).unsqueeze(1).repeat(1, self.layers, 1)


def routed(directions: Mapping[str, Sequence[Direction]], layers: int) -> dict[str, Tensor]:
    """Where each of `ROUTES` leads by the default map, `[L, D]`."""
    groups = latent_groups(layers)
    ways = {}
    for name, (group, rank) in ROUTES.items():
        way = directions[group][rank].way
        ways[name] = torch.zeros(layers, len(way))
        ways[name][slice(*groups[group])] = way
    return ways
