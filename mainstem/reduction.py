"""From accepted updates to the next version, for whoever commits it and whoever proves it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

import numpy as np

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
    return total.finish()


def moved(model: Sequence[Tensor], update: Sequence[Tensor], origin: Sequence[Tensor]) -> list[Tensor]:
    """`update - origin`, done to `model`, floats in float64; integers and booleans, which do not count, as they are."""
    return [
        np.add(m, np.subtract(u, o, dtype=np.float64), dtype=np.float64) if m.dtype.kind == "f" else u
        for m, u, o in zip(model, update, origin, strict=True)
    ]
