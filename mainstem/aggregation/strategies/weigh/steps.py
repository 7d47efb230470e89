"""FedNova: Wang et al., "Tackling the Objective Inconsistency Problem in Heterogeneous Federated Optimization", NeurIPS
2020 (arXiv:2007.07481), equation 8 with tau_eff = sum p_i |a_i|_1, as in its experiments."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import ClassVar

from mainstem.aggregation.measures import Measures
from mainstem.aggregation.strategies.choice import Claim, Weigh
from mainstem.errors import AggregationError
from mainstem.jobs.compiling import beyond_sgd
from mainstem.protocol.messages import Training


class Steps(Weigh):
    """Who made more local steps counts no more for that: each change is divided by the length of its way.

    The coefficient of a change is tau_eff p_i / |a_i|_1, with p_i the client's share of the examples. For plain SGD
    |a_i|_1 is its number of steps; with a momentum rho, which starts at zero in each round, it is the sum over
    k = 1 .. steps of (1 - rho^k) / (1 - rho). Coefficients are no shares, so changes are summed.
    """

    name: ClassVar[str] = "steps"
    summary: ClassVar[str] = "By examples, but more local steps do not count more."
    by_steps: ClassVar[bool] = True
    goes_with: ClassVar[Mapping[str, tuple[str, ...]]] = {"fold": ("sum",), "client": ("plain",)}
    because: ClassVar[str] = "its coefficients are no shares, and reckoned from the steps of plain SGD"

    def misfit(self, training: Training) -> str:
        """See `Choice`."""
        if why := beyond_sgd(training, momentum=True):
            return f"optimizer must be SGD, perhaps with momentum, whose steps can be reckoned with: {why}"
        return ""

    def coefficients(self, claims: Sequence[Claim], measures: Measures | None) -> Sequence[float]:
        """See `Weigh`."""
        if not all(claim.way > 0 for claim in claims):
            raise AggregationError("an update does not say how many steps its client made")
        total = sum(claim.examples for claim in claims)
        shares = [claim.examples / total for claim in claims]
        effective = sum(share * claim.way for share, claim in zip(shares, claims, strict=True))
        return [effective * share / claim.way for share, claim in zip(shares, claims, strict=True)]
