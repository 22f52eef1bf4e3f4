"""A bundle: the trained networks of one world, as a folder of plain files.

    bundle.json           BundleManifest: latent layout, mel constants, graphs with hashes and shapes, provenance
    encoder.onnx …        the graphs of `graph_contract`, static shapes, batch 1
    generator.int8.onnx   one of them once more, its convolutions in 8-bit integers; a bundle may do without
    weights.safetensors   w_avg, stroke, fields, detail, scene_embeddings, sway

A foreign generator knows no fields and no scenes, and until encoders were trained for it no words: such a bundle
states none, and has neither their tensors nor the graph `text`.

Everything is checked before it is used: file names cannot leave the folder, every file must have the hash that the
manifest states, and every shape must follow from the manifest's dimensions. Nothing here is ever unpickled.
What a graph file really holds is seen when it is opened: `engine.runtime.session.verify_session`.
"""

from __future__ import annotations

import hashlib
import os
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import AfterValidator, Field, JsonValue, ValidationError, model_validator

from engine.audio.mel import MelConfig
from engine.contract import (
    GROUPS,
    Dimensions,
    Size,
    StrictModel,
    TensorSpec,
    compare_tensors,
    graph_contract,
)
from engine.errors import BundleError
from engine.files import replace_file

SCHEMA_VERSION: Literal[1] = 1
MANIFEST = "bundle.json"
SHIPPED = Path(__file__).parent / "bundles"
SCENE_COUNT = 9

_FILE_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")
_WORD = re.compile(r"[^\W_]+")


def _plain_file_name(name: str) -> str:
    if not _FILE_NAME.fullmatch(name) or name == MANIFEST:
        raise ValueError(f"{name!r} is not the plain name of a file inside the bundle")
    return name


FileName = Annotated[str, AfterValidator(_plain_file_name)]
Sha256 = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
LayerRange = tuple[int, int]
"""First layer and the one after the last."""


class FileSpec(StrictModel):
    """One file of the bundle."""

    file: FileName
    sha256: Sha256


class GraphSpec(FileSpec):
    """One ONNX file of the bundle and the tensors that go in and out.

    `int8`: the same graph with convolutions in 8-bit integers, of which a CPU computes four times as many.
    """

    inputs: dict[str, TensorSpec]
    outputs: dict[str, TensorSpec]
    int8: FileSpec | None = None


class SmallSpec(StrictModel):
    """The coarser grid of the graph `small`: `rows` × `columns` cells of `cell` × `cell` pixels, of which the picture
    is the middle. It shows the same with less work, and softer."""

    rows: Size
    columns: Size
    cell: Annotated[int, Field(ge=1, le=32)]


class ImageSpec(StrictModel):
    """Size of the picture in pixels.

    The generator paints it in cells of `cell` × `cell` pixels, whose pixels lie side by side in memory: the fine end of
    a network then never touches single pixels, and putting them in their places is part of a copy (`engine.cells`).
    """

    height: Size
    width: Size
    cell: Annotated[int, Field(ge=1, le=16)] = 1
    small: SmallSpec | None = None

    @model_validator(mode="after")
    def _cells_fill_it(self) -> ImageSpec:
        if self.height % self.cell or self.width % self.cell:
            raise ValueError(f"{self.height}x{self.width} is not made of whole cells of {self.cell}x{self.cell}")
        if (small := self.small) is not None:
            height, width = small.rows * small.cell, small.columns * small.cell
            if height < self.height or width < self.width:
                raise ValueError(f"the small grid's {height}x{width} does not cover {self.height}x{self.width}")
        return self


class Groups(StrictModel):
    """Which layers of `W+` are coarse, mid and fine: adjacent half-open ranges that cover all layers."""

    coarse: LayerRange
    mid: LayerRange
    fine: LayerRange

    def slices(self) -> dict[str, slice]:
        """Index ranges into the layers, in the order coarse, mid, fine."""
        return {name: slice(*getattr(self, name)) for name in GROUPS}


