"""SCAFFOLD: Karimireddy et al., "SCAFFOLD: Stochastic Controlled Averaging for Federated Learning", ICML 2020
(arXiv:1910.06378), algorithm 1 with option II."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

import numpy as np

from mainstem.aggregation.local import GradientHook, LocalStart
from mainstem.aggregation.strategies.choice import Client, Elements, RoundFacts
from mainstem.jobs.compiling import beyond_sgd
from mainstem.protocol.exchange import DOWN, UP, Exchange, like_trained
from mainstem.protocol.messages import Group, Rules, Training
from mainstem.protocol.weights import Tensor

VARIATE, CHANGE = "scaffold_c", "scaffold_dc"


class Scaffold(Client):
    """Each gradient has c - c_i more: the server's control variate less the client's.

    After K steps at the rate eta from x to y a client's variate has changed by (x - y) / (K eta) - c. That goes up as
    a group, and the client's variate is the sum of those of its updates that count: it is kept in the log alone. The
    server's is c + |S| / N times their mean, of the round's updates S and the N clients that the run has at its close.
    """

    name: ClassVar[str] = "scaffold"
    summary: ClassVar[str] = "Clients correct their gradients by how theirs differ from everybody's (SGD only)."
    remembers: ClassVar[bool] = True
    goes_with: ClassVar[Mapping[str, tuple[str, ...]]] = {"weigh": ("equal",), "bound": ("none",), "fold": ("mean",)}
    because: ClassVar[str] = "a client's variate is the sum of what its updates carried"

    def groups(self, model: Exchange) -> tuple[Group, ...]:
        """The server's variate, and the change of a client's."""
        return (like_trained(model, VARIATE, DOWN), like_trained(model, CHANGE, UP))

    def refusal(self, rules: Rules) -> str:
        """See `Choice`."""
        if rules.mode != "sync":
            return f"mode must be sync: scaffold's variates belong to one round, mode {rules.mode} takes late updates"
        if rules.keep_updates is not None:
            return f"keep_updates must be left out: with scaffold {self.because}, from its first update on"
        return ""

    def misfit(self, training: Training) -> str:
        """See `Choice`."""
        if why := beyond_sgd(training):
            return f"optimizer must be plain SGD for scaffold, which reckons with steps of rate times gradient: {why}"
        if training.learning_rate is None:
            return "learning_rate must be given for scaffold, which divides by it"
        return ""

    def hook(self, start: LocalStart) -> GradientHook:
        """See `Client`."""
        pairs = zip(start.down[VARIATE], start.own[CHANGE], strict=True)
        return GradientHook(correct, [server - client for server, client in pairs])

    def carried(self, start: LocalStart, trained: Sequence[Tensor], steps: int) -> dict[str, list[Tensor]]:
        """See `Client`."""
        assert start.rate is not None
        way = steps * start.rate
        return {
            CHANGE: [
                (np.subtract(x, y, dtype=np.float64) / way - c).astype(c.dtype)
                for x, y, c in zip(start.model, trained, start.down[VARIATE], strict=True)
            ]
        }

    def step(
        self, folded: Mapping[str, Elements], state: Mapping[str, Elements], facts: RoundFacts
    ) -> dict[str, Elements]:
        """See `Client`."""
        return {VARIATE: state[VARIATE] + folded[CHANGE] * (facts.updates / facts.clients)}


def correct(gradient: Any, weight: Any, begin: Any, constant: Any) -> Any:
    """The gradient less the client's variate, and the server's in its place."""
    return gradient + constant
