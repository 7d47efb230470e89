"""Updates that carry some tensors of a model only, or the leading parts of them: where their elements stand.

Of a tensor's elements in C order, those of a leading part come in the part's own C order. So what a block holds of the
part is one run of the part's elements, and where they go is a mask.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mainstem.aggregation.blocks import Block, Reader, TensorSlice
from mainstem.protocol.weights import Tensor

Shape = Sequence[int]
Present = NDArray[np.bool_]
"""Of a block's elements, those that an update carries."""


def leading(shape: Shape) -> tuple[slice, ...]:
    """The index of a tensor's leading part of that shape."""
    return tuple(slice(size) for size in shape)


def padded(part: Tensor, whole: Tensor) -> Tensor:
    """A copy of `whole` with the leading part set."""
    result = whole.copy()
    result[leading(part.shape)] = part
    return result


def before(whole: Shape, part: Shape, at: int) -> int:
    """How many elements of the leading part come before element `at` of the whole, in C order."""
    if at >= math.prod(whole):
        return math.prod(part)
    count, inner, room = 0, math.prod(whole), math.prod(part)
    for size, own in zip(whole, part, strict=True):
        inner, room = inner // size, room // own if own else 0
        index, at = divmod(at, inner)
        count += min(index, own) * room
        if index >= own:
            break
    return count


def present(whole: Shape, part: Shape, start: int, stop: int) -> Present:
    """Which of the elements `start` to `stop` of the whole, in C order, are of the leading part."""
    if tuple(whole) == tuple(part):
        return np.ones(stop - start, bool)
    found, rest = np.ones(stop - start, bool), np.arange(start, stop)
    for size, own in zip(reversed(whole), reversed(part), strict=True):
        found &= rest % size < own
        rest //= size
    return found


class Placed:
    """What one update has of one block: `mask` says where; None: nowhere else than everywhere."""

    def __init__(self, block: Block, whole: Sequence[Shape], parts: Mapping[int, Shape]) -> None:
        """`whole` are the shapes of the model's tensors, `parts` those that the update carries, by number."""
        self._asked: list[TensorSlice] = []
        masks: list[Present] = []
        for number, start, stop in block:
            if number not in parts:
                masks.append(np.zeros(stop - start, bool))
                continue
            masks.append(present(whole[number], parts[number], start, stop))
            ends = (before(whole[number], parts[number], at) for at in (start, stop))
            self._asked.append(TensorSlice(number, *ends))
        self.mask: Present = np.concatenate(masks) if masks else np.zeros(0, bool)

    def read(self, reader: Reader, into: NDArray[Any]) -> None:
        """Write what the update has into its places; the others stay as they are."""
        flat = reader(self._asked)
        into[self.mask] = np.concatenate(flat) if flat else ()
