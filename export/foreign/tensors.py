"""Taking tensors out of a checkpoint: by name, of the shape that the architecture asks for, finite."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor, nn

from engine.errors import CheckpointRefused
from export.foreign.checkpoint import Checkpoint

MOST_NUMBERS = 1 << 28  # of a whole network; StyleGAN2 at 1024² has 30 million
LARGEST = 1e30  # of an option: what is multiplied with it must stay a float32


class Shelf:
    """The tensors and options of a checkpoint. Every method raises `CheckpointRefused`, which names the tensor."""

    def __init__(self, checkpoint: Checkpoint) -> None:
        self._checkpoint = checkpoint
        self._left = MOST_NUMBERS

    def __contains__(self, name: str) -> bool:
        return name in self._checkpoint.tensors

    def names(self, prefix: str = "") -> list[str]:
        """Names of all tensors that begin so."""
        return [name for name in self._checkpoint.tensors if name.startswith(prefix)]

    def axes(self, name: str) -> int:
        """How many axes a tensor has."""
        if name not in self:
            raise CheckpointRefused(f"the tensor {name} is missing")
        return len(self._checkpoint.tensors[name].shape)

    def shape(self, name: str, axes: int) -> tuple[int, ...]:
        """Shape of a tensor with this many axes, none of them empty."""
        found = self.axes(name)
        shape = self._checkpoint.tensors[name].shape
        if found != axes or not all(shape):
            raise CheckpointRefused(f"the tensor {name} is {list(shape)}, expected {axes} axes and none empty")
        return shape

    def take(self, name: str, *shape: int) -> Tensor:
        """The tensor as float32, of exactly this shape."""
        found = self.shape(name, len(shape))
        if found != shape:
            raise CheckpointRefused(f"the tensor {name} is {list(found)}, expected {list(shape)}")
        self._left -= math.prod(shape)
        if self._left < 0:
            raise CheckpointRefused(f"the network has more than {MOST_NUMBERS:,} numbers")
        tensor = torch.from_numpy(self._checkpoint.tensors[name].array())
        if not torch.isfinite(tensor).all():
            raise CheckpointRefused(f"the tensor {name} holds a number that is not finite")
        return tensor

    def option(self, path: str, name: str, default: Any) -> Any:
        """A plain attribute of a module, of the default's type; the default if the file does not tell."""
        value = self._checkpoint.options.get(path, {}).get(name, default)
        if type(value) is int and type(default) is float and abs(value) <= LARGEST:
            value = float(value)
        if type(value) is not type(default) or (type(value) is float and not abs(value) <= LARGEST):
            raise CheckpointRefused(f"the option {name} of {path or 'the generator'} is not what it should be")
        return value

    def clamp(self, path: str, default: float | None) -> float | None:
        """`conv_clamp` of a layer: where its output is cut off, None for nowhere."""
        value = self._checkpoint.options.get(path, {}).get("conv_clamp", default)
        if value is None or (type(value) in (int, float) and 0 < value <= LARGEST):
            return value
        raise CheckpointRefused(f"the option conv_clamp of {path} is not what it should be")

    def demand(self, path: str, name: str, wanted: Any, default: Any) -> None:
        """Refuse a module that was built for something else than `wanted`."""
        if (value := self.option(path, name, default)) != wanted:
            raise CheckpointRefused(
                f"{path or 'the generator'} is built with {name} {value!r}; only {wanted!r} is known"
            )


class Linear(nn.Module):
    """`x Wᵀ + b` with StyleGAN's gains already in W and b."""

    def __init__(self, weight: Tensor, bias: Tensor) -> None:
        super().__init__()
        self.register_buffer("weight", weight.contiguous())
        self.register_buffer("bias", bias.contiguous())

    def forward(self, x: Tensor) -> Tensor:
        return nn.functional.linear(x, self.weight, self.bias)


def affine(shelf: Shelf, weight: str, bias: str, outputs: int, inputs: int, rate: float = 1.0) -> Linear:
    """A linear layer at equalised learning rate: `rate/√inputs` belongs to its weights, `rate` to its bias."""
    return Linear(shelf.take(weight, outputs, inputs) * (rate / math.sqrt(inputs)), shelf.take(bias, outputs) * rate)
