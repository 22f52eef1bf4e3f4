"""Writes a bundle: exports the graphs, proves each against eager torch, stores tensors, then the manifest, last."""

from __future__ import annotations

import contextlib
import io
import logging
import os
import platform
import tempfile
import warnings
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import torch
from safetensors.numpy import save
from torch import Tensor, nn

from engine.audio.mel import MelConfig
from engine.bundle import (
    BundleManifest,
    FieldSpec,
    Groups,
    ImageSpec,
    LatentSpec,
    TextSpec,
    describe_file,
    describe_graph,
    load_bundle,
    write_manifest,
)
from engine.contract import Dimensions
from engine.errors import BundleError
from engine.runtime import open_session
from export.graphs import (
    Z_DIM,
    GeneratorGraph,
    MappingGraph,
    RecurrentGraph,
    TextGraph,
    drawn_inputs,
    flat,
)
from export.quantise import add_int8
from export.small import add_small
from training.embedding import JointEmbedding
from training.inversion import Inverters
from training.networks.generators import Generator
from training.networks.recurrent import RecurrentStep
from training.pictures import FieldTiles
from training.world import captions, factors, fields

OPSET = 20
PARITY_GREY = 0.5  # mean error of the generator in grey levels over which export refuses
STRIKING = {"thunder": 0.7, "explosion": 0.3}
PARITY_FLOAT = 2e-3  # greatest error of the other graphs

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Trained:
    """Everything that a bundle is made of."""

    generator: Generator
    joint: JointEmbedding
    inverters: Inverters
    step: RecurrentStep


def write_bundle(target: Path, name: str, trained: Trained, provenance: dict[str, Any]) -> Path:
    """Write the bundle `target` and return it; an older bundle there is replaced only by a whole new one.

    Raises BundleError if `target` holds something else, or if a graph's answer differs from eager torch's.
    """
    with replacing_bundle(target) as folder:
        _fill(folder, name, trained, provenance)
        add_int8(folder)
        if add_small(folder):
            add_int8(folder, "small")
    return target


@contextlib.contextmanager
def replacing_bundle(target: Path) -> Iterator[Path]:
    """An empty folder to fill; it becomes `target` when the block ends, and is gone if the block raises.

    Raises BundleError if `target` is something other than a bundle.
    """
    check_target(target)
    target.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=".bundle-", dir=target.parent) as scratch:
        folder = Path(scratch) / "new"
        folder.mkdir()
        yield folder
        if target.exists():
            target.rename(Path(scratch) / "old")
        folder.rename(target)


