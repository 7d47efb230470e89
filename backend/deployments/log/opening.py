"""Writes a federation into the log: topics, version 0, `opened`, announcement; commands; its removal.

Every function may be repeated after a crash anywhere inside it: it looks at the log before it appends. Nothing here
touches the database.
"""

from __future__ import annotations

import zlib
from collections.abc import Callable, Iterable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass

import msgspec
from django.conf import settings

from mainstem.aggregation import strategies
from mainstem.errors import ProtocolError
from mainstem.protocol import announcing
from mainstem.protocol.control import ControlTopic
from mainstem.protocol.exchange import exchange_of
from mainstem.protocol.log import MessageLog
from mainstem.protocol.messages import (
    Adaptation,
    Announcement,
    Command,
    Data,
    Forest,
    InputSpec,
    Opened,
    Rules,
    StrategyChoice,
    TensorSpec,
    Training,
)
from mainstem.protocol.signing import SigningKey
from mainstem.protocol.topics import (
    MODEL_CONTROL,
    aggregator_topic,
    control_topic,
    data_topic,
    federation_topics,
    shared_topics,
)
from mainstem.protocol.updates import publish_payload
from mainstem.protocol.weights import Buffer
from mainstem.rounds import policy

WRITER = "backend"


class TakenError(ProtocolError):
    """The federation id names another federation at this Kafka already."""


@dataclass(frozen=True, slots=True)
class Opening:
    """What `opened` says. `nonce` names this opening's version 0, by which a retry recognises its own work."""

    announcement: Announcement
    nonce: str
    architecture: str
    training: Training
    strategy: StrategyChoice
    rules: Rules
    data: Data
    input: InputSpec
    specs: Sequence[TensorSpec]
    payload: Callable[[], AbstractContextManager[Iterable[Buffer]]]
    """Gives version 0's bytes; a retry takes them anew."""
    untrained: tuple[int, ...]
    frozen: tuple[int, ...]
    adaptation: Adaptation
    personal: tuple[int, ...]
    parent: str | None
    forest: Forest | None = None


def open_federation(log: MessageLog, opening: Opening) -> None:
    """Bring the federation into being and announce it; raises LogError, TakenError."""
    federation = opening.announcement.federation
    log.create_topics([*shared_topics(), *federation_topics(federation)])
    control = ControlTopic(log, federation, key=settings.PLATFORM_SIGNER)
    try:
        control.sync()
        if control.head is None:
            _append_opened(log, control, opening)
            control.sync()
        head = control.head
        if head is None or head.opened.weights.update != opening.nonce:
            raise TakenError(f"federation id {federation} is taken at this Kafka already: choose another one")
    finally:
        control.close()
    announce(log, opening.announcement)


def _append_opened(log: MessageLog, control: ControlTopic, opening: Opening) -> None:
    announcement, strategy = opening.announcement, opening.strategy
    kept = (*opening.frozen, *opening.personal)
    model = exchange_of(opening.specs, untrained=opening.untrained, frozen=kept, forest=opening.forest)
    with opening.payload() as payload:
        weights = publish_payload(
            log, announcement.topics.data, writer=WRITER, update=opening.nonce, specs=opening.specs, payload=payload
        )
    control.append(
        Opened(
            federation=announcement.federation,
            seq=0,
            prev="",
            name=announcement.name,
            framework=announcement.framework,
            architecture=opening.architecture,
            input=opening.input,
            training=opening.training,
            strategy=strategy,
            rules=opening.rules,
            data=opening.data,
            topics=announcement.topics,
            tensors=tuple(opening.specs),
            weights=weights,
            parent=opening.parent,
            groups=policy.groups(strategies.make(strategy.name, strategy.params), opening.rules, model),
            untrained=opening.untrained,
            frozen=opening.frozen,
            adaptation=opening.adaptation,
            personal=opening.personal,
            forest=opening.forest,
            platform=_platform(),
        )
    )


def partition_of(federation: str, partitions: int) -> int:
    """Where a federation's announcements go, for ever: the topic's partition count is fixed."""
    return zlib.crc32(federation.encode()) % partitions


def announce(log: MessageLog, announcement: Announcement) -> None:
    """Announce, or announce anew with a higher revision; raises LogError."""
    announcement = msgspec.structs.replace(announcement, platform=_platform())
    partition = partition_of(announcement.federation, log.partitions(MODEL_CONTROL))
    log.append(MODEL_CONTROL, [announcing.announced(announcement, settings.PLATFORM_SIGNER, partition)])


def _platform() -> str | None:
    """The key that a run opened here is signed with."""
    key: SigningKey | None = settings.PLATFORM_SIGNER
    return None if key is None else key.public


def command(log: MessageLog, order: Command) -> None:
    """Append the command unless it stands in the topic already, by its id; raises LogError."""
    control = ControlTopic(log, order.federation, key=settings.PLATFORM_SIGNER)
    try:
        for entry in control.sync():
            if isinstance(entry.record, Command) and entry.record.id == order.id:
                return
        control.append(order)
    finally:
        control.close()


def remove(log: MessageLog, federation: str, nonce: str) -> None:
    """Withdraw the announcement, so that nobody works on it any more, then remove the topics; raises LogError.

    A federation of another backend that merely has the id which ours could not get is left alone.
    """
    log.create_topics([*shared_topics(), *federation_topics(federation)])
    control = ControlTopic(log, federation, key=settings.PLATFORM_SIGNER)
    try:
        control.sync()
        if nonce and control.head is not None and control.head.opened.weights.update != nonce:
            return
    finally:
        control.close()
    partition = partition_of(federation, log.partitions(MODEL_CONTROL))
    log.append(MODEL_CONTROL, [announcing.withdrawn(federation, settings.PLATFORM_SIGNER, partition)])
    log.delete_topics(topics_of(federation))


def topics_of(federation: str) -> list[str]:
    """The names of the federation's topics."""
    return [control_topic(federation), data_topic(federation), aggregator_topic(federation)]
