"""A strategy: five choices, one of each kind, put together. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property

from mainstem.aggregation.measures import Measures
from mainstem.aggregation.strategies.choice import (
    MODEL,
    Bound,
    Choice,
    Claim,
    Client,
    Elements,
    Fold,
    RoundFacts,
    Server,
    Stack,
    Weigh,
    Weighed,
)
from mainstem.errors import AggregationError
from mainstem.protocol.exchange import Exchange
from mainstem.protocol.messages import Group, Rules, Training


@dataclass(frozen=True)
class Strategy:
    """Updates are bounded, then weighed, then folded; then the server steps."""

    weighs: Weigh
    bounds: Bound
    folds: Fold
    serves: Server
    asks: Client

    @cached_property
    def choices(self) -> tuple[Choice, ...]:
        """All five."""
        return (self.weighs, self.bounds, self.folds, self.serves, self.asks)

    @cached_property
    def measured(self) -> bool:
        """Whether `weigh` needs measures."""
        return any(choice.measured for choice in self.choices)

    @cached_property
    def pairs(self) -> bool:
        """Whether these are products of updates with each other too, and not norms alone."""
        return any(choice.measured and choice.pairs for choice in self.choices)

    @property
    def gathers(self) -> bool:
        """Whether `fold` holds a block of every update at a time, and not of one."""
        return self.folds.gathers

    @property
    def scored(self) -> str:
        """What an update's score is; empty where it gets none."""
        return self.folds.scored

    @property
    def least(self) -> int:
        """The fewest updates that a round can be made of."""
        return max(choice.least for choice in self.choices)

    def groups(self, model: Exchange) -> tuple[Group, ...]:
        """What is exchanged beside a model of these specs."""
        return tuple(group for choice in self.choices for group in choice.groups(model))

    def refusal(self, rules: Rules) -> str:
        """Why it does not go together with these rules, beginning with the field that is wrong; empty where it does."""
        return next(filter(None, (choice.refusal(rules) for choice in self.choices)), "")

    def misfit(self, training: Training) -> str:
        """Why it does not go together with how clients train, likewise."""
        return next(filter(None, (choice.misfit(training) for choice in self.choices)), "")

    def weigh(self, claims: Sequence[Claim], measures: Measures | None) -> Sequence[Weighed]:
        """What becomes of each update of a round; raises AggregationError where they make no round."""
        for choice in self.choices:
            if 0 < len(claims) < choice.least:
                said = f"{choice.name} needs {choice.least} updates; the round has {len(claims)}"
                raise AggregationError(said)
        scales: Sequence[float] = [1.0] * len(claims)
        if measures is not None and self.bounds.measured:
            scales = self.bounds.scales(measures)
            measures = measures.scaled(scales)
        fresh = self.weighs.coefficients(claims, measures)
        coefficients = [coefficient * claim.discount for coefficient, claim in zip(fresh, claims, strict=True)]
        chosen = self.folds.choose(coefficients, measures)
        return [replace(weighed, scale=scale) for weighed, scale in zip(chosen, scales, strict=True)]

    def fold(self, stack: Stack, weighing: Sequence[Weighed]) -> Elements:
        """One block of every update, made one."""
        return self.folds.fold(stack, weighing)

    def settle(self, stack: Stack, weighing: Sequence[Weighed]) -> Elements:
        """The same of tensors that no gradient changes."""
        return self.folds.settle(stack, weighing)

    def step(
        self, model: Elements, folded: Mapping[str, Elements], state: Mapping[str, Elements], facts: RoundFacts
    ) -> tuple[Elements, dict[str, Elements]]:
        """The block of the new model, and of the groups that the round publishes, after that round.

        `folded` has the model's block as MODEL, and those of groups that go up by name. Only tensors that gradients
        change are stepped; the others become what they were settled to.
        """
        stepped, kept = self.serves.step(model, folded[MODEL], state, facts.number)
        return stepped, kept | self.asks.step(folded, state, facts)
