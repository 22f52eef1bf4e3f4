"""StyleGAN3: what moves the inputs moves the picture, filters stop what they say, every input counts."""

from __future__ import annotations

import math

import pytest
import torch
from one_thread import one_thread  # noqa: F401
from torch import Tensor

from training.networks import stylegan2
from training.networks.stylegan3 import Generator, GeneratorConfig, Normalise, low_pass
from training.world import factors, fields

WORLD = {"factors": factors.COUNT, "normals": factors.SCENE_SLICE.start, "fields": fields.COUNT}
CONFIG = GeneratorConfig(channels=(16, 12, 8), **WORLD)


def styles(network: torch.nn.Module, count: int) -> Tensor:
    return network.broadcast(network.mapping(factors.draw(count, torch.Generator().manual_seed(3))))


@pytest.fixture(scope="module")
def generator() -> Generator:
    """Untrained, but for its magnitudes and an RGB that shows something."""
    torch.manual_seed(1)
    network = Generator(CONFIG)
    with torch.no_grad():
        for block in network.blocks:
            block.rgb.weight.normal_(std=0.2)
        for _ in range(100):
            network(styles(network, 2), torch.rand(2, fields.COUNT, *CONFIG.size))
    return network.eval()


def test_every_depth_paints_at_its_own_size(generator: Generator) -> None:
    assert CONFIG.size == (36, 64)
    assert CONFIG.groups == stylegan2.GeneratorConfig(channels=(16, 12)).groups, "W+ is laid out alike"
    w = styles(generator, 2)
    assert w.shape == (2, CONFIG.layers, CONFIG.dim)
    for depth in range(1, generator.max_depth + 1):
        size = generator.size_at(depth)
        assert generator(w, torch.rand(2, fields.COUNT, *size), depth).shape == (2, 3, *size)


def test_every_parameter_learns_at_full_size(generator: Generator) -> None:
    generator.zero_grad()
    generator(styles(generator, 2), torch.rand(2, fields.COUNT, *CONFIG.size)).square().mean().backward()
    still = [n for n, p in generator.named_parameters() if p.grad is None or float(p.grad.abs().max()) == 0.0]
    assert still == []


@torch.no_grad()
def test_a_layer_of_w_plus_and_a_field_each_change_the_picture(generator: Generator) -> None:
    noise = torch.rand(1, fields.COUNT, *CONFIG.size, generator=torch.Generator().manual_seed(4))
    w = styles(generator, 1).clone()
    before = generator(w, noise)
    for layer in range(CONFIG.layers):
        moved = w.clone()
        moved[:, layer] += 1.0
        assert float((generator(moved, noise) - before).abs().max()) > 1e-5
    for i in range(fields.COUNT):
        other = noise.clone()
        other[:, i] = 1 - other[:, i]
        assert float((generator(w, other) - before).abs().max()) > 1e-6


@torch.no_grad()
def test_on_stage_the_fields_come_at_half_size_and_the_detail_in_cells(generator: Generator) -> None:
    noise, w = torch.rand(1, fields.COUNT, *CONFIG.size), styles(generator, 1)
    half = torch.nn.functional.avg_pool2d(noise, 2)
    detail = torch.nn.functional.pixel_unshuffle(noise[:, list(CONFIG.detail)], 2)
    assert torch.allclose(generator(w, half, detail=detail), generator(w, noise), atol=1e-5)


@torch.no_grad()
def likeness(network: torch.nn.Module, at: Tensor, heights: float, rows: int) -> float:
    """Decibels between the moved picture and the picture of moved inputs; `at` are the places of the network that move
    by `heights`, the fields by as many `rows`."""
    tiles = fields.make_tiles(*network.config.size)[None].expand(2, -1, -1, -1)
    w, place = styles(network, 2), at.clone()
    still = network(w, tiles)
    at += heights
    found = network(w, tiles.roll(rows, 2))
    at.copy_(place)
    error = (found - still.roll(rows, 2))[:, :, rows:].square().mean()
    return float(10 * torch.log10(still.var() / error))


def test_what_moves_the_inputs_moves_the_picture(generator: Generator) -> None:
    down = generator.places.affine.bias.data.view(-1, 4)[:, 2]
    assert likeness(generator, down, 4 / 36, 4) > 45.0, "one pixel of the first grid"
    assert likeness(generator, down, 1 / 36, 1) > 30.0, "a quarter of one"


def test_stylegan2_holds_on_to_the_screen() -> None:
    """The same with all that it can move: its places and the fields, but not the learned constant or the borders."""
    torch.manual_seed(1)
    network = stylegan2.Generator(stylegan2.GeneratorConfig(channels=(16, 12), fine=8, head=8, **WORLD)).eval()
    torch.nn.init.normal_(network.head.outer.weight, std=0.1)
    rows = network.places.affine.bias.data[: network.config.rows]
    assert likeness(network, rows, 2 * 4 / 36, 16) < 20.0


@torch.no_grad()
def test_a_part_is_the_whole_picture_cut(generator: Generator) -> None:
    noise, w = torch.rand(2, fields.COUNT, *CONFIG.size), styles(generator, 2)
    part = generator(w, noise, part=(slice(5, 14), slice(3, 19)))
    assert float((part - generator(w, noise)[:, :, 10:28, 6:38]).abs().max()) < 5e-3


@pytest.mark.parametrize("grid", [0, 1, 2])
def test_low_passes_stop_what_a_grid_cannot_hold(grid: int) -> None:
    for band in CONFIG.bands(grid):
        for times in (2, 4):
            taps = low_pass(band, times * band.rate).double()
            assert len(taps) == 6 * times
            time = (torch.arange(len(taps)) - (len(taps) - 1) / 2) / (times * band.rate)
            frequencies = torch.linspace(0, times * band.rate / 2, 200, dtype=torch.float64)
            gain = (taps * torch.cos(2 * math.pi * frequencies[:, None] * time)).sum(1)
            passed = frequencies <= band.cutoff - band.half_width
            stopped = frequencies >= band.cutoff + band.half_width
            assert float((gain[passed] - 1).abs().max()) < 0.08
            assert float(gain[stopped].abs().max()) < 0.06


def test_layers_get_what_their_source_lets_through() -> None:
    bands = [band for grid in range(3) for band in CONFIG.bands(grid)]
    cutoffs = [band.cutoff for band in bands]
    assert cutoffs == sorted(cutoffs)
    assert cutoffs[-1] == CONFIG.size[0] / 2, "the last grid is sampled critically"
    assert all(band.cutoff + band.half_width <= band.rate / 2 for band in bands[:-2]), "no other grid is"


def test_magnitudes_follow_in_training_and_stay_afterwards() -> None:
    norm, x = Normalise(), 10.0 * torch.randn(4, 8, 9, 16)
    for _ in range(1500):
        found = norm(x)
    assert float(found.square().mean()) == pytest.approx(1.0, rel=1e-3)
    fixed = norm.eval().magnitude.clone()
    assert float(norm(3.0 * x).square().mean()) == pytest.approx(9.0, rel=1e-3)
    assert torch.equal(norm.magnitude, fixed)
    assert "magnitude" in norm.state_dict()
