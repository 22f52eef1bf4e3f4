"""A light StyleGAN2 that paints 16:9 and takes the world's fields as its noise.

After Karras et al., *Analyzing and Improving the Image Quality of StyleGAN* (CVPR 2020), with four changes for
teaching on a small machine and playing on one:

- the learned constant is 9×16, so everything above it is 16:9;
- modulation scales the *activations* around a convolution with static weights (exact, since demodulation only needs
  Σ W²), which runtimes can prepack;
- the noise inputs are the world's scrolling fields, gated by the features and joining each block's second
  convolution, so that a style can turn rain on or off;
- *placed* features tell every resolution where the horizon, the sun or a bolt stands (`training.networks.places`).

The blocks end at an eighth of the picture's size. A head that is cheap to compute doubles the grid once more and paints
a *cell* of 4×4 pixels in every place of it: what the detail fields show there stands in channels, and so does the
picture until depth becomes space at the very end.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as nnf
from torch import Tensor, nn

from training.device import exact
from training.networks.places import Part, Placed, Places, draw

CELL = 4


@dataclass(frozen=True, slots=True)
class GeneratorConfig:
    """The dimensions that a network is built from; a scale names them (`training.scales`)."""

    start: tuple[int, int] = (9, 16)
    channels: tuple[int, ...] = (96, 96, 64, 48)  # one entry a block's grid, 9×16 upwards
    fine: int = 32  # of the head, on twice the last block's grid
    head: int = 96  # of the head, in a cell
    dim: int = 64
    fields: int = 16
    detail: tuple[int, ...] = (4, 6, 7, 8, 9, 10, 11, 13)  # fields that the head sees at full size
    factors: int = 26
    normals: int = 17  # how many of the factors are standard normal
    rows: int = 11  # placed edges, and how many placed columns
    columns: int = 5
    mapping: int = 128

    @property
    def grids(self) -> list[tuple[int, int]]:
        return [(self.start[0] << i, self.start[1] << i) for i in range(len(self.channels))]

    @property
    def layers(self) -> int:
        """L of `w_plus [B, L, D]`: the first block has one style, each other two, the head three."""
        return 2 * len(self.channels) + 2

    @property
    def groups(self) -> dict[str, tuple[int, int]]:
        """Coarse, mid and fine layers."""
        return latent_groups(self.layers)

    @property
    def size(self) -> tuple[int, int]:
        return (self.grids[-1][0] * 2 * CELL, self.grids[-1][1] * 2 * CELL)

    @property
    def parted(self) -> tuple[int, int]:
        """The grid on which parts of a picture are counted: the head paints parts."""
        return self.grids[-1]

    @property
    def cell(self) -> int:
        """Pixels along the side of what one place of the fields' grid stands for on stage."""
        return CELL


