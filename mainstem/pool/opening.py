"""Open a federation around bare tensors: no architecture, no data, for clients that train by a function."""

from __future__ import annotations

from collections.abc import Sequence

from mainstem import topics, updates
from mainstem.control import topics_of
from mainstem.messages import (
    Announcement,
    Data,
    InputSpec,
    Opened,
    Rules,
    Strategy,
    Training,
    encode,
)
from mainstem.ports import MessageLog, Outgoing
from mainstem.weights import Tensor, specs_of


def open_federation(
    log: MessageLog,
    tensors: Sequence[Tensor],
    rules: Rules,
    strategy: Strategy | None = None,
    aggregator_partitions: int = 1,
    federation: str | None = None,
    names: Sequence[str] | None = None,
    name: str = "test",
) -> str:
    """Create the topics, publish version 0, append `opened`, announce; the federation's id. Raises LogError."""
    federation = federation or topics.new_federation_id()
    log.create_topics(
        (*topics.shared_topics(), *topics.federation_topics(federation, aggregator_partitions=aggregator_partitions))
    )
    specs = specs_of(zip(names or [f"t{i}" for i in range(len(tensors))], tensors, strict=True))
    where = topics_of(federation)
    weights = updates.publish(log, where.data, writer="opener", update="version-0", specs=specs, tensors=tensors)
    opened = Opened(
        federation=federation,
        seq=0,
        prev="",
        name=name,
        framework="tf",
        architecture="{}",
        input=InputSpec(shape=(1,)),
        training=Training(),
        strategy=strategy or Strategy(),
        rules=rules,
        data=Data(),
        topics=where,
        weights=weights,
    )
    log.append(where.control, [Outgoing(encode(opened))])
    log.append(topics.MODEL_CONTROL, [announcement_of(federation, rules, name=name)])
    return federation


def announcement_of(federation: str, rules: Rules, *, name: str = "test", revision: int = 1) -> Outgoing:
    """The record that tells of an open federation; whether it has topics is another matter."""
    announcement = Announcement(
        federation=federation,
        name=name,
        revision=revision,
        framework="tf",
        input=InputSpec(shape=(1,)),
        data=Data(),
        min_clients=rules.min_clients,
        max_clients=rules.max_clients,
        topics=topics_of(federation),
    )
    return Outgoing(encode(announcement), key=federation.encode())
