"""Distances of changes, to the last digit those of Python's integers."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from numpy.typing import NDArray

from mainstem.aggregation import reduction, strategies
from mainstem.aggregation.blocks import reader
from mainstem.aggregation.measures import Measures
from mainstem.aggregation.strategies import Claim
from mainstem.aggregation.strategies.choice import Weighed
from mainstem.aggregation.strategies.fold.mean import Mean
from mainstem.protocol.exchange import exchange_of
from mainstem.protocol.weights import specs_of


class Watched(Mean):
    """A mean that keeps what it was told."""

    measured = True
    told: Measures | None = None

    def choose(self, coefficients: Sequence[float], measures: Measures | None) -> Sequence[Weighed]:
        """See `Fold`."""
        self.told = measures
        return super().choose(coefficients, measures)


def measured(floats: NDArray[np.float32], elements: int, threads: int) -> Measures:
    """Those of all rows as updates of the first one, in blocks of so many elements."""
    given = [reduction.Counted(Claim(f"c{n}", 1), reader([row])) for n, row in enumerate(floats)]
    fold = Watched()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(reduction, "SMALLEST", 1)
        patch.setattr(reduction, "GATHERED", elements * len(given))
        specs = exchange_of(specs_of([("t", floats[0])]))
        reduction.reduce(replace(strategies.make("fedavg", {}), folds=fold), specs, [floats[0]], given, {}, 1, threads)
    assert fold.told is not None
    return fold.told


ALIKE = 0x3F800000
"""1.0; with only the last byte changed, numbers so close that differences are exact."""


@given(
    rows=st.integers(1, 40).flatmap(
        lambda size: st.lists(st.lists(st.integers(0, 2**32 - 1), min_size=size, max_size=size), min_size=1, max_size=5)
    ),
    mask=st.sampled_from((0xFFFFFFFF, 0x800000FF, 0x1FFFFFFF)),
    elements=st.integers(1, 41),
    threads=st.integers(1, 3),
)
@example(rows=[[0x30800000], [0x3F800000]], mask=0xFFFFFFFF, elements=1, threads=1)  # float32 rounds it to 1
@example(rows=[[0xFF7FFFFF], [0x7F7FFFFF]], mask=0xFFFFFFFF, elements=1, threads=1)  # float32 has no such number
def test_measures_are_those_of_whole_numbers(rows: list[list[int]], mask: int, elements: int, threads: int) -> None:
    """Of any float32 whatever, subnormal, huge or all of one size, in any blocks: also where float32 would round a
    largest change up to a power of two."""
    floats = ((np.array(rows, np.uint32) & np.uint32(mask)) | np.uint32(ALIKE if mask == 0x800000FF else 0)).view("f4")
    floats[~np.isfinite(floats)] = 2.0**-149
    found = measured(floats, elements, threads)
    changes = floats.astype(np.float64) - floats[0].astype(np.float64)
    tops = np.abs(changes).max(axis=1).tolist()
    middle = sorted(tops)[(len(tops) - 1) // 2] or min((top for top in tops if top), default=1.0)
    exponents = [18 - math.frexp(max(top, middle))[1] for top in tops]
    whole = [
        [round(math.ldexp(change, exponent)) << max(exponents) - exponent for change in row]
        for exponent, row in zip(exponents, changes.tolist(), strict=True)
    ]
    assert found.exponent == max(exponents)
    assert found.gram == [[sum(a * b for a, b in zip(one, other, strict=True)) for other in whole] for one in whole]
