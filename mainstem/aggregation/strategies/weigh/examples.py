"""Weights by samples: McMahan et al., "Communication-Efficient Learning of Deep Networks from Decentralized Data",
AISTATS 2017 (arXiv:1602.05629), algorithm 1."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

from mainstem.aggregation.measures import Measures
from mainstem.aggregation.strategies.choice import Claim, Weigh


class Examples(Weigh):
    """By the numbers of examples, exact for up to 2**53."""

    name: ClassVar[str] = "examples"
    summary: ClassVar[str] = "A client counts by its samples."

    def coefficients(self, claims: Sequence[Claim], measures: Measures | None) -> Sequence[float]:
        """See `Weigh`."""
        return [float(claim.examples) for claim in claims]
