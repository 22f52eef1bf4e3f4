"""Which picture the output window has handed to the display, and when."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

from PySide6.QtCore import QEvent, QObject


class Swaps(QObject):
    """Follows the surface of the output. `newest` gives the index of the picture that was taken last; `swapped` hears
    (time, index) of what has reached the display. Qt's thread.

    The output answers a swap by taking the next picture, and may have drawn that before anybody else hears of the swap.
    So what is drawn is noted when the window is asked to draw, and told when the swap is heard of or the window is
    asked to draw again.
    """

    def __init__(self, surface: Any, newest: Callable[[], int], swapped: Callable[[float, int], None]) -> None:
        super().__init__()
        self._newest, self._swapped = newest, swapped
        self._drawing = 0
        surface.installEventFilter(self)
        surface.frameSwapped.connect(self._tell)

    def eventFilter(self, surface: QObject, event: QEvent) -> bool:
        if event.type() in (QEvent.Type.UpdateRequest, QEvent.Type.Expose):
            self._tell()
            self._drawing = self._newest()
        return False

    def _tell(self) -> None:
        drawn, self._drawing = self._drawing, 0
        if drawn:
            self._swapped(time.perf_counter(), drawn)
