"""The sum of changes, each as many times as its coefficient says: what rules need whose coefficients are no shares."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import ClassVar

import numpy as np

from mainstem.aggregation.strategies.choice import Choice, Elements, Fold, Stack, Weighed
from mainstem.aggregation.strategies.fold.mean import weighted_mean


class Sum(Fold):
    """model + sum c (x - model) in float64 in the round's order; of a group sum c x.

    A sum may leave what the clients have: of tensors that no gradient changes, such as a variance, it is their mean.
    """

    name: ClassVar[str] = "sum"
    summary: ClassVar[str] = "The last version and the sum of all changes, not divided by anything."

    def clash(self, others: Mapping[str, Choice]) -> str:
        """Numbers of samples are no factors of a change."""
        if others["weigh"].name == "examples":
            return "weigh must not be examples with fold sum: a change would be added once for each of its samples"
        return ""

    def fold(self, stack: Stack, weighing: Sequence[Weighed]) -> Elements:
        """See `Fold`."""
        return summed(stack, weighing)

    def settle(self, stack: Stack, weighing: Sequence[Weighed]) -> Elements:
        """See `Fold`."""
        return weighted_mean(stack, weighing)


def summed(stack: Stack, weighing: Sequence[Weighed]) -> Elements:
    """model + sum c (x - model), over those who are not left out."""
    total, scratch = np.zeros(stack.size), np.empty(stack.size)
    for number, weighed in enumerate(weighing):
        if weighed.left_out:
            continue
        stack.read(number, scratch)
        if stack.base is not None:
            np.subtract(scratch, stack.base, out=scratch)
        np.multiply(scratch, weighed.coefficient, out=scratch)
        np.add(total, scratch, out=total)
    return total if stack.base is None else np.add(stack.base, total, out=total)
