"""What a show may need later: made beside it, once it is asked for."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Generic, TypeVar

__all__ = ["Spare"]

T = TypeVar("T")


class Spare(Generic[T]):
    """`ask` for it, `take` it when it is there, in the end `stop`; one thread, the player's. `make` runs on another."""

    def __init__(self, make: Callable[[], T], close: Callable[[T], None]) -> None:
        self._make, self._close = make, close
        self._thread = threading.Thread(target=self._run, name="spare", daemon=True)
        self._asked = self._taken = False
        self._made: T | None = None
        self.failure: str | None = None
        """Why there will be none, once that is known."""

    def ask(self) -> None:
        """It is wanted. Only the first call counts."""
        if not self._asked:
            self._asked = True
            self._thread.start()

    def wait(self) -> None:
        """Until it is made, if it was asked for."""
        if self._asked:
            self._thread.join()

    def take(self) -> T | None:
        """It, once; None before it is made and after it was taken."""
        if self._made is None or self._taken:
            return None
        self._taken = True
        return self._made

    def stop(self, timeout: float = 1.0) -> None:
        """Close what was made, which nobody uses any more; what is still being made is left behind."""
        if self._asked:
            self._thread.join(timeout)
        if self._made is not None:
            self._close(self._made)

    def _run(self) -> None:
        try:
            self._made = self._make()
        except Exception as error:  # noqa: BLE001 - whatever a runtime raises, the show goes on without
            self.failure = str(error) or type(error).__name__
