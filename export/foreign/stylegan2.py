"""StyleGAN2 as published (Karras et al., *Analyzing and Improving the Image Quality of StyleGAN*, CVPR 2020), config F.

Modulation scales the activations around a convolution with static weights, which is exact and which every runtime runs
fast: `y_o = d_o Σ_i W_oi (s_i x_i)` with `d_o = (Σ_i s_i² Σ_k W_oik² + ε)^−½`. Noise is the constant one of the
checkpoint. What is constant is folded: the √2 after the leaky ReLU lies in `d`, noise and bias.

The mapping network is StyleGAN3's too.
"""

from __future__ import annotations

import math

import torch
import torch.nn.functional as nnf
from torch import Tensor, nn

from export.foreign.tensors import Linear

SLOPE, GAIN = 0.2, math.sqrt(2.0)
EPSILON = 1e-8


class Mapping(nn.Module):
    """`z [B, Z]` → `w [B, D]`. `label [E]`: the normalised embedding of the one class that is shown, if there are any.

    `layers`: without the activation's gain, which is put into them here.
    """

    def __init__(self, layers: list[Linear], label: Tensor | None = None) -> None:
        super().__init__()
        self.layers = nn.ModuleList(Linear(layer.weight * GAIN, layer.bias * GAIN) for layer in layers)
        self.register_buffer("label", label)

    def forward(self, z: Tensor) -> Tensor:
        x = unit(z)
        if self.label is not None:
            x = torch.cat([x, self.label.expand(len(x), -1)], 1)
        for layer in self.layers:
            x = nnf.leaky_relu(layer(x), SLOPE)
        return x


def unit(x: Tensor) -> Tensor:
    """`x [B, N]` over the root of its mean square."""
    return x * torch.rsqrt(x.square().mean(1, keepdim=True) + EPSILON)


class Convolution(nn.Module):
    """Modulated convolution, noise, bias, leaky ReLU.

    `weight [O, I, k, k]`; `style`: w → the I channels' scales; `noise [H, W]` with its strength in it, or None;
    `clamp`: where the result is cut off. `up`: transposed convolution, then the 1-3-3-1 low-pass: twice the grid.
    """

    def __init__(
        self, weight: Tensor, bias: Tensor, style: Linear, noise: Tensor | None, up: bool, clamp: float | None
    ) -> None:
        super().__init__()
        self.style, self.up, self.clamp = style, up, clamp
        self.register_buffer("square", weight.double().square().sum((2, 3)).t().float().contiguous())
        self.register_buffer("weight", (weight.transpose(0, 1) if up else weight).contiguous())
        self.register_buffer("bias", (GAIN * bias)[:, None, None])
        self.register_buffer("noise", None if noise is None or not noise.any() else GAIN * noise)
        self.register_buffer("fir", fir(len(bias)) if up else None)

    def forward(self, x: Tensor, w: Tensor) -> Tensor:
        style = self.style(w)
        x = x * style[:, :, None, None]
        if self.up:
            x = nnf.conv_transpose2d(x, self.weight, stride=2)
            x = nnf.conv2d(x, self.fir, padding=1, groups=x.shape[1])
        else:
            x = nnf.conv2d(x, self.weight, padding=self.weight.shape[2] // 2)
        scale = GAIN * torch.rsqrt(style.square() @ self.square + EPSILON)
        x = x * scale[:, :, None, None] + self.bias
        if self.noise is not None:
            x = x + self.noise
        x = nnf.leaky_relu(x, SLOPE)
        return x if self.clamp is None else x.clamp(-self.clamp, self.clamp)


class Colour(nn.Module):
    """A grid's share of the picture: modulated 1×1 convolution without demodulation, `weight [3, I]` with its gain."""

    def __init__(self, weight: Tensor, bias: Tensor, style: Linear, clamp: float | None) -> None:
        super().__init__()
        self.style, self.clamp = style, clamp
        self.register_buffer("weight", weight[:, :, None, None].contiguous())
        self.register_buffer("bias", bias)

    def forward(self, x: Tensor, w: Tensor) -> Tensor:
        x = nnf.conv2d(x * self.style(w)[:, :, None, None], self.weight, self.bias)
        return x if self.clamp is None else x.clamp(-self.clamp, self.clamp)


class Grid(nn.Module):
    """One resolution: the convolution that gets there, one more, and the share of the picture."""

    def __init__(self, first: Convolution | None, second: Convolution, colour: Colour) -> None:
        super().__init__()
        self.first, self.second, self.colour = first, second, colour


class Synthesis(nn.Module):
    """`w_plus [B, L, D]` → RGB `[B, 3, H, W]` in about −1..1. `constant [C, 4, 4]`; one `Grid` from 4×4 upwards."""

    def __init__(self, constant: Tensor, grids: list[Grid]) -> None:
        super().__init__()
        self.register_buffer("constant", constant[None])
        self.grids = nn.ModuleList(grids)
        self.register_buffer("fir", fir(3))

    def styles(self) -> list[list[Linear]]:
        """What shapes the features from each layer of W+; the pictures' own styles only tint."""
        found: list[list[Linear]] = [[] for _ in range(2 * len(self.grids))]
        for i, grid in enumerate(self.grids):
            if grid.first is not None:
                found[2 * i - 1].append(grid.first.style)
            found[2 * i].append(grid.second.style)
        return found

    def forward(self, w_plus: Tensor) -> Tensor:
        x, picture = self.constant.expand(len(w_plus), -1, -1, -1), None
        for i, grid in enumerate(self.grids):
            if grid.first is not None:
                x = grid.first(x, w_plus[:, 2 * i - 1])
            x = grid.second(x, w_plus[:, 2 * i])
            share = grid.colour(x, w_plus[:, 2 * i + 1])
            picture = share if picture is None else share + self.doubled(picture)
        return picture

    def doubled(self, picture: Tensor) -> Tensor:
        """Zeros between the pixels, then the low-pass."""
        return nnf.conv_transpose2d(picture, self.fir, stride=2, padding=1, groups=3)


def fir(channels: int) -> Tensor:
    """The low-pass 1-3-3-1 of every channel, `[C, 1, 4, 4]`, with the gain of 4 that inserted zeros ask for."""
    taps = torch.tensor([1.0, 3.0, 3.0, 1.0]) / 4
    return (taps[:, None] * taps).expand(channels, 1, 4, 4).clone()
