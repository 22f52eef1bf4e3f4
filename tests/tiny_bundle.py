"""A complete, valid bundle in a few kilobytes, built without torch: small graphs that react like the real ones.

encoder    delta grows with the mean of the mel window, embedding follows its mean spectrum
recurrent  leaks a fifth of the way towards base + delta each step; hidden states follow delta
generator  colours follow w_plus, texture follows the fine fields, brightness the others and their fractions
text       sum of word vectors
mapping    a linear map of z around w_avg
"""

from __future__ import annotations

from copy import deepcopy
from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper
from safetensors.numpy import save_file

from engine.audio.mel import MelConfig
from engine.bundle import (
    BundleManifest,
    FieldSpec,
    Groups,
    ImageSpec,
    LatentSpec,
    SmallSpec,
    TextSpec,
    describe_file,
    describe_graph,
    write_manifest,
)
from engine.contract import GROUPS, Dimensions, TensorSpec, graph_contract

LAYERS, DIM, EMBEDDING, Z_DIM, HIDDEN, TEXT_LENGTH, CELL = 10, 16, 16, 16, 8, 8, 2
SCENES = ("explosion", "fire", "rain", "splashing", "squishing", "thunder", "underwater", "waterfall", "wind")
WORDS = (*SCENES, "night", "day", "storm", "calm", "sea", "forest")
FIELDS = (
    FieldSpec(name="flame", velocity=(-0.4, 0.0), drive=1.0, detail=True),
    FieldSpec(name="rain", velocity=(0.8, 0.1), drive=0.5, detail=True),
    FieldSpec(name="cloud", velocity=(0.0, 0.05), drive=0.0),
    FieldSpec(name="ripple", velocity=(0.02, -0.1), drive=0.3),
)
ELEMENT_TYPES = {"float32": TensorProto.FLOAT, "uint8": TensorProto.UINT8, "int64": TensorProto.INT64}


