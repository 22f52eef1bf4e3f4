"""Checkpoints as others write them, of any size, with random weights: NVIDIA's pickles, torch's files, safetensors.

Pickles are written by pickle's own writer, of objects that reduce themselves as NVIDIA's persistent classes do, so that
the layout is the true one down to the opcode. Nothing here reads a pickle.
"""

from __future__ import annotations

import contextlib
import io
import pickle  # to write; see tests/test_house.py
import sys
import types
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

SOURCE = "import os\nos.mkdir(WITNESS)  # would leave a trace if anything ever ran it\n"
Tensors = dict[str, Tensor]


# Weights


class _Draws:
    def __init__(self, seed: int) -> None:
        self.generator = torch.Generator().manual_seed(seed)

    def normal(self, *shape: int, scale: float = 1.0) -> Tensor:
        return scale * torch.randn(shape, generator=self.generator)

    def uniform(self, *shape: int) -> Tensor:
        return torch.rand(shape, generator=self.generator)


def _mapping(draws: _Draws, z_dim: int, dim: int, depth: int, classes: int) -> Tensors:
    found = {}
    width = z_dim
    if classes:
        found["mapping.embed.weight"] = draws.normal(dim, classes)
        found["mapping.embed.bias"] = draws.normal(dim, scale=0.1)
        width += dim
    for i in range(depth):
        found[f"mapping.fc{i}.weight"] = draws.normal(dim, width, scale=100.0)
        found[f"mapping.fc{i}.bias"] = draws.normal(dim, scale=10.0)
        width = dim
    found["mapping.w_avg"] = draws.normal(dim, scale=0.2)
    return found


def _affine(draws: _Draws, path: str, outputs: int, dim: int) -> Tensors:
    return {f"{path}.weight": draws.normal(outputs, dim), f"{path}.bias": 1 + draws.normal(outputs, scale=0.1)}


