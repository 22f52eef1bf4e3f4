"""What is written otherwise for the runtimes computes the same."""

from __future__ import annotations

import copy

import torch
from torch import nn

from export.graphs import FlatGroupNorm, flat
from training.networks.encoders import SoundEncoder


def test_a_flat_group_normalisation_is_one() -> None:
    torch.manual_seed(0)
    norm = nn.GroupNorm(8, 48)
    nn.init.normal_(norm.weight)
    nn.init.normal_(norm.bias)
    x = 3.0 * torch.randn(1, 48, 9, 16) + 1.0
    assert torch.allclose(FlatGroupNorm(norm)(x), norm(x), atol=1e-5)


def test_an_encoder_is_copied_and_every_normalisation_in_it_flat() -> None:
    torch.manual_seed(0)
    encoder = SoundEncoder().eval()
    before = copy.deepcopy(encoder.state_dict())
    made = flat(encoder)
    kinds = [type(module) for module in made.modules() if not isinstance(module, FlatGroupNorm)]
    assert sum(isinstance(module, FlatGroupNorm) for module in made.modules()) == 6
    assert kinds.count(nn.GroupNorm) == 6, "each inside a flat one"
    mel = torch.randn(1, 1, 128, 128)
    assert torch.allclose(made(mel), encoder(mel), atol=1e-5)
    assert all(torch.equal(value, before[name]) for name, value in encoder.state_dict().items())
