"""Prove a run from its log alone: re-derive every version from the updates that its record names."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import msgspec

from mainstem import updates
from mainstem.chain import Head
from mainstem.errors import AggregationError, ConfigError, DecodeError, RefusedError, UnreadableError
from mainstem.lineage.history import read_history
from mainstem.messages import Accepted, Base, Reason, Round, Strategy, Update, Weights, decode_client, sha256
from mainstem.policy import Policy
from mainstem.ports import MessageLog
from mainstem.reduction import reduce
from mainstem.rounds.judging import check_writer
from mainstem.weights import Tensor, digest


@dataclass(frozen=True, slots=True)
class Proof:
    """The verdict on one version. `state`: `proved`, `differs`, or `gone` (the log no longer holds what it names).

    `version` is None for a record of the control topic that is not as its writer left it and names no version.
    """

    version: int | None
    sha256: str
    state: str
    detail: str = ""
    updates: int = 0


def verify(log: MessageLog, federation: str) -> Iterator[Proof]:
    """Every version of the run in order, one at a time: memory is a few models, whatever the number of clients.

    Whatever record a version names (its predecessor, its weights, its updates' manifests and chunks), a byte of it
    that changed or its absence makes that version differ. Raises LogError where the control topic cannot be read.
    """
    history = read_history(log, federation)
    opened = history.opened
    yield _proof(0, opened.weights, lambda: updates.read(log, opened.topics.data, opened.weights, thorough=True))
    for head, record in history.steps():
        if isinstance(record, Round):
            yield prove(log, head, record)
    for stray in history.strays:
        yield Proof(stray.version, stray.sha256, "differs", stray.detail)


def rederive(log: MessageLog, head: Head, accepted: Sequence[Accepted], strategy: Strategy) -> list[Tensor]:
    """The tensors that these updates make of the head's model, in the order given; their coefficients are made anew.

    Raises RefusedError, DecodeError or AggregationError where they do not make any, UnreadableError where they are
    gone, ConfigError for a strategy or mode that this version does not know.
    """
    policy = Policy.of(head, strategy)
    topic = head.opened.topics.data
    origins: dict[Base, list[Tensor]] = {}  # one is kept: updates from one base mostly come together

    def counted() -> Iterator[tuple[Accepted, list[Tensor]]]:
        for item in accepted:
            coefficient = policy.coefficient(head, item.base, item.examples)
            yield msgspec.structs.replace(item, coefficient=coefficient), read_update(log, head, item)

    def origin(base: Base) -> list[Tensor]:
        if base not in origins:
            weights = head.model(base.version)
            assert weights is not None, "the mode has admitted the base"
            origins.clear()
            origins[base] = updates.read(log, topic, weights, thorough=True)
        return origins[base]

    return reduce(policy.strategy, head.base, updates.read(log, topic, head.weights, thorough=True), counted(), origin)


def manifest_of(log: MessageLog, topic: str, item: Accepted) -> Update:
    """The manifest of an update that a round names; raises RefusedError where it is another one, UnreadableError."""
    record = next(iter(log.read(topic, 0, item.offset, item.offset + 1)), None)
    if record is None or record.value is None:
        raise RefusedError(Reason.MISSING_CHUNKS, f"offset {item.offset} holds no record of an update")
    if sha256(record.value) != item.record:
        raise RefusedError(Reason.CHECKSUM, f"the record at offset {item.offset} is not the one that the round names")
    update = decode_client(record.value)
    if not isinstance(update, Update) or _said(update) != _told(item):
        raise RefusedError(Reason.CHECKSUM, f"the update at offset {item.offset} is not what the round says of it")
    check_writer(update)
    return update


def read_update(log: MessageLog, head: Head, item: Accepted) -> list[Tensor]:
    """The tensors of an update that a round names; raises as `rederive` does."""
    topic = head.opened.topics.aggregator
    manifest = manifest_of(log, topic, item)
    return updates.read(log, topic, manifest.weights, expected=head.opened.weights.tensors, thorough=True)


def _said(update: Update) -> tuple[object, ...]:
    weights = update.weights
    return update.client, update.base, update.number, update.examples, weights.sha256, weights.nbytes, update.report


def _told(item: Accepted) -> tuple[object, ...]:
    return item.client, item.base, item.number, item.examples, item.sha256, item.nbytes, item.report


def prove(log: MessageLog, head: Head, record: Round) -> Proof:
    """The verdict on the version that `record` makes of `head`; raises LogError."""

    def made() -> list[Tensor]:
        _check(head, record)
        # what was published is what the record says
        updates.read(log, head.opened.topics.data, record.weights, thorough=True)
        return rederive(log, head, record.accepted, record.strategy)

    return _proof(record.version, record.weights, made, len(record.accepted))


def _check(head: Head, record: Round) -> None:
    """What the record says must follow from its head, whatever the tensors; raises RefusedError."""
    if record.base != head.base or record.version != head.version + 1:
        raise RefusedError(Reason.UNKNOWN_BASE, f"it does not continue version {head.base.version}, the head's model")
    if record.strategy != head.opened.strategy:
        raise RefusedError(Reason.MALFORMED, "its strategy is not the one that the run was opened with")
    named = [(item.client, item.base.seq, item.number) for item in record.accepted]
    if len(set(named)) != len(named) or len({item.offset for item in record.accepted}) != len(named):
        raise RefusedError(Reason.DUPLICATE, "it counts an update twice")
    policy = Policy.of(head, record.strategy)
    for item in record.accepted:
        due = policy.coefficient(head, item.base, item.examples)
        if item.coefficient != due:
            raise RefusedError(
                Reason.EXAMPLES, f"it weighs the update of {item.client} {item.coefficient!r}, not {due!r}"
            )
        if head.selected is not None and item.client not in head.selected.clients:
            raise RefusedError(Reason.NOT_SELECTED, f"it counts {item.client}, whom the round did not select")


def _proof(version: int, weights: Weights, make: Callable[[], list[Tensor]], counted: int = 0) -> Proof:
    try:
        tensors = make()
    except UnreadableError as error:
        return Proof(version, weights.sha256, "gone", str(error), counted)
    except (RefusedError, AggregationError, DecodeError, ConfigError) as error:
        return Proof(version, weights.sha256, "differs", str(error), counted)
    found = digest(weights.tensors, tensors)
    if found != weights.sha256:
        return Proof(version, weights.sha256, "differs", f"the accepted updates make {found}", counted)
    return Proof(version, weights.sha256, "proved", "", counted)
