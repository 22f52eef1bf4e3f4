"""StyleGAN3 as published (Karras et al., *Alias-Free Generative Adversarial Networks*, NeurIPS 2021), configs T and R.

Grids, sampling rates and paddings follow from the picture's resolution (`plan`, their appendix C); the low-passes are
the checkpoint's own. Each layer: modulated convolution with static weights, then the leaky ReLU at twice the rate or
more, between a low-pass on the way up and one on the way down, which is radial (not separable) in config R.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
import torch.nn.functional as nnf
from torch import Tensor, nn

from export.foreign.stylegan2 import EPSILON, GAIN, SLOPE
from export.foreign.tensors import Linear


@dataclass(frozen=True, slots=True)
class Design:
    """What a network is planned from; defaults are those of the published configurations."""

    resolution: int
    num_layers: int = 14
    num_critical: int = 2
    first_cutoff: float = 2.0
    first_stopband: float = 2**2.1
    last_stopband_rel: float = 2**0.3
    margin_size: int = 10
    filter_size: int = 6
    lrelu_upsampling: int = 2


@dataclass(frozen=True, slots=True)
class LayerPlan:
    """Sizes (pixels a side) and factors of one layer; `colour`: the last one, which only mixes channels."""

    inputs: int
    outputs: int
    up: int
    down: int
    colour: bool


def plan(design: Design) -> tuple[list[LayerPlan], float]:
    """The layers of a network, and the sampling rate of its input."""
    steps = design.num_layers - design.num_critical
    last_cutoff = design.resolution / 2
    progress = [min(i / steps, 1.0) for i in range(design.num_layers + 1)]
    first, ratio = design.first_stopband, last_cutoff * design.last_stopband_rel / design.first_stopband
    stopbands = [first * ratio**p for p in progress]
    # A rate is the power of two that holds the stopband, but never more than the picture's own.
    rates = [2 ** math.ceil(math.log2(min(2 * stopband, design.resolution))) for stopband in stopbands]
    sizes = [rate + 2 * design.margin_size for rate in rates]
    sizes[-2:] = [design.resolution] * 2
    layers = []
    for i, (rate, size) in enumerate(zip(rates, sizes, strict=True)):
        before, colour = max(i - 1, 0), i == design.num_layers
        between = max(rates[before], rate) * (1 if colour else design.lrelu_upsampling)
        layers.append(LayerPlan(sizes[before], size, round(between / rates[before]), round(between / rate), colour))
    return layers, float(rates[0])


def crop(layer: LayerPlan, kernel: int, up_taps: int, down_taps: int) -> int:
    """How many samples to leave away at each border on the way up, that the layer's size comes out (appendix C.3).

    Raises ValueError where that is not the same number at both.
    """
    total = (layer.outputs - 1) * layer.down + 1 - (layer.inputs + kernel - 1) * layer.up + up_taps + down_taps - 2
    low = (total + layer.up) // 2
    before, after = up_taps - 1 - low, up_taps - layer.up - (total - low)
    if before != after or before < 0:
        raise ValueError(f"a layer of {layer.outputs} pixels would lie askew")
    return before


class FourierInput(nn.Module):
    """`w [B, D]` → waves `[B, C, size, size]`, turned and moved by `w`.

    `motion`: w → cosine, sine, right, down; `weight [C, C]` with its gain; `frequencies [C, 2]` (right, down) in cycles
    per picture, `phases [C]`, `transform [3, 3]` of the whole picture.
    """

    def __init__(
        self,
        motion: Linear,
        weight: Tensor,
        frequencies: Tensor,
        phases: Tensor,
        transform: Tensor,
        size: int,
        rate: float,
        cutoff: float,
    ) -> None:
        super().__init__()
        self.motion, self.size, self.rate, self.cutoff = motion, size, rate, cutoff
        self.register_buffer("weight", weight[:, :, None, None].contiguous())
        self.register_buffer("frequencies", frequencies)
        self.register_buffer("phases", phases)
        self.register_buffer("transform", transform)
        middle = (torch.arange(size, dtype=torch.float64) + 0.5) / size - 0.5
        self.register_buffer("places", (middle * (size / rate)).float())

    def forward(self, w: Tensor) -> Tensor:
        motion = self.motion(w)
        motion = motion * torch.rsqrt(motion[:, :2].square().sum(1, keepdim=True))
        cos, sin, right, down = motion[:, :, None].unbind(1)
        # Rows of (first the turn, then the way) · transform: where a wave's frequency and phase go.
        t, way_x, way_y = self.transform, sin * down - cos * right, -sin * right - cos * down
        top = [cos * t[0, i] - sin * t[1, i] + way_x * t[2, i] for i in range(3)]
        low = [sin * t[0, i] + cos * t[1, i] + way_y * t[2, i] for i in range(3)]
        fx, fy = self.frequencies.unbind(1)
        x, y, phase = (fx * above + fy * below for above, below in zip(top, low, strict=True))
        phase = phase + self.phases
        over = (torch.sqrt(x.square() + y.square()) - self.cutoff) / (self.rate / 2 - self.cutoff)
        heard = (1 - over).clamp(0, 1)[:, :, None, None]
        along = x[:, :, None, None] * self.places + y[:, :, None, None] * self.places[:, None] + phase[:, :, None, None]
        return nnf.conv2d(torch.sin(2 * math.pi * along) * heard, self.weight)


class Layer(nn.Module):
    """Modulated convolution, bias, filtered leaky ReLU.

    `weight [O, I, k, k]`; `up [taps]` and `down [taps]` or `[taps, taps]`: low-passes, None in the last layer;
    `magnitude`: mean square of the input as it was in training.
    """

    def __init__(
        self,
        layer: LayerPlan,
        weight: Tensor,
        bias: Tensor,
        style: Linear,
        magnitude: float,
        up: Tensor | None,
        down: Tensor | None,
        clamp: float | None,
    ) -> None:
        super().__init__()
        outputs, inputs, kernel, _ = weight.shape
        self.style, self.plan, self.clamp, self.input_gain = style, layer, clamp, magnitude**-0.5
        if layer.colour:
            weight = weight / math.sqrt(inputs * kernel * kernel)
        else:
            weight = weight * torch.rsqrt(weight.square().mean((1, 2, 3), keepdim=True))
        self.register_buffer("weight", weight.contiguous())
        self.register_buffer("square", weight.double().square().sum((2, 3)).t().float().contiguous())
        # The leaky ReLU and the low-pass before it commute with a positive gain.
        self.gain = 1.0 if layer.colour else GAIN
        self.register_buffer("bias", self.gain * bias[:, None, None])
        if up is not None and down is not None:
            self.register_buffer("up", (up * layer.up).expand(outputs, 1, -1).clone())
            self.register_buffer("down", down.expand(outputs, 1, *down.shape).clone())
            self.crop = crop(layer, kernel, len(up), len(down))

    def forward(self, x: Tensor, w: Tensor) -> Tensor:
        style = self.style(w)
        if self.plan.colour:
            x = nnf.conv2d(x * (style * self.input_gain)[:, :, None, None], self.weight) + self.bias
            return x if self.clamp is None else x.clamp(-self.clamp, self.clamp)
        style = style * torch.rsqrt(style.square().mean(1, keepdim=True))
        scale = self.gain * self.input_gain * torch.rsqrt(style.square() @ self.square + EPSILON)
        x = nnf.conv2d(x * style[:, :, None, None], self.weight, padding=self.weight.shape[2] - 1)
        x = nnf.leaky_relu(self._upsampled(x * scale[:, :, None, None] + self.bias), SLOPE)
        return self._downsampled(x if self.clamp is None else x.clamp(-self.clamp, self.clamp))

    def _upsampled(self, x: Tensor) -> Tensor:
        factor, crop, channels = self.plan.up, self.crop, x.shape[1]
        x = nnf.conv_transpose2d(x, self.up[..., None], stride=(factor, 1), padding=(crop, 0), groups=channels)
        return nnf.conv_transpose2d(x, self.up[:, :, None], stride=(1, factor), padding=(0, crop), groups=channels)

    def _downsampled(self, x: Tensor) -> Tensor:
        factor, channels = self.plan.down, x.shape[1]
        if self.down.dim() == 4:
            return nnf.conv2d(x, self.down, stride=factor, groups=channels)
        x = nnf.conv2d(x, self.down[..., None], stride=(factor, 1), groups=channels)
        return nnf.conv2d(x, self.down[:, :, None], stride=(1, factor), groups=channels)


class Synthesis(nn.Module):
    """`w_plus [B, L, D]` → RGB `[B, 3, H, W]` in about −1..1."""

    def __init__(self, source: FourierInput, layers: list[Layer], output_scale: float) -> None:
        super().__init__()
        self.input, self.layers, self.output_scale = source, nn.ModuleList(layers), output_scale

    def styles(self) -> list[list[Linear]]:
        """What shapes the features from each layer of W+; the first layer only moves them, the last only tints."""
        return [[], *([layer.style] for layer in self.layers[:-1]), []]

    def forward(self, w_plus: Tensor) -> Tensor:
        x = self.input(w_plus[:, 0])
        for i, layer in enumerate(self.layers):
            x = layer(x, w_plus[:, i + 1])
        return x * self.output_scale
