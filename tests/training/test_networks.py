"""Networks: modulation is exact, growth has the stated shapes, latents stay bounded."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as nnf
from one_thread import one_thread  # noqa: F401

from training.networks.discriminators import ImageDiscriminator, VideoDiscriminator, films
from training.networks.encoders import Inversion, SoundEncoder, TextEncoder
from training.networks.recurrent import LEAK, RESIDUAL, RecurrentStep
from training.networks.stylegan2 import Generator, GeneratorConfig, ModulatedConv
from training.world import factors, fields

CONFIG = GeneratorConfig(channels=(16, 12), fine=8, head=8, factors=factors.COUNT, fields=fields.COUNT)
GROUPS = {"coarse": (0, 2), "mid": (2, 4), "fine": (4, 6)}


@pytest.fixture(scope="module")
def generator() -> Generator:
    torch.manual_seed(1)
    return Generator(CONFIG)


def grouped(conv: ModulatedConv, x: torch.Tensor, w: torch.Tensor) -> torch.Tensor:
    """StyleGAN2 as published: one set of modulated, demodulated weights a sample, as a grouped convolution."""
    batch, inputs, height, width = x.shape
    style = conv.affine(w)
    weight = conv.weight.transpose(0, 1) if conv.up else conv.weight  # [out, in, k, k]
    weight = weight[None] * style[:, None, :, None, None]
    if conv.demodulate:
        weight = weight * torch.rsqrt(weight.square().sum((2, 3, 4), keepdim=True) + 1e-6)
    outputs = weight.shape[1]
    x = x.reshape(1, batch * inputs, height, width)
    if conv.up:
        x = nnf.conv_transpose2d(x, weight.transpose(1, 2).flatten(0, 1), stride=2, groups=batch)
        x = nnf.conv2d(nnf.pad(x, (1, 1, 1, 1)), conv.fir.repeat(batch, 1, 1, 1), groups=batch * outputs)
    else:
        x = nnf.conv2d(x, weight.flatten(0, 1), padding=conv.kernel // 2, groups=batch)
    return x.view(batch, outputs, *x.shape[2:]) + conv.bias[:, None, None]


@pytest.mark.parametrize(("kernel", "up", "demodulate"), [(3, False, True), (3, True, True), (1, False, False)])
def test_scaling_activations_is_modulating_weights(kernel: int, up: bool, demodulate: bool) -> None:
    torch.manual_seed(2)
    conv = ModulatedConv(5, 7, 4, kernel, up, demodulate).double()
    conv.bias.data.normal_()
    x, w = torch.randn(3, 5, 6, 8, dtype=torch.float64), torch.randn(3, 4, dtype=torch.float64)
    found = conv([x[:, :2], x[:, 2:]], w)  # channels from two places are one input
    assert found.shape == ((3, 7, 12, 16) if up else (3, 7, 6, 8))
    assert torch.allclose(found, grouped(conv, x, w), rtol=0, atol=1e-9)


def test_every_depth_paints_at_its_own_size(generator: Generator) -> None:
    height, width = CONFIG.size
    assert (height, width) == (144, 256)
    assert height / width == 9 / 16
    w = generator.broadcast(generator.mapping(factors.draw(2, torch.Generator().manual_seed(1))))
    assert w.shape == (2, CONFIG.layers, CONFIG.dim)
    for depth in range(1, generator.max_depth + 1):
        size = generator.size_at(depth)
        noise = torch.rand(2, fields.COUNT, *size)
        assert generator(w, noise, depth).shape == (2, 3, *size)


@torch.no_grad()
def test_in_cells_and_by_parts_it_paints_the_same(generator: Generator) -> None:
    """Fields averaged and in cells are what the picture's own size holds; a part differs at its rim alone."""
    torch.nn.init.normal_(generator.head.outer.weight, std=0.1)
    noise = torch.rand(1, fields.COUNT, *CONFIG.size)
    w = generator.broadcast(generator.mapping(factors.draw(1, torch.Generator().manual_seed(2))))
    whole, coarse = generator(w, noise), torch.nn.functional.avg_pool2d(noise, 4)
    cells = torch.nn.functional.pixel_unshuffle(noise[:, list(CONFIG.detail)], 4)
    assert torch.allclose(generator(w, coarse, detail=cells), whole, atol=1e-5)
    part = (slice(4, 13), slice(8, 24))
    cut = generator(w, coarse, detail=cells[..., 8:26, 16:48], part=part)
    assert torch.allclose(cut[..., 8:-8, 8:-8], whole[..., 40:96, 72:184], atol=1e-5)
    assert torch.allclose(generator(w, noise, part=part), cut, atol=1e-5)


def test_groups_cover_every_layer_once(generator: Generator) -> None:
    layers = [i for start, stop in CONFIG.groups.values() for i in range(start, stop)]
    assert layers == list(range(CONFIG.layers))
    assert GeneratorConfig(channels=(4,) * 7).groups == {"coarse": (0, 3), "mid": (3, 6), "fine": (6, 16)}


def test_every_parameter_learns_at_full_size(generator: Generator) -> None:
    generator.zero_grad()
    torch.nn.init.normal_(generator.head.outer.weight)  # starts at zero, so that the head grows in
    vectors = factors.draw(2, torch.Generator().manual_seed(3))
    picture = generator(generator.broadcast(generator.mapping(vectors)), torch.rand(2, fields.COUNT, *CONFIG.size))
    picture.square().mean().backward()
    still = [name for name, p in generator.named_parameters() if p.grad is None or float(p.grad.abs().max()) == 0.0]
    assert still == []
    assert float(generator.mapping.bend[0].weight.grad.abs().max()) > 0


