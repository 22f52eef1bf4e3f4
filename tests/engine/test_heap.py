"""What would let a heap grow for hours is settled; each case in a process of its own, whose heap is its own."""

from __future__ import annotations

import ctypes
import subprocess
import sys

import pytest

pytestmark = pytest.mark.skipif(
    not sys.platform.startswith("linux") or not hasattr(ctypes.CDLL(None), "mallinfo2"), reason="asks glibc"
)
BEGIN = """
import ctypes
import numpy as np

libc = ctypes.CDLL(None)

class Info(ctypes.Structure):
    names = "arena ordblks smblks hblks hblkhd usmblks fsmblks uordblks fordblks keepcost"
    _fields_ = [(name, ctypes.c_size_t) for name in names.split()]

libc.mallinfo2.restype = Info
libc.malloc.restype, libc.free.argtypes = ctypes.c_void_p, [ctypes.c_void_p]
"""
SETTLE = "from engine import heap\nassert heap.settle()\n"
LARGE = """
libc.free(libc.malloc(ctypes.c_size_t(24 << 20)))
before = libc.mallinfo2().hblks
held = [libc.malloc(ctypes.c_size_t(size << 10)) for size in (689, 1000, 2000, 8000)]
print(libc.mallinfo2().hblks - before)
"""
SMALL = """
before = libc.mallinfo2().uordblks
for length in range(1, 1024):
    held = [np.zeros(length, np.bool_) for _ in range(7)]
del held
print(libc.mallinfo2().uordblks - before)
"""


def told(*parts: str) -> int:
    """What a process prints that runs these."""
    command = [sys.executable, "-c", "".join((BEGIN, *parts))]
    return int(subprocess.run(command, capture_output=True, text=True, check=True, timeout=60).stdout)


def test_large_blocks_have_pages_of_their_own_whatever_was_freed_before():
    assert told(SETTLE, LARGE) == 4
    assert told(LARGE) < 4  # or else there is nothing to settle any more


def test_arrays_of_every_length_leave_nothing_more_behind():
    assert told(SETTLE, SMALL) < 1 << 16
    assert told(SMALL) > 1 << 20
