"""The coordinate-wise median: Yin et al., "Byzantine-Robust Distributed Learning: Towards Optimal Statistical Rates",
ICML 2018 (arXiv:1803.01498), algorithm 1, option I."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

from mainstem.aggregation.strategies.choice import Elements, Fold, Stack, Weighed
from mainstem.aggregation.strategies.fold.gathering import middle, ranked


class Median(Fold):
    """Each element is the clients' median; of an even number the mean of the middle two."""

    name: ClassVar[str] = "median"
    summary: ClassVar[str] = "Of each number the clients' median."
    gathers: ClassVar[bool] = True
    alike: ClassVar[str] = "a median counts all alike"

    def fold(self, stack: Stack, weighing: Sequence[Weighed]) -> Elements:
        """See `Fold`."""
        return middle(ranked(stack, weighing))
