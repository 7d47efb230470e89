"""Prove a run from its log alone: re-derive every version from the updates that its record names."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import msgspec

from mainstem import modes, strategies, updates
from mainstem.chain import Head, begin, follow
from mainstem.control import ControlTopic
from mainstem.errors import AggregationError, DecodeError, LogError, RefusedError, UnreadableError
from mainstem.messages import Accepted, Base, Opened, Round, Strategy, Update, Weights, decode_client
from mainstem.ports import MessageLog
from mainstem.reduction import reduce
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
        links = [entry.link for entry in control.sync() if entry.link is not None]
    finally:
        control.close()
    head = begin(links[0]) if links else None
    if head is None:
        raise LogError(f"federation {federation} has no opened record")
    opened = head.opened
    yield _proof(0, opened.weights, lambda: updates.read(log, opened.topics.data, opened.weights))
    for link in links[1:]:
        assert head is not None
        if isinstance(link.record, Round):
            yield _round_proof(log, head, link.record)
        head = follow(head, link)


def rederive(log: MessageLog, head: Head, accepted: Sequence[Accepted], strategy: Strategy) -> list[Tensor]:
    """The tensors that these updates make of the head's model, in the order given; their coefficients are made anew.

    Raises RefusedError or AggregationError where they do not make any, UnreadableError where they are gone.
    """
    chosen, mode = strategies.make(strategy.name, strategy.params), modes.make(head.rules)

    def weighed() -> Iterator[tuple[Accepted, list[Tensor]]]:
        for item in accepted:
            coefficient = chosen.coefficient(item.examples) * mode.discount(mode.admit(head, item.base))
            yield msgspec.structs.replace(item, coefficient=coefficient), _update(log, head.opened, item)

    def model_of(base: Base) -> list[Tensor]:
        weights = head.model(base.version)
        assert weights is not None, "the mode has admitted the base"
        return updates.read(log, head.opened.topics.data, weights)

    return reduce(chosen, head.base, model_of(head.base), weighed(), model_of)


def check_coefficients(head: Head, record: Round) -> None:
    """Whether every weight in the sum is what the strategy and the mode make of examples and staleness.

    Raises RefusedError, AggregationError.
    """
    chosen, mode = strategies.make(record.strategy.name, record.strategy.params), modes.make(head.rules)
    for item in record.accepted:
        due = chosen.coefficient(item.examples) * mode.discount(mode.admit(head, item.base))
        if item.coefficient != due:
            raise AggregationError(f"the update of {item.client} weighs {item.coefficient!r} instead of {due!r}")
        if head.selected is not None and item.client not in head.selected.clients:
            raise AggregationError(f"the update of {item.client} counts, whom the round did not select")


def _round_proof(log: MessageLog, head: Head, record: Round) -> Proof:
    def made() -> list[Tensor]:
        check_coefficients(head, record)
        updates.read(log, head.opened.topics.data, record.weights)  # what was published is what the record says
        return rederive(log, head, record.accepted, record.strategy)

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
