"""All updates' blocks at once, for folds that sort them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mainstem.aggregation.strategies.choice import Elements, Stack, Weighed

Columns = NDArray[Any]
"""A block's numbers from the smallest to the largest, of shape (elements, updates), in the updates' own precision."""


def ranked(stack: Stack, weighing: Sequence[Weighed]) -> Columns:
    """The block of all who are not left out, each element's values sorted; -0 becomes +0.

    Sorting may leave equal numbers in any order, so equal numbers must have equal bits. Float32 stays float32 here:
    no number changes by it, and sorting takes a third of the time.
    """
    kept = [number for number, weighed in enumerate(weighing) if not weighed.left_out]
    rows = stack.rows(kept, single=True)
    np.add(rows, 0.0, out=rows)
    columns = np.ascontiguousarray(rows.T)
    columns.sort(axis=1)
    return columns


def middle(columns: Columns) -> Elements:
    """The median of each element: of an even number of updates the mean of the middle two."""
    half = columns.shape[1] // 2
    upper = columns[:, half].astype(np.float64)
    return upper if columns.shape[1] % 2 else np.divide(columns[:, half - 1] + upper, 2)


def around(columns: Columns, median: Elements, count: int) -> Elements:
    """The mean of the `count` values of each element that are nearest to its median; of two equally far the lower.

    They stand side by side: their window begins where its lower end is nearer than what follows its upper one.
    """
    spare, total = columns.shape[1] - count, np.zeros(len(columns))
    start = np.zeros(len(columns), np.int64)
    for place in range(spare):
        start += median - columns[:, place] > columns[:, place + count] - median
    for place in range(columns.shape[1]):
        inside = True if spare <= place < count else (start <= place) & (start > place - count)
        np.add(total, columns[:, place], out=total, where=inside)
    return np.divide(total, count, out=total)
