"""Named shared memory with one owner: the side that creates a block unlinks it, the other side only closes it.

Before Python 3.13 an attaching process also registers the block with its own resource tracker, which then unlinks
memory that it does not own and complains at exit (python/cpython#82300); `attach` keeps the tracker out of it.
"""

from __future__ import annotations

import errno
import os
import secrets
import shutil
import sys
import threading
from multiprocessing import resource_tracker
from multiprocessing.shared_memory import SharedMemory
from pathlib import Path

SHM = Path("/dev/shm")
"""Where Linux keeps it."""
PREFIX = "cymatic-"
"""Every block of ours starts with this; then follow its creator's process id and something random, so that whoever
finds a block knows whose it is. macOS allows 31 characters in all."""


def create(size: int) -> SharedMemory:
    """A new zeroed block of at least `size` bytes. Its creator closes and unlinks it; if the creator is killed, its
    resource tracker does. OSError when there is no room for it, which Linux would else only notice at the first write,
    and end the process."""
    if SHM.is_dir() and shutil.disk_usage(SHM).free < size:
        raise OSError(errno.ENOSPC, f"shared memory is full, {size} bytes are wanted", str(SHM))
    while True:
        try:
            return SharedMemory(f"{PREFIX}{os.getpid()}-{secrets.token_hex(4)}", create=True, size=size)
        except FileExistsError:
            continue


def attach(name: str) -> SharedMemory:
    """The block that another process created. Raises FileNotFoundError when it is gone.

    Not for use while another thread creates shared memory: before Python 3.13 registration is switched off meanwhile.
    """
    if sys.version_info >= (3, 13):
        return SharedMemory(name, track=False)
    register = resource_tracker.register
    resource_tracker.register = lambda name, rtype: None
    try:
        return SharedMemory(name)
    finally:
        resource_tracker.register = register


def view(block: SharedMemory) -> memoryview:
    """The bytes of an open block."""
    if block.buf is None:
        raise ValueError("this shared memory is closed")
    return block.buf


def creator(name: str) -> int:
    """Process id of the creator of the block of this name; 0 for a name that `create` did not make."""
    pid, _, _ = name.removeprefix(PREFIX).partition("-")
    return int(pid) if pid.isdecimal() else 0


class Barrier:
    """Keeps the reads and writes before a call of it before those after it, as another process sees them.

    Releasing and taking a lock is the only memory barrier that Python offers; x86 hardly needs one, ARM does.
    For one thread.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._lock.acquire()

    def __call__(self) -> None:
        self._lock.release()
        self._lock.acquire()
