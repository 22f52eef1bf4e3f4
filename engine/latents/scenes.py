"""What the sound is: how close the joint embedding of the newest window lies to each of the bundle's scenes.

The picture does not wait for it. It is for whoever looks at the control window or asks over OSC, so a few readings a
second do, and the network that makes them is a graph of its own.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from engine.bundle import Bundle
from engine.latents.turns import Turns
from engine.runtime import Session

Float32 = NDArray[np.float32]

RATE_HZ = 10.0
TEMPERATURE = 0.1


class SceneReader:
    """The newest reading. Player thread only; nothing here raises on bad numbers.

    `embedding` `[E]`, float32, of unit length: zeros before the first reading, and what it was after a broken one.
    """

    def __init__(self, bundle: Bundle, reader: Session) -> None:
        width = bundle.manifest.embedding_dim
        self._reader = reader
        self._turns = Turns(RATE_HZ)
        self._scenes: Float32 = bundle.tensors.get("scene_embeddings", np.empty((0, width), np.float32))
        self.embedding: Float32 = np.zeros(width, np.float32)

    def due(self, now: float) -> bool:
        """Whether to read at time `now` (s); asking takes the turn. Never where the bundle knows no scenes."""
        return len(self._scenes) > 0 and self._turns.due(now)

    def read(self, mel_window: Float32) -> None:
        """Hear one mel window `[1, 1, bands, columns]`."""
        embedding = self._reader.run({"mel": mel_window})["embedding"][0]
        if np.isfinite(embedding).all():
            self.embedding[:] = embedding

    @property
    def likeness(self) -> Float32:
        """How much the newest sound is like each scene: softmax of the closeness, sums to 1; empty without scenes."""
        closeness = (self._scenes @ self.embedding) / TEMPERATURE
        likeness = np.exp(closeness - closeness.max(initial=-np.inf))
        return np.asarray(likeness / likeness.sum(), np.float32)
