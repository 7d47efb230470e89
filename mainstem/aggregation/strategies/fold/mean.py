"""The weighted mean: McMahan et al., "Communication-Efficient Learning of Deep Networks from Decentralized Data",
AISTATS 2017 (arXiv:1602.05629), algorithm 1."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

import numpy as np

from mainstem.aggregation.strategies.choice import Elements, Fold, Stack, Weighed


class Mean(Fold):
    """sum c x / sum c in float64 in the round's order, cast once: no BLAS takes part."""

    name: ClassVar[str] = "mean"
    summary: ClassVar[str] = "The weighted mean."
    sparse: ClassVar[bool] = True

    def fold(self, stack: Stack, weighing: Sequence[Weighed]) -> Elements:
        """See `Fold`."""
        return weighted_mean(stack, weighing)


def weighted_mean(stack: Stack, weighing: Sequence[Weighed]) -> Elements:
    """sum c x / sum c in the round's order, over those who are not left out; sums begin at +0."""
    if stack.sparse:
        return mean_of_present(stack, weighing)
    total, scratch, weights = np.zeros(stack.size), np.empty(stack.size), 0.0
    for number, weighed in enumerate(weighing):
        if weighed.left_out:
            continue
        stack.read(number, scratch)
        np.multiply(scratch, weighed.coefficient, out=scratch)
        np.add(total, scratch, out=total)
        weights += weighed.coefficient
    return np.divide(total, weights, out=total)


def mean_of_present(stack: Stack, weighing: Sequence[Weighed]) -> Elements:
    """The same of each element over those who have it; the base's where nobody has. HeteroFL: Diao, Ding, Tarokh, ICLR
    2021 (arXiv:2010.01264), section 3.1."""
    total, scratch, weights = np.zeros(stack.size), np.empty(stack.size), np.zeros(stack.size)
    for number, weighed in enumerate(weighing):
        if weighed.left_out:
            continue
        stack.read(number, scratch)
        mask = stack.present(number)
        has = np.ones(stack.size, bool) if mask is None else mask
        np.multiply(scratch, weighed.coefficient, out=scratch)
        np.add(total, scratch, out=total, where=has)
        np.add(weights, weighed.coefficient, out=weights, where=has)
    assert stack.base is not None, "groups go up whole"
    return np.divide(total, weights, out=stack.base.copy(), where=weights > 0)
