"""A session that remembers how long its last run took, and that another one may take the place of."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping
from typing import Any

from numpy.typing import NDArray

from engine.runtime.session import Interruptible, Session, Tensors

__all__ = ["Timed"]


class Timed:
    """Runs `session`; `ms` is how long its last run took, NaN before the first. See `Session`."""

    def __init__(self, session: Session) -> None:
        self._session = session
        self.runtime, self.precision = session.runtime, session.precision
        self.inputs, self.outputs = session.inputs, session.outputs
        self.ms = math.nan

    def run(self, feeds: Mapping[str, NDArray[Any]]) -> Tensors:
        started_at = time.perf_counter()
        tensors = self._session.run(feeds)
        self.ms = 1000.0 * (time.perf_counter() - started_at)
        return tensors

    def run_unless(self, feeds: Mapping[str, NDArray[Any]], better: Callable[[], bool]) -> Tensors | None:
        """As `Interruptible` says; one that is not runs to its end."""
        if not isinstance(self._session, Interruptible):
            return self.run(feeds)
        started_at = time.perf_counter()
        tensors = self._session.run_unless(feeds, better)
        if tensors is not None:
            self.ms = 1000.0 * (time.perf_counter() - started_at)
        return tensors

    def swap(self, session: Session) -> Session:
        replaced, self._session = self._session, session
        self.runtime, self.precision = session.runtime, session.precision
        return replaced

    def close(self) -> None:
        self._session.close()
