"""Sixteen bits an element: IEEE 754's half precision, and bfloat16, which is the upper half of a float32.

Both round to the nearest, of two that are equally near to the even one. By operations on bits: NumPy has no bfloat16,
and converts to float16 several times slower.
"""

from __future__ import annotations

from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from mainstem.protocol.encodings.codec import STRIDE, Elements, Encoding, Fetch, Payload, unsound

Bits = NDArray[np.uint32]
Halves = NDArray[np.uint16]

LARGEST_HALF = np.float32(65504)
_SIGN, _MAGNITUDE = np.uint32(0x80000000), np.uint32(0x7FFFFFFF)


class Half(Encoding):
    """An element is two bytes, little-endian, of which `exponent` has the bits that are all set in no number."""

    exponent: ClassVar[int]

    def nbytes(self, elements: int) -> int:
        """See `Encoding`."""
        return 2 * elements

    def narrow(self, change: Elements) -> Halves:
        """Rounded."""
        raise NotImplementedError

    def widen(self, halves: Halves) -> Elements:
        """Exactly."""
        raise NotImplementedError

    def encode(self, change: Elements, seed: int) -> Payload:
        """See `Encoding`; the seed decides nothing."""
        halves = np.empty(change.size, "<u2")
        for start in range(0, change.size, STRIDE):
            halves[start : start + STRIDE] = self.narrow(np.ascontiguousarray(change[start : start + STRIDE]))
        return halves.view(np.uint8)

    def decode(self, fetch: Fetch, elements: int, start: int, into: Elements) -> None:
        """See `Encoding`."""
        for at in range(0, into.size, STRIDE):
            piece = into[at : at + STRIDE]
            piece[...] = self.widen(self._read(fetch, start + at, start + at + piece.size))

    def check(self, fetch: Fetch, elements: int) -> float:
        """See `Encoding`."""
        largest = np.zeros(1, np.uint16)
        for start in range(0, elements, STRIDE):
            halves = self._read(fetch, start, min(start + STRIDE, elements)) & np.uint16(0x7FFF)
            largest = np.maximum(largest, halves.max())
        if largest[0] >= self.exponent:
            raise unsound("an element is NaN or infinity")
        return float(self.widen(largest)[0])

    @staticmethod
    def _read(fetch: Fetch, start: int, stop: int) -> Halves:
        return np.frombuffer(fetch(2 * start, 2 * stop), "<u2").astype(np.uint16, copy=False)


class Float16(Half):
    """From 6e-8 to 65504: an element beyond becomes 65504, and error feedback has the rest."""

    name: ClassVar[str] = "float16"
    summary: ClassVar[str] = "half of the bytes: half precision"
    exponent: ClassVar[int] = 0x7C00

    def narrow(self, change: Elements) -> Halves:
        """See `Half`. Below 2^-14 halves are multiples of 2^-24, as float32's are from 0.5 to 1: adding rounds."""
        bits = change.view(np.uint32)
        size = bits & _MAGNITUDE
        value = np.minimum(size.view(np.float32), LARGEST_HALF)  # NaN stays
        size = value.view(np.uint32)
        tiny = np.add(value, np.float32(0.5)).view(np.uint32) - np.uint32(0x3F000000)
        normal = (size + np.uint32(0xFFF) + ((size >> 13) & np.uint32(1)) - np.uint32(112 << 23)) >> 13
        half = np.where(size < np.uint32(113 << 23), tiny, normal)
        half[size > np.uint32(0x7F800000)] = 0x7E00
        signed: Halves = (half | ((bits & _SIGN) >> 16)).astype(np.uint16)
        return signed

    def widen(self, halves: Halves) -> Elements:
        """See `Half`."""
        size = (halves & np.uint16(0x7FFF)).astype(np.uint32)
        tiny = np.multiply(size.astype(np.float32), np.float32(2.0**-24)).view(np.uint32)
        value = np.where(size < 0x400, tiny, (size << 13) + np.uint32(112 << 23))
        signed: Bits = value | ((halves & np.uint16(0x8000)).astype(np.uint32) << 16)
        return signed.view(np.float32)


class BFloat16(Half):
    """The range of float32, with eight bits of precision."""

    name: ClassVar[str] = "bfloat16"
    summary: ClassVar[str] = "half of the bytes: the range of single precision, with fewer digits"
    exponent: ClassVar[int] = 0x7F80

    def narrow(self, change: Elements) -> Halves:
        """See `Half`."""
        bits = change.view(np.uint32)
        half = (bits + np.uint32(0x7FFF) + ((bits >> 16) & np.uint32(1))) >> 16
        return np.where((bits & _MAGNITUDE) > np.uint32(0x7F800000), np.uint32(0x7FC0), half).astype(np.uint16)

    def widen(self, halves: Halves) -> Elements:
        """See `Half`."""
        return (halves.astype(np.uint32) << 16).view(np.float32)
