"""A server with momentum, FedAvgM: Hsu et al., "Measuring the Effects of Non-Identical Data Distribution for Federated
Visual Classification", 2019 (arXiv:1909.06335), section 4.3."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, ClassVar

import msgspec

from mainstem.aggregation.strategies.choice import Elements, Server
from mainstem.protocol.exchange import SERVER, Exchange, like_trained
from mainstem.protocol.messages import Group
from mainstem.runtime.fields import Params

MOMENTUM = "momentum"


class MomentumParams(Params, frozen=True, kw_only=True):
    """Defaults: the paper's momentum, and its rate of 1, with which no momentum would be FedAvg."""

    server_learning_rate: Annotated[
        float, msgspec.Meta(gt=0, le=100, title="Server learning rate", description="How far a step goes.")
    ] = 1.0
    server_momentum: Annotated[
        float, msgspec.Meta(ge=0, lt=1, title="Momentum", description="How much of the last step is in the next one.")
    ] = 0.9


class Momentum(Server):
    """v = beta v + d; model + rate v, where d is the folded change. v begins at zero and is a group of the server."""

    name: ClassVar[str] = "momentum"
    summary: ClassVar[str] = "Steps along the folded change and what is left of those before."

    Params = MomentumParams
    params: MomentumParams

    def groups(self, model: Exchange) -> tuple[Group, ...]:
        """The momentum."""
        return (like_trained(model, MOMENTUM, SERVER),)

    def step(
        self, model: Elements, folded: Elements, state: Mapping[str, Elements], round_: int
    ) -> tuple[Elements, dict[str, Elements]]:
        """See `Server`."""
        v = self.params.server_momentum * state[MOMENTUM] + (folded - model)
        return model + self.params.server_learning_rate * v, {MOMENTUM: v}
