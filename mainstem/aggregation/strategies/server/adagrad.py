"""A server that steps with Adagrad, FedAdagrad: Reddi et al. 2021 (arXiv:2003.00295), algorithm 2."""

from __future__ import annotations

from typing import ClassVar

from mainstem.aggregation.strategies.choice import Elements
from mainstem.aggregation.strategies.server.adaptive import Adaptive, AdaptiveParams, Beta1


class AdagradParams(AdaptiveParams, frozen=True, kw_only=True):
    """See `AdaptiveParams`; no momentum, which Adagrad has not."""

    beta_1: Beta1 = 0.0


class Adagrad(Adaptive):
    """v = v + d^2: steps become smaller with every round."""

    name: ClassVar[str] = "adagrad"
    summary: ClassVar[str] = "A step of Adagrad along the folded change."

    Params = AdagradParams
    params: AdagradParams

    def velocity(self, v: Elements, square: Elements) -> Elements:
        """See `Adaptive`."""
        return v + square
