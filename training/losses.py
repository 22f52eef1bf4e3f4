"""Losses shared by the stages."""

from __future__ import annotations

import math

import torch
import torch.nn.functional as nnf
from torch import Tensor, nn

from training import distributed


def teach_loss(fake: Tensor, real: Tensor, scales: int = 4) -> Tensor:
    """Multi-scale L1, weighted towards local contrast, plus L1 of the finite differences.

    Flat sky is easy and large; bolts, crests and sparks are small. The weight `1 + 4·|real − blur(real)|` makes them
    count.
    """
    total = fake.new_zeros(())
    for _ in range(scales):
        contrast = (real - nnf.avg_pool2d(real, 5, 1, 2, count_include_pad=False)).abs().mean(1, keepdim=True)
        error = fake - real
        across = (error[..., 1:] - error[..., :-1]).abs().mean()
        down = (error[..., 1:, :] - error[..., :-1, :]).abs().mean()
        total = total + (error.abs() * (1 + 4 * contrast)).mean()
        total = total + across + down
        if min(real.shape[2:]) < 16:
            break
        fake, real = nnf.avg_pool2d(fake, 2), nnf.avg_pool2d(real, 2)
    return total / scales


def discriminator_loss(real: Tensor, fake: Tensor) -> Tensor:
    """Non-saturating logistic loss (Goodfellow et al. 2014; the paper's Eq. 7 as meant)."""
    return nnf.softplus(-real).mean() + nnf.softplus(fake).mean()


def generator_loss(fake: Tensor) -> Tensor:
    """The generator's side of it."""
    return nnf.softplus(-fake).mean()


def r1_penalty(scores: Tensor, real: Tensor) -> Tensor:
    """R1 (Mescheder et al. 2018): squared gradient of the scores at real data."""
    (gradient,) = torch.autograd.grad(scores.sum(), real, create_graph=True)
    return gradient.square().flatten(1).sum(1).mean()


class PathLength(nn.Module):
    """A step of one length in W+ should change every picture by one amount, the running mean of such changes.

    Stands in for StyleGAN2's path length regularisation (Karras et al. 2020, Eq. 4). That one draws y among pictures
    and measures `‖Jᵀy‖`, so that its gradient needs second derivatives of the whole generator. Here ε is drawn in W+,
    and `‖Jε‖` is a finite difference: one more picture.
    """

    def __init__(self, rate: float = 0.01) -> None:
        super().__init__()
        self.rate = rate
        self.register_buffer("mean", torch.tensor(math.nan))

    def forward(self, near: Tensor, far: Tensor, step: float) -> Tensor:
        """`near` and `far [B, 3, H, W]` are `step` apart in W+; the change is a root mean square, divided by `step`."""
        lengths = (far - near).square().flatten(1).mean(1).add(1e-12).sqrt() / step
        now = distributed.average(lengths.detach().mean())
        self.mean.copy_(now if self.mean.isnan() else self.mean.lerp(now, self.rate))
        return (lengths - self.mean).square().mean()


def symmetric_contrastive(a: Tensor, b: Tensor, temperature: Tensor) -> Tensor:
    """Symmetric cross-entropy over a batch of matched unit vectors (CLIP, Radford et al. 2021)."""
    logits = a @ b.t() * temperature
    target = torch.arange(len(a), device=a.device)
    return 0.5 * (nnf.cross_entropy(logits, target) + nnf.cross_entropy(logits.t(), target))


def cosine_distance(a: Tensor, b: Tensor) -> Tensor:
    """`1 − cos(a, b)`, the mean over the batch; both `[B, E]` unit vectors."""
    return (1 - (a * b).sum(-1)).mean()
