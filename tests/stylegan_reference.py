"""StyleGAN2 and StyleGAN3 in float64, straight from the published equations: simple, slow, no line shared with ours.

Weights are modulated and demodulated for each picture, zeros are put between samples one by one, low-passes are plain
convolutions, and tensors are taken by the names of the checkpoint.
"""

from __future__ import annotations

import math

import torch
import torch.nn.functional as nnf
from torch import Tensor

Tensors = dict[str, Tensor]


def paint(tensors: Tensors, z: Tensor, label: int | None = None, clamp: float | None = 256.0) -> Tensor:
    """The RGB picture `[3, H, W]` of a latent `z [Z]`, float64, before it becomes grey levels."""
    t = {name: tensor.double() for name, tensor in tensors.items()}
    if "style.1.weight" in t:
        return synthesis_rosinality(t, mapping_rosinality(t, z.double()))
    w = mapping(t, z.double(), label)
    return synthesis3(t, w, clamp) if "synthesis.input.freqs" in t else synthesis2(t, w, clamp)


def grey_levels(picture: Tensor) -> Tensor:
    """`[H, W, 3]` uint8."""
    return (picture * 127.5 + 128).clamp(0, 255).to(torch.uint8).permute(1, 2, 0)


def normalised(x: Tensor) -> Tensor:
    return x / (x.square().mean() + 1e-8).sqrt()


def dense(t: Tensors, path: str, x: Tensor, rate: float = 1.0) -> Tensor:
    weight = t[f"{path}.weight"]
    return weight @ x * rate / math.sqrt(weight.shape[1]) + t[f"{path}.bias"] * rate


def lrelu(x: Tensor) -> Tensor:
    return math.sqrt(2) * torch.where(x < 0, 0.2 * x, x)


def mapping(t: Tensors, z: Tensor, label: int | None) -> Tensor:
    x = normalised(z)
    if label is not None:
        x = torch.cat(
            [x, normalised(dense(t, "mapping.embed", torch.eye(t["mapping.embed.weight"].shape[1]).double()[label]))]
        )
    layer = 0
    while f"mapping.fc{layer}.weight" in t:
        x = lrelu(dense(t, f"mapping.fc{layer}", x, 0.01))
        layer += 1
    return x


def zeros_between(x: Tensor, factor: int) -> Tensor:
    """`[C, H, W]` → `[C, H·factor, W·factor]`: every sample, then zeros."""
    channels, height, width = x.shape
    out = x.new_zeros(channels, height * factor, width * factor)
    for row in range(height):
        out[:, row * factor, ::factor] = x[:, row]
    return out


def filtered(x: Tensor, kernel: Tensor) -> Tensor:
    """Each channel convolved with one kernel, where it fits: `[k, k]`, or `[k]` down and then across."""
    if kernel.dim() == 1:
        return filtered(filtered(x, kernel[:, None]), kernel[None])
    parts = x[:, None].split(4)  # torch unfolds all that it is given, a hundredfold for a radial kernel
    return torch.cat([nnf.conv2d(part, kernel.flip(0, 1)[None, None])[:, 0] for part in parts])


FIR = torch.tensor([1.0, 3.0, 3.0, 1.0], dtype=torch.float64) / 8


def modulated(weight: Tensor, style: Tensor, demodulate: bool) -> Tensor:
    weight = weight * style[None, :, None, None]
    if demodulate:
        weight = weight / (weight.square().sum((1, 2, 3), keepdim=True) + 1e-8).sqrt()
    return weight


def convolved2(x: Tensor, weight: Tensor, up: bool) -> Tensor:
    if not up:
        return nnf.conv2d(x[None], weight, padding=1)[0]
    # A transposed convolution: zeros between, then a true convolution, whose last row and column only see zeros.
    x = nnf.pad(zeros_between(x, 2)[:, :-1, :-1], (2, 2, 2, 2))
    x = nnf.conv2d(x[None], weight.flip(2, 3))[0]
    return filtered(nnf.pad(x, (1, 1, 1, 1)), 2 * FIR)


def doubled2(picture: Tensor) -> Tensor:
    return filtered(nnf.pad(zeros_between(picture, 2), (2, 1, 2, 1)), 2 * FIR)


def cut_off(x: Tensor, clamp: float | None) -> Tensor:
    return x if clamp is None else x.clamp(-clamp, clamp)


def synthesis2(t: Tensors, w: Tensor, clamp: float | None) -> Tensor:
    def layer(path: str, x: Tensor, up: bool) -> Tensor:
        weight = modulated(t[f"{path}.weight"], dense(t, f"{path}.affine", w), demodulate=True)
        x = convolved2(x, weight, up) + t[f"{path}.noise_const"] * t[f"{path}.noise_strength"]
        return cut_off(lrelu(x + t[f"{path}.bias"][:, None, None]), clamp)

    x, picture, size = t["synthesis.b4.const"], None, 4
    while f"synthesis.b{size}.conv1.weight" in t:
        path = f"synthesis.b{size}"
        if size > 4:
            x = layer(f"{path}.conv0", x, up=True)
        x = layer(f"{path}.conv1", x, up=False)
        style = dense(t, f"{path}.torgb.affine", w) / math.sqrt(len(x))
        share = nnf.conv2d(x[None], modulated(t[f"{path}.torgb.weight"], style, demodulate=False))[0]
        share = cut_off(share + t[f"{path}.torgb.bias"][:, None, None], clamp)
        picture = share if picture is None else doubled2(picture) + share
        size *= 2
    return picture


