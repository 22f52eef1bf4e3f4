"""Our networks answer as the published equations do: every layout against the float64 reference."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from checkpoint_files import (
    Tensors,
    rosinality_tensors,
    stylegan2_tensors,
    stylegan3_tensors,
    write_nvidia,
    write_safetensors,
    write_torch,
)
from stylegan_reference import paint

from engine.errors import CheckpointRefused, CymaticError
from export.foreign.checkpoint import open_checkpoint
from export.foreign.layouts import Foreign, build
from export.foreign.stylegan3 import Design, plan

pytestmark = pytest.mark.timeout(600)
EXACT = 1e-4  # of the picture's standard deviation; float32 leaves a tenth of it


@pytest.fixture(autouse=True)
def one_thread():
    """Sums in one order; neighbours keep their cores."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def opened(path: Path, label: int | None = None) -> Foreign:
    with open_checkpoint(path) as checkpoint:
        return build(checkpoint, label)


@torch.no_grad()
def difference(foreign: Foreign, tensors: Tensors, label: int | None = None, clamp: float | None = 256.0) -> float:
    """Greatest error of two pictures, relative to how much they vary."""
    worst = 0.0
    for seed in (1, 2):
        z = 1.5 * torch.randn(1, foreign.z_dim, generator=torch.Generator().manual_seed(seed))
        w_plus = foreign.mapping(z)[:, None].expand(-1, foreign.layers, -1)
        expected = paint(tensors, z[0], label, clamp)
        assert expected.shape == (3, foreign.resolution, foreign.resolution)
        assert expected.std() > 0.01, "a picture, not a wall"
        worst = max(worst, float((foreign.synthesis(w_plus)[0] - expected).abs().max() / expected.std()))
    return worst


def small3(**options: int) -> Tensors:
    return stylegan3_tensors("T", 16, most=6, **options)


CASES = {
    "config F's shape": (stylegan2_tensors(32), "StyleGAN2", 8),
    "more channels than the first grid": (stylegan2_tensors(16, most=24, base=1024, seed=1), "StyleGAN2", 6),
    "config T": (stylegan3_tensors("T", 32), "StyleGAN3-T", 16),
    "config R": (stylegan3_tensors("R", 16, most=8), "StyleGAN3-R", 16),
    "T, rates that grow fast": (stylegan3_tensors("T", 64, most=4, layers=5), "StyleGAN3-T", 7),
    "R, few layers": (stylegan3_tensors("R", 16, layers=7, critical=3), "StyleGAN3-R", 9),
}


@pytest.mark.parametrize("case", CASES)
def test_nvidias_layouts(case: str, tmp_path: Path) -> None:
    tensors, kind, layers = CASES[case]
    count = layers - 2
    options = {"": {"_init_kwargs": {"num_critical": 3}}} if count == 7 else None
    foreign = opened(write_nvidia(tmp_path / "x.pkl", tensors, options=options))
    assert (foreign.kind, foreign.layers, foreign.dim, foreign.z_dim) == (kind, layers, 16, 16)
    assert difference(foreign, tensors) < EXACT


@pytest.mark.parametrize("legacy", [False, True])
def test_rosinalitys_layout(legacy: bool, tmp_path: Path) -> None:
    tensors = rosinality_tensors(32)
    mean = torch.linspace(-1, 1, 16)
    foreign = opened(write_torch(tmp_path / "x.pt", tensors, legacy, latent_avg=mean, g_optim={"state": {0: mean}}))
    assert (foreign.kind, foreign.layers) == ("StyleGAN2", 8)
    assert torch.equal(foreign.w_avg, mean)
    assert difference(foreign, tensors) < EXACT


def test_without_a_mean_latent_it_is_measured(tmp_path: Path) -> None:
    foreign = opened(write_torch(tmp_path / "x.pt", rosinality_tensors(8)))
    with torch.no_grad():
        w = foreign.mapping(torch.randn(2000, 16, generator=torch.Generator().manual_seed(8)))
    assert (foreign.w_avg - w.mean(0)).abs().max() < 0.1 * w.std()


@pytest.mark.parametrize("make", [stylegan2_tensors, small3])
def test_a_class_is_chosen(make, tmp_path: Path) -> None:
    tensors = make(classes=5, seed=2)
    path = write_nvidia(tmp_path / "x.pkl", tensors)
    assert difference(opened(path, 3), tensors, 3) < EXACT
    assert difference(opened(path, 3), tensors, 2) > 1e-2, "another class is another picture"
    with pytest.raises(CymaticError, match=r"5 classes: choose one with --class 0\.\.4"):
        opened(path)
    with pytest.raises(CymaticError, match="--class 5 is not between 0 and 4"):
        opened(path, 5)
    plain = write_nvidia(tmp_path / "y.pkl", make())
    with pytest.raises(CymaticError, match="no classes"):
        opened(plain, 0)