def _fill(folder: Path, name: str, trained: Trained, provenance: dict[str, Any]) -> None:
    """Graphs, tensors and, last, the manifest."""
    config = trained.generator.config
    height, width = config.size
    layers, dim, mel = config.layers, config.dim, MelConfig()
    draws = torch.Generator().manual_seed(3)

    def normal(*shape: int) -> Tensor:
        return torch.randn(shape, generator=draws)

    latent, window = (1, layers, dim), normal(1, 1, mel.bands, mel.columns)
    hidden = trained.step.hidden
    inputs = drawn_inputs(trained.generator, draws)
    graphs: dict[str, tuple[nn.Module, dict[str, Tensor], list[str]]] = {
        "encoder": (flat(trained.inverters.sound), {"mel": window}, ["delta"]),
        "reader": (flat(trained.joint.sound), {"mel": window}, ["embedding"]),
        "recurrent": (
            RecurrentGraph(trained.step),
            {"w": normal(*latent), "base": normal(*latent), "delta": normal(*latent), "noise": normal(*latent),
             **{f"h_{group}": normal(1, hidden) for group in ("coarse", "mid", "fine")}},
            ["w_next", "h_coarse_next", "h_mid_next", "h_fine_next"],
        ),
        "generator": (
            GeneratorGraph(trained.generator), inputs, ["rgba"],
        ),
        "text": (
            TextGraph(trained.inverters.text, trained.joint.text),
            {"tokens": torch.tensor([captions.encode("thunder over a dark lake")[0]])},
            ["delta", "embedding"],
        ),
        "mapping": (MappingGraph(trained.generator), {"z": normal(1, Z_DIM)}, ["w"]),
    }  # fmt: skip
    parity = {}
    for graph, (module, inputs, outputs) in graphs.items():
        path = folder / f"{graph}.onnx"
        export_graph(module, inputs, outputs, path)
        parity[graph] = prove(path, module, inputs, outputs)

    tiles = FieldTiles(config.size)
    tensors = {
        "w_avg": trained.generator.broadcast(trained.generator.w_avg[None])[0].numpy().copy(),
        "stroke": stroke(trained.generator).numpy(),
        "fields": (tiles.at(height // config.cell) * 255).round().byte().numpy(),
        "detail": (tiles.full[list(config.detail)] * 255).round().byte().numpy(),
        "scene_embeddings": trained.joint.scenes().numpy(),
    }
    weights = save({key: np.ascontiguousarray(value) for key, value in tensors.items()})
    (folder / "weights.safetensors").write_bytes(weights)
    dimensions = {
        "name": name, "licence": "Apache-2.0",
        "image": ImageSpec(height=height, width=width, cell=config.cell), "mel": mel,
        "latents": LatentSpec(layers=layers, dim=dim, groups=Groups(**config.groups)),
        "embedding_dim": trained.joint.scenes().shape[1], "z_dim": Z_DIM, "hidden": hidden,
        "fields": tuple(FieldSpec(**asdict(field)) for field in fields.FIELDS),
        "scenes": factors.SCENES, "text": TextSpec(words=captions.WORDS, length=captions.LENGTH),
        "provenance": {
            **provenance, "parity": parity, "opset": OPSET, "torch": torch.__version__, "machine": machine(),
        },
    }  # fmt: skip
    write_manifest(folder, manifest_of(folder, dimensions, list(graphs)))


@torch.no_grad()
def stroke(generator: Generator) -> Tensor:
    """`[L, D]`: the way in W from rest to the height of a stroke, where it shows most: in thunder, and on a volcano."""
    pairs = torch.zeros(len(STRIKING), 2, factors.COUNT)
    pairs[:, :, factors.INDEX["flash"]] = torch.tensor([factors.REST, factors.STROKE])
    for pair, scene in zip(pairs, STRIKING, strict=True):
        pair[:, factors.INDEX[scene]] = 0.85
    rest, struck = generator.mapping(pairs.flatten(0, 1)).unflatten(0, pairs.shape[:2]).unbind(1)
    share = torch.tensor(list(STRIKING.values())).unsqueeze(1)
    return generator.broadcast((share * (struck - rest)).sum(0, keepdim=True))[0].contiguous()


def check_target(target: Path) -> None:
    """Refuse to write over anything but a bundle or an empty folder."""
    if target.exists() and not (target / "bundle.json").is_file() and (target.is_file() or any(target.iterdir())):
        raise BundleError(f"{target} is not a bundle and is not empty; name another folder")


def manifest_of(folder: Path, parts: dict[str, Any], graphs: list[str]) -> BundleManifest:
    """The manifest of `parts` (fields of `BundleManifest`) and of the graphs and weights that lie in the folder."""
    image, latents, mel, fields, text = (parts.get(key) for key in ("image", "latents", "mel", "fields", "text"))
    d = Dimensions(
        layers=latents.layers, dim=latents.dim, embedding_dim=parts["embedding_dim"], z_dim=parts["z_dim"],
        hidden=parts["hidden"], fields=len(fields or ()),
        detail=sum(field.detail for field in fields or ()), height=image.height, width=image.width, cell=image.cell,
        bands=mel.bands, columns=mel.columns, text_length=text.length if text else 0,
    )  # fmt: skip
    described = {graph: describe_graph(folder / f"{graph}.onnx", graph, d) for graph in graphs}
    return BundleManifest(**parts, graphs=described, weights=describe_file(folder / "weights.safetensors"))


def export_graph(module: nn.Module, inputs: dict[str, Tensor], outputs: list[str], path: Path) -> None:
    """Dynamo export to one file at `OPSET`, through a temporary name."""
    temporary = path.with_suffix(".tmp.onnx")
    # The exporter mentions every optional library that it does not find.
    logging.getLogger("torch.onnx").setLevel(logging.ERROR)
    with (
        warnings.catch_warnings(),
        contextlib.redirect_stdout(io.StringIO()),
        contextlib.redirect_stderr(io.StringIO()),
    ):
        warnings.simplefilter("ignore")  # the exporter warns about its own internals
        torch.onnx.export(
            module.eval(), tuple(inputs.values()), str(temporary), dynamo=True, external_data=False,
            opset_version=OPSET, input_names=list(inputs), output_names=outputs, verbose=False,
        )  # fmt: skip
    _forget_origin(temporary)
    os.replace(temporary, path)


def _forget_origin(path: Path) -> None:
    """Drop what the exporter notes of the Python code behind each node: file names, a third of the graph, no use."""
    model = onnx.load(path)
    for part in (model, model.graph, *model.graph.node, *model.graph.value_info, *model.graph.initializer):
        del part.metadata_props[:]
        part.doc_string = ""
    onnx.save(model, path)


@torch.no_grad()
def prove(path: Path, module: nn.Module, inputs: dict[str, Tensor], outputs: list[str]) -> dict[str, float]:
    """Mean and greatest difference between ONNX Runtime and eager torch on the same inputs.

    Raises BundleError over the limit.
    """
    answer = module(*inputs.values())
    expected = answer if isinstance(answer, tuple) else (answer,)
    session = open_session(path, "onnxruntime")
    try:
        found = session.run({key: value.numpy() for key, value in inputs.items()})
    finally:
        session.close()
    difference = np.concatenate(
        [
            np.abs(found[key].astype(np.float64) - value.numpy().astype(np.float64)).ravel()
            for key, value in zip(outputs, expected, strict=True)
        ]
    )
    error = {"mean": float(difference.mean()), "max": float(difference.max())}
    grey = expected[0].dtype == torch.uint8
    if (error["mean"] > PARITY_GREY) if grey else (error["max"] > PARITY_FLOAT):
        raise BundleError(
            f"{path.name}: exported graph differs from the network "
            f"(mean {error['mean']:.4g}, max {error['max']:.4g}); not shipped"
        )
    log.info("%s: parity mean %.2g max %.2g", path.name, error["mean"], error["max"])
    return error


def record_evaluation(folder: Path, report: dict[str, Any]) -> None:
    """Write what `cymatic evaluate` found into the bundle's provenance; graphs and weights stay what they are."""
    manifest = load_bundle(folder).manifest
    manifest.provenance["evaluation"] = {
        "judges": report["judges"]["sha256"],
        "seed": report["method"]["seed"],
        "runtime": report["method"]["runtime"],
        "machine": report["machine"],
        "figures": {bar["name"]: bar["value"] for bar in report["bars"] if bar["value"] is not None},
    }
    try:
        write_manifest(folder, manifest)
    except OSError as error:
        raise BundleError(f"{folder}: the figures cannot be written into it: {error.strerror}") from error


def machine() -> str:
    """The processor and core count, for provenance."""
    model = platform.processor() or platform.machine()
    with contextlib.suppress(OSError):
        lines = Path("/proc/cpuinfo").read_text().splitlines()
        model = next((line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")), model)
    return f"{model}, {os.cpu_count()} cores"
