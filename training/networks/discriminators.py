"""Critics: one for pictures, one for short films."""

from __future__ import annotations

import torch
import torch.nn.functional as nnf
from torch import Tensor, nn


def _conv(inputs: int, outputs: int, stride: int) -> nn.Conv2d:
    return nn.utils.parametrizations.spectral_norm(nn.Conv2d(inputs, outputs, 4, stride, 1))


class ImageDiscriminator(nn.Module):
    """Patch critic for `[B, 3, H, W]` of any size → scores `[B, 1, h, w]`; sees structure through three strides."""

    def __init__(self, width: int = 32) -> None:
        super().__init__()
        self.layers = nn.ModuleList([_conv(3, width, 2), _conv(width, 2 * width, 2), _conv(2 * width, 4 * width, 2)])
        self.score = nn.Conv2d(4 * width, 1, 3, 1, 1)

    def forward(self, picture: Tensor) -> Tensor:
        for layer in self.layers:
            picture = nnf.leaky_relu(layer(picture), 0.2)
        return self.score(picture)


class VideoDiscriminator(nn.Module):
    """Patch critic for films `[B, 3, T, H, W]` → scores `[B, 1, T, h, w]`.

    Its kernels span three frames; the released code had 1×3×3, blind to motion.
    """

    def __init__(self, width: int = 16) -> None:
        super().__init__()
        norm = nn.utils.parametrizations.spectral_norm
        widths = ((3, width), (width, 2 * width), (2 * width, 4 * width))
        self.layers = nn.ModuleList(norm(nn.Conv3d(a, b, (3, 4, 4), (1, 2, 2), 1)) for a, b in widths)
        self.score = nn.Conv3d(4 * width, 1, (3, 3, 3), 1, 1)

    def forward(self, film: Tensor) -> Tensor:
        for layer in self.layers:
            film = nnf.leaky_relu(layer(film), 0.2)
        return self.score(film)


def films(frames: Tensor) -> Tensor:
    """Frames `[B, T, 3, H, W]` as the video critic takes them, `[B, 3, T, H, W]`."""
    return torch.transpose(frames, 1, 2)
