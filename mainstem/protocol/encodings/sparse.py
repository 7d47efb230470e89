"""The largest elements alone: Aji and Heafield, "Sparse Communication for Distributed Gradient Descent", EMNLP 2017
(arXiv:1704.05021), with the others kept for the next change, as Stich et al., "Sparsified SGD with Memory", NeurIPS
2018 (arXiv:1809.07599), prove it to converge."""

from __future__ import annotations

import math
from typing import Annotated, ClassVar

import msgspec
import numpy as np
from numpy.typing import NDArray

from mainstem.protocol.encodings.codec import STRIDE, Elements, Encoding, Fetch, Payload, unsound
from mainstem.runtime.fields import Params


class TopKParams(Params, frozen=True, kw_only=True):
    """How much is sent."""

    fraction: Annotated[
        float,
        msgspec.Meta(
            gt=0, le=0.5, title="Fraction", description="The part of the elements that are sent, the largest ones."
        ),
    ] = 0.01


class TopK(Encoding):
    """Of n elements the ceil(fraction n) largest: their places in ascending order, uint32, then their values, float32.

    How many they are follows from n, so a payload says no number that would have to be believed.
    """

    name: ClassVar[str] = "topk"
    summary: ClassVar[str] = "the largest changes alone, 1 % of them; the others wait for a later round"
    Params = TopKParams
    down: ClassVar[bool] = False  # the mean of sparse changes has elements of all of them
    params: TopKParams

    def kept(self, elements: int) -> int:
        """How many elements are sent."""
        return min(elements, math.ceil(self.params.fraction * elements))

    def nbytes(self, elements: int) -> int:
        """See `Encoding`."""
        return 8 * self.kept(elements)

    def encode(self, change: Elements, seed: int) -> Payload:
        """See `Encoding`; the seed decides nothing. Of equal sizes the first are sent, whatever a processor's way to
        partition is; what is no number counts as the largest."""
        kept = self.kept(change.size)
        places = self._largest(change, kept) if kept else np.empty(0, np.intp)
        payload = np.empty(8 * kept, np.uint8)
        payload[: 4 * kept].view("<u4")[...] = places
        payload[4 * kept :].view("<f4")[...] = change[places]
        return payload

    @staticmethod
    def _largest(change: Elements, kept: int) -> NDArray[np.intp]:
        # as whole numbers, the bits of absolute values are in the order of the values, and NaN is above all
        sizes = np.bitwise_and(np.ascontiguousarray(change).view(np.int32), 0x7FFFFFFF)
        least = np.partition(sizes, change.size - kept)[change.size - kept]
        larger = np.flatnonzero(sizes > least)
        equal = np.flatnonzero(sizes == least)[: kept - larger.size]
        return np.sort(np.concatenate([larger, equal]))

    def decode(self, fetch: Fetch, elements: int, start: int, into: Elements) -> None:
        """See `Encoding`."""
        kept = self.kept(elements)
        first, last = _place(fetch, kept, start), _place(fetch, kept, start + into.size)
        places = np.frombuffer(fetch(4 * first, 4 * last), "<u4")
        into[...] = 0
        into[places.astype(np.int64) - start] = np.frombuffer(fetch(4 * (kept + first), 4 * (kept + last)), "<f4")

    def check(self, fetch: Fetch, elements: int) -> float:
        """See `Encoding`."""
        kept, before, largest = self.kept(elements), -1, 0.0
        for start in range(0, kept, STRIDE):
            stop = min(start + STRIDE, kept)
            places = np.frombuffer(fetch(4 * start, 4 * stop), "<u4").astype(np.int64)
            if places[0] <= before or (places[1:] <= places[:-1]).any():
                raise unsound("its indices are not in ascending order, each of them once")
            before = int(places[-1])
            values = np.frombuffer(fetch(4 * (kept + start), 4 * (kept + stop)), "<f4")
            if not np.isfinite(values).all():
                raise unsound("an element is NaN or infinity")
            largest = max(largest, float(np.abs(values).max()))
        if before >= elements:
            raise unsound(f"it has an element at index {before:,} of {elements:,}")
        return largest


def _place(fetch: Fetch, kept: int, index: int) -> int:
    """How many of the sorted indices are less."""
    low, high = 0, kept
    while low < high:
        middle = (low + high) // 2
        if int.from_bytes(fetch(4 * middle, 4 * middle + 4), "little") < index:
            low = middle + 1
        else:
            high = middle
    return low
