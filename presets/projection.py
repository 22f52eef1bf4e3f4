"""Open vocabulary: a projection from the embeddings of a sentence model into a bundle's joint embedding and W+.

    hidden    = silu(W₁ s + b₁)                            s: the sentence's embedding, unit length
    embedding = normalise(W₂ hidden + b₂)                  where F_t would put the sentence
    delta     = limit · tanh((W₃ hidden + b₃) / limit)     what E_t would answer

`cymatic presets fit` learns it (`training.sentences`) and writes one safetensors file whose metadata says which bundle
and which sentence model it stands between. This room only applies it, with NumPy: who embeds the sentence is not its
business.
"""

from __future__ import annotations

import json
import struct
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field, ValidationError
from safetensors import SafetensorError
from safetensors.numpy import load, save

from engine.bundle import Bundle, split_words
from engine.errors import PresetError
from engine.files import replace_file
from presets.schema import describe
from presets.text import Encoded, TextEncoder

__all__ = ["KEY", "Projection", "ProjectionCard", "projected", "read_projection", "write_projection"]

KEY = "cymatic.projection"  # of the metadata
MAX_BYTES = 64 << 20

Float32 = NDArray[np.float32]
Embed = Callable[[str], Float32]
"""A sentence → its embedding `[S]`, by the sentence model."""


class ProjectionCard(BaseModel):
    """What a projection is between. `fit`: how it did on captions that it has not learned from."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    schema_version: int = Field(default=1, ge=1, le=1)
    model: str = Field(min_length=1, max_length=200)
    """What the sentence model's folder was called."""
    fingerprint: str = Field(pattern=r"^[0-9a-f]{64}$")
    """SHA-256 over the sentence model's files."""
    bundle: str
    text_graph: str = Field(pattern=r"^[0-9a-f]{64}$")
    """SHA-256 of the bundle's text graph, whose place the projection takes."""
    limit: float = Field(gt=0.0, le=100.0)
    fit: dict[str, float] = {}


@dataclass(frozen=True, slots=True)
class Projection:
    """`weights`: `hidden.weight [H, S]`, `embedding.weight [E, H]`, `delta.weight [L·D, H]`, each with its `.bias`."""

    card: ProjectionCard
    weights: Mapping[str, Float32]

    @property
    def sentence_dim(self) -> int:
        """Numbers in an embedding of the sentence model."""
        return int(self.weights["hidden.weight"].shape[1])

    def __call__(self, sentence: Float32) -> tuple[Float32, Float32]:
        """`sentence [S]` → `delta [L·D]`, `embedding [E]` of unit length."""
        before = self._linear("hidden", _unit(sentence))
        hidden = (before / (1.0 + np.exp(np.minimum(-before, 80.0)))).astype(np.float32)
        limit = np.float32(self.card.limit)
        delta = limit * np.tanh(self._linear("delta", hidden) / limit)
        return delta, _unit(self._linear("embedding", hidden))

    def _linear(self, name: str, x: Float32) -> Float32:
        found: Float32 = self.weights[f"{name}.weight"] @ x + self.weights[f"{name}.bias"]
        return found


def _unit(x: Float32) -> Float32:
    return x / np.float32(max(float(np.linalg.norm(x)), 1e-12))


def projected(projection: Projection, bundle: Bundle, embed: Embed) -> TextEncoder:
    """A text encoder that takes the place of the bundle's own. It knows every word, or says so of none.

    Raises `PresetError` when the projection was made for another bundle.
    """
    spec = bundle.manifest.graph("text")
    shape, width = spec.outputs["delta"].shape[1:], spec.outputs["embedding"].shape[1]
    if projection.card.text_graph != spec.sha256:
        raise PresetError(
            f"the projection was made for the bundle {projection.card.bundle!r}, not for this "
            f"{bundle.manifest.name!r}: make it again with `cymatic presets fit`"
        )
    if projection.weights["delta.bias"].size != np.prod(shape) or projection.weights["embedding.bias"].size != width:
        raise PresetError("the projection's weights have another layout than its bundle: make it again")

    def encode(text: str) -> Encoded:
        if not split_words(text):
            raise PresetError(f"there is no word in {text[:80]!r}")
        sentence = np.asarray(embed(text), np.float32)
        if sentence.shape != (projection.sentence_dim,):
            raise PresetError(
                f"the sentence model gives {list(sentence.shape)} numbers, the projection takes "
                f"{projection.sentence_dim}: make it again with `cymatic presets fit`"
            )
        delta, embedding = projection(sentence)
        return Encoded(delta.reshape(shape), embedding, ())

    return encode


def write_projection(path: Path, projection: Projection) -> None:
    """Put it into a file, whole or not at all. Raises OSError."""
    metadata = {KEY: projection.card.model_dump_json()}
    replace_file(path, save({name: np.ascontiguousarray(w) for name, w in projection.weights.items()}, metadata))


def read_projection(path: Path) -> Projection:
    """Read a projection. Raises `PresetError`, one line, for a file that is none."""
    try:
        if path.stat().st_size > MAX_BYTES:
            raise PresetError(f"{path} is no projection: it is over {MAX_BYTES >> 20} MiB")
        content = path.read_bytes()
    except OSError as error:
        raise PresetError(f"projection {path} cannot be read: {error.strerror or error}") from None
    try:
        weights = load(content)
        (length,) = struct.unpack("<Q", content[:8])  # of the JSON header that every safetensors file begins with
        card = ProjectionCard.model_validate_json(json.loads(content[8 : 8 + length])["__metadata__"][KEY])
    except ValidationError as error:
        raise PresetError(f"projection {path}: {describe(error)}") from None
    except (SafetensorError, ValueError, KeyError, struct.error):
        raise PresetError(f"{path} is no projection: make one with `cymatic presets fit`") from None
    if not _fits_together(weights):
        raise PresetError(f"projection {path}: its weights do not fit each other; make it again")
    return Projection(card, weights)


def _fits_together(weights: Mapping[str, Float32]) -> bool:
    names = {f"{layer}.{part}" for layer in ("hidden", "embedding", "delta") for part in ("weight", "bias")}
    if set(weights) != names or any(w.dtype != np.float32 or not np.isfinite(w).all() for w in weights.values()):
        return False
    width = weights["hidden.bias"].shape
    return all(
        weights[f"{layer}.weight"].ndim == 2
        and weights[f"{layer}.weight"].shape[0] == weights[f"{layer}.bias"].size
        and (layer == "hidden" or weights[f"{layer}.weight"].shape[1:] == width)
        for layer in ("hidden", "embedding", "delta")
    )
