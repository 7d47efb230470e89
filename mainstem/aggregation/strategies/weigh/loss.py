"""q-FedAvg: Li et al., "Fair Resource Allocation in Federated Learning", ICLR 2020 (arXiv:1905.10497), algorithm 2."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Annotated, ClassVar

import msgspec

from mainstem.aggregation.measures import Measures
from mainstem.aggregation.strategies.choice import Claim, Weigh
from mainstem.errors import AggregationError
from mainstem.protocol.messages import Rules, Training
from mainstem.runtime.exact import power
from mainstem.runtime.fields import Params

SMALLEST = 1e-10
"""Added to each loss, as the authors' code does: a loss of 0 has no powers below 0."""


class LossParams(Params, frozen=True, kw_only=True):
    """How fair it is."""

    q: Annotated[
        float,
        msgspec.Meta(
            ge=0, le=16, title="q",
            description="How much more those count for whom the model is worse; 0: all alike.",
        ),
    ] = 1.0  # fmt: skip


class Loss(Weigh):
    """A client counts the more the larger the loss of the last version is on its data.

    With L = 1 / the round's learning rate, F_k that loss and d_k the change: L F_k^q / sum_j h_j is its coefficient,
    h_j = q F_j^(q-1) L^2 |d_j|^2 + L F_j^q. Norms are exact. Coefficients are no shares, so changes are summed.
    """

    name: ClassVar[str] = "loss"
    summary: ClassVar[str] = "Those count more for whom the last version is worse."
    measured: ClassVar[bool] = True
    pairs: ClassVar[bool] = False
    by_loss: ClassVar[bool] = True
    goes_with: ClassVar[Mapping[str, tuple[str, ...]]] = {"fold": ("sum",)}
    because: ClassVar[str] = "its coefficients are no shares"

    Params = LossParams
    params: LossParams

    def refusal(self, rules: Rules) -> str:
        """See `Choice`."""
        if rules.mode != "sync":
            return f"mode must be sync: losses are compared that are of one version, mode {rules.mode} takes others"
        return ""

    def misfit(self, training: Training) -> str:
        """See `Choice`."""
        if training.learning_rate is None:
            return "learning_rate must be given: by it losses are weighed against changes"
        return ""

    def coefficients(self, claims: Sequence[Claim], measures: Measures | None) -> Sequence[float]:
        """See `Weigh`."""
        assert measures is not None
        q, powers, total = self.params.q, [], 0.0
        for claim, square in zip(claims, measures.own, strict=True):
            if claim.loss is None or claim.rate is None:
                raise AggregationError("the run or an update of it does not say the learning rate, or the loss")
            loss, lipschitz = claim.loss + SMALLEST, 1 / claim.rate
            powers.append(lipschitz * power(loss, q))
            squared = lipschitz * lipschitz * measures.real(square)
            total += q * power(loss, q - 1) * squared + powers[-1]
        if not 0 < total < float("inf"):
            raise AggregationError("the changes are too large to weigh them against losses")
        return [each / total for each in powers]
