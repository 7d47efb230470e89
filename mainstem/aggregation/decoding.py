"""What an update's encoded change makes of the model that it was trained from, block by block."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator, Sequence

import numpy as np

from mainstem.aggregation.blocks import Block, Reader, TensorSlice
from mainstem.protocol.changes import added
from mainstem.protocol.encodings import Elements, Encoding, Fetch
from mainstem.protocol.exchange import CODE, Exchange
from mainstem.protocol.weights import Tensor


def coded(read: Reader) -> Fetch:
    """The encoded change among what is read."""
    return lambda start, stop: read([TensorSlice(CODE, start, stop)])[0].data


def decoding(read: Reader, specs: Exchange, origin: Reader) -> Reader:
    """Reads an update's tensors by their numbers: the trained ones are base + change, in their own precision.

    `read` reads what it carries, `origin` the model that it started from. Without an encoding it reads as `read` does.
    """
    if specs.encoding is None:
        return read
    return _Decoding(read, specs, specs.encoding, origin)


class _Decoding:
    def __init__(self, read: Reader, specs: Exchange, encoding: Encoding, origin: Reader) -> None:
        self._read, self._origin = read, origin
        self._encoding, self._fetch, self._elements = encoding, coded(read), specs.elements
        sizes = (math.prod(specs.model[number].shape) for number in specs.trained)
        self._places = dict(zip(specs.trained, itertools.accumulate(sizes, initial=0), strict=False))

    def __call__(self, block: Block) -> Sequence[Tensor]:
        changes = self._changes(block)
        return [
            self._read([part])[0] if part.tensor not in self._places else added(self._origin([part])[0], next(changes))
            for part in block
        ]

    def _changes(self, block: Block) -> Iterator[Elements]:
        """Of each trained part; those that follow one another are decoded together."""
        parts = [part for part in block if part.tensor in self._places]
        while parts:
            start = stop = self._places[parts[0].tensor] + parts[0].start
            count = 0
            for part in parts:
                if self._places[part.tensor] + part.start != stop:
                    break
                stop, count = stop + part.stop - part.start, count + 1
            change, at = np.empty(stop - start, np.float32), 0
            self._encoding.decode(self._fetch, self._elements, start, change)
            for part in parts[:count]:
                yield change[at : (at := at + part.stop - part.start)]
            parts = parts[count:]
