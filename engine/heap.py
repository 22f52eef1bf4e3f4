"""The heap of a process that plays for hours: what would let it grow for long is settled at the start.

*Large blocks* have pages of their own, which go back when they are freed; all others are cut out of the heap. Left
alone, glibc raises the threshold between them to the largest block that was ever freed. From then on the sound that
each stream of the microphone keeps comes out of the heap, too, and whatever is small and stays settles in between: five
megabytes of holes after a dozen streams. On the stage it is the pictures that leave the holes, 2.3 MB each.

*Small arrays* that numpy frees are kept for the next of the same number of bytes, seven of each. Blocks of sound have
all lengths, so that hoard grows by megabytes in the first half hour, ever more slowly, and looks like a leak.
"""

from __future__ import annotations

import ctypes
import sys

import numpy as np

LARGE = 640 << 10
"""Bytes. A second of stereo sound in a ring has more; what the networks take and give back for a picture has less, and
with a lower threshold its pages would come anew for every picture: 300 of them at 128 KiB."""

_MMAP_THRESHOLD = -3  # M_MMAP_THRESHOLD of malloc.h
_KEPT, _KEPT_BYTES = 7, 1024  # NCACHE and NBUCKETS of numpy's alloc.c


def settle() -> bool:
    """Call it before anything is loaded. Whether this system's malloc keeps large blocks apart: glibc does."""
    for size in range(1, _KEPT_BYTES):
        _ = [np.empty(size, np.uint8) for _ in range(_KEPT)]
    if not sys.platform.startswith("linux"):
        return False
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    return mallopt is not None and mallopt(_MMAP_THRESHOLD, LARGE) == 1
