"""A light StyleGAN3 that paints 16:9 and takes the world's fields as its texture.

After Karras et al., *Alias-Free Generative Adversarial Networks* (NeurIPS 2021), the translation-equivariant kind:
every feature map is a sampled continuous signal, so nothing in it can hold on to the pixels of the screen.

- The input is not a learned constant but waves below the first cutoff, rotated and moved by `w`. Here they come in a
  few *planes*, each moved by itself, since a sun does not rise with the horizon.
- Leaky ReLU makes frequencies that a grid cannot hold: it is applied at twice the rate, between two Kaiser low-passes.
- Cutoffs rise by half an octave a layer and stay below what the grid could hold; only the last grid is sampled
  critically. With two layers an octave every grid has two, so that W+ is laid out as StyleGAN2's here.
- Every convolution's input is divided by a running mean of its magnitude, which is fixed once training ends.
- Grids reach some pixels beyond the picture: a border inside it would tell features where they are.
- There is no noise of its own. The world's fields, area-averaged to each grid, join its first layer; where a field
  shows is the features' choice, and as that product, too, makes new frequencies, it is taken between the low-passes.

Modulation scales the activations around static weights (`training.networks.stylegan2.ModulatedConv`). For growth, every
grid adds its share to the doubled RGB picture of the one before; doubling is a low-pass and breaks nothing.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
import torch.nn.functional as nnf
from torch import Tensor, nn

from training import distributed
from training.device import exact
from training.networks.places import Part
from training.networks.stylegan2 import Mapping, ModulatedConv, latent_groups

MARGIN = 6  # pixels of every grid beyond the picture; with fewer than 5 the border is felt inside
REACH = 3  # samples of the slower rate that a low-pass looks at to either side; StyleGAN3's filter size 6
TRANSITION = 2**0.3 - 1  # of a critically sampled grid, in units of its cutoff; as published
MAGNITUDE_RATE = 0.01  # weight of the newest batch in the running magnitudes


@dataclass(frozen=True, slots=True)
class GeneratorConfig:
    """The dimensions that a network is built from; a scale names them (`training.scales`)."""

    start: tuple[int, int] = (9, 16)
    channels: tuple[int, ...] = (64, 64, 48, 32, 24)  # one entry a grid, 9×16 upwards
    dim: int = 64
    fields: int = 16
    detail: tuple[int, ...] = (4, 6, 7, 8, 9, 10, 11, 13)  # fields that the last grid sees
    factors: int = 26
    normals: int = 17  # how many of the factors are standard normal
    planes: int = 4  # of the input, which has channels[0] waves in all
    mapping: int = 128

    @property
    def grids(self) -> list[tuple[int, int]]:
        return [(self.start[0] << i, self.start[1] << i) for i in range(len(self.channels))]

    @property
    def layers(self) -> int:
        """L of `w_plus [B, L, D]`: one style a convolution; input and RGB share those of their neighbours."""
        return 2 * len(self.channels)

    @property
    def groups(self) -> dict[str, tuple[int, int]]:
        return latent_groups(self.layers)

    @property
    def size(self) -> tuple[int, int]:
        return self.grids[-1]

    @property
    def parted(self) -> tuple[int, int]:
        """The grid on which parts of a picture are counted: the last grid paints parts."""
        return self.grids[-2]

    @property
    def cell(self) -> int:
        """Pixels along the side of what one place of the fields' grid stands for on stage."""
        return 2

    def bands(self, grid: int) -> tuple[Band, Band]:
        """What the two layers of a grid let through."""
        rate = float(self.grids[grid][0])
        if grid == len(self.channels) - 1:
            critical = Band(rate, 0.5 * rate, 0.5 * rate * TRANSITION)
            return critical, critical
        first, second = 0.25 * rate, 0.25 * rate * math.sqrt(2.0)
        return Band(rate, first, 0.5 * rate - first), Band(rate, second, 0.5 * rate - second)


@dataclass(frozen=True, slots=True)
class Band:
    """Sampling rate, cutoff and half the transition's width of a feature map; all in cycles per picture height."""

    rate: float
    cutoff: float
    half_width: float


def low_pass(band: Band, rate: float) -> Tensor:
    """Kaiser-windowed sinc at `rate`, a multiple of the band's; `[2·REACH·times]` taps that sum to 1."""
    taps = round(2 * REACH * rate / band.rate)
    over = 2.285 * (taps - 1) * math.pi * (4 * band.half_width / rate) + 7.95 - 21  # decibels that it stops, less 21
    beta = 0.5842 * over**0.4 + 0.07886 * over  # Kaiser's formula up to 50 dB, and none of these stops more
    window = torch.kaiser_window(taps, periodic=False, beta=beta, dtype=torch.float64)
    sinc = window * torch.sinc(2 * band.cutoff / rate * (torch.arange(taps) - (taps - 1) / 2))
    return (sinc / sinc.sum()).float()


