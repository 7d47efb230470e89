"""Distances from a sum of changes, in float64 in a fixed order: from the changes' products with each other alone."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from mainstem.aggregation.strategies.choice import Elements


def distances_from(shares: Sequence[float], products: Elements) -> list[float]:
    """How far each change x is from the point sum s x: |x_i|^2 - 2 sum_j s_j x_i x_j + sum_jk s_j s_k x_j x_k.

    `products` are the changes' with each other, of shape (changes, changes).
    """
    along = np.zeros(len(shares))
    for share, row in zip(shares, products, strict=True):
        along += row * share
    within = 0.0
    for share, value in zip(shares, along.tolist(), strict=True):
        within += share * value
    squares = (np.diagonal(products) - 2 * along + within).tolist()
    return [math.sqrt(max(square, 0.0)) for square in squares]


def shares_of(values: Sequence[float]) -> list[float]:
    """Each value's share of their sum, which is above zero."""
    total = 0.0
    for value in values:
        total += value
    return [value / total for value in values]
