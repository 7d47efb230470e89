"""Pieces of a model that fit into a processor's cache, for whoever goes over many updates at once."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple

from mainstem.weights import Tensor

BLOCK = 1 << 16
"""Elements that stay in a processor's cache in float64 while they are worked on."""


class Part(NamedTuple):
    """Elements `start` to `stop` of the tensor with that number, in C order."""

    tensor: int
    start: int
    stop: int


Block = Sequence[Part]
"""Consecutive parts that are worked on together."""

Reader = Callable[[Block], Sequence[Tensor]]
"""Gives a block of one update, a flat array a part; may be called by several threads at a time."""


def reader(tensors: Sequence[Tensor]) -> Reader:
    """Reads tensors that are in memory: views, where they are contiguous."""
    return lambda block: [tensors[part.tensor].reshape(-1)[part.start : part.stop] for part in block]


def tensors(read: Reader, like: Sequence[Tensor]) -> list[Tensor]:
    """All of what a reader reads, in the shapes of `like`."""
    block = [Part(number, 0, tensor.size) for number, tensor in enumerate(like)]
    return [flat.reshape(tensor.shape) for flat, tensor in zip(read(block), like, strict=True)]


def blocks(model: Sequence[Tensor], elements: int) -> Iterator[Block]:
    """The tensors of `model` in blocks of at most so many elements: large tensors cut, small ones together."""
    block: list[Part] = []
    room = elements
    for number, tensor in enumerate(model):
        start = 0
        while start < tensor.size:
            stop = min(tensor.size, start + room)
            block.append(Part(number, start, stop))
            room -= stop - start
            start = stop
            if not room:
                yield block
                block, room = [], elements
    if block:
        yield block