def upsample(x: Tensor, taps: Tensor, times: int, crop: int) -> Tensor:
    """`times` the rate, low-passed by `taps`; `crop` samples of the new rate are left away at each border."""
    channels, length = x.shape[1], len(taps)
    pad = (length - times) // 2 + crop
    taps = (times * taps).expand(channels, 1, length)
    x = nnf.conv_transpose2d(x, taps.unsqueeze(3), stride=(times, 1), padding=(pad, 0), groups=channels)
    return nnf.conv_transpose2d(x, taps.unsqueeze(2), stride=(1, times), padding=(0, pad), groups=channels)


def downsample(x: Tensor, taps: Tensor, pad: int) -> Tensor:
    """Half the rate, low-passed by `taps`; beyond the border are `pad` zeros."""
    channels = x.shape[1]
    taps = taps.expand(channels, 1, len(taps))
    x = nnf.conv2d(x, taps.unsqueeze(3), stride=(2, 1), padding=(pad, 0), groups=channels)
    return nnf.conv2d(x, taps.unsqueeze(2), stride=(1, 2), padding=(0, pad), groups=channels)


class Normalise(nn.Module):
    """`x` over the root of a running mean of x²; the mean follows in training mode only, the same in every process."""

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("magnitude", torch.ones(()))

    def forward(self, x: Tensor) -> Tensor:
        if self.training:
            self.magnitude.lerp_(distributed.average(x.detach().float().square().mean()), MAGNITUDE_RATE)
        return x * torch.rsqrt(self.magnitude + 1e-8)


class Motion(nn.Module):
    """`w [B, D]` → how the input's planes lie `[B, planes, 4]`: cosine and sine of the turn, way down, way right."""

    def __init__(self, config: GeneratorConfig) -> None:
        super().__init__()
        self.planes, self.grid = config.planes, config.grids[0]
        self.affine = nn.Linear(config.dim, 4 * config.planes)
        nn.init.zeros_(self.affine.weight)
        with torch.no_grad():
            self.affine.bias.copy_(torch.tensor([1.0, 0.0, 0.0, 0.0]).repeat(config.planes))

    @exact
    def forward(self, w: Tensor) -> Tensor:
        turn, way = self.affine(w).view(len(w), self.planes, 4).split(2, 2)
        return torch.cat([turn * torch.rsqrt(turn.square().sum(2, keepdim=True) + 1e-8), way], 2)

    @torch.no_grad()
    def know(self, plane: int, axis: int, weights: dict[int, float]) -> None:
        """Let `plane` move down (`axis` 0) or right (1) by `weights` times components of `w`; the picture is −1..1."""
        for component, weight in weights.items():
            self.affine.weight[4 * plane + 2 + axis, component] = weight * 0.5 * self.grid[axis] / self.grid[0]


