"""Whole numbers with a scale for each block: QSGD, Alistarh et al., "QSGD: Communication-Efficient SGD via Gradient
Quantization and Encoding", NeurIPS 2017 (arXiv:1610.02132), with a block's largest element for its norm.

A payload has the scales of all blocks first, float32, then the numbers.
"""

from __future__ import annotations

from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from mainstem.protocol.encodings.codec import STRIDE, Elements, Encoding, Fetch, Payload, unsound

BLOCK = 256
"""Elements that share a scale; the last block may have fewer."""

SMALLEST = np.float32(2.0**-100)
"""A block whose largest element is smaller is zeros: so no scale is subnormal, and none has an infinite reciprocal."""

LARGEST = np.float32(2.0**119)
"""No scale is larger: 128 times as much is still a number."""

FRACTION = 256
"""Steps in which chance is counted between two neighbours."""

Codes = NDArray[np.int16]
"""Whole numbers, a row a block."""


class Scaled(Encoding):
    """x becomes one of the two whole multiples of scale = max |x| / `top` beside it, the nearer the likelier: its
    expectation is x, as far as x is counted in 256ths of the scale."""

    top: ClassVar[int]
    lowest: ClassVar[int]
    """What the codes' bits can say at least; no encoder writes below -`top`."""

    def nbytes(self, elements: int) -> int:
        """See `Encoding`."""
        return 4 * -(-elements // BLOCK) + self.packed(elements)

    def packed(self, elements: int) -> int:
        """Bytes of so many codes, where all blocks before the last are whole."""
        raise NotImplementedError

    def pack(self, codes: Codes, into: Payload) -> None:
        """Write codes as bytes."""
        raise NotImplementedError

    def unpack(self, data: Payload, into: Elements) -> None:
        """Write codes as numbers, a row a block."""
        raise NotImplementedError

    def encode(self, change: Elements, seed: int) -> Payload:
        """See `Encoding`. Where a block holds no number, neither does its scale."""
        return self._encode(change, seed, None)

    def feedback(self, wanted: Elements, seed: int) -> Payload:
        """See `Encoding`: in the same pass."""
        return self._encode(wanted, seed, wanted)

    def _encode(self, change: Elements, seed: int, left: Elements | None) -> Payload:
        elements = change.size
        payload = np.empty(self.nbytes(elements), np.uint8)
        scales, at = payload[: 4 * -(-elements // BLOCK)].view("<f4"), 4 * -(-elements // BLOCK)
        noise, scratch = np.random.SFC64(seed), np.empty((STRIDE // BLOCK, BLOCK), np.float32)
        bits, codes = np.empty(scratch.shape, np.int32), np.empty(scratch.shape, np.int16)
        for start in range(0, elements, STRIDE):
            stop = min(start + STRIDE, elements)
            rows = _padded(change[start:stop]).reshape(-1, BLOCK)
            steps, mine = scratch[: len(rows)], codes[: len(rows)]
            # as whole numbers, the bits of absolute values are in the order of the values, and NaN is above all
            largest = np.bitwise_and(rows.view(np.int32), 0x7FFFFFFF, out=bits[: len(rows)]).max(axis=1)
            here = scales[start // BLOCK :][: len(rows)]
            with np.errstate(all="ignore"):  # whatever holds no number
                np.multiply(rows, self._factors(largest.view(np.float32), here)[:, None], out=steps)
                np.copyto(mine, np.rint(steps, out=steps), casting="unsafe")
            chance = noise.random_raw(rows.size // 8).astype("<u8", copy=False).view(np.uint8)
            np.right_shift(np.add(mine, chance.reshape(mine.shape), out=mine), 8, out=mine)
            self.pack(mine, payload[at : (at := at + self.packed(stop - start))])
            if left is not None:
                np.copyto(steps, mine)
                with np.errstate(all="ignore"):
                    np.multiply(steps, here[:, None], out=steps)
                    np.subtract(
                        rows.reshape(-1)[: stop - start], steps.reshape(-1)[: stop - start], out=left[start:stop]
                    )
        return payload

    def _factors(self, largest: Elements, scales: Elements) -> Elements:
        """Write the scales of blocks with these largest elements; what makes 256ths of a scale of an element."""
        small = largest < SMALLEST
        scales[: largest.size] = np.where(small, np.float32(0), largest / np.float32(self.top))
        return np.where(small, np.float32(0), np.float32(FRACTION * self.top) / largest)

    def decode(self, fetch: Fetch, elements: int, start: int, into: Elements) -> None:
        """See `Encoding`."""
        stop, at = start + into.size, start
        while at < stop:
            upto = min((at // STRIDE + 1) * STRIDE, stop)
            self._decode(fetch, elements, at, into[at - start : upto - start])
            at = upto

    def _decode(self, fetch: Fetch, elements: int, start: int, into: Elements) -> None:
        """Of a few blocks."""
        first, last = start // BLOCK, -(-(start + into.size) // BLOCK)
        scales = np.frombuffer(fetch(4 * first, 4 * last), "<f4")
        base = 4 * -(-elements // BLOCK)
        begin, end = base + self.packed(first * BLOCK), base + self.packed(min(last * BLOCK, elements))
        exact = into.size == scales.size * BLOCK
        rows = (into if exact else np.empty(scales.size * BLOCK, np.float32)).reshape(-1, BLOCK)
        self.unpack(np.frombuffer(fetch(begin, end), np.uint8), rows)
        np.multiply(rows, scales[:, None], out=rows)
        if not exact:
            into[...] = rows.reshape(-1)[start - first * BLOCK :][: into.size]

    def check(self, fetch: Fetch, elements: int) -> float:
        """See `Encoding`. Only the scales are read: whatever the codes are, they are numbers."""
        largest = np.float32(0)
        blocks = -(-elements // BLOCK)
        for start in range(0, blocks, STRIDE):
            scales = np.frombuffer(fetch(4 * start, 4 * min(start + STRIDE, blocks)), "<f4")
            if not np.isfinite(scales).all():
                raise unsound("a scale is NaN or infinity")
            if np.signbit(scales).any():
                raise unsound("a scale is negative")
            largest = max(largest, scales.max())
        if largest > LARGEST:
            raise unsound(f"a scale is {largest:g}; the largest that decodes to numbers is {LARGEST:g}")
        return float(largest) * -self.lowest


class Int8(Scaled):
    """A byte an element: -127 to 127."""

    name: ClassVar[str] = "int8"
    summary: ClassVar[str] = "a quarter of the bytes: whole numbers to 127 with a scale for each 256 elements"
    top: ClassVar[int] = 127
    lowest: ClassVar[int] = -128

    def packed(self, elements: int) -> int:
        """See `Scaled`."""
        return elements

    def pack(self, codes: Codes, into: Payload) -> None:
        """See `Scaled`."""
        np.copyto(into.view(np.int8), codes.reshape(-1)[: into.size], casting="unsafe")

    def unpack(self, data: Payload, into: Elements) -> None:
        """See `Scaled`."""
        flat = into.reshape(-1)
        flat[: data.size] = data.view(np.int8)
        flat[data.size :] = 0


class Int4(Scaled):
    """Half a byte an element: -7 to 7, as 1 to 15. Of a block's bytes the low halves are its first 128 elements."""

    name: ClassVar[str] = "int4"
    summary: ClassVar[str] = "an eighth of the bytes: whole numbers to 7 with a scale for each 256 elements"
    top: ClassVar[int] = 7
    lowest: ClassVar[int] = -8

    def packed(self, elements: int) -> int:
        """See `Scaled`; the last block takes as many bytes as its first half has elements."""
        return elements // BLOCK * (BLOCK // 2) + min(elements % BLOCK, BLOCK // 2)

    def pack(self, codes: Codes, into: Payload) -> None:
        """See `Scaled`."""
        low, high = codes[:, : BLOCK // 2], codes[:, BLOCK // 2 :]
        np.copyto(into, (high * 16 + (low + 136)).reshape(-1)[: into.size], casting="unsafe")

    def unpack(self, data: Payload, into: Elements) -> None:
        """See `Scaled`."""
        rows = np.zeros((len(into), BLOCK // 2), np.uint8)
        rows.reshape(-1)[: data.size] = data
        np.copyto(into[:, : BLOCK // 2], rows & 15)
        np.copyto(into[:, BLOCK // 2 :], rows >> 4)
        np.subtract(into, np.float32(8), out=into)


def _padded(piece: Elements) -> Elements:
    """With zeros up to a whole block."""
    over = piece.size % BLOCK
    if not over:
        return np.ascontiguousarray(piece)
    return np.concatenate([piece, np.zeros(BLOCK - over, np.float32)])
