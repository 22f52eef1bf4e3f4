"""One foreign checkpoint as what counts of it: tensors by name, and the plain arguments its modules were built with."""

from __future__ import annotations

import contextlib
import mmap
import os
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from engine.errors import CheckpointRefused
from export.foreign.pickles import Budget
from export.foreign.torch_files import Module, Stored, read_plain, read_torch
from export.foreign.zips import MEMBER

LARGEST_FILE = 8 << 30
DEEPEST, MOST_MODULES = 8, 2_000  # within each other, and in all; StyleGAN2 at 1024² has 70
AVERAGES = ("g_ema", "G_ema", "params_ema")
"""Under which name repositories keep the running average of the generator, which is the one to show."""

_PART = re.compile(r"[A-Za-z0-9_]{1,64}")
_PATH = re.compile(r"[A-Za-z0-9_]{1,64}(\.[A-Za-z0-9_]{1,64})*")
_STREAM = b"\x80\x02\x8a\x0al\xfc\x9cF\xf9 j\xa8P\x19."  # what every stream of torch's begins with
_FLOATS = {"F64", "F32", "F16", "BF16"}


class Tensor(Protocol):
    """Numbers that lie in the file until `array` asks for them."""

    @property
    def shape(self) -> tuple[int, ...]: ...

    def array(self) -> NDArray[np.float32]: ...


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """The generator in a file: tensors by dotted name; `options`: plain attributes of each module by its path ("" is
    the generator itself), with `_init_kwargs` as they were. A file that holds only tensors has no options."""

    tensors: Mapping[str, Tensor]
    options: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)


@contextlib.contextmanager
def open_checkpoint(path: Path) -> Iterator[Checkpoint]:
    """Read a `.pkl`, `.pt` or `.safetensors` file, whatever it is called; its tensors can be had inside the `with`.

    Raises `CheckpointRefused`, one line that names the file and what in it, for anything but a generator's tensors.
    """
    try:
        with path.open("rb") as file:
            size = os.fstat(file.fileno()).st_size
            if not 16 <= size <= LARGEST_FILE:
                raise CheckpointRefused(f"a file of {size} bytes holds no generator")
            # Mapped, not read: of a gigabyte with optimiser and discriminator a tenth is wanted.
            data = memoryview(mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ))
        yield _read(path, data)
    except OSError as error:
        raise CheckpointRefused(f"{path}: cannot be read: {error.strerror or error}") from None
    except CheckpointRefused as error:
        raise CheckpointRefused(f"{path}: {error}") from None


def _read(path: Path, data: memoryview) -> Checkpoint:
    head = bytes(data[:16])
    budget = Budget()
    if head[:4] == MEMBER or head.startswith(_STREAM):
        return _of_value(read_torch(data, budget), budget)
    if head[:1] == b"\x80":
        return _of_value(read_plain(data, budget), budget)
    if head[8:9] == b"{":
        return Checkpoint(_unprefixed(_read_safetensors(path)))
    raise CheckpointRefused("is neither a pickle nor a torch file nor a safetensors file")


def _of_value(value: Any, budget: Budget) -> Checkpoint:
    """The generator in what a pickle came to."""
    if isinstance(value, dict):
        found = next((value[name] for name in AVERAGES if name in value), value)
        if isinstance(found, dict):
            tensors = {key: item for key, item in found.items() if isinstance(item, Stored) and _is_path(key)}
            mean = value.get("latent_avg")  # beside the generator in rosinality's converted files
            if isinstance(mean, Stored) and "latent_avg" not in tensors:
                tensors["latent_avg"] = mean
            return Checkpoint(_unprefixed(tensors))
        value = found
    if not isinstance(value, Module):
        raise CheckpointRefused("holds no generator: neither G_ema nor g_ema nor a generator's tensors")
    tensors, options = {}, {}
    _flatten(value, "", tensors, options, budget)
    return Checkpoint(tensors, options)


def _flatten(
    module: Module, path: str, tensors: dict[str, Stored], options: dict[str, dict[str, Any]], budget: Budget
) -> None:
    if path.count(".") >= DEEPEST or len(options) >= MOST_MODULES:
        raise CheckpointRefused(f"has too many modules within modules, at {path!r}")
    state = module.state
    options[path.removesuffix(".")] = {
        key: value
        for key, value in state.items()
        if type(key) is str and (key == "_init_kwargs" or not key.startswith("_"))
    }
    for kind in ("_parameters", "_buffers", "_modules"):
        held = state.get(kind)
        if not isinstance(held, dict):
            raise CheckpointRefused(f"the module {path!r} has no {kind}")
        for name, value in held.items():
            budget.spend()
            if type(name) is not str or not _PART.fullmatch(name):
                raise CheckpointRefused(f"the module {path!r} holds something without a proper name")
            if isinstance(value, Stored):
                tensors[path + name] = value
            elif isinstance(value, Module):
                _flatten(value, f"{path}{name}.", tensors, options, budget)


def _is_path(name: Any) -> bool:
    return type(name) is str and len(name) < 512 and _PATH.fullmatch(name) is not None


def _unprefixed(tensors: dict[str, Any]) -> dict[str, Any]:
    """Tensors without the name that all of a generator's may begin with, such as `G_ema.`; the rest is left out."""
    for prefix in (*(f"{name}." for name in AVERAGES), "module.", "generator."):
        inside = {name.removeprefix(prefix): value for name, value in tensors.items() if name.startswith(prefix)}
        if inside:
            return inside
    return tensors


@dataclass(frozen=True, slots=True)
class _Safe:
    """A tensor of a safetensors file."""

    file: Any
    name: str
    shape: tuple[int, ...]

    def array(self) -> NDArray[np.float32]:
        return np.array(self.file.get_tensor(self.name).float().numpy())


def _read_safetensors(path: Path) -> dict[str, _Safe]:
    from safetensors import SafetensorError, safe_open

    try:
        file = safe_open(path, framework="pt")
        found = {}
        for name in file.keys():  # noqa: SIM118 - not a mapping
            piece = file.get_slice(name)
            if _is_path(name) and piece.get_dtype() in _FLOATS:
                found[name] = _Safe(file, name, tuple(piece.get_shape()))
        return found
    except SafetensorError as error:
        raise CheckpointRefused(f"is not a safetensors file: {' '.join(str(error).split())}"[:300]) from None
