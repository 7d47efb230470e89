"""What is compared: every strategy of the registry, and every encoding under FedAvg."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Final

import msgspec

from benchmarks.convergence.federation import in_keras, run
from benchmarks.convergence.table import KERAS, RAW
from benchmarks.stats import Run
from mainstem.aggregation.strategies import OF_NUMBERS, STRATEGIES
from mainstem.protocol.messages import Rules, StrategyChoice
from mainstem.rounds.parameters import PARAMETERS

BY_HAND: Final = "custom"


@dataclass(frozen=True)
class Side:
    """A strategy with its defaults, and how what its clients and the server send travels."""

    strategy: str
    rules: dict[str, Any] = field(default_factory=dict)

    @property
    def opened_rules(self) -> Rules:
        """All rules but the number of rounds and of clients."""
        return msgspec.convert(self.rules, Rules)

    @property
    def choice(self) -> StrategyChoice:
        """As a run is opened with it."""
        return StrategyChoice(name=self.strategy)


def parameters(strategy: str) -> dict[str, Any]:
    """Every parameter of a preset, with its default."""
    return {own.field.name: own.field.default for own in STRATEGIES[strategy].parameters()}


def ways() -> dict[str, Side]:
    """FedAvg with each encoding of the registry, up alone and, where versions may travel so too, both ways."""
    up, down = (_choices(f"encoding_{way}") for way in ("up", "down"))
    found: dict[str, Side] = {}
    for name in up:
        both = {"encoding_up": {"name": name}, "encoding_down": {"name": name}}
        found[f"{RAW}, {name} up"] = Side(RAW, {"encoding_up": both["encoding_up"]})
        if name in down:
            found[f"{RAW}, {name} up and down"] = Side(RAW, both)
    return found


def _choices(parameter: str) -> list[str]:
    field = PARAMETERS.get(parameter)
    return [name for name in (field.choices if field is not None else None) or {} if name != "raw"]


STRATEGY_SIDES: Final = {name: Side(name) for name in OF_NUMBERS if name != BY_HAND}
WAYS: Final = ways()
SIDES: Final[dict[str, Side]] = {**STRATEGY_SIDES, **WAYS}


def perform(job: tuple[str, int, int]) -> tuple[str, Run]:
    """One run of ours: (side, seed, rounds) -> the side and its figures."""
    name, seed, rounds = job
    if name == KERAS:
        return name, run(seed, Side(RAW).choice, Rules(), rounds, in_keras)
    return name, run(seed, SIDES[name].choice, SIDES[name].opened_rules, rounds)
