"""A preset before its words have met a bundle: what a person writes down."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from pydantic import ValidationError

from engine.errors import PresetError
from presets.schema import Anchor, Preset, Seed, SoundMap, describe, latent, numbers
from presets.text import Encoded, TextEncoder


@dataclass(frozen=True, slots=True)
class Recipe:
    """`texts`: (words, weight) pairs; `maps`: the fields of each `SoundMap`. The other fields are those of `Preset`;
    `fade_s` None leaves it unstated."""

    name: str
    description: str = ""
    texts: tuple[tuple[str, float], ...] = ()
    seed: int = 0
    controls: Mapping[str, float | str] = field(default_factory=dict)
    fade_s: float | None = None
    bank: str = ""
    maps: tuple[Mapping[str, Any], ...] = ()

    def build(self, encode: TextEncoder, graph_hash: str, sounds: Sequence[Anchor] = ()) -> Preset:
        """The preset, its words embedded by `encode`, the text graph whose SHA-256 is `graph_hash`, and `sounds`.

        Raises `PresetError`, one line that names the field, for what the schema refuses.
        """
        stated: dict[str, Any] = {} if self.fade_s is None else {"fade_s": self.fade_s}
        try:
            texts = tuple(text_anchor(text, weight, encode(text), graph_hash) for text, weight in self.texts)
            return Preset(
                name=self.name,
                description=self.description,
                bank=self.bank,
                base=Seed(seed=self.seed),
                anchors=(*texts, *sounds),
                controls=dict(self.controls),
                maps=tuple(SoundMap(**fields) for fields in self.maps),
                **stated,
            )
        except ValidationError as error:
            raise PresetError(f"preset {self.name[:60]!r} cannot be made: {describe(error)}") from None


def text_anchor(text: str, weight: float, encoded: Encoded, graph_hash: str) -> Anchor:
    """An anchor for words that the text graph with that SHA-256 has encoded."""
    return anchor("text", text, weight, encoded, graph_hash)


def anchor(
    kind: Literal["text", "sound", "image"], source: str, weight: float, encoded: Encoded, graph_hash: str
) -> Anchor:
    """An anchor with what the graph of that SHA-256 has made of its source. Raises `PresetError`."""
    try:
        return Anchor(
            kind=kind,
            source=source,
            weight=weight,
            embedding=numbers(encoded.embedding),
            offset=latent(encoded.delta),
            bundle=graph_hash,
        )
    except ValidationError as error:
        raise PresetError(f"{kind} {source[:60]!r}: {describe(error)}") from None
