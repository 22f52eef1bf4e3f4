"""Words into tokens, and tokens through the bundle's text graph into a pull on the latent."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from engine.bundle import TextSpec, split_words
from engine.errors import PresetError

UNKNOWN = 1


class Tokens(NamedTuple):
    """`ids` int64 `[1, length]`; `unknown`: words the bundle never learned; `dropped`: words past its length."""

    ids: NDArray[np.int64]
    unknown: tuple[str, ...]
    dropped: tuple[str, ...]


class Encoded(NamedTuple):
    """`delta` float32 `[L, D]`, `embedding` float32 `[E]` of unit length, and the words that did not count."""

    delta: NDArray[np.float32]
    embedding: NDArray[np.float32]
    ignored: tuple[str, ...]


class Session(Protocol):
    """What is needed of `engine.runtime.Session`; this room opens no runtime itself."""

    def run(self, feeds: Mapping[str, NDArray[Any]]) -> dict[str, NDArray[Any]]:
        """Run the graph once."""


TextEncoder = Callable[[str], Encoded]


def tokenize(text: str, spec: TextSpec) -> Tokens:
    """Tokens of a text in a bundle's vocabulary. Raises `PresetError` if no word of it is known."""
    ids = spec.tokens(text)
    words = split_words(text)
    unknown = tuple(word for word, token in zip(words, ids[0], strict=False) if token == UNKNOWN)
    if not (ids > UNKNOWN).any():
        raise PresetError(f"the bundle knows none of the words in {text[:80]!r}")
    return Tokens(ids, unknown, tuple(words[spec.length :]))


def text_encoder(session: Session, spec: TextSpec) -> TextEncoder:
    """The text encoder of a bundle, given its open text graph and its vocabulary."""

    def encode(text: str) -> Encoded:
        tokens = tokenize(text, spec)
        outputs = session.run({"tokens": tokens.ids})
        # Copies: the arrays belong to the session, which writes over them later.
        delta, embedding = (np.array(outputs[name][0], np.float32) for name in ("delta", "embedding"))
        return Encoded(delta, embedding, tokens.unknown + tokens.dropped)

    return encode
