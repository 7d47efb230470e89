"""How large a round's changes are and how far they lie from each other, exactly: integers over rounded changes.

Each change of a trained float from the base is quantised to 18 bits and a sign by a power of two: by that of its own
update's largest, or of the middle update's where that is larger. So an update of huge numbers makes no other coarse. A
block's products sum up below 2^53, so that float64 and BLAS are exact in whatever order they add, and Python's
integers take it from there: the same updates give the same distances on every machine, by any number of threads.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Executor
from dataclasses import dataclass
from itertools import groupby
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mainstem.aggregation.blocks import Block

BITS = 18
"""Of a quantised change: a relative error of 4e-6 of the largest."""

PRODUCTS = 8192
"""That many products of two such changes sum up to at most 2^49."""

ENOUGH = 1 << 24
"""Elements whose sums fit into 64 bits."""

LARGEST = 1e200
"""As a score stands in a record, which has no number beyond it."""

Changes = NDArray[Any]
"""Of all updates in a block, of shape (updates, elements)."""

Rows = Callable[[Block, bool], Changes]
"""Gives them in float64, each rounded once, as the caller's to change; if rough ones will do, in float32 perhaps."""


@dataclass(frozen=True, slots=True)
class Measures:
    """The quantised changes' squared norms and their products with each other, the Gram matrix, as Python integers;
    changes are the real ones times 2**exponent. The matrix is empty where nobody asked for it."""

    own: list[int]
    gram: list[list[int]]
    exponent: int

    def others(self) -> Iterator[list[int]]:
        """For each update the squared distances to all others, in their order."""
        for i, row in enumerate(self.gram):
            yield [self.own[i] + self.own[j] - 2 * row[j] for j in range(len(row)) if j != i]

    def real(self, squared: int) -> float:
        """A squared distance, or a product, in the model's own units."""
        try:
            return max(min(math.ldexp(squared, -2 * self.exponent), LARGEST), -LARGEST)
        except OverflowError:
            return LARGEST if squared > 0 else -LARGEST

    def products(self, origin: int | None = None) -> NDArray[np.float64]:
        """The changes' products with each other in the model's own units, of shape (updates, updates); if `origin`
        is an update's number, those of their differences from it."""
        gram = self.gram
        if origin is not None:
            mine, square = gram[origin], self.own[origin]
            gram = [[value - a - b + square for b, value in zip(mine, row, strict=True)]
                    for a, row in zip(mine, gram, strict=True)]  # fmt: skip
        return np.array([[self.real(value) for value in row] for row in gram]).reshape(len(gram), len(gram))

    def norms(self) -> list[float]:
        """The L2 norm of each change."""
        return [self._root(square) for square in self.own]

    def _root(self, squared: int) -> float:
        spare = max(squared.bit_length() - 1000, 0) // 2  # what float64 has no room for, squared
        return math.ldexp(math.sqrt(squared >> 2 * spare), spare - self.exponent)

    def scaled(self, scales: Sequence[float]) -> Measures:
        """Of the changes times these factors, exactly."""
        ratios = [scale.as_integer_ratio() for scale in scales]
        power = max((bottom.bit_length() - 1 for _, bottom in ratios), default=0)
        whole = [top << (power - bottom.bit_length() + 1) for top, bottom in ratios]
        rows = zip(whole, self.gram, strict=False)  # without products there are no rows
        gram = [[a * b * value for b, value in zip(whole, row, strict=True)] for a, row in rows]
        return Measures([a * a * value for a, value in zip(whole, self.own, strict=True)], gram, self.exponent + power)


def measure(count: int, blocks: Sequence[Block], rows: Rows, pool: Executor, pairs: bool = True) -> Measures:
    """The measures of `count` updates over these blocks, norms alone without `pairs`; raises what `rows` raises."""
    tops = np.zeros(count)
    for top in pool.map(lambda block: _largest(rows, block), blocks):
        np.maximum(tops, top, out=tops)
    exponents = _exponents(tops.tolist())
    runs = [(exponent, len(list(run))) for exponent, run in groupby(exponents)]
    shape = (count, count) if pairs else (count,)

    def products(block: Block) -> tuple[int, NDArray[np.int64]]:
        whole, total = rows(block, False), np.zeros(shape, np.int64)
        at = 0
        for exponent, many in runs:
            np.multiply(whole[at : at + many], 2.0**exponent, out=whole[at : at + many])
            at += many
        np.rint(whole, out=whole)
        for at in range(0, whole.shape[1], PRODUCTS):
            piece = whole[:, at : at + PRODUCTS]
            total += (piece @ piece.T if pairs else np.einsum("ij,ij->i", piece, piece)).astype(np.int64)
        return whole.shape[1], total

    result: NDArray[np.object_] = np.zeros(shape, object)
    held, partial = 0, np.zeros(shape, np.int64)
    for size, part in pool.map(products, blocks):
        if held + size > ENOUGH:
            result, partial, held = result + partial.astype(object), np.zeros(shape, np.int64), 0
        partial += part
        held += size
    finest = max(exponents, default=0)
    shifts, found = [finest - exponent for exponent in exponents], (result + partial.astype(object)).tolist()
    if not pairs:
        return Measures([value << 2 * shift for shift, value in zip(shifts, found, strict=True)], [], finest)
    gram = [[v << (a + b) for b, v in zip(shifts, row, strict=True)] for a, row in zip(shifts, found, strict=True)]
    return Measures([row[number] for number, row in enumerate(gram)], gram, finest)


def _largest(rows: Rows, block: Block) -> NDArray[np.float64]:
    """Each update's largest change, or a number with the same exponent, which is all that is made of it."""
    rough = _tops(rows(block, True))
    if rough.dtype == np.float64:
        return rough
    # rounding may have made a power of two of what is less, or no number at all
    doubtful = (np.frexp(rough)[0] == 0.5) | np.isinf(rough)
    found: NDArray[np.float64] = np.where(doubtful, _tops(rows(block, False)), rough) if doubtful.any() else rough
    return found


def _tops(changes: Changes) -> NDArray[Any]:
    found: NDArray[Any] = np.maximum(changes.max(axis=1, initial=0.0), -changes.min(axis=1, initial=0.0))
    return found


def _exponents(tops: Sequence[float]) -> list[int]:
    """The power of two by which each update's changes are multiplied, whose largest these are."""
    middle = sorted(tops)[(len(tops) - 1) // 2] if tops else 0.0
    finest = middle or min((top for top in tops if top), default=1.0)
    # at most 1000, so that the factor itself is a number, however small the changes are
    return [min(BITS - math.frexp(max(top, finest))[1], 1000) for top in tops]