def latent_groups(layers: int) -> dict[str, tuple[int, int]]:
    """Coarse, mid and fine layers: 0-2, 3-5, the rest (the paper's Fig. 5); a third each where layers are few."""
    coarse, mid = min(3, layers // 3), min(6, 2 * layers // 3)
    return {"coarse": (0, coarse), "mid": (coarse, mid), "fine": (mid, layers)}


class Mapping(nn.Module):
    """Factors `[B, factors]` → `w [B, D]`: the factors themselves, whether each scene is there, and what is learned.

    The first `normals` factors are standard normal; they enter through the normal distribution function, as the world
    reads them, scaled to unit variance. So each factor has an axis of its own in W, directions add, and what is known
    of the world (`training.generator.place`) can be said in terms of w. The rest of `w` follows from the axes:
    `settle` works it out anew for a `w` that was not mapped but guessed, blended or driven too far.
    """

    def __init__(self, config: GeneratorConfig) -> None:
        super().__init__()
        self.factors, self.normals = config.factors, config.normals
        known = 2 * config.factors - config.normals
        self.bend = nn.Sequential(
            nn.Linear(config.factors, config.mapping),
            nn.LeakyReLU(0.2),
            nn.Linear(config.mapping, config.mapping),
            nn.LeakyReLU(0.2),
            nn.Linear(config.mapping, config.dim - known),
        )
        with torch.no_grad():
            self.bend[4].weight.mul_(3.0)

    def forward(self, factors: Tensor) -> Tensor:
        uniform = math.sqrt(3.0) * torch.erf(factors[..., : self.normals] * math.sqrt(0.5))
        scenes = factors[..., self.normals :]
        return torch.cat([uniform, scenes, _smoothstep(scenes, 0.02, 0.25), self.bend(factors)], -1)

    def settle(self, w_plus: Tensor) -> Tensor:
        """The `w_plus [B, L, D]` of the factors that lie on the axes where this one does, or at the end of an axis.

        A scene is there in all layers or in none, so each is the mean over them; one that is fainter than any that was
        learned is none, for encoders leave traces of scenes that they do not mean.
        """
        uniform = (w_plus[..., : self.normals] * (1 / math.sqrt(3.0))).clamp(-0.9995, 0.9995)
        scenes = w_plus[..., self.normals : self.factors].mean(1, keepdim=True).clamp(0, 1)
        scenes = (scenes * _smoothstep(scenes, 0.15, 0.30)).expand(-1, w_plus.shape[1], -1)
        return self(torch.cat([math.sqrt(2.0) * _erfinv(uniform), scenes], -1))


def _smoothstep(x: Tensor, low: float, high: float) -> Tensor:
    x = ((x - low) / (high - low)).clamp(0, 1)
    return x * x * (3 - 2 * x)


def _erfinv(x: Tensor) -> Tensor:
    """Winitzki's approximation, within 0.005; runtimes know no inverse of erf."""
    log = torch.log(1 - x.square())
    half = 2 / (math.pi * 0.147) + 0.5 * log
    return torch.sign(x) * torch.sqrt(torch.sqrt(half.square() - log / 0.147) - half + 1e-12)


class ModulatedConv(nn.Module):
    """StyleGAN2's modulated convolution by activation scaling: `d_o · Σ_i W_oi (s_i x_i)`.

    Demodulation is `d_o = (Σ_i s_i² ΣW_oi²)^−½`. `up` doubles the grid: transposed convolution, then a 1-3-3-1 filter;
    with a kernel of 4 every pixel has as many taps as its neighbour, and the filter is left out.
    """

    def __init__(
        self, inputs: int, outputs: int, dim: int, kernel: int = 3, up: bool = False, demodulate: bool = True
    ) -> None:
        super().__init__()
        self.up, self.demodulate, self.kernel = up, demodulate, kernel
        shape = (inputs, outputs, kernel, kernel) if up else (outputs, inputs, kernel, kernel)
        self.weight = nn.Parameter(torch.randn(shape) / math.sqrt(inputs * kernel * kernel))
        self.bias = nn.Parameter(torch.zeros(outputs))
        self.affine = nn.Linear(dim, inputs)
        nn.init.normal_(self.affine.weight, std=0.5 / math.sqrt(dim))
        nn.init.ones_(self.affine.bias)
        fir = torch.tensor([1.0, 3.0, 3.0, 1.0])
        self.register_buffer(
            "fir",
            (fir[:, None] * fir / 16.0).expand(outputs, 1, 4, 4).clone() if up and kernel == 3 else None,
            persistent=False,
        )

    def forward(self, parts: Sequence[Tensor], w: Tensor) -> Tensor:
        """`parts`: the input's channels, which may come from several places; convolved apart, never concatenated."""
        style = self.affine(w)
        total, start = None, 0
        for part in parts:
            stop = start + part.shape[1]
            x = part * style[:, start:stop, None, None]
            if self.up:
                x = nnf.conv_transpose2d(x, self.weight[start:stop], stride=2, padding=self.kernel - 3)
                if self.fir is not None:
                    x = nnf.conv2d(nnf.pad(x, (1, 1, 1, 1)), self.fir, groups=x.shape[1])
            else:
                x = nnf.conv2d(x, self.weight[:, start:stop], padding=self.kernel // 2)
            total, start = (x if total is None else total + x), stop
        if self.demodulate:
            square = self.weight.square().sum((2, 3))
            power = style.square() @ (square if self.up else square.t())
            return torch.addcmul(self.bias[:, None, None], total, torch.rsqrt(power + 1e-6)[:, :, None, None])
        return total + self.bias[:, None, None]


def activate(x: Tensor) -> Tensor:
    """Leaky ReLU without the √2 gain: demodulation restores the scale anyway, and one pass over memory less."""
    return nnf.leaky_relu(x, 0.2)


class Block(nn.Module):
    """One grid: upsampling convolution, then fields and places join for the second one. Adds its share of RGB.

    Where a field shows is the features' choice: each field is multiplied by a gate drawn from them, so that "glint, but
    only on water" is a product and need not be assembled from rectifiers. A plain 1×1 convolution after the second one
    gives the finest grid, too, a way to put textures behind masks.
    """

    def __init__(self, config: GeneratorConfig, index: int) -> None:
        super().__init__()
        self.grid = config.grids[index]
        outputs = config.channels[index]
        where = config.rows + 2 * config.columns
        self.first = ModulatedConv(config.channels[index - 1], outputs, config.dim, up=True) if index else None
        self.gate = nn.Conv2d(outputs + where, config.fields, 1)
        self.second = ModulatedConv(outputs + where + config.fields, outputs, config.dim)
        self.third = nn.Conv2d(outputs, outputs, 1)
        self.rgb = ModulatedConv(outputs, 3, config.dim, kernel=1, demodulate=False)

    def forward(self, x: Tensor, w: Tensor, fields: Tensor, places: Placed) -> tuple[Tensor, Tensor]:
        """`w [B, 2 or 3, D]`: the styles of this block's convolutions, the last also for RGB."""
        if self.first is not None:
            x = activate(self.first([x], w[:, 0]))
        where = draw(places, fields, self.grid)
        gate = nnf.conv2d(x, self.gate.weight[:, : x.shape[1]], self.gate.bias)
        gate = gate + nnf.conv2d(where, self.gate.weight[:, x.shape[1] :])
        x = activate(self.second([x, where, fields * torch.sigmoid(gate)], w[:, -2]))
        x = activate(self.third(x))
        return x, self.rgb([x], w[:, -1])


class Head(nn.Module):
    """Eight times the last block's grid: features on twice that grid, then a cell of 4×4 pixels for each of them.

    Most of a frame's time is memory traffic on the fine grids, so little is done there. Styles enter where a pass over
    the features is needed anyway, convolutions are plain, and what is joined is joined once. Rectified features times
    positive styles are never negative: with the fields they can be computed on as bytes (`export.quantise`).
    """

    def __init__(self, config: GeneratorConfig) -> None:
        super().__init__()
        (height, width), where = config.grids[-1], config.rows + 2 * config.columns
        self.grid = (2 * height, 2 * width)
        self.up = ModulatedConv(config.channels[-1], config.fine, config.dim, kernel=4, up=True)
        self.styles = nn.ModuleList(nn.Linear(config.dim, config.fine) for _ in range(2))
        self.gate = nn.Conv2d(config.fine, config.fields, 1)
        self.join = nn.Conv2d(config.fine + where + config.fields, config.fine, 3, padding=1)
        self.inner = nn.Conv2d(config.fine + len(config.detail) * CELL**2, config.head, 1)
        self.outer = nn.Conv2d(config.head, 3 * CELL**2, 1)
        nn.init.zeros_(self.outer.weight)
        nn.init.zeros_(self.outer.bias)
        for times in (2, CELL):
            self.register_buffer(f"bilinear_{times}", bilinear_in_depth(times), persistent=False)

    def forward(
        self, x: Tensor, picture: Tensor, w: Tensor, fields: Tensor, detail: Tensor, places: Placed, part: Part | None
    ) -> Tensor:
        """The picture, or `part` of it, with its cells in depth `[B, 48, H/4, W/4]`: `x` and `picture` on the last
        block's grid, `w [B, 3, D]`, all `fields` on twice that grid, `detail` in cells of it."""
        up, first, second = w.unbind(1)
        x = torch.relu(self.up([x], up)) * self._style(0, first)
        where = draw(places, fields, self.grid, part)
        x = torch.relu(self.join(torch.cat([x, where, fields * torch.sigmoid(self.gate(x))], 1)))
        x = torch.relu(self.inner(torch.cat([x * self._style(1, second), detail], 1)))
        picture = nnf.pixel_shuffle(_around(picture, self.bilinear_2), 2)
        return self.outer(x) + _around(picture, self.bilinear_4)

    def _style(self, index: int, w: Tensor) -> Tensor:
        """`[B, fine, 1, 1]`, positive, 1 where `w` says nothing."""
        return 2.0 * torch.sigmoid(self.styles[index](w))[:, :, None, None]


def _around(picture: Tensor, taps: Tensor) -> Tensor:
    return nnf.conv2d(nnf.pad(picture, (1, 1, 1, 1), mode="replicate"), taps)


class Generator(nn.Module):
    """`w_plus [B, L, D]` and fields `[B, F, H, W]` → RGB `[B, 3, H, W]` in about −1..1.

    `fields` come at the size that is painted. For a whole picture they may come at a quarter of it, one place a cell,
    with the pixels of the fine ones in channels: `detail [B, 16·Fd, H/4, W/4]`, as `pixel_unshuffle` puts them.

    `depth` stops early: 1..len(channels) stops at that block's grid (its RGB sum), len(channels)+1 is the head.
    Training grows by it, and losses on small pictures use it.

    `part`, rows and columns of the last block's grid, lets the head paint only these: training sees four times as many
    pictures by quarters. `detail`, if given, is that of the part. Convolutions lack what is beyond the cut, so the
    outermost pixels are wrong.
    """

    def __init__(self, config: GeneratorConfig) -> None:
        super().__init__()
        self.config = config
        self.mapping = Mapping(config)
        self.constant = nn.Parameter(torch.randn(1, config.channels[0], *config.start))
        self.places = Places(config.dim, config.fields, config.rows, config.columns)
        self.blocks = nn.ModuleList(Block(config, i) for i in range(len(config.channels)))
        self.head = Head(config)
        self.register_buffer("w_avg", torch.zeros(config.dim))
        halving = torch.eye(config.fields)[:, :, None, None].expand(-1, -1, 2, 2) / 4.0
        self.register_buffer("halving", halving.clone(), persistent=False)

    @property
    def max_depth(self) -> int:
        return len(self.blocks) + 1

    def size_at(self, depth: int) -> tuple[int, int]:
        return self.config.size if depth == self.max_depth else self.config.grids[depth - 1]

    def broadcast(self, w: Tensor) -> Tensor:
        """`w [B, D]` → `w_plus [B, L, D]`."""
        return w.unsqueeze(1).expand(-1, self.config.layers, -1)

    def forward(
        self,
        w_plus: Tensor,
        fields: Tensor,
        depth: int | None = None,
        detail: Tensor | None = None,
        part: Part | None = None,
    ) -> Tensor:
        if depth == self.max_depth or depth is None:
            if detail is None:
                seen = cut(fields, part, fields.shape[2] // self.config.grids[-1][0])
                detail = nnf.pixel_unshuffle(seen[:, list(self.config.detail)], CELL)
            return nnf.pixel_shuffle(self.cells(w_plus, fields, detail, part), CELL)
        return self._blocks(w_plus, self._pyramid(fields), self.places(w_plus[:, 0]), depth)[1]

    def cells(self, w_plus: Tensor, fields: Tensor, detail: Tensor, part: Part | None = None) -> Tensor:
        """The picture, or `part` of it, before depth becomes space: `[B, 48, H/4, W/4]`."""
        at, places = self._pyramid(fields), self.places(w_plus[:, 0])
        x, picture = (cut(image, part, 1) for image in self._blocks(w_plus, at, places, len(self.blocks)))
        seen = cut(at[self.head.grid[0]], part, 2)
        return self.head(x, picture, w_plus[:, -3:], seen, detail, places, part and finer(part, 2))

    def _blocks(self, w_plus: Tensor, at: dict[int, Tensor], places: Placed, depth: int) -> tuple[Tensor, Tensor]:
        """Features and picture of the last of `depth` blocks."""
        x, picture = self.constant.expand(w_plus.shape[0], -1, -1, -1), None
        for i, block in enumerate(self.blocks[:depth]):
            x, rgb = block(x, w_plus[:, max(0, 2 * i - 1) : 2 * i + 2], at[block.grid[0]], places)
            picture = rgb if picture is None else rgb + upsample(picture)
        return x, picture

    @exact
    def _pyramid(self, fields: Tensor) -> dict[int, Tensor]:
        """The fields at their own size and at every half of it, by height. Averages as a convolution, for which CPU
        runtimes are much quicker than for pooling."""
        at = {fields.shape[2]: fields}
        while min(at) > self.config.start[0]:
            at[min(at) // 2] = nnf.conv2d(at[min(at)], self.halving, stride=2)
        return at


def finer(part: Part, times: int) -> Part:
    """The same part on a grid `times` as fine."""
    rows, columns = (slice(times * s.start, times * s.stop) for s in part)
    return rows, columns


def cut(image: Tensor, part: Part | None, times: int) -> Tensor:
    """`image [B, C, H, W]` where `part` of a grid `times` as coarse is; all of it for None."""
    return image if part is None else image[(..., *finer(part, times))]


def bilinear_in_depth(times: int) -> Tensor:
    """Weights `[3·times², 3, 3, 3]` that enlarge an RGB picture bilinearly, its pixels left in depth for
    `pixel_shuffle`."""
    at = (torch.arange(times) + 0.5) / times - 0.5  # of the new pixels, from the middle of the old one
    taps = torch.stack([(-at).clamp(min=0), 1 - at.abs(), at.clamp(min=0)], 1)
    weights = torch.zeros(3, times, times, 3, 3, 3)
    for colour in range(3):
        weights[colour, :, :, colour] = taps[:, None, :, None] * taps[None, :, None, :]
    return weights.view(3 * times**2, 3, 3, 3)


def upsample(image: Tensor) -> Tensor:
    """Twice the size, bilinear."""
    return nnf.interpolate(image, scale_factor=2, mode="bilinear", align_corners=False)
