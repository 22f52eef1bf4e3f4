"""Losses shared by the stages."""

from __future__ import annotations

import torch
import torch.nn.functional as nnf
from torch import Tensor


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


def symmetric_contrastive(a: Tensor, b: Tensor, temperature: Tensor) -> Tensor:
    """Symmetric cross-entropy over a batch of matched unit vectors (CLIP, Radford et al. 2021)."""
    logits = a @ b.t() * temperature
    target = torch.arange(len(a), device=a.device)
    return 0.5 * (nnf.cross_entropy(logits, target) + nnf.cross_entropy(logits.t(), target))


def cosine_distance(a: Tensor, b: Tensor) -> Tensor:
    """`1 − cos(a, b)`, the mean over the batch; both `[B, E]` unit vectors."""
    return (1 - (a * b).sum(-1)).mean()
