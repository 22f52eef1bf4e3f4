"""What a picture is painted on: the generator's graph, the textures that it takes, and the grid of its cells."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from engine.bundle import Bundle
from engine.cells import Cells
from engine.fields import FieldFlow
from engine.runtime.timed import Timed

__all__ = ["Canvas"]


class Canvas:
    """Paints pictures of the bundle's size. One thread, but another one may make it.

    `session`: the graph `generator`, or for a `small` one the graph `small`, which paints on a coarser grid what is
    softer and takes less work. That one keeps textures of its own and takes a second to make.
    """

    def __init__(self, bundle: Bundle, session: Timed, small: bool = False) -> None:
        image = bundle.manifest.image
        self.session = session
        self._flow = FieldFlow.of(bundle, small) if bundle.manifest.fields else None
        self._cells = Cells(image.height, image.width, image.cell)
        if small and image.small is not None:
            self._cells = Cells(image.height, image.width, image.small.cell, (image.small.rows, image.small.columns))
        self._feeds: dict[str, NDArray[Any]] = {}

    @property
    def offsets(self) -> NDArray[np.float64]:
        """Where every texture is, in tiles `[F, 2]`."""
        return np.zeros((0, 2)) if self._flow is None else self._flow.offsets

    def seek(self, offsets: NDArray[np.float64]) -> None:
        """Put every texture at an offset `[F, 2]`."""
        if self._flow is not None:
            self._flow.seek(offsets)

    def advance(self, dt: float, speed: float, level: float) -> None:
        """As `FieldFlow.advance`."""
        if self._flow is not None:
            self._flow.advance(dt, speed, level)

    def prepare(self, w_plus: NDArray[np.float32]) -> None:
        """The next picture is of this latent `[1, L, D]` and of the textures as they are now."""
        self._feeds = {"w_plus": w_plus, **({} if self._flow is None else self._flow.sample())}

    def paint(self, better: Callable[[], bool] | None = None) -> NDArray[np.uint8] | None:
        """What was prepared: RGBA `[H, W, 4]`, good until the next one. None where `better`, which is asked meanwhile,
        said that it is better given up."""
        feeds = self._feeds
        painted = self.session.run_unless(feeds, better) if better else self.session.run(feeds)
        return None if painted is None else self._cells.picture(painted["rgba"])
