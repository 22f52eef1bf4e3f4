"""From a checkpoint's names to a network: StyleGAN2 and StyleGAN3 as NVIDIA's repositories name their tensors, and
StyleGAN2 as rosinality's does.

Sizes follow from the tensors' shapes; what shapes do not tell (where outputs are cut off, StyleGAN3's cutoffs) stands
in the options of a pickle, or is taken as published. What does not fit together is refused by the tensor's name.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, fields

import torch
from torch import Tensor

from engine.errors import CheckpointRefused, CymaticError
from export.foreign import stylegan2, stylegan3
from export.foreign.checkpoint import Checkpoint
from export.foreign.stylegan2 import Mapping
from export.foreign.tensors import Shelf, affine

LARGEST_PICTURE = 2048
MOST_FEATURES = 300_000_000  # of one layer at once; StyleGAN3-R at 1024² has 282 million
MAPPING_RATE = 0.01  # learning rate multiplier of the mapping network, in all published ones
SMALLEST_W = 8
MEAN_OF = 4096  # w's that make the mean W where the file has none
CLAMP = 256.0  # StyleGAN3's default


@dataclass(frozen=True, slots=True)
class Foreign:
    """A generator of somebody else's. `w_avg [D]`."""

    kind: str
    resolution: int
    z_dim: int
    layers: int
    dim: int
    classes: int
    mapping: Mapping
    synthesis: stylegan2.Synthesis | stylegan3.Synthesis
    w_avg: Tensor


def build(checkpoint: Checkpoint, label: int | None = None) -> Foreign:
    """The network of a checkpoint. `label`: the class that a conditional one shows, from 0.

    Raises `CheckpointRefused` for what is no StyleGAN2 or StyleGAN3, `CymaticError` when the label does not fit.
    """
    shelf = Shelf(checkpoint)
    with torch.no_grad():
        if "synthesis.b4.const" in shelf:
            return _checked(_nvidia2(shelf, label))
        if "synthesis.input.freqs" in shelf:
            return _checked(_nvidia3(shelf, label))
        if "conv1.conv.modulation.weight" in shelf:
            return _checked(_rosinality(shelf, label))
    raise CheckpointRefused("holds no StyleGAN2 or StyleGAN3 generator, or one whose tensors have unknown names")


@torch.no_grad()
def _checked(foreign: Foreign) -> Foreign:
    """The network, if what it paints is a picture at all."""
    if foreign.layers < 4 or foreign.dim < SMALLEST_W:
        raise CheckpointRefused(f"W+ of {foreign.layers} layers and {foreign.dim} numbers: too small to be moved in")
    for module in (foreign.mapping, foreign.synthesis):
        module.eval().requires_grad_(False)
    w = foreign.mapping(torch.randn(1, foreign.z_dim, generator=torch.Generator().manual_seed(1)))
    for latent in (w, foreign.w_avg[None]):
        picture = foreign.synthesis(latent[:, None].expand(-1, foreign.layers, -1))
        if not (torch.isfinite(latent).all() and torch.isfinite(picture).all()):
            raise CheckpointRefused("paints nothing that is finite: its numbers are damaged")
    return foreign


# NVIDIA's names


def _mapping(shelf: Shelf, label: int | None, dim: int) -> tuple[Mapping, int, int]:
    """The mapping network, its inputs and the number of classes."""
    count = sum(name.removeprefix("mapping.fc").removesuffix(".weight").isdigit() for name in shelf.names("mapping.fc"))
    classes, embedding, embedded = 0, 0, None
    if "mapping.embed.weight" in shelf:
        embedding, classes = shelf.shape("mapping.embed.weight", 2)
        embed = affine(shelf, "mapping.embed.weight", "mapping.embed.bias", embedding, classes)
        embedded = stylegan2.unit(embed(_one_hot(label, classes)))[0]
    elif label is not None:
        raise CymaticError("--class is given, but this generator has no classes")
    layers = []
    width = shelf.shape("mapping.fc0.weight", 2)[1]
    z_dim = width - embedding
    if z_dim < 1:
        raise CheckpointRefused("the mapping network takes no latent z")
    for i in range(count):
        path = f"mapping.fc{i}"
        shelf.demand(path, "activation", "lrelu", "lrelu")
        rate = shelf.option(path, "bias_gain", MAPPING_RATE)
        outputs = shelf.shape(f"{path}.weight", 2)[0]
        layers.append(affine(shelf, f"{path}.weight", f"{path}.bias", outputs, width, rate))
        width = outputs
    if width != dim:
        raise CheckpointRefused(f"the mapping network ends in {width} numbers, the styles begin with {dim}")
    return Mapping(layers, embedded), z_dim, classes


