"""What a forest answers, from its tables alone, as XGBoost would: float32, the trees added up in their order."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from mainstem.jobs.forests.params import NUMBER, SEVERAL, ForestParams
from mainstem.protocol.weights import Tensor

Floats = NDArray[np.float32]

_STRIDE: Final = 1 << 13
"""Samples that go through all trees together: what is known of them stays in a processor's cache."""


def margins(
    params: ForestParams,
    tensors: Sequence[Tensor],
    x: NDArray[Any],
    before: Floats | None = None,
    first: int = 0,
) -> Floats:
    """The sums (n, width) of what the trees from number `first` on add for samples x (n, features), and `before`, what
    those before them came to. The forest is sound."""
    trees, feature, value = tensors
    found = np.full((len(x), params.width), params.start, np.float32) if before is None else before.copy()
    samples = np.ascontiguousarray(x, np.float32)
    for begin in range(0, len(samples), _STRIDE):
        part, sums = samples[begin : begin + _STRIDE], found[begin : begin + _STRIDE]
        places = np.arange(len(part))
        for number in range(first, int(trees[0])):
            sums[:, number % params.width] += value[number][_leaves(feature[number], value[number], part, places)]
    return found


def _leaves(feature: Tensor, value: Tensor, x: Floats, places: NDArray[np.intp]) -> NDArray[np.intp]:
    """The place of the leaf that each sample comes to."""
    node = np.zeros(len(x), np.intp)
    while (splits := feature[node]).any():
        first = x[places, np.maximum(splits - 1, 0)] < value[node]
        node = np.where(splits > 0, 2 * node + 2 - first, node)
    return node


def outputs(params: ForestParams, sums: Floats) -> Floats:
    """Shares of classes, or numbers, (n, width), of such sums."""
    if params.objective == NUMBER:
        return sums
    if params.objective == SEVERAL:
        raised: Floats = np.exp(sums - sums.max(axis=1, keepdims=True))
        shares: Floats = np.divide(raised, raised.sum(axis=1, keepdims=True, dtype=np.float32))
    else:  # the logistic function, where no exponential overflows
        shares = np.multiply(np.float32(0.5), 1 + np.tanh(sums / 2), dtype=np.float32)
    return shares


def losses(
    params: ForestParams, sums: Floats, y: NDArray[Any], weights: NDArray[Any] | None = None
) -> dict[str, float]:
    """The loss and what else is measured, as `params` names them, of labels y (n, ...)."""
    labels = y.reshape(len(y)).astype(np.float64)
    wide = sums.astype(np.float64)
    if params.objective == NUMBER:
        apart = wide[:, 0] - labels
        each, other, name = np.square(apart), np.abs(apart), "mean_absolute_error"
    elif params.objective == SEVERAL:
        number = labels.astype(np.intp)
        shifted = wide - wide.max(axis=1, keepdims=True)
        each = np.log(np.exp(shifted).sum(axis=1)) - shifted[np.arange(len(number)), number]
        other, name = wide.argmax(axis=1) == number, "accuracy"
    else:
        each = np.logaddexp(0, wide[:, 0]) - labels * wide[:, 0]
        other, name = (wide[:, 0] > 0) == (labels > 0.5), "accuracy"
    if weights is not None and not weights.sum() > 0:
        weights = None
    return {"loss": float(np.average(each, weights=weights)), name: float(np.average(other, weights=weights))}