def test_a_layer_of_w_plus_and_a_field_each_change_the_picture(generator: Generator) -> None:
    draws = torch.Generator().manual_seed(4)
    noise = torch.rand(1, fields.COUNT, *CONFIG.size, generator=draws)
    w = generator.broadcast(generator.mapping(factors.draw(1, draws))).clone()
    with torch.no_grad():
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
def test_the_recurrent_step_stays_bounded_for_an_hour() -> None:
    """10^5 steps at 30 Hz are 55 minutes: deltas at the limit of the inversion, and a residual head gone wild."""
    limit, dim = 4.0, 4
    torch.manual_seed(5)
    step = RecurrentStep({"fine": (0, 6)}, dim, hidden=8)  # one group: a third of the time, the same equation
    for head in step.heads.values():
        head.weight.normal_(std=1e3)
        head.bias.normal_(std=1e3)
    step.deviation.fill_(2.0)
    base = torch.randn(1, 6, dim)
    bound = limit + RESIDUAL * 2.0 / LEAK + 1e-3
    w, hidden, farthest = base.clone(), step.start(1), torch.zeros(())
    deltas = limit * (2.0 * torch.randint(0, 2, (1000, 1, 6, dim)) - 1.0)
    noise = torch.randn(1000, 1, 6, dim)
    for number in range(100_000):
        # Long stretches of one sign go furthest.
        delta = deltas[number % 1000] if number % 4000 < 2000 else deltas[0]
        w, hidden = step(w, base, delta, noise[number % 1000], hidden)
        farthest = torch.maximum(farthest, (w - base).abs().max())
    assert torch.isfinite(w).all()
    assert 0.9 * limit < float(farthest) <= bound


@torch.no_grad()
def test_an_untrained_step_follows_the_sound_and_nothing_else() -> None:
    step = RecurrentStep(GROUPS, 4, hidden=8)
    base, delta = torch.randn(1, 6, 4), torch.randn(1, 6, 4)
    w, hidden = base.clone(), step.start(1)
    for _ in range(60):
        w, hidden = step(w, base, delta, torch.randn(1, 6, 4), hidden)
    assert torch.allclose(w, base + delta, atol=1e-5)


@torch.no_grad()
def test_no_input_moves_an_inversion_past_its_limit() -> None:
    torch.manual_seed(6)
    inversion = Inversion(torch.nn.Linear(3, 16), 16, GROUPS, 4, limit=4.0)
    for head in inversion.heads:
        head.weight.normal_(std=100.0)
    delta = inversion(100 * torch.randn(9, 3))
    assert delta.shape == (9, 6, 4)
    assert 3.9 < float(delta.abs().max()) <= 4.0


@torch.no_grad()
def test_sound_and_words_land_on_the_unit_sphere_even_when_there_are_none() -> None:
    silence, nothing = torch.full((2, 1, 128, 128), -2.0), torch.zeros(2, 16, dtype=torch.long)
    for vector in (SoundEncoder(8)(silence), TextEncoder(20, 8)(nothing)):
        assert vector.shape == (2, 8)
        assert torch.allclose(vector.norm(dim=1), torch.ones(2), atol=1e-5)


@torch.no_grad()
def test_only_the_video_critic_sees_the_order_of_frames() -> None:
    torch.manual_seed(7)
    frames = torch.rand(1, 6, 3, 16, 16)
    video, image = VideoDiscriminator(4).eval(), ImageDiscriminator(4).eval()
    backwards = frames.flip(1)
    forward_score, backward_score = video(films(frames)), video(films(backwards))
    assert float((forward_score - backward_score.flip(2)).abs().max()) > 1e-6
    assert torch.allclose(image(frames[0]).mean(), image(backwards[0]).mean(), atol=1e-6)


@torch.no_grad()
def test_settling_keeps_what_was_mapped_and_brings_back_what_was_not(generator: Generator) -> None:
    vectors = factors.draw(64, torch.Generator().manual_seed(6), pair=0.0)
    known = (vectors[:, factors.SCENE_SLICE].sum(1) == 0) | (vectors[:, factors.SCENE_SLICE].amax(1) > 0.3)
    mapped = generator.broadcast(generator.mapping(vectors[known]))
    settle = generator.mapping.settle
    assert torch.allclose(settle(mapped), mapped, rtol=0, atol=0.06)
    learned = factors.COUNT  # what follows from the axes may be anything in a guess
    guess = mapped.clone()
    guess[..., learned:] += torch.randn_like(guess[..., learned:])
    assert torch.allclose(settle(guess), mapped, rtol=0, atol=0.06)
    assert float(settle(mapped * 50)[..., : factors.SCENE_SLICE.start].abs().max()) <= 3.0**0.5
    assert float(settle(mapped * 50)[..., factors.SCENE_SLICE].max()) == 1.0
    calm = mapped[:1].clone()
    calm[..., factors.SCENE_SLICE] = 0.1  # a trace of every scene is none
    assert float(settle(calm)[..., factors.SCENE_SLICE].abs().max()) == 0.0
