"""Aggregation strategies, one file each. A new one implements `Strategy` and is added to `STRATEGIES`."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Protocol

from numpy.typing import NDArray

from mainstem.errors import ConfigError
from mainstem.strategies.fedavg import FedAvg


class Sum(Protocol):
    """One round's reduction in progress. Updates are added in the order of their sha256."""

    def add(self, tensors: Sequence[NDArray[Any]], coefficient: float) -> None:
        """Fold one update in; the tensors have the base's shapes and dtypes."""
        ...

    def finish(self, into: Sequence[NDArray[Any]]) -> None:
        """Write the new global tensors, in the base's dtypes; raises AggregationError."""
        ...


class Strategy(Protocol):
    """How a round's updates become the next version."""

    def coefficient(self, examples: int) -> float:
        """The weight of an update that was trained on so many examples; recorded with the round."""
        ...

    def start(self, base: Sequence[NDArray[Any]]) -> Sum:
        """Begin a round from the base version's tensors, or from a block of them: each element counts by itself."""
        ...


STRATEGIES: Mapping[str, Callable[[Mapping[str, Any]], Strategy]] = {"fedavg": FedAvg}


def make(name: str, params: Mapping[str, Any]) -> Strategy:
    """The strategy of that name; raises ConfigError naming what is wrong."""
    if name not in STRATEGIES:
        raise ConfigError(f"strategy.name {name!r} is not known; choose one of {', '.join(sorted(STRATEGIES))}")
    return STRATEGIES[name](params)
