"""Replay: what a round would have made with another strategy, or without some clients."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass

import msgspec
import numpy as np

from mainstem import strategies, updates
from mainstem.chain import Head
from mainstem.errors import ConfigError
from mainstem.lineage.history import History, read_history
from mainstem.lineage.proving import rederive
from mainstem.messages import Round, Strategy, TensorSpec
from mainstem.ports import MessageLog
from mainstem.weights import Tensor, digest


@dataclass(frozen=True, slots=True)
class Difference:
    """How far a tensor is from the committed one: the largest difference of an element, and the L2 norm of all."""

    name: str
    largest: float
    l2: float


@dataclass(frozen=True, slots=True)
class Replay:
    """One round, made again. `same` means to the last byte."""

    round: int
    version: int
    strategy: Strategy
    updates: int
    left_out: tuple[str, ...]
    committed: str
    sha256: str
    differences: tuple[Difference, ...]

    @property
    def same(self) -> bool:
        """Whether it is the committed version."""
        return self.sha256 == self.committed

    @property
    def largest(self) -> float:
        """The largest difference of any element."""
        return max((difference.largest for difference in self.differences), default=0.0)

    @property
    def l2(self) -> float:
        """The L2 norm of the difference over all tensors."""
        return float(np.sqrt(sum(difference.l2**2 for difference in self.differences)))


def replay(
    log: MessageLog,
    federation: str,
    *,
    round: int | None = None,
    strategy: Strategy | None = None,
    without: Collection[str] = (),
) -> Iterator[Replay]:
    """Make a round, or each round that the run's model descends from, again: each from its real base.

    That is exact for one round. Over a run it is not what would have happened: the clients trained each later update
    from the version that was really committed. Raises ConfigError naming what is wrong, AggregationError where
    nothing is left to reduce, RefusedError or UnreadableError where the log does not hold what a round names.
    """
    history = read_history(log, federation)
    if strategy is not None:
        strategies.make(strategy.name, strategy.params)
    chosen = list(_rounds(history, round))
    known = {item.client for _, record in chosen for item in record.accepted}
    for client in sorted(set(without) - known):
        what = "the run" if round is None else f"round {round}"
        raise ConfigError(f"--without {client}: no update of that client counts in {what}")
    for head, record in chosen:
        yield _again(log, head, record, strategy, frozenset(without))


def _rounds(history: History, number: int | None) -> Iterator[tuple[Head, Round]]:
    lineage = {base.seq for base in history.head.lineage}
    found = [
        (head, record)
        for head, record in history.steps()
        if isinstance(record, Round) and record.seq in lineage and number in (None, record.round)
    ]
    if not found:
        what = "committed no round yet" if number is None else f"has no round {number}"
        raise ConfigError(f"federation {history.opened.federation} {what}; its model is version {history.head.version}")
    yield from found


def _again(log: MessageLog, head: Head, record: Round, strategy: Strategy | None, without: frozenset[str]) -> Replay:
    used = strategy or record.strategy
    kept = [item for item in record.accepted if item.client not in without]
    made = rederive(log, head, kept, used)
    committed = updates.read(log, head.opened.topics.data, record.weights)
    return Replay(
        round=record.round,
        version=record.version,
        strategy=used,
        updates=len(kept),
        left_out=tuple(sorted({item.client for item in record.accepted} & without)),
        committed=record.weights.sha256,
        sha256=digest(record.weights.tensors, made),
        differences=tuple(_difference(*each) for each in zip(record.weights.tensors, committed, made, strict=True)),
    )


def _difference(spec: TensorSpec, committed: Tensor, made: Tensor) -> Difference:
    apart = np.subtract(made, committed, dtype=np.float64)
    return Difference(spec.name, float(np.abs(apart).max(initial=0.0)), float(np.sqrt(np.square(apart).sum())))


def parse_params(pairs: Sequence[str]) -> dict[str, object]:
    """`k=v` pairs as a strategy's parameters: JSON values where they are such, else text; raises ConfigError."""
    params: dict[str, object] = {}
    for pair in pairs:
        name, equals, value = pair.partition("=")
        if not name or not equals:
            raise ConfigError(f"--param {pair!r} must be name=value")
        try:
            params[name] = msgspec.json.decode(value)
        except msgspec.DecodeError:
            params[name] = value
    return params
