"""Writes a picture as PNG with the standard library alone (PNG specification, third edition, §5 and §11), in sRGB."""

from __future__ import annotations

import struct
import zlib

import numpy as np

SIGNATURE = b"\x89PNG\r\n\x1a\n"
_RGB, _RGBA = 2, 6


def encode_png(picture: np.ndarray) -> bytes:
    """A PNG file of an uint8 picture [H, W, 3] or [H, W, 4] whose colours are those of sRGB."""
    height, width, channels = picture.shape
    if picture.dtype != np.uint8 or channels not in (3, 4):
        raise ValueError(f"expected uint8 [H, W, 3 or 4], got {picture.dtype} {list(picture.shape)}")
    rows = np.zeros((height, 1 + width * channels), np.uint8)  # the first byte of a row names its filter: none
    rows[:, 1:] = picture.reshape(height, -1)
    header = struct.pack(">IIBBBBB", width, height, 8, _RGB if channels == 3 else _RGBA, 0, 0, 0)
    data = zlib.compress(rows.tobytes(), 6)
    srgb = _chunk(b"sRGB", b"\0")  # the colours are sRGB's, to be shown as a picture is (perceptual intent)
    return SIGNATURE + _chunk(b"IHDR", header) + srgb + _chunk(b"IDAT", data) + _chunk(b"IEND", b"")


def _chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