def _one_hot(label: int | None, classes: int) -> Tensor:
    if label is None:
        raise CymaticError(f"this generator has {classes} classes: choose one with --class 0..{classes - 1}")
    if not 0 <= label < classes:
        raise CymaticError(f"--class {label} is not between 0 and {classes - 1}")
    return torch.nn.functional.one_hot(torch.tensor([label]), classes).float()


def _mean(shelf: Shelf, name: str, mapping: Mapping, z_dim: int, dim: int) -> Tensor:
    if name in shelf:
        return shelf.take(name, *[1] * (shelf.axes(name) - 1), dim).flatten()
    return mapping(torch.randn(MEAN_OF, z_dim, generator=torch.Generator().manual_seed(0))).mean(0)


def _nvidia2(shelf: Shelf, label: int | None) -> Foreign:
    channels, _, _ = shelf.shape("synthesis.b4.const", 3)
    constant = shelf.take("synthesis.b4.const", channels, 4, 4)
    dim = shelf.shape("synthesis.b4.conv1.affine.weight", 2)[1]
    grids, size = [], 4
    while f"synthesis.b{size}.conv1.weight" in shelf:
        path = f"synthesis.b{size}"
        _check_size(size)
        shelf.demand(path, "architecture", "skip", "skip")
        first = None
        if size > 4:
            outputs = shelf.shape(f"{path}.conv0.weight", 4)[0]
            first = _convolution2(shelf, f"{path}.conv0", outputs, channels, dim, size)
            channels = outputs
        second = _convolution2(shelf, f"{path}.conv1", channels, channels, dim, size)
        colour = stylegan2.Colour(
            shelf.take(f"{path}.torgb.weight", 3, channels, 1, 1)[:, :, 0, 0] / math.sqrt(channels),
            shelf.take(f"{path}.torgb.bias", 3),
            affine(shelf, f"{path}.torgb.affine.weight", f"{path}.torgb.affine.bias", channels, dim),
            shelf.clamp(f"{path}.torgb", None),
        )
        grids.append(stylegan2.Grid(first, second, colour))
        size *= 2
    size //= 2
    _all_taken(shelf, "synthesis.b", {f"synthesis.b{4 << i}" for i in range(len(grids))})
    mapping, z_dim, classes = _mapping(shelf, label, dim)
    w_avg = _mean(shelf, "mapping.w_avg", mapping, z_dim, dim)
    synthesis = stylegan2.Synthesis(constant, grids)
    return Foreign("StyleGAN2", size, z_dim, 2 * len(grids), dim, classes, mapping, synthesis, w_avg)


def _convolution2(shelf: Shelf, path: str, outputs: int, inputs: int, dim: int, size: int) -> stylegan2.Convolution:
    shelf.demand(path, "activation", "lrelu", "lrelu")
    if f"{path}.resample_filter" in shelf:
        _check_filter(path, shelf.take(f"{path}.resample_filter", 4, 4))
    _check_room(max(outputs, inputs), size)
    noise = None
    if f"{path}.noise_const" in shelf and shelf.option(path, "use_noise", True):
        noise = shelf.take(f"{path}.noise_const", size, size) * _number(shelf, f"{path}.noise_strength")
    return stylegan2.Convolution(
        shelf.take(f"{path}.weight", outputs, inputs, 3, 3),
        shelf.take(f"{path}.bias", outputs),
        affine(shelf, f"{path}.affine.weight", f"{path}.affine.bias", inputs, dim),
        noise,
        path.endswith("conv0"),
        shelf.clamp(path, None),
    )


