"""Several processes, one training: under torchrun they learn what one process with the sum of their batches would.

    torchrun --nproc-per-node 2 -m cymatic train

Process r of N takes the samples r, r + N, r + 2N, … of each step's N·batch, and a sample's draws depend on its number
alone (`training.run.streams`). Gradients are averaged after each backward pass, so weights stay equal everywhere. Only
the first process touches the disk (`training.run.Run`): the others get from it what it reads, so that machines need no
common folder, and a run may go on with any number of processes. In a process that is alone nothing here does anything.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterable, Iterator
from datetime import timedelta

import torch
import torch.distributed as dist
from torch import Tensor, nn

PATIENCE = timedelta(hours=2)  # how long the others wait while the first one evaluates or draws


@contextlib.contextmanager
def processes() -> Iterator[None]:
    """Inside, the processes that torchrun started know each other: NCCL between GPUs, gloo between CPUs."""
    if "RANK" not in os.environ:
        yield
        return
    dist.init_process_group("cpu:gloo,cuda:nccl" if torch.cuda.is_available() else "gloo", timeout=PATIENCE)
    try:
        yield
    finally:
        dist.destroy_process_group()


def _together() -> bool:
    return dist.is_available() and dist.is_initialized()


def rank() -> int:
    """Number of this process, from 0. The first one logs, saves and exports."""
    return dist.get_rank() if _together() else 0


def size() -> int:
    """How many processes there are."""
    return dist.get_world_size() if _together() else 1


def share(data: bytes | None, source: int = 0) -> bytes | None:
    """What process `source` holds in `data`, for all of them; theirs is ignored."""
    if size() == 1:
        return data
    length = torch.tensor(-1 if data is None else len(data))
    dist.broadcast(length, source)
    if length < 0:
        return None
    mine = rank() == source
    content = torch.frombuffer(bytearray(data or b""), dtype=torch.uint8) if mine else torch.empty(length).byte()
    dist.broadcast(content, source)
    return data if mine else content.numpy().tobytes()


def mean(values: dict[str, Tensor]) -> dict[str, float]:
    """Scalars averaged over the processes, as numbers; waits for the device."""
    stacked = torch.stack([value.detach().double() for value in values.values()])
    if size() > 1:
        dist.all_reduce(stacked)
    return dict(zip(values, (stacked / size()).tolist(), strict=True))


@torch.no_grad()
def average(value: Tensor) -> Tensor:
    """A tensor averaged over the processes; no gradient passes."""
    if size() > 1:
        value = value.contiguous().clone()
        dist.all_reduce(value)
        value /= size()
    return value


@torch.no_grad()
def average_gradients(parameters: Iterable[nn.Parameter]) -> None:
    """Call between `backward` and the optimiser's step, with the same parameters in every process."""
    if size() == 1:
        return
    gradients = [parameter.grad for parameter in parameters if parameter.grad is not None]
    flat = average(torch.cat([gradient.flatten() for gradient in gradients]))
    for gradient, mine in zip(gradients, flat.split([g.numel() for g in gradients]), strict=True):
        gradient.copy_(mine.view_as(gradient))


class _Gather(torch.autograd.Function):
    """Rows of all processes; the gradient that each of them has of a row goes back, summed, to the row's owner."""

    @staticmethod
    def forward(ctx, rows: Tensor) -> Tensor:  # type: ignore[no-untyped-def,override]
        parts = [torch.empty_like(rows) for _ in range(size())]
        dist.all_gather(parts, rows)
        return torch.cat(parts)

    @staticmethod
    def backward(ctx, gradient: Tensor) -> Tensor:  # type: ignore[no-untyped-def,override]
        gradient = gradient.contiguous().clone()
        dist.all_reduce(gradient)
        return gradient.chunk(size())[rank()]


def gather(rows: Tensor) -> Tensor:
    """`[B, …]` of every process as one `[N·B, …]`, differentiable.

    A loss of all rows, computed by each process alike, has the right gradient after `average_gradients`.
    """
    return rows if size() == 1 else _Gather.apply(rows.contiguous())
