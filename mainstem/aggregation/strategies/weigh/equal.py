"""Every client alike: nobody gains by claiming many samples."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

from mainstem.aggregation.measures import Measures
from mainstem.aggregation.strategies.choice import Claim, Weigh


class Equal(Weigh):
    """One for each."""

    name: ClassVar[str] = "equal"
    summary: ClassVar[str] = "Every client counts alike."

    def coefficients(self, claims: Sequence[Claim], measures: Measures | None) -> Sequence[float]:
        """See `Weigh`."""
        return [1.0] * len(claims)
