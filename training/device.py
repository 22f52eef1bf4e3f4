"""Where the trainers compute, and how precisely: on a GPU when there is one, in bfloat16 where the hardware has it.

Weights, optimisers, losses and checkpoints are float32 everywhere, so that a run may move between machines.
"""

from __future__ import annotations

import functools
import os
from collections.abc import Callable
from typing import ParamSpec, TypeVar

import torch

from engine.errors import CymaticError

Given, Result = ParamSpec("Given"), TypeVar("Result")


def pick() -> torch.device:
    """This process's GPU (each process that torchrun starts has its own), else the CPU."""
    if not torch.cuda.is_available():
        return torch.device("cpu")
    number, there = int(os.environ.get("LOCAL_RANK", 0)), torch.cuda.device_count()
    if number >= there:
        raise CymaticError(f"process {number} finds no GPU of its own: start at most {there} on this machine")
    torch.cuda.set_device(number)
    return torch.device("cuda", number)


def has_bfloat16(device: torch.device) -> bool:
    """Whether bfloat16 is faster here. A CPU that only emulates it (no AMX, no AVX-512 BF16) is slower with it."""
    if device.type == "cuda":
        return torch.cuda.is_bf16_supported(including_emulation=False)
    known = getattr(torch.cpu, "get_capabilities", dict)()  # an older torch cannot tell
    return bool(known.get("amx_bf16") or known.get("avx512_bf16"))


def mixed(device: torch.device) -> torch.autocast:
    """Convolutions and matrix products inside are bfloat16 where that pays; no loss scaling is needed for it."""
    return torch.autocast(device.type, torch.bfloat16, enabled=has_bfloat16(device))


def exact(function: Callable[Given, Result]) -> Callable[Given, Result]:
    """Inside `mixed`, too, this function computes in float32: eight bits cannot say where a pixel is."""

    @functools.wraps(function)
    def inner(*args: Given.args, **kwargs: Given.kwargs) -> Result:
        kind = "cuda" if torch.is_autocast_enabled("cuda") else "cpu"
        if not torch.is_autocast_enabled(kind):  # nothing for an exporter to see
            return function(*args, **kwargs)
        with torch.autocast(kind, enabled=False):
            return function(*args, **kwargs)

    return inner
