"""A server that steps with Adam, FedAdam: Reddi et al. 2021 (arXiv:2003.00295), algorithm 2."""

from __future__ import annotations

from typing import ClassVar

from mainstem.aggregation.strategies.choice import Elements
from mainstem.aggregation.strategies.server.adaptive import Adaptive, AdaptiveParams, Beta2


class AdamParams(AdaptiveParams, frozen=True, kw_only=True):
    """See `AdaptiveParams`."""

    beta_2: Beta2 = 0.99


class Adam(Adaptive):
    """v = b2 v + (1 - b2) d^2."""

    name: ClassVar[str] = "adam"
    summary: ClassVar[str] = "A step of Adam along the folded change."

    Params = AdamParams
    params: AdamParams

    def velocity(self, v: Elements, square: Elements) -> Elements:
        """See `Adaptive`."""
        return self.params.beta_2 * v + (1 - self.params.beta_2) * square
