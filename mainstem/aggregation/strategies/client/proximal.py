"""FedProx: Li et al., "Federated Optimization in Heterogeneous Networks", MLSys 2020 (arXiv:1812.06127), algorithm 2:
clients minimise their loss and mu / 2 |w - w0|^2, with w0 the version that they began with."""

from __future__ import annotations

from functools import cache
from typing import Annotated, ClassVar

import msgspec

from mainstem.aggregation.local import Change, GradientHook, LocalStart
from mainstem.aggregation.strategies.choice import Client
from mainstem.runtime.fields import Params


class ProximalParams(Params, frozen=True, kw_only=True):
    """How strongly clients are held."""

    mu: Annotated[
        float,
        msgspec.Meta(
            ge=0, le=1000, title="Mu",
            description="How strongly clients are held near the version that they began with; 0: not at all.",
        ),
    ] = 0.01  # fmt: skip


class Proximal(Client):
    """Each gradient has mu (w - w0) more: that is the gradient of the proximal term, whatever loss and optimizer."""

    name: ClassVar[str] = "proximal"
    summary: ClassVar[str] = "Clients are held near the version that they began with."

    Params = ProximalParams
    params: ProximalParams

    def hook(self, start: LocalStart) -> GradientHook:
        """See `Client`."""
        return GradientHook(pull(self.params.mu))


@cache
def pull(mu: float) -> Change:
    """The gradient with that of the proximal term; one function for each `mu`."""
    return lambda gradient, weight, begin, constant: gradient + mu * (weight - begin)
