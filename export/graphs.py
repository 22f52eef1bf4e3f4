"""The six graphs of a bundle as torch modules: fixed names, static shapes, batch 1, float32 in.

Everything that the runtime would otherwise do in Python is inside: sub-pixel motion of the fields, packing to RGBA8.
"""

from __future__ import annotations

from copy import deepcopy

import torch
import torch.nn.functional as nnf
from torch import Tensor, nn

from training.networks import stylegan2
from training.networks.encoders import Inversion, TextEncoder
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
    """A copy with every group normalisation flat. The sound encoders need no more to become graphs:
    `mel [1, 1, bands, columns]` → `delta [1, L, D]` and → `embedding [1, E]`."""
    copy = deepcopy(module)
    for parent in list(copy.modules()):
        for name, child in list(parent.named_children()):
            if isinstance(child, nn.GroupNorm):
                setattr(parent, name, FlatGroupNorm(child))
    return copy


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
    """`w_plus`, the fields, each with its fraction of a cell, and the fine fields' pixels → the picture's cells, RGBA8.

    `w_plus` is settled first: blended, driven too hard or guessed, it paints a picture that the generator knows.

    `fields uint8 [1, F, H/c+1, W/c+1]`, `fraction [1, F, 2]`, `detail uint8 [1, H/c, W/c, Fd·c²]` →
    `rgba uint8 [H/c, W/c, c²·4]`, cells of c×c pixels row by row.
    """

    def __init__(self, generator: Generator) -> None:
        super().__init__()
        self.generator = deepcopy(generator)
        self.cell = generator.config.cell
        to_bytes, offset = _to_bytes(self.cell)
        if isinstance(self.generator, stylegan2.Generator):  # its last convolution writes bytes right away
            head = self.generator.head
            head.outer.bias = nn.Parameter(to_bytes @ head.outer.bias + offset)
            head.outer.weight = nn.Parameter(torch.einsum("ij,jklm->iklm", to_bytes, head.outer.weight))
            head.bilinear_4 = torch.einsum("ij,jklm->iklm", to_bytes, head.bilinear_4)
        else:
            self.register_buffer("to_bytes", to_bytes[:, :, None, None])
            self.register_buffer("offset", offset)

    def forward(self, w_plus: Tensor, fields: Tensor, fraction: Tensor, detail: Tensor) -> Tensor:
        w_plus = self.generator.mapping.settle(w_plus)
        fields, cells = _moved(fields, fraction), detail.float().permute(0, 3, 1, 2) * (1.0 / 255.0)
        if isinstance(self.generator, stylegan2.Generator):
            rgba = self.generator.cells(w_plus, fields, cells)
        else:
            rgb = nnf.pixel_unshuffle(self.generator(w_plus, fields, detail=cells), self.cell)
            rgba = nnf.conv2d(rgb, self.to_bytes, self.offset)
        # Bytes come at the very end: TensorRT knows them nowhere else (`export.rewrite.bytes_before_batch` for CPUs).
        return rgba.clamp(0.0, 255.0).permute(0, 2, 3, 1).squeeze(0).to(torch.uint8)


def drawn_inputs(generator: Generator, draws: torch.Generator) -> dict[str, Tensor]:
    """What the generator's graph may be given: a landscape that the mapping makes, fields of noise."""
    config = generator.config
    rows, columns = (size // config.cell for size in config.size)

    def noise(*shape: int) -> Tensor:
        return torch.randint(0, 256, (1, *shape), generator=draws).to(torch.uint8)

    return {
        "w_plus": generator.broadcast(generator.mapping(factors.draw(1, draws))).contiguous(),
        "fields": noise(config.fields, rows + 1, columns + 1),
        "fraction": torch.rand(1, config.fields, 2, generator=draws),
        "detail": noise(rows, columns, len(config.detail) * config.cell**2),
    }


def _to_bytes(cell: int) -> tuple[Tensor, Tensor]:
    """From colours −1..1 in depth, as `pixel_unshuffle` leaves them, to RGBA 0..255 pixel by pixel: a matrix
    `[4c², 3c²]` and what is added."""
    matrix = torch.zeros(cell**2, 4, 3, cell**2)
    for pixel in range(cell**2):
        matrix[pixel, :3, :, pixel] = 127.5 * torch.eye(3)
    return matrix.view(4 * cell**2, 3 * cell**2), torch.tensor([128.0, 128.0, 128.0, 255.0]).repeat(cell**2)


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
