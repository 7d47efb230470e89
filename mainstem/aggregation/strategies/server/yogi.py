"""A server that steps with Yogi, FedYogi: Reddi et al. 2021 (arXiv:2003.00295), algorithm 2; Yogi itself: Zaheer et
al., "Adaptive Methods for Nonconvex Optimization", NeurIPS 2018."""

from __future__ import annotations

from typing import ClassVar

import numpy as np

from mainstem.aggregation.strategies.choice import Elements
from mainstem.aggregation.strategies.server.adam import AdamParams
from mainstem.aggregation.strategies.server.adaptive import Adaptive


class Yogi(Adaptive):
    """v = v - (1 - b2) d^2 sign(v - d^2): it forgets large changes by steps, where Adam does by a factor."""

    name: ClassVar[str] = "yogi"
    summary: ClassVar[str] = "A step of Yogi: as Adam, but its steps grow no faster than they shrank."

    Params = AdamParams
    params: AdamParams

    def velocity(self, v: Elements, square: Elements) -> Elements:
        """See `Adaptive`."""
        return v - (1 - self.params.beta_2) * square * np.sign(v - square)
