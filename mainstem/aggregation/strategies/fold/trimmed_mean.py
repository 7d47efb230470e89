"""The coordinate-wise trimmed mean: Yin et al., "Byzantine-Robust Distributed Learning: Towards Optimal Statistical
Rates", ICML 2018 (arXiv:1803.01498), algorithm 1, option II."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, ClassVar

import msgspec
import numpy as np

from mainstem.aggregation.strategies.choice import Elements, Fold, Stack, Weighed
from mainstem.aggregation.strategies.fold.gathering import ranked
from mainstem.runtime.fields import Params


class TrimmedMeanParams(Params, frozen=True, kw_only=True):
    """How much is cut off."""

    trim: Annotated[
        int,
        msgspec.Meta(
            ge=1, le=1000, title="Cut off",
            description="b: of each number the b lowest and b highest clients are cut off; it needs 2 b + 1 updates.",
        ),
    ] = 1  # fmt: skip


class TrimmedMean(Fold):
    """Each element is the mean of the clients' without the b lowest and b highest (the paper's b = beta n)."""

    name: ClassVar[str] = "trimmed_mean"
    summary: ClassVar[str] = "Of each number the lowest and highest clients are cut off, then the mean."
    gathers: ClassVar[bool] = True
    alike: ClassVar[str] = "a trimmed mean counts all alike"

    Params = TrimmedMeanParams
    params: TrimmedMeanParams

    @property
    def least(self) -> int:
        """2 b + 1, so that one is left."""
        return 2 * self.params.trim + 1

    def fold(self, stack: Stack, weighing: Sequence[Weighed]) -> Elements:
        """See `Fold`."""
        columns = ranked(stack, weighing)
        kept = range(self.params.trim, columns.shape[1] - self.params.trim)
        total = np.zeros(stack.size)
        for place in kept:
            np.add(total, columns[:, place], out=total)
        return np.divide(total, len(kept), out=total)
