"""What Adagrad, Adam and Yogi share as servers: Reddi et al., "Adaptive Federated Optimization", ICLR 2021
(arXiv:2003.00295), algorithm 2, without a correction of the bias, as there."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated

import msgspec
import numpy as np

from mainstem.aggregation.strategies.choice import Elements, Server
from mainstem.protocol.exchange import SERVER, Exchange, like_trained
from mainstem.protocol.messages import Group
from mainstem.runtime.fields import Params

Beta1 = Annotated[float, msgspec.Meta(ge=0, lt=1, title="Beta 1", description="How much of the last change stays.")]
Beta2 = Annotated[
    float, msgspec.Meta(ge=0, lt=1, title="Beta 2", description="How much of the last squared change stays.")
]


class AdaptiveParams(Params, frozen=True, kw_only=True):
    """Defaults: those of the paper's experiments, but for the rate, which it tunes by task."""

    server_learning_rate: Annotated[
        float, msgspec.Meta(gt=0, le=100, title="Server learning rate", description="The size of the server's steps.")
    ] = 0.1
    tau: Annotated[
        float,
        msgspec.Meta(gt=0, le=1, title="Tau", description="Keeps steps small where changes are: the adaptivity."),
    ] = 1e-3
    beta_1: Beta1 = 0.9


class Adaptive(Server):
    """m = b1 m + (1 - b1) d; v as each says; model + rate m / (sqrt(v) + tau), where d is the folded change.

    Both moments begin at zero, stand in the log as groups of the server, and are cast to their tensors' precision
    once a round, after the step.
    """

    Params = AdaptiveParams
    params: AdaptiveParams

    def velocity(self, v: Elements, square: Elements) -> Elements:
        """The second moment, from the last one and the squared change; never negative."""
        raise NotImplementedError

    @property
    def _names(self) -> tuple[str, str]:
        return f"{self.name}_m", f"{self.name}_v"

    def groups(self, model: Exchange) -> tuple[Group, ...]:
        """The two moments."""
        return tuple(like_trained(model, name, SERVER) for name in self._names)

    def step(
        self, model: Elements, folded: Elements, state: Mapping[str, Elements], round_: int
    ) -> tuple[Elements, dict[str, Elements]]:
        """See `Server`."""
        p, (first, second) = self.params, self._names
        change = folded - model
        m = p.beta_1 * state[first] + (1 - p.beta_1) * change
        v = self.velocity(state[second], change * change)
        return model + p.server_learning_rate * m / (np.sqrt(v) + p.tau), {first: m, second: v}