def _nvidia3(shelf: Shelf, label: int | None) -> Foreign:
    named = {}
    for name in shelf.names("synthesis.L"):
        parts = name.split(".")[1].removeprefix("L").split("_")
        if len(parts) != 3 or not all(part.isdecimal() and len(part) < 6 for part in parts):
            raise CheckpointRefused(f"the tensor {name} belongs to no layer of a StyleGAN3")
        named[int(parts[0])] = (int(parts[1]), int(parts[2]))
    count = len(named)
    if count < 4 or set(named) != set(range(count)):
        raise CheckpointRefused(f"the layers of a StyleGAN3 are not complete: there are {sorted(named)[:32]}")
    design = _design(shelf, named[count - 1][0], count - 1)
    layers, rate = stylegan3.plan(design)
    channels, _ = shelf.shape("synthesis.input.weight", 2)
    dim = shelf.shape("synthesis.input.affine.weight", 2)[1]
    source = stylegan3.FourierInput(
        affine(shelf, "synthesis.input.affine.weight", "synthesis.input.affine.bias", 4, dim),
        shelf.take("synthesis.input.weight", channels, channels) / math.sqrt(channels),
        shelf.take("synthesis.input.freqs", channels, 2),
        shelf.take("synthesis.input.phases", channels),
        shelf.take("synthesis.input.transform", 3, 3) if "synthesis.input.transform" in shelf else torch.eye(3),
        layers[0].inputs,
        rate,
        design.first_cutoff,
    )
    built = []
    for i, layer in enumerate(layers):
        size, outputs = named[i]
        if size != layer.outputs:
            raise CheckpointRefused(f"layer {i} is {size} pixels wide, a StyleGAN3 as published {layer.outputs}")
        built.append(_layer3(shelf, f"synthesis.L{i}_{size}_{outputs}", layer, design, outputs, channels, dim))
        channels = outputs
    if channels != 3:
        raise CheckpointRefused(f"pictures of {channels} channels; only those of 3, red, green and blue, can be shown")
    mapping, z_dim, classes = _mapping(shelf, label, dim)
    synthesis = stylegan3.Synthesis(source, built, shelf.option("synthesis", "output_scale", 0.25))
    w_avg = _mean(shelf, "mapping.w_avg", mapping, z_dim, dim)
    kind = "StyleGAN3-T" if built[0].weight.shape[2] == 3 else "StyleGAN3-R"
    return Foreign(kind, design.resolution, z_dim, count + 1, dim, classes, mapping, synthesis, w_avg)


def _design(shelf: Shelf, resolution: int, count: int) -> stylegan3.Design:
    """The plan's numbers out of the arguments that the generator was built with."""
    _check_size(resolution)
    given = shelf.option("", "_init_kwargs", {}) | shelf.option("synthesis", "_init_kwargs", {})
    numbers = {}
    for field in fields(stylegan3.Design)[2:]:
        value, kind = given.get(field.name, field.default), type(field.default)
        # Neither large nor tiny, all of them; anything else is no design, and could be one of any size.
        if type(value) not in (int, kind) or not 1 / 64 <= value <= 64:
            raise CheckpointRefused(f"the option {field.name} is not what it should be")
        numbers[field.name] = kind(value)
    if numbers["num_critical"] >= count:
        raise CheckpointRefused("the option num_critical is not what it should be")
    return stylegan3.Design(resolution, count, **numbers)


def _layer3(
    shelf: Shelf, path: str, layer: stylegan3.LayerPlan, design: stylegan3.Design, outputs: int, inputs: int, dim: int
) -> stylegan3.Layer:
    kernel = shelf.shape(f"{path}.weight", 4)[2]
    if kernel not in ((1,) if layer.colour else (1, 3)):
        raise CheckpointRefused(f"the tensor {path}.weight is a convolution of {kernel}×{kernel}")
    up = down = None
    _check_room(outputs, layer.outputs * layer.down)
    if not layer.colour:
        up = shelf.take(f"{path}.up_filter", design.filter_size * layer.up)
        taps = design.filter_size * layer.down
        radial = shelf.axes(f"{path}.down_filter") == 2
        down = shelf.take(f"{path}.down_filter", *([taps, taps] if radial else [taps]))
    magnitude = _number(shelf, f"{path}.magnitude_ema")
    if magnitude <= 0:
        raise CheckpointRefused(f"the tensor {path}.magnitude_ema is not positive")
    try:
        return stylegan3.Layer(
            layer,
            shelf.take(f"{path}.weight", outputs, inputs, kernel, kernel),
            shelf.take(f"{path}.bias", outputs),
            affine(shelf, f"{path}.affine.weight", f"{path}.affine.bias", inputs, dim),
            magnitude,
            up,
            down,
            shelf.clamp(path, CLAMP),
        )
    except ValueError as error:
        raise CheckpointRefused(str(error)) from None


# Rosinality's names


