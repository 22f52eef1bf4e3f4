"""A bundle out of a foreign checkpoint: read, look for directions, export, prove, write. It plays at once."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.numpy import save
from torch import Tensor, nn

from engine.audio.mel import MelConfig
from engine.bundle import Groups, ImageSpec, LatentSpec, sha256_file, write_manifest
from engine.contract import GROUPS
from engine.runtime.session import can_run, open_session
from export.bundle import OPSET, check_target, export_graph, machine, manifest_of, prove, replacing_bundle
from export.foreign.checkpoint import open_checkpoint
from export.foreign.directions import KEPT, Direction, find_directions
from export.foreign.graphs import HEARD, ROUTES, DriftGraph, MapGraph, PaintGraph, PlaceGraph, ReadGraph, routed
from export.foreign.layouts import Foreign, build
from training.networks.stylegan2 import latent_groups

RATE_HZ = 30.0
UNKNOWN_LICENCE = "unknown: the licence of the checkpoint that it was made of"


def import_checkpoint(
    checkpoint: Path,
    target: Path,
    name: str,
    label: int | None = None,
    licence: str | None = None,
    progress: Callable[[], None] = lambda: None,
) -> Foreign:
    """Make the bundle `target` of a checkpoint, or raise and leave everything as it was.

    `label`: the class that a conditional generator shows. `licence`: what the manifest says. `progress` is called for
    every picture that is painted to find directions (`pictures_painted` of them).
    Raises `CheckpointRefused` for the file, `BundleError` if `target` holds something else, or if an exported graph
    answers otherwise than its network.
    """
    check_target(target)
    with open_checkpoint(checkpoint) as opened:
        foreign = build(opened, label)
    provenance: dict[str, Any] = {
        "made_by": "cymatic import",
        "checkpoint": {"file": checkpoint.name, "sha256": sha256_file(checkpoint), "kind": foreign.kind},
        "class": label,
        "map": {heard: list(route) for heard, route in ROUTES.items()},
    }
    with replacing_bundle(target) as folder:
        _fill(folder, name, licence or UNKNOWN_LICENCE, foreign, provenance, progress)
    return foreign


@contextlib.contextmanager
def _painter(path: Path) -> Iterator[Callable[[Tensor], Tensor]]:
    """`w_plus [1, L, D]` → grey levels `[H, W, 3]`, by the exported graph: several times as fast as its network."""
    session = open_session(path, "openvino" if can_run("openvino") else "onnxruntime")
    try:
        yield lambda w_plus: torch.from_numpy(session.run({"w_plus": w_plus.numpy()})["rgba"][..., :3]).float()
    finally:
        session.close()


def _described(direction: Direction) -> dict[str, Any]:
    return {
        "eigenvector": direction.rank,
        "grey_levels": round(direction.change, 3),
        "amplitude": round(direction.amplitude, 4),
    }


def _fill(
    folder: Path,
    name: str,
    licence: str,
    foreign: Foreign,
    provenance: dict[str, Any],
    progress: Callable[[], None],
) -> None:
    """Graphs, tensors and, last, the manifest."""
    mel, draws = MelConfig(), torch.Generator().manual_seed(3)
    latent = (1, foreign.layers, foreign.dim)

    def normal(*shape: int) -> Tensor:
        return torch.randn(shape, generator=draws)

    z, window = normal(1, foreign.z_dim), normal(1, 1, mel.bands, mel.columns).clamp(-2, 2)
    w_plus = foreign.mapping(z)[:, None].repeat(1, foreign.layers, 1)
    parity = {}

    def export(graph: str, module: nn.Module, inputs: dict[str, Tensor], outputs: list[str]) -> Path:
        path = folder / f"{graph}.onnx"
        export_graph(module, inputs, outputs, path)
        parity[graph] = prove(path, module, inputs, outputs)
        return path

    with _painter(export("generator", PaintGraph(foreign), {"w_plus": w_plus}, ["rgba"])) as paint:
        directions = find_directions(foreign, paint, progress)
    ways = routed(directions, foreign.layers)
    graphs: dict[str, tuple[nn.Module, dict[str, Tensor], list[str]]] = {
        "encoder": (MapGraph(mel, torch.stack([ways[heard] for heard in HEARD])), {"mel": window}, ["delta"]),
        "reader": (ReadGraph(mel), {"mel": window}, ["embedding"]),
        "recurrent": (
            DriftGraph(directions, foreign.layers, RATE_HZ),
            {
                **{feed: normal(*latent) for feed in ("w", "base", "delta", "noise")},
                **{f"h_{group}": normal(1, KEPT) for group in GROUPS},
            },
            ["w_next", *(f"h_{group}_next" for group in GROUPS)],
        ),
        "mapping": (PlaceGraph(foreign), {"z": z}, ["w"]),
    }
    for graph, parts in graphs.items():
        export(graph, *parts)
    tensors = {
        "w_avg": foreign.w_avg.expand(foreign.layers, -1).numpy(),
        # An onset leads where its recurrent part does, but in the very next frame.
        "stroke": ways["onset"].numpy(),
        "sway": ways["tempo"].numpy(),
    }
    weights = save({key: np.ascontiguousarray(value) for key, value in tensors.items()})
    (folder / "weights.safetensors").write_bytes(weights)
    manifest = {
        "name": name, "licence": licence,
        "image": ImageSpec(height=foreign.resolution, width=foreign.resolution), "mel": mel,
        "latents": LatentSpec(
            layers=foreign.layers, dim=foreign.dim, rate_hz=RATE_HZ, groups=Groups(**latent_groups(foreign.layers))
        ),
        "embedding_dim": len(HEARD), "z_dim": foreign.z_dim, "hidden": KEPT,
        "provenance": {
            **provenance, "directions": {group: [_described(d) for d in found] for group, found in directions.items()},
            "parity": parity, "opset": OPSET, "torch": torch.__version__, "machine": machine(),
        },
    }  # fmt: skip
    write_manifest(folder, manifest_of(folder, manifest, list(parity)))