class LatentSpec(StrictModel):
    """Layout of `W+` and the rate at which the recurrent step runs."""

    layers: Size
    dim: Size
    rate_hz: Annotated[float, Field(gt=0, le=240)] = 30.0
    groups: Groups

    @model_validator(mode="after")
    def _groups_cover_layers(self) -> LatentSpec:
        edges = [*self.groups.coarse, *self.groups.mid, *self.groups.fine]
        joined = edges[1] == edges[2] and edges[3] == edges[4]
        filled = edges[0] < edges[1] < edges[3] < edges[5]
        if not (joined and filled and edges[0] == 0 and edges[5] == self.layers):
            raise ValueError(f"groups must be adjacent ranges that cover the {self.layers} layers")
        return self


class FieldSpec(StrictModel):
    """One flowing texture: `velocity` (down, right) in tiles/s, `drive` = how much more at full level.

    Every field comes with one place for each of the picture's cells; one with `detail` also with all its pixels.
    """

    name: str
    velocity: tuple[float, float]
    drive: float = 0.0
    detail: bool = False


def split_words(text: str) -> list[str]:
    """Lower-case words of `text`; whatever is neither letter nor digit parts them."""
    return _WORD.findall(text.lower())


class TextSpec(StrictModel):
    """The vocabulary of the text graph; token 0 is padding, 1 an unknown word, i + 2 is `words[i]`."""

    words: tuple[str, ...]
    length: Size

    @model_validator(mode="after")
    def _words_are_unique(self) -> TextSpec:
        if len(set(self.words)) != len(self.words):
            raise ValueError("a word stands twice in the vocabulary")
        return self

    def tokens(self, sentence: str) -> NDArray[np.int64]:
        """Tokens of a sentence, int64 `[1, length]`: those of its `split_words`, cut off after `length`."""
        number = {word: index + 2 for index, word in enumerate(self.words)}
        found = [number.get(word, 1) for word in split_words(sentence)][: self.length]
        tokens = np.zeros((1, self.length), np.int64)
        tokens[0, : len(found)] = found
        return tokens


class BundleManifest(StrictModel):
    """The content of `bundle.json`. Building one checks that all graphs follow the contract."""

    schema_version: Literal[1] = SCHEMA_VERSION
    name: Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$")]
    licence: str
    image: ImageSpec
    mel: MelConfig
    latents: LatentSpec
    embedding_dim: Size
    z_dim: Size
    hidden: Size
    fields: Annotated[tuple[FieldSpec, ...], Field(max_length=256)] = ()
    scenes: Annotated[tuple[str, ...], Field(max_length=SCENE_COUNT)] = ()
    text: TextSpec | None = None
    graphs: dict[str, GraphSpec]
    weights: FileSpec
    provenance: dict[str, JsonValue] = Field(default_factory=dict)

    @property
    def dimensions(self) -> Dimensions:
        """The numbers that all shapes follow from."""
        return Dimensions(
            layers=self.latents.layers,
            dim=self.latents.dim,
            embedding_dim=self.embedding_dim,
            z_dim=self.z_dim,
            hidden=self.hidden,
            fields=len(self.fields),
            detail=sum(field.detail for field in self.fields),
            height=self.image.height,
            width=self.image.width,
            cell=self.image.cell,
            bands=self.mel.bands,
            columns=self.mel.columns,
            text_length=self.text.length if self.text else 0,
            small=(small.rows, small.columns, small.cell) if (small := self.image.small) else None,
        )

    @property
    def files(self) -> dict[str, str]:
        """All that lies beside `bundle.json`: the SHA-256 of each file by its name."""
        graphs = self.graphs.values()
        specs: list[FileSpec] = [*graphs, *(graph.int8 for graph in graphs if graph.int8), self.weights]
        return {spec.file: spec.sha256 for spec in specs}

    def graph(self, name: str) -> GraphSpec:
        """The row of a graph. `BundleError` if the bundle does without it, as a foreign one does without words."""
        if name not in self.graphs:
            raise BundleError(f"bundle {self.name} has no graph {name}: it has {', '.join(self.graphs)}")
        return self.graphs[name]

    @model_validator(mode="after")
    def _graphs_follow_contract(self) -> BundleManifest:
        contract = graph_contract(self.dimensions)
        if set(self.graphs) != set(contract):
            raise ValueError(f"graphs must be {', '.join(contract)}; found {', '.join(self.graphs) or 'none'}")
        if len(self.scenes) not in (0, SCENE_COUNT):
            raise ValueError(f"scenes are {SCENE_COUNT} or none, not {len(self.scenes)}")
        if len(set(self.scenes)) != len(self.scenes):
            raise ValueError("a scene stands twice")
        if self.fields and not any(field.detail for field in self.fields):
            raise ValueError("no field has detail")
        for name, (inputs, outputs) in contract.items():
            graph = self.graphs[name]
            compare_tensors(f"graph {name}, input", inputs, graph.inputs)
            compare_tensors(f"graph {name}, output", outputs, graph.outputs)
        return self


