"""Pieces of a model that fit into a processor's cache, for whoever goes over many updates at once."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import NamedTuple, Protocol

from mainstem.protocol.weights import Tensor

BLOCK = 1 << 16
"""Elements that stay in a processor's cache in float64 while they are worked on."""


class TensorSlice(NamedTuple):
    """Elements `start` to `stop` of the tensor with that number, in C order."""

    tensor: int
    start: int
    stop: int


Block = Sequence[TensorSlice]
"""Consecutive parts that are worked on together."""

Reader = Callable[[Block], Sequence[Tensor]]
"""Gives a block of one update, a flat array a part; may be called by several threads at a time."""


def reader(tensors: Sequence[Tensor]) -> Reader:
    """Reads tensors that are in memory: views, where they are contiguous."""
    return lambda block: [tensors[part.tensor].reshape(-1)[part.start : part.stop] for part in block]


class Shaped(Protocol):
    """A tensor, or the spec of one."""

    @property
    def shape(self) -> tuple[int, ...]:
        """Its dimensions."""
        ...


def tensors(read: Reader, like: Mapping[int, Shaped]) -> list[Tensor]:
    """What a reader reads by these numbers, in the shapes of `like`."""
    block = [TensorSlice(number, 0, math.prod(each.shape)) for number, each in like.items()]
    return [flat.reshape(each.shape) for flat, each in zip(read(block), like.values(), strict=True)]


def blocks(model: Sequence[Tensor], elements: int, numbers: Sequence[int] | None = None) -> Iterator[Block]:
    """Tensors of `model`, all or those with these numbers, in blocks of at most so many elements: large tensors cut,
    small ones together."""
    block: list[TensorSlice] = []
    room = elements
    for number in range(len(model)) if numbers is None else numbers:
        start, tensor = 0, model[number]
        while start < tensor.size:
            stop = min(tensor.size, start + room)
            block.append(TensorSlice(number, start, stop))
            room -= stop - start
            start = stop
            if not room:
                yield block
                block, room = [], elements
    if block:
        yield block