def _rosinality(shelf: Shelf, label: int | None) -> Foreign:
    if label is not None:
        raise CymaticError("--class is given, but this generator has no classes")
    channels = shelf.shape("input.input", 4)[1]
    constant = shelf.take("input.input", 1, channels, 4, 4)[0]
    dim = shelf.shape("conv1.conv.modulation.weight", 2)[1]
    grids = []
    while not grids or f"convs.{2 * len(grids) - 2}.conv.weight" in shelf:
        i = len(grids)
        size = 4 << i
        _check_size(size)
        first = None
        if i:
            path = f"convs.{2 * i - 2}"
            outputs = shelf.shape(f"{path}.conv.weight", 5)[1]
            first = _convolution_r(shelf, path, 2 * i - 1, outputs, channels, dim, size, up=True)
            channels = outputs
        path = f"convs.{2 * i - 1}" if i else "conv1"
        second = _convolution_r(shelf, path, 2 * i, channels, channels, dim, size, up=False)
        path = f"to_rgbs.{i - 1}" if i else "to_rgb1"
        colour = stylegan2.Colour(
            shelf.take(f"{path}.conv.weight", 1, 3, channels, 1, 1)[0, :, :, 0, 0] / math.sqrt(channels),
            shelf.take(f"{path}.bias", 1, 3, 1, 1).flatten(),
            affine(shelf, f"{path}.conv.modulation.weight", f"{path}.conv.modulation.bias", channels, dim),
            None,
        )
        grids.append(stylegan2.Grid(first, second, colour))
    layers, count = [], sum(name.endswith(".weight") for name in shelf.names("style."))
    for i in range(1, count + 1):
        layers.append(affine(shelf, f"style.{i}.weight", f"style.{i}.bias", dim, dim, MAPPING_RATE))
    if not layers:
        raise CheckpointRefused("the tensor style.1.weight is missing")
    mapping = Mapping(layers)
    w_avg = _mean(shelf, "latent_avg", mapping, dim, dim)
    synthesis = stylegan2.Synthesis(constant, grids)
    return Foreign("StyleGAN2", 2 << len(grids), dim, 2 * len(grids), dim, 0, mapping, synthesis, w_avg)


def _convolution_r(
    shelf: Shelf, path: str, number: int, outputs: int, inputs: int, dim: int, size: int, up: bool
) -> stylegan2.Convolution:
    _check_room(max(outputs, inputs), size)
    if f"{path}.conv.blur.kernel" in shelf:
        _check_filter(path, shelf.take(f"{path}.conv.blur.kernel", 4, 4) / 4)
    noise = None  # of files before it was stored with the network, it was another one in every picture
    if f"noises.noise_{number}" in shelf:
        noise = shelf.take(f"noises.noise_{number}", 1, 1, size, size)[0, 0] * _number(shelf, f"{path}.noise.weight")
    # Here the convolution's gain is part of the weights that demodulation measures.
    weight = shelf.take(f"{path}.conv.weight", 1, outputs, inputs, 3, 3)[0] / math.sqrt(9 * inputs)
    return stylegan2.Convolution(
        weight,
        shelf.take(f"{path}.activate.bias", outputs),
        affine(shelf, f"{path}.conv.modulation.weight", f"{path}.conv.modulation.bias", inputs, dim),
        noise,
        up,
        None,
    )


# What both need


def _number(shelf: Shelf, name: str) -> float:
    """A tensor that is one number, with an axis around it or without."""
    return float(shelf.take(name, *[1] * min(shelf.axes(name), 1)).item())


def _check_size(size: int) -> None:
    if size & (size - 1) or not 4 <= size <= LARGEST_PICTURE:
        raise CheckpointRefused(f"pictures of {size} pixels; powers of two up to {LARGEST_PICTURE} can be shown")


def _check_room(channels: int, size: int) -> None:
    if channels * size * size > MOST_FEATURES:
        raise CheckpointRefused(f"{channels} channels of {size}×{size} are more than any published network has")


def _check_filter(path: str, kernel: Tensor) -> None:
    taps = torch.tensor([1.0, 3.0, 3.0, 1.0]) / 8
    if not torch.allclose(kernel, taps[:, None] * taps, atol=1e-6):
        raise CheckpointRefused(f"{path} resamples with another filter than 1-3-3-1")


def _all_taken(shelf: Shelf, prefix: str, known: set[str]) -> None:
    """Refuse parts of a network that nothing here would use."""
    for name in shelf.names(prefix):
        if ".".join(name.split(".")[:2]) not in known:
            raise CheckpointRefused(f"the tensor {name} belongs to no grid that leads to it")
