"""The five graphs of a bundle as torch modules: fixed names, static shapes, batch 1, float32 in.

Everything that the runtime would otherwise do in Python is inside: sub-pixel motion of the fields, packing to RGBA8.
"""

from __future__ import annotations

from copy import deepcopy

import torch
import torch.nn.functional as nnf
from torch import Tensor, nn

from training.networks.encoders import Inversion, SoundEncoder, TextEncoder
from training.networks.generators import Generator
from training.networks.recurrent import RecurrentStep
from training.world import factors

Z_DIM = factors.INDEX["flash"]  # ambient and placement factors before `flash`, which rests in a calm landscape


class FlatGroupNorm(nn.Module):
    """`nn.GroupNorm` on `[1, C, H, W]` without the reshape to groups, for which CPU runtimes turn the tensor over.

    Channels are summed up one by one and joined to groups as numbers; mean and variance become one factor and one
    summand a channel.
    """

    def __init__(self, norm: nn.GroupNorm) -> None:
        super().__init__()
        self.norm = norm

    def forward(self, x: Tensor) -> Tensor:
        mean, square = self._of_group(x.mean((2, 3))), self._of_group(x.square().mean((2, 3)))
        factor = self.norm.weight * torch.rsqrt(square - mean.square() + self.norm.eps)
        summand = self.norm.bias - mean * factor
        return x * factor[:, :, None, None] + summand[:, :, None, None]

    def _of_group(self, each: Tensor) -> Tensor:
        """`[1, C]`, the mean of each channel's group."""
        groups = each.unflatten(1, (self.norm.num_groups, -1))
        return groups.mean(2, keepdim=True).expand_as(groups).flatten(1)


def flat(module: nn.Module) -> nn.Module:
    """A copy with every group normalisation flat."""
    copy = deepcopy(module)
    for parent in list(copy.modules()):
        for name, child in list(parent.named_children()):
            if isinstance(child, nn.GroupNorm):
                setattr(parent, name, FlatGroupNorm(child))
    return copy


class EncoderGraph(nn.Module):
    """`mel [1, 1, bands, columns]` → `delta [1, L, D]`, `embedding [1, E]`."""

    def __init__(self, inversion: Inversion, encoder: SoundEncoder) -> None:
        super().__init__()
        self.inversion, self.encoder = flat(inversion), flat(encoder)

    def forward(self, mel: Tensor) -> tuple[Tensor, Tensor]:
        return self.inversion(mel), self.encoder(mel)


class TextGraph(nn.Module):
    """`tokens int64 [1, length]` → `delta [1, L, D]`, `embedding [1, E]`."""

    def __init__(self, inversion: Inversion, encoder: TextEncoder) -> None:
        super().__init__()
        self.inversion, self.encoder = inversion, encoder

    def forward(self, tokens: Tensor) -> tuple[Tensor, Tensor]:
        return self.inversion(tokens), self.encoder(tokens)


class RecurrentGraph(nn.Module):
    """One recurrent step with its three hidden states as plain tensors."""

    def __init__(self, step: RecurrentStep) -> None:
        super().__init__()
        self.step = step

    def forward(
        self, w: Tensor, base: Tensor, delta: Tensor, noise: Tensor, h_coarse: Tensor, h_mid: Tensor, h_fine: Tensor
    ) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        after, hidden = self.step(w, base, delta, noise, {"coarse": h_coarse, "mid": h_mid, "fine": h_fine})
        return after, hidden["coarse"], hidden["mid"], hidden["fine"]


class GeneratorGraph(nn.Module):
    """`w_plus`, fields at half size and detail fields at full size, each with its sub-pixel fraction → RGBA8.

    `w_plus` is settled first: blended, driven too hard or guessed, it paints a picture that the generator knows.

    `fields uint8 [1, F, H/2+1, W/2+1]`, `fraction [1, F, 2]`, `detail uint8 [1, Fd, H+1, W+1]`,
    `detail_fraction [1, Fd, 2]` → `rgba uint8 [H, W, 4]`.
    """

    def __init__(self, generator: Generator) -> None:
        super().__init__()
        self.generator = generator
        self.register_buffer("scale", 127.5 * torch.eye(4, 3).view(4, 3, 1, 1))
        self.register_buffer("offset", torch.tensor([128.0, 128.0, 128.0, 255.0]))

    def forward(
        self, w_plus: Tensor, fields: Tensor, fraction: Tensor, detail: Tensor, detail_fraction: Tensor
    ) -> Tensor:
        w_plus = self.generator.mapping.settle(w_plus)
        picture = self.generator(w_plus, _moved(fields, fraction), detail=_moved(detail, detail_fraction))
        # One convolution scales and adds alpha, and CPU runtimes leave its channels last, as the picture is to have
        # them. Bytes come at the very end: TensorRT knows them nowhere else.
        rgba = nnf.conv2d(picture, self.scale, self.offset).clamp(0.0, 255.0)
        return rgba[0].permute(1, 2, 0).to(torch.uint8)


def _moved(fields: Tensor, fraction: Tensor) -> Tensor:
    """Bytes `[1, F, H+1, W+1]` → 0..1 `[1, F, H, W]`, each field moved by its fraction of a pixel (y, x).

    The four neighbours are cut out first and mixed in one pass. Casts come before: TensorRT cuts no bytes, and where
    that is faster `export.rewrite.cut_bytes` turns it round.
    """
    fy, fx = fraction[:, :, 0, None, None], fraction[:, :, 1, None, None]
    tiles = fields.float()
    upper, lower = tiles[:, :, :-1], tiles[:, :, 1:]
    a, b, c, d = upper[..., :-1], upper[..., 1:], lower[..., :-1], lower[..., 1:]
    return ((1 - fy) * ((1 - fx) * a + fx * b) + fy * ((1 - fx) * c + fx * d)) * (1.0 / 255.0)


class MappingGraph(nn.Module):
    """`z [1, Z_DIM]`, standard normal → `w [1, L, D]` of a calm landscape."""

    def __init__(self, generator: Generator) -> None:
        super().__init__()
        self.mapping, self.layers = generator.mapping, generator.config.layers
        calm = torch.zeros(1, factors.COUNT - Z_DIM)
        calm[:, 0] = factors.REST
        self.register_buffer("calm", calm)

    def forward(self, z: Tensor) -> Tensor:
        return self.mapping(torch.cat([z, self.calm], 1)).unsqueeze(1).repeat(1, self.layers, 1)