@pytest.mark.parametrize("make", [stylegan2_tensors, small3])
def test_outputs_are_cut_off_where_the_file_says(make, tmp_path: Path) -> None:
    tensors = make(seed=5)
    for clamp in (None, 0.9, 256.0):
        foreign = opened(write_nvidia(tmp_path / "x.pkl", tensors, clamp=clamp))
        assert difference(foreign, tensors, clamp=clamp) < EXACT
    assert difference(foreign, tensors, clamp=0.9) > 1e-2, "a low clamp shows"


def test_a_file_of_tensors_alone_is_taken_as_published(tmp_path: Path) -> None:
    three, two = stylegan3_tensors("R", 16, most=8), stylegan2_tensors()
    assert difference(opened(write_safetensors(tmp_path / "3.safetensors", three)), three) < EXACT
    assert difference(opened(write_safetensors(tmp_path / "2.safetensors", two, "G_ema.")), two, clamp=None) < EXACT


def test_noise_that_a_generator_does_not_use_stays_out(tmp_path: Path) -> None:
    tensors = stylegan2_tensors(16)
    options = {name.rpartition(".")[0]: {"use_noise": False} for name in tensors if name.endswith("noise_const")}
    silent = {name: tensor * ("noise_strength" not in name) for name, tensor in tensors.items()}
    foreign = opened(write_nvidia(tmp_path / "x.pkl", tensors, options=options))
    assert difference(foreign, silent) < EXACT
    assert difference(foreign, tensors) > 1e-2


def test_a_users_transform_turns_the_waves(tmp_path: Path) -> None:
    tensors = small3()
    tensors["synthesis.input.transform"] = torch.tensor([[1.4, -0.5, 0.1], [0.6, 1.2, -0.2], [0.0, 0.0, 1.0]])
    foreign = opened(write_nvidia(tmp_path / "x.pkl", tensors))
    assert difference(foreign, tensors) < EXACT
    assert difference(foreign, small3()) > 1e-2


def test_published_networks_are_planned_as_they_were_trained() -> None:
    layers, rate = plan(Design(1024))
    sizes = [layer.outputs for layer in layers]
    assert sizes == [36, 36, 52, 52, 84, 148, 148, 276, 276, 532, 1044, 1044, 1044, 1024, 1024]
    assert rate == 16
    assert [layer.up for layer in layers][:6] == [2, 2, 4, 2, 4, 4]
    assert all(layer.down == (1 if layer.colour else 2) for layer in layers)


def test_half_precision_numbers_are_read(tmp_path: Path) -> None:
    tensors = stylegan2_tensors(8, 8, 64, 8, 8)
    for kind in (torch.float16, torch.bfloat16, torch.float64):
        short = {name: tensor.to(kind) for name, tensor in tensors.items()}
        for path in (
            write_nvidia(tmp_path / "x.pkl", short),
            write_torch(tmp_path / "x.pt", short),
            write_safetensors(tmp_path / "x.safetensors", short),
        ):
            with open_checkpoint(path) as checkpoint:
                found = checkpoint.tensors["mapping.fc0.weight"].array()
            assert torch.equal(torch.from_numpy(found), short["mapping.fc0.weight"].float())


def test_tensors_come_as_they_lie(tmp_path: Path) -> None:
    """Transposed, cut out of a larger storage, shared: torch's own reader sees the same."""
    block = torch.arange(60.0).view(3, 4, 5)
    odd = {"a": block.transpose(0, 2), "b": block[1, 1:3, ::2], "c": block, "d": torch.tensor(7.0)}
    for legacy in (False, True):
        path = write_torch(tmp_path / "x.pt", odd, legacy)
        theirs = torch.load(path, weights_only=True)["g_ema"]
        with open_checkpoint(path) as checkpoint:
            assert set(checkpoint.tensors) == set(odd)
            for name, tensor in theirs.items():
                found = checkpoint.tensors[name]
                assert found.shape == tuple(tensor.shape)
                assert torch.equal(torch.from_numpy(found.array()), tensor)


@pytest.mark.parametrize("protocol", [2, 3, 4, 5])
def test_every_protocol_that_checkpoints_have(protocol: int, tmp_path: Path) -> None:
    tensors = stylegan2_tensors(8, 8, 64, 8, 8)
    with open_checkpoint(write_nvidia(tmp_path / "x.pkl", tensors, protocol=protocol)) as checkpoint:
        assert set(checkpoint.tensors) == set(tensors)
        for name, tensor in tensors.items():
            assert torch.equal(torch.from_numpy(checkpoint.tensors[name].array()), tensor)
        assert checkpoint.options["synthesis.b8.conv0"]["conv_clamp"] == 256.0
        assert checkpoint.options[""]["_init_kwargs"]["z_dim"] == 512


def test_a_file_without_a_generator_is_refused(tmp_path: Path) -> None:
    with pytest.raises(CheckpointRefused, match="holds no StyleGAN2 or StyleGAN3"):
        opened(write_torch(tmp_path / "x.pt", {"weight": torch.ones(3)}))
    with pytest.raises(CheckpointRefused, match="cannot be read: No such file"):
        opened(tmp_path / "nothing.pkl")
