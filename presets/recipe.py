"""A preset before its words have met a bundle: what a person writes down."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from pydantic import ValidationError

from engine.errors import PresetError
from presets.schema import Anchor, Preset, Seed, describe, latent, numbers
from presets.text import Encoded, TextEncoder


@dataclass(frozen=True, slots=True)
class Recipe:
    """`texts`: (words, weight) pairs. The other fields are those of `Preset`; `fade_s` None leaves it unstated."""

    name: str
    description: str = ""
    texts: tuple[tuple[str, float], ...] = ()
    seed: int = 0
    controls: Mapping[str, float] = field(default_factory=dict)
    fade_s: float | None = None

    def build(self, encode: TextEncoder, graph_hash: str) -> Preset:
        """The preset, its words embedded by `encode`, the text graph whose SHA-256 is `graph_hash`.

        Raises `PresetError`, one line that names the field, for what the schema refuses.
        """
        stated: dict[str, Any] = {} if self.fade_s is None else {"fade_s": self.fade_s}
        try:
            return Preset(
                name=self.name,
                description=self.description,
                base=Seed(seed=self.seed),
                anchors=tuple(text_anchor(text, weight, encode(text), graph_hash) for text, weight in self.texts),
                controls=dict(self.controls),
                **stated,
            )
        except ValidationError as error:
            raise PresetError(f"preset {self.name[:60]!r} cannot be made: {describe(error)}") from None


def text_anchor(text: str, weight: float, encoded: Encoded, graph_hash: str) -> Anchor:
    """An anchor for words that the text graph with that SHA-256 has encoded."""
    return Anchor(
        kind="text",
        source=text,
        weight=weight,
        embedding=numbers(encoded.embedding),
        offset=latent(encoded.delta),
        bundle=graph_hash,
    )
