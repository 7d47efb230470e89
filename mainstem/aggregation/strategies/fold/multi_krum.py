"""Multi-Krum: Blanchard et al., "Machine Learning with Adversaries: Byzantine Tolerant Gradient Descent", NeurIPS 2017,
section 4.1; as many as El Mhamdi et al., ICML 2018 (arXiv:1802.07927), take: n - f - 2."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Annotated, ClassVar

import msgspec

from mainstem.aggregation.measures import Measures
from mainstem.aggregation.strategies.fold.krum import Krum, KrumParams, best


class MultiKrumParams(KrumParams, frozen=True, kw_only=True):
    """How many clients may be hostile, and how many are taken."""

    keep: Annotated[
        int,
        msgspec.Meta(
            ge=0, le=1_000_000, title="Take",
            description="m: so many updates of the best scores are averaged; 0: n - f - 2. A round needs m + f + 2.",
        ),
    ] = 0  # fmt: skip


class MultiKrum(Krum):
    """The mean of the m updates that lie closest to their n - f - 2 nearest others."""

    name: ClassVar[str] = "multi_krum"
    summary: ClassVar[str] = "The mean of several updates that the others lie closest to."
    alike: ClassVar[str] = "multi_krum averages those that it chooses"
    scored: ClassVar[str] = "the sum of squared distances to its n - f - 2 nearest others; the lowest are taken"

    Params = MultiKrumParams
    params: MultiKrumParams

    @property
    def least(self) -> int:
        """2 f + 3, and so many that the worst f + 2 are not taken."""
        return max(super().least, self.params.keep + self.params.byzantine + 2 if self.params.keep else 0)

    def chosen(self, totals: Sequence[int], measures: Measures) -> Collection[int]:
        """See `Krum`."""
        return best(totals, self.params.keep or len(totals) - self.params.byzantine - 2)
