"""Losses: nothing to learn from equal pictures, contrast counts more, critics pull the right way."""

from __future__ import annotations

import pytest
import torch
from one_thread import one_thread  # noqa: F401

from training.losses import (
    PathLength,
    cosine_distance,
    discriminator_loss,
    generator_loss,
    r1_penalty,
    symmetric_contrastive,
    teach_loss,
)


def test_equal_pictures_teach_nothing() -> None:
    picture = torch.rand(2, 3, 36, 64)
    assert float(teach_loss(picture, picture)) == 0.0
    assert float(teach_loss(picture + 0.1, picture)) > 0.05


def test_an_error_where_there_is_contrast_counts_more() -> None:
    """The same error, once on flat sky and once on a chequered ground."""
    real = torch.zeros(1, 3, 32, 64)
    real[..., 32:] = (torch.arange(32)[:, None] + torch.arange(32)).remainder(2) * 2.0 - 1.0
    error = torch.zeros_like(real)
    error[..., 8:16, 8:16] = 0.2
    assert float(teach_loss(real + error.roll(40, 3), real)) > 1.5 * float(teach_loss(real + error, real))


def test_teaching_works_down_to_the_smallest_grid_and_has_a_gradient() -> None:
    fake = torch.zeros(1, 3, 9, 16, requires_grad=True)
    teach_loss(fake, torch.rand(1, 3, 9, 16)).backward()
    assert float(fake.grad.abs().min()) > 0


def test_critic_losses_reward_the_right_side() -> None:
    good, bad = torch.full((4, 1), 3.0), torch.full((4, 1), -3.0)
    assert float(discriminator_loss(good, bad)) < float(discriminator_loss(bad, good))
    assert float(generator_loss(good)) < float(generator_loss(bad))


def test_r1_is_the_squared_gradient() -> None:
    real = torch.randn(5, 3, 2, 2, requires_grad=True)
    scores = 2.0 * real.flatten(1).sum(1)
    assert float(r1_penalty(scores, real)) == pytest.approx(4.0 * 12)


def steps_away(w: torch.Tensor) -> torch.Tensor:
    return w + torch.nn.functional.normalize(torch.randn_like(w), dim=1)


def test_a_scaled_rotation_has_one_path_length() -> None:
    """Pictures `w A` with orthonormal rows times 3: every unit step changes 48 values by 3 / √48."""
    torch.manual_seed(1)
    way, _ = torch.linalg.qr(torch.randn(48, 8))
    paint = (3.0 * way.t()).double()
    path, w = PathLength(), torch.randn(16, 8, dtype=torch.float64)
    penalty = path(w @ paint, (w + 0.5 * (steps_away(w) - w)) @ paint, 0.5)
    assert float(path.mean) == pytest.approx(3.0 / 48**0.5, rel=1e-6)
    assert float(penalty) < 1e-12


def test_the_mean_of_path_lengths_follows_slowly() -> None:
    path, near = PathLength(rate=0.25), torch.zeros(2, 3, 4, 4)
    assert float(path(near, near + 1.0, 1.0)) == pytest.approx(0.0, abs=1e-9)
    assert float(path(near, near + 3.0, 1.0)) == pytest.approx((3.0 - 1.5) ** 2)
    assert float(path.mean) == pytest.approx(1.5)


def test_path_length_evens_out_the_directions_of_a_map() -> None:
    torch.manual_seed(2)
    paint, path = torch.diag(torch.tensor([4.0, 1.0, 1.0, 0.25])), PathLength()
    for _ in range(100):
        w = torch.randn(32, 4)
        paint.requires_grad_()
        (gradient,) = torch.autograd.grad(path(w @ paint, steps_away(w) @ paint, 1.0), paint)
        paint = (paint - gradient).detach()
    greatest, least = torch.linalg.svdvals(paint)[[0, -1]]
    assert float(greatest / least) < 1.5, "16 at the start"
    assert float(greatest) > 0.5, "it evens out, it does not vanish"


def test_matched_pairs_cost_less_than_shuffled_ones() -> None:
    a = torch.nn.functional.normalize(torch.randn(8, 16, generator=torch.Generator().manual_seed(1)), dim=1)
    heat = torch.tensor(20.0)
    assert float(symmetric_contrastive(a, a, heat)) < 0.1 < float(symmetric_contrastive(a, a.roll(1, 0), heat))
    b = a.roll(3, 0)
    assert float(symmetric_contrastive(a, b, heat)) == pytest.approx(float(symmetric_contrastive(b, a, heat)))


def test_cosine_distance_of_equal_and_opposite_vectors() -> None:
    a = torch.nn.functional.normalize(torch.randn(3, 8), dim=1)
    assert float(cosine_distance(a, a)) == pytest.approx(0.0, abs=1e-6)
    assert float(cosine_distance(a, -a)) == pytest.approx(2.0, abs=1e-6)
