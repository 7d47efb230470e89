"""Replay: what a round would have made with another strategy, or without some clients."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass

import msgspec
import numpy as np

from mainstem.aggregation import strategies
from mainstem.errors import ConfigError
from mainstem.lineage.history import History, read_history
from mainstem.lineage.proving import rederive
from mainstem.lineage.reading import RunReader
from mainstem.protocol.chain import Head
from mainstem.protocol.exchange import exchange
from mainstem.protocol.log import MessageLog
from mainstem.protocol.messages import Round, StrategyChoice, TensorSpec
from mainstem.protocol.weights import Tensor, digest


@dataclass(frozen=True, slots=True)
class Difference:
    """How far a tensor is from the committed one: the largest difference of an element, and the L2 norm of all."""

    name: str
    largest: float
    l2: float


@dataclass(frozen=True, slots=True)
class Replay:
    """One round, made again `without` some clients. `left_out` are those that the strategy then leaves out.

    `same` means to the last byte.
    """

    round: int
    version: int
    strategy: StrategyChoice
    updates: int
    without: tuple[str, ...]
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
    strategy: StrategyChoice | None = None,
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
    chosen = _rounds(history, round)
    known = {item.client for record in chosen.values() for item in record.accepted}
    for client in sorted(set(without) - known):
        what = "the run" if round is None else f"round {round}"
        raise ConfigError(f"--without {client}: no update of that client counts in {what}")
    with RunReader(log, history, lambda record: record.seq in chosen) as run:
        for head, record in history.steps():
            if isinstance(record, Round) and record.seq in chosen:
                run.begin(record)
                yield _again(run, head, record, strategy, frozenset(without))


def _rounds(history: History, number: int | None) -> dict[int, Round]:
    """Those that the run's model descends from, or the one with that number, by `seq`; raises ConfigError for none."""
    lineage = {base.seq for base in history.head.lineage}
    rounds = (link.record for link in history.links if isinstance(link.record, Round))
    found = {record.seq: record for record in rounds if record.seq in lineage and number in (None, record.round)}
    if not found:
        what = "committed no round yet" if number is None else f"has no round {number}"
        raise ConfigError(f"federation {history.opened.federation} {what}; its model is version {history.head.version}")
    return found


def _again(
    run: RunReader, head: Head, record: Round, strategy: StrategyChoice | None, without: frozenset[str]
) -> Replay:
    used = strategy or record.strategy
    kept = [item for item in record.accepted if item.client not in without]
    made = rederive(run, head, record, kept, strategy)
    committed, specs = run.tensors(record.weights), exchange(head.opened).model
    return Replay(
        round=record.round,
        version=record.version,
        strategy=used,
        updates=len(kept),
        without=tuple(sorted({item.client for item in record.accepted} & without)),
        left_out=tuple(item.client for item, due in zip(kept, made.weighing, strict=True) if due.left_out),
        committed=record.weights.sha256,
        sha256=digest(specs, made.tensors),
        differences=tuple(_difference(*each) for each in zip(specs, committed, made.tensors, strict=True)),
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
