"""Encoders: the three towers of the joint embedding, and the two inversion encoders that answer in W+.

All are small convolutional networks without running statistics, so that training, export and batch 1 agree.
"""

from __future__ import annotations

import torch
import torch.nn.functional as nnf
from torch import Tensor, nn


def _stage(inputs: int, outputs: int) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(inputs, outputs, 3, 2, 1), nn.GroupNorm(8, outputs), nn.SiLU(),
        nn.Conv2d(outputs, outputs, 3, 1, 1, groups=8), nn.GroupNorm(8, outputs), nn.SiLU(),
    )  # fmt: skip


class SoundTrunk(nn.Module):
    """Mel window `[B, 1, bands, columns]` → `[B, width]`.

    Every other convolution is grouped: the trunk must cost a fifth of a frame at most. Time is pooled by mean and by
    maximum, since a stroke is short and a wash is long; frequency is kept until the last layer. The stages normalise,
    so they hear what it is but not how loud; the mel's own levels, over the window and over its newest sixth of a
    second, go past them.
    """

    LEVELS = 16  # bands of eight mels

    def __init__(self, bands: int = 128, width: int = 192) -> None:
        super().__init__()
        self.stages = nn.Sequential(
            nn.Conv2d(1, 24, 5, 2, 2), nn.SiLU(), _stage(24, 48), _stage(48, 96), _stage(96, 128)
        )
        self.mix = nn.Linear(2 * 128 * (bands // 16) + 2 * self.LEVELS, width)

    def forward(self, mel: Tensor) -> Tensor:
        x = self.stages(mel)
        # The newest third of a second beside the whole window: the picture must turn as soon as the sound does.
        x = torch.cat([x.mean(3), 0.5 * (x.amax(3) + x[..., -2:].mean(3))], 1)
        levels = torch.cat([mel.mean(3), mel[..., -16:].mean(3)], 1).unflatten(2, (self.LEVELS, -1)).mean(3)
        return nnf.silu(self.mix(torch.cat([x.flatten(1), levels.flatten(1)], 1)))


class SoundEncoder(nn.Module):
    """F_a: mel window → unit vector `[B, E]`."""

    def __init__(self, embedding: int = 64) -> None:
        super().__init__()
        self.trunk = SoundTrunk()
        self.project = nn.Linear(192, embedding)

    def forward(self, mel: Tensor) -> Tensor:
        return nnf.normalize(self.project(self.trunk(mel)), dim=1)


class ImageEncoder(nn.Module):
    """F_v: picture `[B, 3, 72, 128]` in −1..1 → unit vector `[B, E]`."""

    def __init__(self, embedding: int = 64) -> None:
        super().__init__()
        self.stages = nn.Sequential(
            nn.Conv2d(3, 32, 5, 2, 2), nn.SiLU(), _stage(32, 64), _stage(64, 96), _stage(96, 128)
        )
        self.project = nn.Linear(3 * 128, embedding)

    def forward(self, picture: Tensor) -> Tensor:
        x = self.stages(picture)
        upper, lower = x[:, :, : x.shape[2] // 2], x[:, :, x.shape[2] // 2 :]
        x = torch.cat([upper.mean((2, 3)), lower.mean((2, 3)), x.amax((2, 3))], 1)
        return nnf.normalize(self.project(x), dim=1)


class TextTrunk(nn.Module):
    """Tokens `[B, length]` → `[B, 128]`: words and their neighbours, pooled by mean and maximum over those present."""

    def __init__(self, words: int, width: int = 96) -> None:
        super().__init__()
        self.table = nn.Embedding(words + 2, width, padding_idx=0)
        self.order = nn.Conv1d(width, width, 3, padding=1)
        self.mix = nn.Linear(2 * width, 128)

    def forward(self, tokens: Tensor) -> Tensor:
        present = (tokens > 0).float().unsqueeze(2)
        # Not self.table(tokens): its ONNX node would take the name of the output `embedding`.
        x = self.table.weight[tokens]
        x = (x + nnf.silu(self.order(x.transpose(1, 2))).transpose(1, 2)) * present
        mean = x.sum(1) / present.sum(1).clamp(min=1.0)
        top = (x + 20.0 * (present - 1.0)).amax(1).clamp(min=-10.0)
        return nnf.silu(self.mix(torch.cat([mean, top], 1)))


class TextEncoder(nn.Module):
    """F_t: tokens → unit vector `[B, E]`."""

    def __init__(self, words: int, embedding: int = 64) -> None:
        super().__init__()
        self.trunk = TextTrunk(words)
        self.project = nn.Linear(128, embedding)

    def forward(self, tokens: Tensor) -> Tensor:
        return nnf.normalize(self.project(self.trunk(tokens)), dim=1)


class Inversion(nn.Module):
    """The head of an inversion encoder (Eq. 1, ŵ = w + Δ): one map for each of the coarse, mid and fine layers.

    `delta [B, L, D]` is bounded softly by `limit`, so that no sound can throw the recurrent step out of W+.
    """

    def __init__(
        self, trunk: nn.Module, width: int, groups: dict[str, tuple[int, int]], dim: int, limit: float = 4.0
    ) -> None:
        super().__init__()
        self.trunk, self.dim, self.limit = trunk, dim, limit
        self.heads = nn.ModuleList(nn.Linear(width, (stop - start) * dim) for start, stop in groups.values())
        for head in self.heads:
            nn.init.normal_(head.weight, std=0.01)
            nn.init.zeros_(head.bias)

    def forward(self, x: Tensor) -> Tensor:
        features = self.trunk(x)
        delta = torch.cat([head(features) for head in self.heads], 1)
        return (self.limit * torch.tanh(delta / self.limit)).view(x.shape[0], -1, self.dim)