class FourierInput(nn.Module):
    """Motion `[B, planes, 4]` → waves `[B, C, h + 2·MARGIN, w + 2·MARGIN]` on the first grid.

    Frequencies lie evenly in the disc below the first cutoff. Lengths are picture heights, from the middle.
    """

    def __init__(self, config: GeneratorConfig) -> None:
        super().__init__()
        self.grid = config.grids[0]
        shape = (config.planes, config.channels[0] // config.planes)
        radius, angle = config.bands(0)[0].cutoff * torch.rand(shape).sqrt(), 2 * math.pi * torch.rand(shape)
        self.register_buffer("frequencies", torch.stack([radius * angle.sin(), radius * angle.cos()], 2))  # down, right
        self.register_buffer("phases", torch.rand(shape))
        self.mix = nn.Conv2d(math.prod(shape), config.channels[0], 1, bias=False)

    def forward(self, motion: Tensor) -> Tensor:
        cos, sin, way_down, way_right = motion.unsqueeze(3).unbind(2)
        down, right = self.frequencies.unbind(2)
        down, right = cos * down - sin * right, sin * down + cos * right  # [B, planes, waves]
        phases = self.phases - down * way_down - right * way_right
        y, x = (
            (torch.arange(-MARGIN, size + MARGIN, device=motion.device) + 0.5 - size / 2) / self.grid[0]
            for size in self.grid
        )
        along = (down.unsqueeze(3) * y + phases.unsqueeze(3)).unsqueeze(4) + (right.unsqueeze(3) * x).unsqueeze(3)
        return self.mix(torch.sin(2 * math.pi * along).flatten(1, 2))


class Layer(nn.Module):
    """Modulated convolution at the source's rate, then the filtered nonlinearity, which ends at the target's."""

    def __init__(self, inputs: int, outputs: int, gates: int, dim: int, source: Band, target: Band) -> None:
        super().__init__()
        self.outputs = outputs
        self.normalise = Normalise()
        self.conv = ModulatedConv(inputs, outputs + gates, dim)
        between = 2 * target.rate
        self.times = round(between / source.rate)
        # On a finer grid the margin is twice as many pixels: what is left over serves the way down; else zeros do.
        self.pad, self.crop = (0, 2 * MARGIN - 2 * REACH + 1) if self.times == 4 else (2 * REACH - 1, 0)
        self.register_buffer("up", low_pass(source, between), persistent=False)
        self.register_buffer("down", low_pass(target, between), persistent=False)
        self.register_buffer("doubling", doubling(), persistent=False)

    def forward(self, x: Tensor, w: Tensor, fields: Tensor | None = None) -> Tensor:
        """`fields [B, gates, …]` on the target's grid, with REACH pixels of margin more than the features have."""
        mixed = self.conv([self.normalise(x)], w)
        x = nnf.leaky_relu(upsample(mixed[:, : self.outputs], self.up, self.times, self.crop), 0.2)
        x = downsample(x, self.down, self.pad)
        if fields is None:
            return x
        gate = torch.sigmoid(upsample(mixed[:, self.outputs :], self.up, self.times, self.crop))
        shown = gate * upsample(fields, self.doubling, 2, self.pad + 1)
        return torch.cat([x, downsample(shown, self.down, self.pad)], 1)


class Block(nn.Module):
    """One grid: a layer that gets there and takes in the fields, one more, and the grid's share of RGB."""

    def __init__(self, config: GeneratorConfig, index: int) -> None:
        super().__init__()
        first, second = config.bands(index)
        source = config.bands(max(0, index - 1))[1 if index else 0]
        inputs, outputs = config.channels[max(0, index - 1)], config.channels[index]
        gates = config.fields if index < len(config.channels) - 1 else len(config.detail)
        self.first = Layer(inputs, outputs, gates, config.dim, source, first)
        self.second = Layer(outputs + gates, outputs, 0, config.dim, first, second)
        self.normalise = Normalise()
        self.rgb = ModulatedConv(outputs, 3, config.dim, kernel=1, demodulate=False)
        nn.init.zeros_(self.rgb.weight)

    def forward(self, x: Tensor, w: Tensor, fields: Tensor) -> tuple[Tensor, Tensor]:
        """`w [B, 2, D]`: the styles of this block's layers, the last also for RGB."""
        x = self.second(self.first(x, w[:, 0], fields), w[:, 1])
        return x, self.rgb([self.normalise(x)], w[:, 1])


class Generator(nn.Module):
    """`w_plus [B, L, D]` and fields `[B, F, H, W]` → RGB `[B, 3, H, W]` in about −1..1.

    `fields` come at the size that is painted. For a whole picture they may come at half of it, with the pixels of the
    fine ones in channels: `detail [B, 4·Fd, H/2, W/2]`, as `pixel_unshuffle` puts them. They must be tiles, whole ones:
    the margin shows them going on.

    `depth` 1..len(channels) stops at that grid; training grows by it, and losses on small pictures use it. `part`, rows
    and columns of the last grid but one, paints only these on the last one.
    """

    def __init__(self, config: GeneratorConfig) -> None:
        super().__init__()
        self.config = config
        self.mapping = Mapping(config)
        self.places = Motion(config)
        self.input = FourierInput(config)
        self.blocks = nn.ModuleList(Block(config, i) for i in range(len(config.channels)))
        self.register_buffer("w_avg", torch.zeros(config.dim))
        self.register_buffer("doubling", doubling(), persistent=False)

    @property
    def max_depth(self) -> int:
        return len(self.blocks)

    def size_at(self, depth: int) -> tuple[int, int]:
        return self.config.grids[depth - 1]

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
        depth = depth or self.max_depth
        if depth == self.max_depth:
            fine = fields[:, list(self.config.detail)] if detail is None else nnf.pixel_shuffle(detail, 2)
        pyramid = [fields]
        while pyramid[-1].shape[2] > self.config.start[0]:
            pyramid.append(nnf.avg_pool2d(pyramid[-1], 2))
        at = {level.shape[2]: level for level in pyramid}
        x, picture = self.input(self.places(w_plus[:, 0])), None
        for i, block in enumerate(self.blocks[:depth]):
            last = i == len(self.blocks) - 1
            seen = tiled(fine if last else at[self.config.grids[i][0]], MARGIN + REACH)
            if last and part is not None:
                x, picture = cut(x, part, 1, MARGIN), cut(picture, part, 1, MARGIN)
                seen = cut(seen, part, 2, MARGIN + REACH)
            x, rgb = block(x, w_plus[:, 2 * i : 2 * i + 2], seen)
            picture = rgb if picture is None else rgb + upsample(picture, self.doubling, 2, MARGIN)
        return picture[:, :, MARGIN:-MARGIN, MARGIN:-MARGIN]


def doubling() -> Tensor:
    """Taps that double the rate and keep what the grid could hold."""
    return low_pass(Band(1.0, 0.5, 0.5 * TRANSITION), 2.0)


def tiled(tile: Tensor, margin: int) -> Tensor:
    """`tile [B, C, H, W]` and what lies around it where it is laid again and again."""
    tile = torch.cat([tile[:, :, -margin:], tile, tile[:, :, :margin]], 2)
    return torch.cat([tile[..., -margin:], tile, tile[..., :margin]], 3)


def cut(image: Tensor, part: Part, times: int, margin: int) -> Tensor:
    """`image` with its margin → `part` of a grid `times` as coarse, with the same margin."""
    rows, columns = (slice(times * s.start, times * s.stop + 2 * margin) for s in part)
    return image[:, :, rows, columns]