@dataclass(frozen=True, slots=True)
class Bundle:
    """A bundle whose files were found, hashed and measured.

    `tensors`: `w_avg`, `stroke` and, if it swings with the beat, `sway` float32 `[L, D]`; if it has fields `fields`
    uint8 `[F, H/cell, W/cell]` and `detail` uint8 `[Fd, H, W]`; if it knows scenes `scene_embeddings` float32 `[9, E]`,
    unit length.
    """

    folder: Path
    manifest: BundleManifest
    tensors: dict[str, NDArray[Any]]

    def graph_path(self, name: str, int8: bool = False) -> Path:
        """Path of the ONNX file of a graph, or of its twin in integers. `BundleError` if the bundle has no such one."""
        spec = self.manifest.graph(name)
        if not int8:
            return self.folder / spec.file
        if spec.int8 is None:
            raise BundleError(
                f"bundle {self.manifest.name} has no {name} in int8: cymatic export --to onnx --precision int8"
            )
        return self.folder / spec.int8.file


def sha256_file(path: Path) -> str:
    """SHA-256 of a file as 64 hexadecimal digits."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def describe_graph(path: Path, name: str, dimensions: Dimensions) -> GraphSpec:
    """The manifest's row for an exported ONNX file: its hash, and the tensors that the contract asks of the graph."""
    inputs, outputs = graph_contract(dimensions)[name]
    return GraphSpec(file=path.name, sha256=sha256_file(path), inputs=inputs, outputs=outputs)


def describe_file(path: Path) -> FileSpec:
    """The manifest's row for a file of which nothing else is said: the weights, or a graph in integers."""
    return FileSpec(file=path.name, sha256=sha256_file(path))


def write_manifest(folder: Path, manifest: BundleManifest) -> Path:
    """Write `bundle.json` so that a reader sees the old file or the new one, never half of one."""
    path = folder / MANIFEST
    replace_file(path, (manifest.model_dump_json(indent=1) + "\n").encode())
    return path


def shipped_bundles() -> list[str]:
    """Names of the bundles that come with the program."""
    return sorted(manifest.parent.name for manifest in SHIPPED.glob(f"*/{MANIFEST}"))


def find_bundle(name_or_path: str | Path) -> Path:
    """Folder of a shipped bundle by its name, or of any by its path. Unknown: `BundleError` with the known names."""
    if str(name_or_path) in shipped_bundles():
        return SHIPPED / str(name_or_path)
    # os.path, because pathlib's own versions of these raise on some of what a user may type.
    folder = Path(os.path.expanduser(name_or_path))
    if os.path.isfile(folder / MANIFEST):
        return folder
    if os.path.isdir(folder):
        raise BundleError(f"{folder} is not a bundle: it holds no {MANIFEST}")
    names = ", ".join(shipped_bundles()) or "none"
    raise BundleError(f"no bundle {str(name_or_path)!r}: give a folder's path or a shipped name ({names})")