def mapping_rosinality(t: Tensors, z: Tensor) -> Tensor:
    x = normalised(z)
    for layer in range(1, 9):
        x = lrelu(dense(t, f"style.{layer}", x, 0.01))
    return x


def synthesis_rosinality(t: Tensors, w: Tensor) -> Tensor:
    def layer(path: str, x: Tensor, noise: int, up: bool) -> Tensor:
        weight = t[f"{path}.conv.weight"][0] / math.sqrt(9 * len(x))
        x = convolved2(x, modulated(weight, dense(t, f"{path}.conv.modulation", w), demodulate=True), up)
        x = x + t[f"{path}.noise.weight"] * t[f"noises.noise_{noise}"][0]
        return lrelu(x + t[f"{path}.activate.bias"][:, None, None])

    def colour(path: str, x: Tensor) -> Tensor:
        weight = t[f"{path}.conv.weight"][0] / math.sqrt(len(x))
        return (
            nnf.conv2d(x[None], modulated(weight, dense(t, f"{path}.conv.modulation", w), False))[0]
            + t[f"{path}.bias"][0]
        )

    x = layer("conv1", t["input.input"][0], 0, up=False)
    picture, block = colour("to_rgb1", x), 0
    while f"to_rgbs.{block}.bias" in t:
        x = layer(f"convs.{2 * block}", x, 2 * block + 1, up=True)
        x = layer(f"convs.{2 * block + 1}", x, 2 * block + 2, up=False)
        picture = doubled2(picture) + colour(f"to_rgbs.{block}", x)
        block += 1
    return picture


def fourier_features(t: Tensors, w: Tensor, size: int, rate: float, cutoff: float = 2.0) -> Tensor:
    motion = dense(t, "synthesis.input.affine", w)
    cos, sin, right, down = motion / motion[:2].norm()
    turn, way = torch.eye(3).double(), torch.eye(3).double()
    turn[:2, :2] = torch.stack([torch.stack([cos, -sin]), torch.stack([sin, cos])])
    way[:2, 2] = -torch.stack([right, down])
    transform = turn @ way @ t["synthesis.input.transform"]
    frequencies = t["synthesis.input.freqs"] @ transform[:2, :2]
    phases = t["synthesis.input.phases"] + t["synthesis.input.freqs"] @ transform[:2, 2]
    heard = (1 - (frequencies.norm(dim=1) - cutoff) / (rate / 2 - cutoff)).clamp(0, 1)
    out = torch.zeros(len(phases), size, size).double()
    for row in range(size):
        for column in range(size):
            place = torch.tensor([column + 0.5 - size / 2, row + 0.5 - size / 2]).double() / rate
            out[:, row, column] = heard * torch.sin(2 * math.pi * (frequencies @ place + phases))
    weight = t["synthesis.input.weight"] / math.sqrt(len(phases))
    return torch.einsum("oc,chw->ohw", weight, out)


def synthesis3(t: Tensors, w: Tensor, clamp: float | None) -> Tensor:
    paths = sorted(
        {".".join(n.split(".")[:2]) for n in t if n.startswith("synthesis.L")}, key=lambda p: int(p[11:].split("_")[0])
    )
    sizes = [int(path.split("_")[1]) for path in paths]
    x = fourier_features(t, w, sizes[0], sizes[0] - 20)
    for path, size, before in zip(paths, sizes, [sizes[0], *sizes], strict=False):
        colour = path == paths[-1]
        weight, style = t[f"{path}.weight"], dense(t, f"{path}.affine", w)
        kernel = weight.shape[2]
        if colour:
            style = style / math.sqrt(weight.shape[1] * kernel**2)
        else:
            weight = weight / weight.square().mean((1, 2, 3), keepdim=True).sqrt()
            style = style / style.square().mean().sqrt()
        weight = modulated(weight, style, not colour) / t[f"{path}.magnitude_ema"].sqrt()
        x = nnf.conv2d(x[None], weight, padding=kernel - 1)[0] + t[f"{path}.bias"][:, None, None]
        if colour:
            x = cut_off(x, clamp)
            continue
        up, down = t[f"{path}.up_filter"], t[f"{path}.down_filter"]
        factor, factor_down = len(up) // 6, len(down) // 6
        total = (size - 1) * factor_down + 1 - (before + kernel - 1) * factor + len(up) + len(down) - 2
        low = (total + factor) // 2
        x = nnf.pad(zeros_between(x, factor), (low, total - low, low, total - low))
        x = filtered(x, factor * up)
        x = filtered(cut_off(lrelu(x), clamp), down)[:, ::factor_down, ::factor_down]
    return 0.25 * x
