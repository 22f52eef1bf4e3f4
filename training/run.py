"""A training run's folder: atomic checkpoints, metrics as they come, sample sheets.

    RUN/checkpoints/STAGE.pt   networks, optimisers and the step, written to a temporary file and renamed
    RUN/metrics/STAGE.jsonl    one JSON object a line
    RUN/samples/STAGE-*.png    contact sheets

A stage killed at any moment goes on from its last checkpoint, and its metrics from there (`Run.rewind`). Checkpoints
hold tensors and plain values only, and are read with `weights_only=True`. Of several processes only the first one reads
and writes (`training.distributed`).
"""

from __future__ import annotations

import ctypes
import io
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
from training import distributed

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


def streams(batch: int, *numbers: int) -> list[torch.Generator]:
    """One generator for each of this process's `batch` samples of a step; the numbers are seed, stage and step.

    Sample i draws the same whoever computes it: process r of N has the samples r, r + N, … of N·batch.
    """
    first, processes = distributed.rank(), distributed.size()
    return [seeded(*numbers, i) for i in range(first, batch * processes, processes)]


class Run:
    """One run folder. Not thread-safe; the first process reads and writes it, the others ask that one."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.writes = distributed.rank() == 0
        self._began: dict[str, float] = {}
        for name in ("checkpoints", "metrics", "samples") if self.writes else ():
            (folder / name).mkdir(parents=True, exist_ok=True)

    def read(self, path: Path) -> bytes | None:
        """A file's bytes for every process; None when it is not there."""
        return distributed.share(path.read_bytes() if self.writes and path.exists() else None)

    def write(self, path: Path, data: bytes) -> None:
        """A file, whole or not at all, even when the power fails."""
        if not self.writes:
            return
        temporary = path.with_name(path.name + ".tmp")
        with temporary.open("wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)

    def checkpoint(self, stage: str) -> Path:
        """Where a stage's checkpoint lies."""
        return self.folder / "checkpoints" / f"{stage}.pt"

    def save(self, stage: str, state: dict[str, Any]) -> None:
        """Write a checkpoint of tensors and plain values, whole or not at all."""
        if self.writes:
            content = io.BytesIO()
            torch.save(state, content)
            self.write(self.checkpoint(stage), content.getvalue())

    def load(self, stage: str) -> dict[str, Any] | None:
        """The checkpoint of `stage`, or None before the first one. Raises CymaticError when it cannot be read."""
        path = self.checkpoint(stage)
        content = self.read(path)
        if content is None:
            return None
        try:
            return torch.load(io.BytesIO(content), map_location="cpu", weights_only=True)
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
        """Append one line to the stage's metrics, with the time and the seconds of work since the stage began."""
        now = time.monotonic()
        stamps = {"time": round(time.time(), 1), "elapsed_s": round(now - self._began.setdefault(stage, now), 1)}
        line = {**stamps, **{k: round(v, 6) if isinstance(v, float) else v for k, v in metrics.items()}}
        if self.writes:
            with self._metrics(stage).open("a") as file:
                file.write(json.dumps(line) + "\n")

    def rows(self, stage: str) -> list[dict[str, Any]]:
        """The stage's metrics in order; a last line that was cut short is left out."""
        return read_rows(self._metrics(stage))

    def rewind(self, stage: str, step: int) -> None:
        """Call before step `step` is done: forget the metrics from there on, which a killed process had written after
        its last checkpoint, and let the clock go on from the last one that stays."""
        kept = [row for row in self.rows(stage) if row["step"] < step] if self.writes else []
        self.write(self._metrics(stage), "".join(json.dumps(row) + "\n" for row in kept).encode())
        done = kept[-1].get("elapsed_s", kept[-1]["time"] - kept[0]["time"]) if kept else 0.0
        self._began[stage] = time.monotonic() - done

    def _metrics(self, stage: str) -> Path:
        return self.folder / "metrics" / f"{stage}.jsonl"

    def sheet(self, name: str, pictures: Tensor, columns: int) -> None:
        """`pictures [N, 3, H, W]` in 0..1 as one PNG."""
        if not self.writes:
            return
        from PIL import Image

        n, _, h, w = pictures.shape
        rows = -(-n // columns)
        canvas = torch.zeros(3, rows * h, columns * w)
        for i, picture in enumerate(pictures.clamp(0, 1).cpu()):
            y, x = (i // columns) * h, (i % columns) * w
            canvas[:, y : y + h, x : x + w] = picture
        path = self.folder / "samples" / f"{name}.png"
        Image.fromarray((canvas.permute(1, 2, 0) * 255).round().byte().numpy()).save(path)


def read_rows(path: Path) -> list[dict[str, Any]]:
    """The objects of a JSON-lines file, none if it is not there; a last line that was cut short is left out."""
    lines = path.read_text().splitlines(keepends=True) if path.exists() else []
    return [json.loads(line) for line in lines if line.endswith("\n")]


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
