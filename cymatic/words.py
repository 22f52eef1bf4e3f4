"""The bundle's text graph, opened when a show first needs it: for words typed in, and for another bundle's presets."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from engine.bundle import Bundle

if TYPE_CHECKING:
    from engine.runtime.session import Session
    from presets.text import Encoded, TextEncoder

TEXT_RUNTIME = "onnxruntime"  # opens a small graph in milliseconds


class Reader:
    """Reads words for a bundle; `say` is told which of them did not count. One thread."""

    def __init__(self, bundle: Bundle, say: Callable[[str], None]) -> None:
        self._bundle, self._say = bundle, say
        self._session: Session | None = None
        self._encode: TextEncoder | None = None

    def __call__(self, text: str) -> Encoded:
        """What the words pull towards. Raises `CymaticError`."""
        from engine.runtime.session import open_graph
        from presets.text import text_encoder

        if self._encode is None:
            self._session = open_graph(self._bundle, "text", TEXT_RUNTIME, threads=1)
            self._encode = text_encoder(self._session, self._bundle.manifest.text)
        encoded = self._encode(text)
        if encoded.ignored:
            self._say(f"{text[:40]!r}: this bundle does not know or cannot fit: {', '.join(encoded.ignored)}")
        return encoded

    def close(self) -> None:
        """Let go of the graph; the next words open it again."""
        if self._session is not None:
            self._session.close()
        self._session = self._encode = None