def stylegan2_tensors(
    resolution: int = 32,
    most: int = 16,
    base: int = 256,
    dim: int = 16,
    z_dim: int = 16,
    classes: int = 0,
    seed: int = 0,
) -> Tensors:
    """A StyleGAN2 by NVIDIA's names; `min(base/size, most)` channels a grid. Config F: 32768 and 512."""
    draws = _Draws(seed)
    found = _mapping(draws, z_dim, dim, 8, classes)
    fir = torch.tensor([1.0, 3.0, 3.0, 1.0]) / 8
    size, inputs = 4, min(base // 4, most)
    found["synthesis.b4.const"] = draws.normal(inputs, 4, 4)
    while size <= resolution:
        path, channels = f"synthesis.b{size}", min(base // size, most)
        found[f"{path}.resample_filter"] = fir[:, None] * fir
        for name in ("conv0", "conv1")[size == 4 :]:
            layer = f"{path}.{name}"
            found |= {
                f"{layer}.weight": draws.normal(channels, inputs, 3, 3),
                f"{layer}.noise_strength": draws.normal(scale=0.3),
                f"{layer}.bias": draws.normal(channels, scale=0.2),
                f"{layer}.resample_filter": fir[:, None] * fir,
                f"{layer}.noise_const": draws.normal(size, size),
                **_affine(draws, f"{layer}.affine", inputs, dim),
            }
            inputs = channels
        found |= {
            f"{path}.torgb.weight": draws.normal(3, channels, 1, 1, scale=0.4),
            f"{path}.torgb.bias": draws.normal(3, scale=0.1),
            **_affine(draws, f"{path}.torgb.affine", channels, dim),
        }
        size *= 2
    return found


def rosinality_tensors(resolution: int = 32, most: int = 16, base: int = 256, dim: int = 16, seed: int = 0) -> Tensors:
    """A StyleGAN2 by rosinality's names."""
    draws = _Draws(seed)
    fir = torch.tensor([1.0, 3.0, 3.0, 1.0]) / 8
    found: Tensors = {}

    def convolution(path: str, outputs: int, inputs: int, up: bool) -> None:
        found[f"{path}.conv.weight"] = draws.normal(1, outputs, inputs, 3, 3)
        if up:
            found[f"{path}.conv.blur.kernel"] = 4 * fir[:, None] * fir
        found.update(_affine(draws, f"{path}.conv.modulation", inputs, dim))
        found[f"{path}.noise.weight"] = draws.normal(1, scale=0.3)
        found[f"{path}.activate.bias"] = draws.normal(outputs, scale=0.2)

    def colour(path: str, inputs: int, up: bool) -> None:
        found[f"{path}.bias"] = draws.normal(1, 3, 1, 1, scale=0.1)
        if up:
            found[f"{path}.upsample.kernel"] = 4 * fir[:, None] * fir
        found[f"{path}.conv.weight"] = draws.normal(1, 3, inputs, 1, 1, scale=0.4)
        found.update(_affine(draws, f"{path}.conv.modulation", inputs, dim))

    for i in range(1, 9):
        found[f"style.{i}.weight"] = draws.normal(dim, dim, scale=100.0)
        found[f"style.{i}.bias"] = draws.normal(dim, scale=10.0)
    channels = min(base // 4, most)
    found["input.input"] = draws.normal(1, channels, 4, 4)
    convolution("conv1", channels, channels, up=False)
    colour("to_rgb1", channels, up=False)
    grids = [8 << i for i in range(resolution.bit_length() - 3)]
    for i, size in enumerate(grids):
        outputs = min(base // size, most)
        convolution(f"convs.{2 * i}", outputs, channels, up=True)
        convolution(f"convs.{2 * i + 1}", outputs, outputs, up=False)
        colour(f"to_rgbs.{i}", outputs, up=True)
        channels = outputs
    for i, size in enumerate([4, *(size for size in grids for _ in range(2))]):
        found[f"noises.noise_{i}"] = draws.normal(1, 1, size, size)
    return found


def stylegan3_tensors(
    config: str = "T",
    resolution: int = 32,
    most: int = 12,
    base: int = 256,
    dim: int = 16,
    z_dim: int = 16,
    classes: int = 0,
    seed: int = 0,
    layers: int = 14,
    critical: int = 2,
) -> Tensors:
    """A StyleGAN3 by NVIDIA's names, config T or R. As published: 32768 and 512, or 65536 and 1024."""
    draws = _Draws(seed)
    found = _mapping(draws, z_dim, dim, 2, classes)
    last = resolution / 2
    steps = np.minimum(np.arange(layers + 1) / (layers - critical), 1)
    cutoffs = 2 * (last / 2) ** steps
    stopbands = 2**2.1 * (last * 2**0.3 / 2**2.1) ** steps
    rates = np.exp2(np.ceil(np.log2(np.minimum(2 * stopbands, resolution))))
    widths = np.maximum(stopbands, rates / 2) - cutoffs
    sizes = rates + 20
    sizes[-2:] = resolution
    channels = np.rint(np.minimum(base / 2 / cutoffs, most)).astype(int)
    channels[-1] = 3
    first = int(channels[0])
    frequencies = draws.normal(first, 2)
    radii = frequencies.square().sum(1, keepdim=True).sqrt()
    found |= {
        "synthesis.input.weight": draws.normal(first, first),
        "synthesis.input.transform": torch.eye(3),
        "synthesis.input.freqs": 2 * frequencies / (radii * radii.square().exp().pow(0.25)),
        "synthesis.input.phases": draws.uniform(first) - 0.5,
        "synthesis.input.affine.weight": draws.normal(4, dim, scale=0.3),
        "synthesis.input.affine.bias": torch.tensor([1.0, 0.0, 0.0, 0.0]),
    }
    for i in range(layers + 1):
        before, colour = max(i - 1, 0), i == layers
        path = f"synthesis.L{i}_{int(sizes[i])}_{channels[i]}"
        kernel = 1 if colour or config == "R" else 3
        found |= {
            f"{path}.weight": draws.normal(channels[i], channels[before], kernel, kernel, scale=3.0 if colour else 1.0),
            f"{path}.bias": draws.normal(channels[i], scale=0.1),
            f"{path}.magnitude_ema": torch.tensor(0.5 + i / 20),
            **_affine(draws, f"{path}.affine", channels[before], dim),
        }
        if not colour:
            between = 2 * max(rates[before], rates[i])
            up, down = 6 * int(between / rates[before]), 6 * int(between / rates[i])
            found[f"{path}.up_filter"] = _low_pass(up, cutoffs[before], 2 * widths[before], between)
            radial = config == "R" and i < layers - critical
            found[f"{path}.down_filter"] = _low_pass(down, cutoffs[i], 2 * widths[i], between, radial)
    return found


def _low_pass(taps: int, cutoff: float, width: float, rate: float, radial: bool = False) -> Tensor:
    """Kaiser's: a sinc, or in two dimensions a jinc."""
    attenuation = 2.285 * (taps - 1) * np.pi * width / (rate / 2) + 7.95
    beta = 0.0 if attenuation < 21 else 0.5842 * (attenuation - 21) ** 0.4 + 0.07886 * (attenuation - 21)
    window = np.kaiser(taps, beta)
    x = (np.arange(taps) - (taps - 1) / 2) / rate
    if not radial:
        found = np.sinc(2 * cutoff * x) * window
        return torch.tensor(found / found.sum(), dtype=torch.float32)
    r = np.hypot(*np.meshgrid(x, x))
    turns = (np.arange(2000) + 0.5) / 2000 * np.pi
    j1 = np.cos(turns - 2 * np.pi * cutoff * r[..., None] * np.sin(turns)).mean(-1)  # Bessel's integral
    found = j1 / r * np.outer(window, window)
    return torch.tensor(found / found.sum(), dtype=torch.float32)


# Files


def write_nvidia(
    path: Path,
    tensors: Tensors,
    clamp: float | None = 256.0,
    protocol: int = 4,
    source: str = SOURCE,
    options: dict[str, dict[str, Any]] | None = None,
    extra: dict[str, Any] | None = None,
) -> Path:
    """A pickle as stylegan2-ada-pytorch and stylegan3 write it: discriminator, `G_ema` and what trained them."""
    with _their_modules() as easy:
        found = pickle.dumps(
            {
                "training_set_kwargs": easy(class_name="training.dataset.ImageFolderDataset", path="~/faces.zip"),
                "D": _network("Discriminator", {"b4.fc.weight": torch.ones(2, 2)}, None, source, easy, {}),
                "G_ema": _network("Generator", tensors, clamp, source, easy, options or {}),
                "augment_pipe": None,
                **(extra or {}),
            },
            protocol,
        )
    path.write_bytes(found)
    return path


def write_torch(path: Path, tensors: Tensors, legacy: bool = False, **beside: Any) -> Path:
    """A file as rosinality's training writes it, in the zip format or the one before."""
    torch.save({"g_ema": tensors, **beside}, path, _use_new_zipfile_serialization=not legacy)
    return path


def write_safetensors(path: Path, tensors: Tensors, prefix: str = "") -> Path:
    """Tensors alone."""
    from safetensors.torch import save_file

    save_file({prefix + name: tensor.contiguous() for name, tensor in tensors.items()}, path)
    return path


class _Persistent(nn.Module):
    """Reduces itself as NVIDIA's persistent classes do."""

    kind, source = "", ""

    def __reduce__(self) -> tuple:
        state = {key: value for key, value in self.__dict__.items() if key not in ("kind", "source")}
        meta = {"type": "class", "version": 6, "module_src": self.source, "class_name": self.kind, "state": state}
        return sys.modules["torch_utils.persistence"]._reconstruct_persistent_obj, (meta,), None


@contextlib.contextmanager
def _their_modules() -> Iterator[Any]:
    """Modules of the names that a pickle of theirs refers to, while one is written; gives `EasyDict`."""
    names = ("dnnlib", "dnnlib.util", "torch_utils", "torch_utils.persistence")
    made = {name: types.ModuleType(name) for name in names}

    def reconstruct(meta: Any) -> None:
        raise AssertionError("a checkpoint was run")

    easy = type("EasyDict", (dict,), {"__module__": "dnnlib.util"})
    reconstruct.__module__, reconstruct.__qualname__ = "torch_utils.persistence", "_reconstruct_persistent_obj"
    made["dnnlib.util"].EasyDict = easy
    made["torch_utils.persistence"]._reconstruct_persistent_obj = reconstruct
    sys.modules.update(made)
    try:
        yield easy
    finally:
        for name in names:
            del sys.modules[name]


def _network(
    kind: str, tensors: Tensors, clamp: float | None, source: str, easy: Any, options: dict[str, dict[str, Any]]
) -> _Persistent:
    """A tree of persistent modules with the attributes that the original ones have."""
    modules: dict[str, _Persistent] = {}

    def module(path: str) -> _Persistent:
        if path not in modules:
            made = modules[path] = _Persistent()
            parent, _, name = path.rpartition(".")
            made.kind, made.source = (kind if not path else name.split("_")[0].title()), source
            made._init_args, made._init_kwargs = (), {}
            if path:
                module(parent)._modules[name] = made
        return modules[path]

    for name, tensor in tensors.items():
        path, _, leaf = name.rpartition(".")
        owner = module(path)
        buffer = leaf in ("resample_filter", "noise_const", "w_avg", "magnitude_ema", "freqs", "phases", "transform")
        if buffer or leaf.endswith("_filter"):
            owner._buffers[leaf] = tensor
        else:
            owner._parameters[leaf] = nn.Parameter(tensor)
    for path, made in modules.items():
        name = path.rpartition(".")[2]
        if name.startswith("fc") or name in ("affine", "embed"):
            rate = 0.01 if name.startswith("fc") else 1
            made.activation, made.bias_gain = "lrelu" if name.startswith("fc") else "linear", rate
            made.weight_gain = rate / np.sqrt(made._parameters["weight"].shape[1])  # a number of numpy's
        elif name in ("conv0", "conv1", "torgb") or name.startswith("L"):
            made.conv_clamp, made.in_size = clamp, np.broadcast_to(np.asarray(36), [2])
            if name.startswith("conv"):
                made.use_noise, made.activation, made.up = True, "lrelu", 2 if name == "conv0" else 1
        elif name[:1] == "b" and name[1:].isdigit():
            made.architecture = "skip"
        made.__dict__.update(options.get(path, {}))
    root = module("")
    mapping_kwargs = easy(num_layers=8)
    root._init_kwargs = {"z_dim": 512, "mapping_kwargs": mapping_kwargs, **options.get("", {}).get("_init_kwargs", {})}
    return root


def as_bytes(write: Any, *arguments: Any, **options: Any) -> bytes:
    """What a writer that takes a path would write."""
    with contextlib.closing(io.BytesIO()) as buffer:

        class _File:
            write_bytes = staticmethod(buffer.write)

        write(_File(), *arguments, **options)
        return buffer.getvalue()
