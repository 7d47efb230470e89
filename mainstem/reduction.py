"""From accepted updates to the next version, for whoever commits it and whoever proves it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor

import numpy as np

from mainstem.blocks import BLOCK, Block, Reader, blocks, reader
from mainstem.messages import Accepted, Base
from mainstem.strategies import Strategy
from mainstem.weights import Tensor


def reduce(
    strategy: Strategy,
    base: Base,
    model: Sequence[Tensor],
    updates: Iterable[tuple[Accepted, Sequence[Tensor]]],
    model_of: Callable[[Base], Sequence[Tensor]],
) -> list[Tensor]:
    """Fold the updates in the order given into `model`, the head's, which `base` names.

    An update from another base counts as what it changed there, done to `model`: model + (update - its base), in
    float64. So with coefficients c the mean is model + sum c (update - its base) / sum c, and memory is a few models,
    however many updates there are. Raises what `updates` and `model_of` raise, and AggregationError.
    """
    total = strategy.start(model)
    for accepted, tensors in updates:
        late = accepted.base != base
        total.add(moved(model, tensors, model_of(accepted.base)) if late else tensors, accepted.coefficient)
    result = _empty(model)
    total.finish(result)
    return result


def reduce_in_blocks(
    strategy: Strategy, model: Sequence[Tensor], updates: Sequence[tuple[Accepted, Reader]], threads: int
) -> list[Tensor]:
    """The bytes that `reduce` makes of updates that all started from `model`, block by block over several threads.

    Each thread sums up a block at a time, so that memory is two models and no sum leaves the cache. Raises what the
    readers raise, and AggregationError.
    """
    result = _empty(model)
    old, new = reader(model), reader(result)

    def fold(block: Block) -> None:
        total = strategy.start(old(block))
        for accepted, read in updates:
            total.add(read(block), accepted.coefficient)
        total.finish(new(block))

    with ThreadPoolExecutor(threads) as pool:
        for _ in pool.map(fold, blocks(model, BLOCK)):
            pass
    return result


def moved(model: Sequence[Tensor], update: Sequence[Tensor], origin: Sequence[Tensor]) -> list[Tensor]:
    """`update - origin`, done to `model`, floats in float64; integers and booleans, which do not count, as they are."""
    return [
        np.add(m, np.subtract(u, o, dtype=np.float64), dtype=np.float64) if m.dtype.kind == "f" else u
        for m, u, o in zip(model, update, origin, strict=True)
    ]


def _empty(model: Sequence[Tensor]) -> list[Tensor]:
    return [np.empty(tensor.shape, tensor.dtype) for tensor in model]
