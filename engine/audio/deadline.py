"""Questions to the sound system that may never be answered: a frozen sound server holds whoever asks it for ever.

They are asked on a thread of their own, which can be left behind.
"""

from __future__ import annotations

import atexit
import contextlib
import os
import sys
import threading
from collections.abc import Callable, Iterator
from typing import TypeVar

from engine.errors import AudioError

__all__ = ["OPEN_DEADLINE_S", "answer", "leave_behind"]

OPEN_DEADLINE_S = 6.0
"""For finding a device, and for opening it the first time."""

Found = TypeVar("Found")
_left_behind: list[object] = []
"""Threads that hang and streams whose closing hangs. They are kept: the driver may still call into them."""


def answer(ask: Callable[[], Found]) -> Found:
    """What `ask()` returns or raises; `AudioError` when it does neither within `OPEN_DEADLINE_S`."""
    found: list[Found] = []
    raised: list[Exception] = []

    def look() -> None:
        try:
            found.append(ask())
        except Exception as error:  # noqa: BLE001 - it is raised again where somebody waits for it
            raised.append(error)

    thread = threading.Thread(target=look, name="microphone-find", daemon=True)
    with _stderr_given_back():
        thread.start()
        thread.join(OPEN_DEADLINE_S)
    if raised:
        raise raised[0]
    if not found:
        leave_behind(thread)
        raise AudioError("cannot look for microphones: the sound system does not answer; restart its server")
    return found[0]


@contextlib.contextmanager
def _stderr_given_back() -> Iterator[None]:
    """sounddevice turns standard error away while PortAudio begins, and never back when that hangs."""
    try:
        before = os.dup(2)
    except OSError:  # a process without one
        yield
        return
    try:
        yield
    finally:
        os.dup2(before, 2)
        os.close(before)


def leave_behind(thing: object) -> None:
    """Keeps what hangs, and keeps the end of the process from waiting for it."""
    _left_behind.append(thing)
    # sounddevice terminates PortAudio at exit, which would wait for the same driver for ever. No import here: it may be
    # the import that hangs.
    module = sys.modules.get("sounddevice")
    if module is not None:
        atexit.unregister(module._exit_handler)
