"""The geometric median, RFA: Pillutla et al., "Robust Aggregation for Federated Learning", IEEE Transactions on Signal
Processing 2022 (arXiv:1912.13445), algorithm 2, the smoothed Weiszfeld algorithm."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Annotated, ClassVar

import msgspec

from mainstem.aggregation.measures import Measures
from mainstem.aggregation.strategies.choice import Weighed
from mainstem.aggregation.strategies.fold.mean import Mean
from mainstem.aggregation.strategies.fold.spread import distances_from, shares_of
from mainstem.runtime.fields import Params


class GeometricMedianParams(Params, frozen=True, kw_only=True):
    """Defaults: the paper's smoothing; more iterations than its 3, since they cost nothing here."""

    iterations: Annotated[
        int, msgspec.Meta(ge=1, le=100, title="Iterations", description="How often the weights are made better.")
    ] = 10
    smoothing: Annotated[
        float,
        msgspec.Meta(
            gt=0, le=1_000_000, title="Smoothing", description="An update nearer than this counts as if it were so far."
        ),
    ] = 1e-6  # fmt: skip


class GeometricMedian(Mean):
    """The point whose weighted distances to all updates sum up to the least, as a mean of them.

    Weiszfeld's iterations never leave the updates' means, so their products with each other, which are exact, decide
    on the coefficients, and the tensors are read once. An update first weighs the less the further half of the others
    are from it: begun at the mean, as in the paper, it would take forty iterations to come back from one of 1e30. An
    update's score is its distance from the point by which the coefficients were made last.
    """

    name: ClassVar[str] = "geometric_median"
    summary: ClassVar[str] = "The point nearest to all updates: fewer than half do not move it far."
    measured: ClassVar[bool] = True
    scored: ClassVar[str] = "its distance from the geometric median; the nearer, the more it counts"

    Params = GeometricMedianParams
    params: GeometricMedianParams

    def choose(self, coefficients: Sequence[float], measures: Measures | None) -> Sequence[Weighed]:
        """See `Fold`."""
        assert measures is not None
        if not any(coefficients):
            return super().choose(coefficients, measures)
        shares, half = shares_of(coefficients), max(len(coefficients) // 2 - 1, 0)
        apart = [math.sqrt(measures.real(sorted(row)[half])) if row else 0.0 for row in measures.others()]
        products = measures.products(origin=apart.index(min(apart)))  # a near one, so that no far one costs precision
        weights = self._nearer(shares, apart)
        for _ in range(self.params.iterations):
            apart = distances_from(weights, products)
            weights = self._nearer(shares, apart)
        return [Weighed(weight, distance) for weight, distance in zip(weights, apart, strict=True)]

    def _nearer(self, shares: Sequence[float], apart: Sequence[float]) -> list[float]:
        return shares_of([s / max(distance, self.params.smoothing) for s, distance in zip(shares, apart, strict=True)])
