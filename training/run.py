"""A training run's folder: atomic checkpoints, metrics as they come, sample sheets.

    RUN/checkpoints/STAGE.pt   networks, optimisers and the step, written to a temporary file and renamed
    RUN/metrics/STAGE.jsonl    one JSON object a line
    RUN/samples/STAGE-*.png    contact sheets

A stage killed at any moment goes on from its last checkpoint. Checkpoints hold tensors and plain values only, and are
read with `weights_only=True`.
"""

from __future__ import annotations

import ctypes
import json
import os
import sys
import time
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from engine.errors import CymaticError

M_TRIM_THRESHOLD, M_MMAP_MAX = -1, -4  # malloc.h


def keep_memory() -> None:
    """Let glibc keep large blocks instead of returning them to the system after each tensor.

    Measured on two cores: a generator step at 144×256 takes half the time, since fresh pages are not faulted in again.
    """
    if sys.platform.startswith("linux"):
        libc = ctypes.CDLL(None)
        if hasattr(libc, "mallopt"):
            libc.mallopt(M_MMAP_MAX, 0)
            libc.mallopt(M_TRIM_THRESHOLD, 2**31 - 1)


def seeded(*numbers: int) -> torch.Generator:
    """One generator for one purpose: the numbers (seed, stage, step) always give the same stream."""
    state = 0x9E3779B9
    for number in numbers:
        state = ((state ^ (number + 0x7F4A7C15)) * 6364136223846793005 + 1442695040888963407) % (1 << 63)
    return torch.Generator().manual_seed(state)


class Run:
    """One run folder. Not thread-safe; one process writes it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        for name in ("checkpoints", "metrics", "samples"):
            (folder / name).mkdir(parents=True, exist_ok=True)

    def checkpoint(self, stage: str) -> Path:
        """Where a stage's checkpoint lies."""
        return self.folder / "checkpoints" / f"{stage}.pt"

    def save(self, stage: str, state: dict[str, Any]) -> None:
        """Write a checkpoint of tensors and plain values, whole or not at all."""
        path = self.checkpoint(stage)
        temporary = path.with_suffix(".tmp")
        with temporary.open("wb") as file:
            torch.save(state, file)
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)

    def load(self, stage: str) -> dict[str, Any] | None:
        """The checkpoint of `stage`, or None before the first one. Raises CymaticError when it cannot be read."""
        path = self.checkpoint(stage)
        if not path.exists():
            return None
        try:
            return torch.load(path, map_location="cpu", weights_only=True)
        except Exception as error:  # a damaged file fails in as many ways as its format has parts
            raise CymaticError(f"checkpoint {path} cannot be read; remove it to train that stage again") from error

    def restore(self, stage: str, **parts: Any) -> dict[str, Any] | None:
        """`load`, and put the state of that name into each of `parts` (networks, optimisers).

        Raises CymaticError when the checkpoint holds other parts, or parts of another shape.
        """
        state = self.load(stage)
        if state is None:
            return None
        try:
            for name, part in parts.items():
                part.load_state_dict(state[name])
        except (KeyError, RuntimeError, ValueError) as error:
            path = self.checkpoint(stage)
            raise CymaticError(
                f"checkpoint {path} was made by another version or scale; choose another --run folder"
            ) from error
        return state

    def log(self, stage: str, **metrics: float | int | str) -> None:
        """Append one line to the stage's metrics, stamped with the time."""
        line = {
            "time": round(time.time(), 1),
            **{k: round(v, 6) if isinstance(v, float) else v for k, v in metrics.items()},
        }
        with (self.folder / "metrics" / f"{stage}.jsonl").open("a") as file:
            file.write(json.dumps(line) + "\n")

    def sheet(self, name: str, pictures: Tensor, columns: int) -> Path:
        """`pictures [N, 3, H, W]` in 0..1 as one PNG."""
        from PIL import Image

        n, _, h, w = pictures.shape
        rows = -(-n // columns)
        canvas = torch.zeros(3, rows * h, columns * w)
        for i, picture in enumerate(pictures.clamp(0, 1)):
            y, x = (i // columns) * h, (i % columns) * w
            canvas[:, y : y + h, x : x + w] = picture
        path = self.folder / "samples" / f"{name}.png"
        Image.fromarray((canvas.permute(1, 2, 0) * 255).round().byte().numpy()).save(path)
        return path


class Ema:
    """Exponential moving average of a network's weights."""

    def __init__(self, network: nn.Module, decay: float) -> None:
        self.decay = decay
        self.shadow = {name: value.detach().clone() for name, value in network.state_dict().items()}

    @torch.no_grad()
    def update(self, network: nn.Module, step: int) -> None:
        decay = min(self.decay, (1 + step) / (10 + step))
        for name, value in network.state_dict().items():
            self.shadow[name].lerp_(value.detach(), 1 - decay)


def grad_norm(parameters: Iterable[nn.Parameter], limit: float) -> float:
    """Clip the gradients to the norm `limit`; returns the norm before."""
    return float(nn.utils.clip_grad_norm_(parameters, limit))
