"""Small pictures as PNG files (ISO/IEC 15948), from NumPy alone."""

from __future__ import annotations

import struct
import zlib
from base64 import b64encode

import numpy as np
from numpy.typing import NDArray

Pixels = NDArray[np.uint8]


def png(pixels: Pixels) -> bytes:
    """A picture from ``[rows, columns, 4]``: red, green, blue and opacity."""
    rows, columns, _ = pixels.shape
    header = struct.pack(">IIBBBBB", columns, rows, 8, 6, 0, 0, 0)  # 8 bits; colours with opacity
    lines = np.zeros((rows, 1 + 4 * columns), np.uint8)  # each begins with the number of its filter: none
    lines[:, 1:] = pixels.reshape(rows, -1)
    parts = ((b"IHDR", header), (b"IDAT", zlib.compress(lines.tobytes(), 9)), (b"IEND", b""))
    return b"\x89PNG\r\n\x1a\n" + b"".join(_chunk(kind, data) for kind, data in parts)


def address(pixels: Pixels) -> str:
    """The picture as an address that contains it, for the ``src`` of an image."""
    return f"data:image/png;base64,{b64encode(png(pixels)).decode('ascii')}"


def _chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
