"""A bundle whose generator is somebody else's, with encoders that were trained for it in the place of the default map.

Generator, mapping and recurrent step stay the files they were, and the beat goes on swinging the picture as before.
"""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.numpy import save
from torch import Tensor, nn

from engine.audio.mel import MelConfig
from engine.bundle import Bundle, TextSpec, write_manifest
from engine.contract import GROUPS
from engine.errors import BundleError
from engine.runtime.torch_cuda import open_function
from export.bundle import OPSET, export_graph, machine, manifest_of, prove, replacing_bundle
from export.graphs import TextGraph, flat
from training.adaptation import Adapted, Easel
from training.run import seeded
from training.world import captions, factors

KEPT = ("recurrent", "generator", "mapping")
PLACES = 1000  # random latents that say how W lies


def open_easel(bundle: Bundle, device: torch.device) -> Easel:
    """A bundle's generator as a function that gradients pass through.

    Raises BundleError for a bundle whose generator takes more than a latent: its encoders come with its training.
    """
    manifest = bundle.manifest
    if manifest.fields:
        raise BundleError(
            f"bundle {manifest.name} was trained with a world of its own, and its encoders with it; "
            "only a bundle that `cymatic import` made can be adapted"
        )
    place, painter = (open_function(bundle.graph_path(name), device) for name in ("mapping", "generator"))
    draws = seeded(1, 81)
    with torch.no_grad():
        z = torch.randn(PLACES, 1, manifest.z_dim, generator=draws).to(device)
        places = torch.cat([place({"z": one})["w"] for one in z]).cpu()

    def paint(w_plus: Tensor) -> Tensor:
        rgba = painter({"w_plus": w_plus})["rgba"]
        return (rgba[None, ..., :3].permute(0, 3, 1, 2).float() - 127.5) / 127.5

    groups = {group: getattr(manifest.latents.groups, group) for group in GROUPS}
    return Easel(paint, places, torch.from_numpy(bundle.tensors["w_avg"]), groups)


def write_adapted(target: Path, bundle: Bundle, adapted: Adapted, name: str, provenance: dict[str, Any]) -> Path:
    """Write the bundle `target` and return it; an older bundle there is replaced only by a whole new one.

    Raises BundleError if `target` holds something else, or if a graph's answer differs from eager torch's.
    """
    mel, manifest = MelConfig(), bundle.manifest
    window = torch.randn(1, 1, mel.bands, mel.columns, generator=seeded(1, 82)).clamp(-2, 2)
    sentence = torch.tensor([captions.encode("thunder over a dark lake")[0]])
    graphs: dict[str, tuple[nn.Module, dict[str, Tensor], list[str]]] = {
        "encoder": (flat(adapted.sound), {"mel": window}, ["delta"]),
        "reader": (flat(adapted.hears), {"mel": window}, ["embedding"]),
        "text": (TextGraph(adapted.text, adapted.reads), {"tokens": sentence}, ["delta", "embedding"]),
    }
    for network in adapted.networks().values():
        network.cpu()
    with replacing_bundle(target) as folder:
        for graph in KEPT:
            shutil.copyfile(bundle.graph_path(graph), folder / f"{graph}.onnx")
        parity = dict(manifest.provenance.get("parity") or {})
        for graph, (module, inputs, outputs) in graphs.items():
            path = folder / f"{graph}.onnx"
            export_graph(module, inputs, outputs, path)
            parity[graph] = prove(path, module, inputs, outputs)
        scenes = adapted.scenes().numpy()
        tensors = {**bundle.tensors, "scene_embeddings": scenes}
        weights = save({key: np.ascontiguousarray(value) for key, value in tensors.items()})
        (folder / "weights.safetensors").write_bytes(weights)
        parts = {
            "name": name, "licence": manifest.licence, "image": manifest.image, "mel": mel,
            "latents": manifest.latents, "embedding_dim": scenes.shape[1], "z_dim": manifest.z_dim,
            "hidden": manifest.hidden, "scenes": factors.SCENES,
            "text": TextSpec(words=captions.WORDS, length=captions.LENGTH),
            "provenance": {
                **manifest.provenance, "adapted": provenance, "parity": parity, "opset": OPSET,
                "torch": torch.__version__, "machine": machine(),
            },
        }  # fmt: skip
        write_manifest(folder, manifest_of(folder, parts, [*KEPT, *graphs]))
    return target
