"""Prove a run from its log alone: re-derive every version from the updates that its record names."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from mainstem import strategies, updates
from mainstem.control import ControlTopic
from mainstem.errors import AggregationError, DecodeError, LogError, RefusedError, UnreadableError
from mainstem.messages import Accepted, Opened, RolledBack, Round, Strategy, Update, Weights, decode_client
from mainstem.ports import MessageLog
from mainstem.weights import Tensor, digest


@dataclass(frozen=True, slots=True)
class Proof:
    """The verdict on one version. `state`: `proved`, `differs`, or `gone` (the log no longer holds what it names)."""

    version: int
    sha256: str
    state: str
    detail: str = ""


def verify(log: MessageLog, federation: str) -> Iterator[Proof]:
    """Every version of the run in order, one at a time: memory is a few models, whatever the number of clients.

    Raises LogError where the control topic itself cannot be read.
    """
    control = ControlTopic(log, federation)
    try:
        records = [entry.record for entry in control.sync() if entry.link is not None]
    finally:
        control.close()
    if not records or not isinstance(records[0], Opened):
        raise LogError(f"federation {federation} has no opened record")
    opened = records[0]
    yield _proof(0, opened.weights, lambda: updates.read(log, opened.topics.data, opened.weights))
    base = opened.weights
    for record in records[1:]:
        if isinstance(record, RolledBack):
            base = record.weights
        elif isinstance(record, Round):
            yield _round_proof(log, opened, base, record)
            base = record.weights


def rederive(
    log: MessageLog, opened: Opened, base: Weights, accepted: Sequence[Accepted], strategy: Strategy
) -> list[Tensor]:
    """The tensors that these updates make of `base`, in the order given.

    Raises RefusedError or AggregationError where they do not make any, UnreadableError where they are gone.
    """
    chosen = strategies.make(strategy.name, strategy.params)
    total = chosen.start(updates.read(log, opened.topics.data, base))
    for item in accepted:
        total.add(_update(log, opened, item), chosen.coefficient(item.examples))
    return total.finish()


def _round_proof(log: MessageLog, opened: Opened, base: Weights, record: Round) -> Proof:
    def made() -> list[Tensor]:
        updates.read(log, opened.topics.data, record.weights)  # what was published is what the record says
        return rederive(log, opened, base, record.accepted, record.strategy)

    return _proof(record.version, record.weights, made)


def _proof(version: int, weights: Weights, make: Callable[[], list[Tensor]]) -> Proof:
    try:
        tensors = make()
    except UnreadableError as error:
        return Proof(version, weights.sha256, "gone", str(error))
    except (RefusedError, AggregationError, DecodeError) as error:
        return Proof(version, weights.sha256, "differs", str(error))
    found = digest(weights.tensors, tensors)
    if found != weights.sha256:
        return Proof(version, weights.sha256, "differs", f"the accepted updates make {found}")
    return Proof(version, weights.sha256, "proved")


def _update(log: MessageLog, opened: Opened, item: Accepted) -> list[Tensor]:
    topic = opened.topics.aggregator
    records = list(log.read(topic, 0, item.offset, item.offset + 1))
    if not records:
        raise RefusedError("missing_chunks", f"offset {item.offset} holds no record")
    update = decode_client(records[0].value)
    if not isinstance(update, Update) or update.client != item.client or update.weights.sha256 != item.sha256:
        raise RefusedError("checksum", f"the record at offset {item.offset} is not the update that the round names")
    return updates.read(log, topic, update.weights, expected=opened.weights.tensors)
