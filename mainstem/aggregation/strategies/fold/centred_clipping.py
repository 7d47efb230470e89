"""Centred clipping: Karimireddy et al., "Learning from History for Byzantine Robust Optimization", ICML 2021
(arXiv:2012.10333), equation CC, around the last version (v_0 = 0 for changes), without the workers' momentum."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Annotated, ClassVar

import msgspec

from mainstem.aggregation.measures import Measures
from mainstem.aggregation.strategies.choice import Choice, Weighed
from mainstem.aggregation.strategies.fold.spread import distances_from, shares_of
from mainstem.aggregation.strategies.fold.sum import Sum
from mainstem.runtime.fields import Params


class CentredClippingParams(Params, frozen=True, kw_only=True):
    """Defaults: the radius of the paper's experiments; iterations, since the last version is a coarse centre."""

    radius: Annotated[
        float,
        msgspec.Meta(
            gt=0, le=1_000_000, title="Radius",
            description="An update pulls as if it were no further from the centre than this, an L2 norm.",
        ),
    ] = 10.0  # fmt: skip
    clippings: Annotated[
        int, msgspec.Meta(ge=1, le=100, title="Iterations", description="How often the centre moves; 1: norm bounding.")
    ] = 3


class CentredClipping(Sum):
    """v + sum w (x - v) min(1, radius / |x - v|), again and again, from v = the last version.

    Every v is the last version and a sum of changes, so that the changes' exact distances to each other and to the
    last version decide on the coefficients. An update's score is its distance from the centre that moved last.
    """

    name: ClassVar[str] = "centred_clipping"
    summary: ClassVar[str] = "The mean of changes shortened towards a centre, which is moved to it again and again."
    measured: ClassVar[bool] = True
    scored: ClassVar[str] = "its distance from the centre; beyond the radius, the further the less it counts"

    Params = CentredClippingParams
    params: CentredClippingParams

    def choose(self, coefficients: Sequence[float], measures: Measures | None) -> Sequence[Weighed]:
        """See `Fold`."""
        assert measures is not None
        if not any(coefficients):
            return super().choose(coefficients, measures)
        products, shares = measures.products(), shares_of(coefficients)
        point, apart = [0.0] * len(shares), [0.0] * len(shares)
        for _ in range(self.params.clippings):
            apart = distances_from(point, products)
            pulls = [w * min(1.0, self.params.radius / d) if d else w for w, d in zip(shares, apart, strict=True)]
            stays = 1.0
            for pull in pulls:
                stays -= pull
            stays = max(stays, 0.0)
            point = [share * stays + pull for share, pull in zip(point, pulls, strict=True)]
        return [Weighed(share, distance) for share, distance in zip(point, apart, strict=True)]

    def clash(self, others: Mapping[str, Choice]) -> str:
        """Coefficients are shares here, whatever weighs."""
        return ""