def load_bundle(path: str | Path) -> Bundle:
    """Read and check a bundle's folder. Raises `BundleError`, one line, if anything is missing or not as stated."""
    folder = Path(path)
    try:
        manifest = BundleManifest.model_validate_json(_read(folder, MANIFEST))
    except ValidationError as error:
        raise BundleError(f"{folder / MANIFEST}: {_first_line(error)}") from None
    for file, sha256 in manifest.files.items():
        _check_hash(folder, file, sha256)
    return Bundle(folder, manifest, _read_tensors(folder, manifest))


def _read(folder: Path, file: str) -> bytes:
    try:
        return (folder / file).read_bytes()
    except OSError as error:
        raise BundleError(f"bundle {folder}: cannot read {file}: {error.strerror}") from None


def _check_hash(folder: Path, file: str, expected: str) -> None:
    try:
        found = sha256_file(folder / file)
    except OSError as error:
        raise BundleError(f"bundle {folder}: cannot read {file}: {error.strerror}") from None
    if found != expected:
        raise BundleError(
            f"bundle {folder}: {file} is damaged or was exchanged: hash {found[:12]}…, expected {expected[:12]}…"
        )


def _read_tensors(folder: Path, manifest: BundleManifest) -> dict[str, NDArray[Any]]:
    from safetensors import SafetensorError
    from safetensors.numpy import load

    file = manifest.weights.file
    try:
        stored = load(_read(folder, file))
    except (SafetensorError, KeyError, ValueError) as error:
        reason = " ".join(str(error).split())
        raise BundleError(f"bundle {folder}: {file} is not a safetensors file: {reason}") from None
    d = manifest.dimensions
    expected = {
        "w_avg": TensorSpec(shape=(d.layers, d.dim)),
        "stroke": TensorSpec(shape=(d.layers, d.dim)),
    }
    if "sway" in stored:
        expected["sway"] = TensorSpec(shape=(d.layers, d.dim))
    if d.fields:
        expected["fields"] = TensorSpec(shape=(d.fields, d.height // d.cell, d.width // d.cell), dtype="uint8")
        expected["detail"] = TensorSpec(shape=(d.detail, d.height, d.width), dtype="uint8")
    if manifest.scenes:
        expected["scene_embeddings"] = TensorSpec(shape=(SCENE_COUNT, d.embedding_dim))
    if set(stored) != set(expected):
        raise BundleError(f"bundle {folder}: {file} holds {sorted(stored)}, expected {sorted(expected)}")
    tensors: dict[str, NDArray[Any]] = {}
    for name, spec in expected.items():
        tensor = stored[name]
        if tensor.dtype == np.float16 and spec.dtype == "float32":  # stored at half precision to save space
            tensor = tensor.astype(np.float32)
        if tensor.shape != spec.shape or tensor.dtype != spec.dtype:
            raise BundleError(f"bundle {folder}: {file}: {name} is {tensor.dtype}{list(tensor.shape)}, expected {spec}")
        if spec.dtype == "float32" and not np.isfinite(tensor).all():
            raise BundleError(f"bundle {folder}: {file}: {name} holds a value that is not finite")
        tensors[name] = tensor
    if manifest.scenes and not np.allclose(np.linalg.norm(tensors["scene_embeddings"], axis=1), 1.0, atol=1e-2):
        raise BundleError(f"bundle {folder}: {file}: scene_embeddings are not of unit length")
    return tensors


def _first_line(error: ValidationError) -> str:
    first = error.errors(include_url=False)[0]
    if first["type"] == "json_invalid":
        return f"not JSON: {first['msg']}"
    where = ".".join(str(part) for part in first["loc"])
    more = f" (and {error.error_count() - 1} more)" if error.error_count() > 1 else ""
    message = " ".join(first["msg"].removeprefix("Value error, ").split())
    return f"{where}: {message}{more}" if where else f"{message}{more}"
