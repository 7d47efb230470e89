"""Krum: Blanchard et al., "Machine Learning with Adversaries: Byzantine Tolerant Gradient Descent", NeurIPS 2017,
section 4."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Annotated, ClassVar

import msgspec

from mainstem.aggregation.measures import Measures
from mainstem.aggregation.strategies.choice import Weighed
from mainstem.aggregation.strategies.fold.mean import Mean
from mainstem.runtime.fields import Params


class KrumParams(Params, frozen=True, kw_only=True):
    """How many clients may be hostile."""

    byzantine: Annotated[
        int,
        msgspec.Meta(
            ge=0, le=1000, title="Hostile clients",
            description="f: how many clients a round may hold that send anything; it needs 2 f + 3 updates.",
        ),
    ] = 1  # fmt: skip


class Krum(Mean):
    """The version is the one update that lies closest to its n - f - 2 nearest others, by squared distances.

    Distances are exact integers over quantised changes (`measures`), so no rounding and no order of sums decides who
    is chosen; of equal scores the first in the round's order is.
    """

    name: ClassVar[str] = "krum"
    summary: ClassVar[str] = "The one update that the others lie closest to."
    measured: ClassVar[bool] = True
    alike: ClassVar[str] = "krum takes one update as it is"
    scored: ClassVar[str] = "the sum of squared distances to its n - f - 2 nearest others; the lowest is taken"

    Params = KrumParams
    params: KrumParams

    @property
    def least(self) -> int:
        """2 f + 3, the paper's condition."""
        return 2 * self.params.byzantine + 3

    def choose(self, coefficients: Sequence[float], measures: Measures | None) -> Sequence[Weighed]:
        """The sum of each update's squared distances to its nearest others is its score."""
        assert measures is not None
        nearest = len(coefficients) - self.params.byzantine - 2
        totals = [sum(sorted(row)[:nearest]) for row in measures.others()]
        chosen = self.chosen(totals, measures)
        return [
            Weighed(1.0, measures.real(total)) if number in chosen else Weighed(0.0, measures.real(total), "not chosen")
            for number, total in enumerate(totals)
        ]

    def chosen(self, totals: Sequence[int], measures: Measures) -> Collection[int]:
        """The numbers of the updates that are folded, by these scores."""
        return best(totals, 1)


def best(totals: Sequence[int], count: int) -> list[int]:
    """The numbers of so many with the lowest scores, of equal ones the first."""
    return sorted(range(len(totals)), key=totals.__getitem__)[:count]
