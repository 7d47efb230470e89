"""Arrays with NaN where nothing was measured, as a frame with gaps gives them: what `--missing` makes of them."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np

from inject_scripts.readers.meaning import Making
from inject_scripts.readers.source import Row

Rows = Callable[[], Iterator[Row]]


def without_gaps(rows: Rows, shape: tuple[int, ...], making: Making) -> tuple[Rows, tuple[str, ...]]:
    """The rows of float arrays of `shape` without NaN, and what to tell people; the same rows where they are refused.

    A row whose label is NaN is left out. Reads the rows once.
    """
    if making.missing == "refuse":
        return rows, ()
    total, known, gaps, unlabelled = np.zeros(shape), np.zeros(shape, np.int64), 0, 0
    for x, y in rows():
        holes = np.isnan(x)
        total += np.where(holes, 0, x)
        known += ~holes
        gaps += bool(holes.any())
        unlabelled += _empty(y)
    means = total / np.maximum(known, 1)
    if not gaps and not unlabelled:
        return rows, ()

    def left() -> Iterator[Row]:
        for x, y in rows():
            if not _empty(y) and not np.isnan(x).any():
                yield x, y

    def filled() -> Iterator[Row]:
        for x, y in rows():
            if not _empty(y):
                yield np.where(np.isnan(x) & (known > 0), means, x).astype(x.dtype), y

    told = f"{gaps} rows hold NaN in their data, {unlabelled} in their label"
    if making.missing == "drop":
        return left, (f"{told}: left out",)
    return filled, (f"{told}: the data's become the mean of their place, rows without a label are left out",)


def _empty(y: object) -> bool:
    return y is not None and np.asarray(y).dtype.kind == "f" and bool(np.isnan(np.asarray(y)).any())
