"""Samples as pictures: a PNG without any library, in a `data:` address that the content policy allows."""

from __future__ import annotations

import base64
import math
import struct
import zlib
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

LARGEST_SIDE: Final = 256
_FLAT: Final = {784: (28, 28, 1), 3072: (32, 32, 3), 64: (8, 8, 1)}
"""Lengths of flat samples that are pictures: MNIST's, CIFAR-10's, and digits' as UCI has them."""


def sides_of(shape: tuple[int, ...]) -> tuple[int, int, int] | None:
    """(height, width, channels) where samples of this shape are pictures."""
    if len(shape) == 1:
        return _FLAT.get(shape[0])
    if len(shape) == 2:
        shape = (*shape, 1)
    if len(shape) == 3 and shape[2] in (1, 3) and min(shape[:2]) >= 4 and max(shape[:2]) <= LARGEST_SIDE:
        return shape[0], shape[1], shape[2]
    return None


def picture(x: NDArray[Any]) -> str | None:
    """The sample as a `data:` address; None where it is no picture. Fractions are of white, bytes are as they are."""
    sides = sides_of(x.shape)
    if sides is None or math.prod(sides) != x.size:
        return None
    values = np.nan_to_num(x.reshape(sides).astype(np.float64), nan=0.0, posinf=0.0, neginf=0.0)
    top = 255.0 if values.max(initial=0) > 1 else 1.0
    pixels = np.clip(values * (255.0 / top), 0, 255).astype(np.uint8)
    return "data:image/png;base64," + base64.b64encode(png(pixels)).decode("ascii")


def png(pixels: NDArray[np.uint8]) -> bytes:
    """(height, width, 1 or 3) bytes as a PNG file (RFC 2083): grey or RGB, 8 bits, no filter."""
    height, width, channels = pixels.shape
    rows = b"".join(b"\0" + pixels[row].tobytes() for row in range(height))
    header = struct.pack(">IIBBBBB", width, height, 8, 0 if channels == 1 else 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
        for kind, data in ((b"IHDR", header), (b"IDAT", zlib.compress(rows, 6)), (b"IEND", b""))
    )