def make_tiny_bundle(folder: Path, height: int = 36, width: int = 64, small: bool = False) -> Path:
    """Write a bundle for pictures of `height` × `width` into `folder` (made if need be) and return the folder.

    `small`: it can also paint them on two thirds as many rows, of which the columns stick out of the picture.
    """
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng(9)
    mel = MelConfig()
    d = Dimensions(
        layers=LAYERS,
        dim=DIM,
        embedding_dim=EMBEDDING,
        z_dim=Z_DIM,
        hidden=HIDDEN,
        fields=len(FIELDS),
        detail=sum(field.detail for field in FIELDS),
        height=height,
        width=width,
        cell=CELL,
        bands=mel.bands,
        columns=mel.columns,
        text_length=TEXT_LENGTH,
        small=(height // CELL * 2 // 3, -(-width // CELL * 2 // 3) + 1, CELL * 3 // 2) if small else None,
    )
    w_avg = _normal(rng, LAYERS, DIM)
    builders = {
        "encoder": _encoder(rng),
        "reader": _reader(rng, d),
        "recurrent": _recurrent(),
    }
    alike = deepcopy(rng)
    builders |= {
        "generator": _generator(rng, d, (height // CELL, width // CELL, CELL)),
        "text": _text(rng),
        "mapping": _mapping(rng, w_avg),
    }
    if d.small is not None:
        builders["small"] = _generator(alike, d, d.small)
    graphs = {}
    for name, (nodes, constants) in builders.items():
        _save(folder / f"{name}.onnx", nodes, constants, *graph_contract(d)[name])
        graphs[name] = describe_graph(folder / f"{name}.onnx", name, d)
    scene_embeddings = _normal(rng, len(SCENES), EMBEDDING)
    scene_embeddings /= np.linalg.norm(scene_embeddings, axis=1, keepdims=True)
    tiles = _tiles(height, width)
    tensors = {
        "w_avg": w_avg,
        "stroke": _normal(rng, LAYERS, DIM, scale=0.1),
        "fields": tiles[:, ::CELL, ::CELL].copy(),
        "detail": tiles[[field.detail for field in FIELDS]],
        "scene_embeddings": scene_embeddings,
    }
    save_file(tensors, folder / "weights.safetensors")
    manifest = BundleManifest(
        name="tiny",
        licence="Apache-2.0",
        image=ImageSpec(
            height=height,
            width=width,
            cell=CELL,
            small=None if d.small is None else SmallSpec(rows=d.small[0], columns=d.small[1], cell=d.small[2]),
        ),
        mel=mel,
        latents=LatentSpec(layers=LAYERS, dim=DIM, groups=Groups(coarse=(0, 2), mid=(2, 4), fine=(4, LAYERS))),
        embedding_dim=EMBEDDING,
        z_dim=Z_DIM,
        hidden=HIDDEN,
        fields=FIELDS,
        scenes=SCENES,
        text=TextSpec(words=WORDS, length=TEXT_LENGTH),
        graphs=graphs,
        weights=describe_file(folder / "weights.safetensors"),
        provenance={"made_by": "tests/tiny_bundle.py"},
    )
    write_manifest(folder, manifest)
    return folder


Nodes = list[onnx.NodeProto]
Constants = dict[str, np.ndarray]


def _normal(rng: np.random.Generator, *shape: int, scale: float = 1.0) -> np.ndarray:
    return (scale * rng.standard_normal(shape)).astype(np.float32)


def _f32(*values: float) -> np.ndarray:
    return np.array(values, np.float32)


def _i64(*values: int) -> np.ndarray:
    return np.array(values, np.int64)


def _node(kind: str, inputs: str, output: str, **attributes: object) -> onnx.NodeProto:
    return helper.make_node(kind, inputs.split(), [output], **attributes)


def _encoder(rng: np.random.Generator) -> tuple[Nodes, Constants]:
    nodes = [_node("ReduceMean", "mel all_axes", "mean", keepdims=0), _node("Mul", "mean direction", "delta")]
    return nodes, {"all_axes": _i64(0, 1, 2, 3), "direction": _normal(rng, 1, LAYERS, DIM)}


def _reader(rng: np.random.Generator, d: Dimensions) -> tuple[Nodes, Constants]:
    nodes = [
        _node("ReduceMean", "mel last_axis", "column", keepdims=0),
        _node("Reshape", "column row", "spectrum"),
        _node("MatMul", "spectrum projection", "projected"),
        _node("Add", "projected bias", "shifted"),
        _node("LpNormalization", "shifted", "embedding", axis=1, p=2),
    ]
    constants = {
        "last_axis": _i64(3),
        "row": _i64(1, d.bands),
        "projection": _normal(rng, d.bands, EMBEDDING, scale=0.1),
        "bias": _normal(rng, 1, EMBEDDING, scale=0.1),
    }
    return nodes, constants


def _recurrent() -> tuple[Nodes, Constants]:
    nodes = [
        _node("Add", "base delta", "target"),
        _node("Sub", "target w", "way"),
        _node("Mul", "way leak", "pull"),
        _node("Add", "w pull", "pulled"),
        _node("Mul", "noise grain", "grained"),
        _node("Add", "pulled grained", "w_next"),
        _node("ReduceMean", "delta all_axes", "mean", keepdims=0),
        _node("Tanh", "mean", "seen"),
        _node("Mul", "seen gain", "fresh"),
    ]
    for group in GROUPS:
        nodes.append(_node("Mul", f"h_{group} keep", f"kept_{group}"))
        nodes.append(_node("Add", f"kept_{group} fresh", f"h_{group}_next"))
    constants = {
        "leak": _f32(0.2),
        "grain": _f32(0.05),
        "all_axes": _i64(0, 1, 2),
        "gain": _f32(0.1),
        "keep": _f32(0.9),
    }
    return nodes, constants


def _generator(rng: np.random.Generator, d: Dimensions, grid: tuple[int, int, int]) -> tuple[Nodes, Constants]:
    """`grid`: rows, columns and size of the cells; the fine fields are enlarged to those of another size."""
    h, w, cell = grid
    nodes = [
        _node("Cast", "detail", "bytes", to=TensorProto.FLOAT),
        _node("Transpose", "bytes", "in_depth", perm=[0, 3, 1, 2]),
        _node("Mul", "in_depth byte_scale", "texture"),
        _node("DepthToSpace", "texture", "pixels" if cell != d.cell else "v", blocksize=d.cell, mode="CRD"),
    ]
    if cell != d.cell:
        nodes.append(_node("Resize", "pixels nothing enlarged", "v", mode="linear"))
    nodes += [
        _node("Conv", "v ink", "inked"),
        _node("Reshape", "w_plus flat", "w_flat"),
        _node("MatMul", "w_flat palette", "colour_row"),
        _node("Reshape", "colour_row pixel", "colour"),
        _node("Cast", "fields", "half_bytes", to=TensorProto.FLOAT),
        _node("Mul", "half_bytes byte_scale", "half"),
        _node("ReduceMean", "half every_axis", "half_mean", keepdims=0),
        _node("ReduceMean", "fraction fraction_axes", "fraction_mean", keepdims=0),
        _node("Add", "half_mean fraction_mean", "cast"),
        _node("Add", "inked colour", "tinted"),
        _node("Add", "tinted cast", "mixed"),
        _node("Sigmoid", "mixed", "unit"),
        _node("Mul", "unit white", "grey_levels"),
        _node("Round", "grey_levels", "rounded"),
        _node("Reshape", "rounded parted", "rows_and_columns"),
        _node("Transpose", "rows_and_columns", "in_cells", perm=[1, 3, 2, 4, 0]),
        _node("Concat", "in_cells alpha", "rgba_float", axis=4),
        _node("Reshape", "rgba_float picture", "rgba_cells"),
        _node("Cast", "rgba_cells", "rgba", to=TensorProto.UINT8),
    ]
    constants = {
        "byte_scale": _f32(1 / 255),
        "nothing": _f32(),
        "enlarged": _f32(1.0, 1.0, cell / d.cell, cell / d.cell),
        "every_axis": _i64(0, 1, 2, 3),
        "fraction_axes": _i64(0, 1, 2),
        "ink": _normal(rng, 3, d.detail, 1, 1),
        "flat": _i64(1, LAYERS * DIM),
        "palette": _normal(rng, LAYERS * DIM, 3, scale=(LAYERS * DIM) ** -0.5),
        "pixel": _i64(1, 3, 1, 1),
        "white": _f32(255.0),
        "parted": _i64(3, h, cell, w, cell),
        "picture": _i64(h, w, 4 * cell**2),
        "alpha": np.full((h, w, cell, cell, 1), 255, np.float32),
    }
    return nodes, constants


def _text(rng: np.random.Generator) -> tuple[Nodes, Constants]:
    table = _normal(rng, len(WORDS) + 2, EMBEDDING)
    table[0] = 0  # padding says nothing
    nodes = [
        _node("Gather", "table tokens", "vectors"),
        _node("ReduceSum", "vectors word_axis", "sentence", keepdims=0),
        _node("Add", "sentence bias", "shifted"),
        _node("LpNormalization", "shifted", "embedding", axis=1, p=2),
        _node("MatMul", "sentence projection", "projected"),
        _node("Reshape", "projected latent", "delta"),
    ]
    constants = {
        "table": table,
        "word_axis": _i64(1),
        "bias": _normal(rng, 1, EMBEDDING, scale=0.1),
        "projection": _normal(rng, EMBEDDING, LAYERS * DIM, scale=0.2),
        "latent": _i64(1, LAYERS, DIM),
    }
    return nodes, constants


def _mapping(rng: np.random.Generator, w_avg: np.ndarray) -> tuple[Nodes, Constants]:
    nodes = [
        _node("MatMul", "z projection", "projected"),
        _node("Reshape", "projected latent", "offset"),
        _node("Add", "offset w_avg", "w"),
    ]
    projection = _normal(rng, Z_DIM, LAYERS * DIM, scale=Z_DIM**-0.5)
    return nodes, {"projection": projection, "latent": _i64(1, LAYERS, DIM), "w_avg": w_avg}


def _tiles(height: int, width: int) -> np.ndarray:
    """One smooth tileable wave a field, uint8 `[F, H, W]`."""
    y, x = np.meshgrid(np.arange(height) / height, np.arange(width) / width, indexing="ij")
    waves = [np.sin(2 * np.pi * ((number + 1) * y + (2 * number + 1) * x)) for number in range(len(FIELDS))]
    return np.round(127.5 + 127.5 * np.stack(waves)).astype(np.uint8)


def _save(
    path: Path, nodes: Nodes, constants: Constants, inputs: dict[str, TensorSpec], outputs: dict[str, TensorSpec]
) -> None:
    def values(tensors: dict[str, TensorSpec]) -> list[onnx.ValueInfoProto]:
        return [helper.make_tensor_value_info(k, ELEMENT_TYPES[t.dtype], t.shape) for k, t in tensors.items()]

    initializers = [numpy_helper.from_array(value, name) for name, value in constants.items()]
    graph = helper.make_graph(nodes, path.stem, values(inputs), values(outputs), initializers)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=10)
    onnx.checker.check_model(model, full_check=True)
    path.write_bytes(model.SerializeToString())
