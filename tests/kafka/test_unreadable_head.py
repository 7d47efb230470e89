"""A head whose weights are gone or others, a snapshot that leads nowhere: said at once, before any client has come."""

from __future__ import annotations

import pytest

from mainstem.aggregator.federation import Federation
from mainstem.aggregator.worker import Worker
from mainstem.kafka.client.log import KafkaLog
from mainstem.protocol import topics
from mainstem.protocol.control import ControlTopic
from mainstem.protocol.log import Outgoing, Record
from mainstem.protocol.messages import Progress, Rules
from mainstem.runtime.clock import SystemClock
from mainstem.swarm.opening import announcement_of
from tests.kafka.test_rounds_on_kafka import run_to_end
from tests.support.federations import LightClient, open_federation
from tests.support.patience import PATIENCE, until
from tests.support.runs import START, command, train

pytestmark = pytest.mark.kafka


def told(log: KafkaLog, federation: str) -> list[str]:
    """What the aggregator says keeps it from going on."""
    control = ControlTopic(log, federation)
    try:
        return [e.record.detail for e in control.sync() if isinstance(e.record, Progress) and e.record.detail]
    finally:
        control.close()


def resumed(log: KafkaLog, damage: str) -> tuple[str, str]:
    """A run of one round goes on after the damage: its federation, and the first that it says."""
    federation = open_federation(log, START, Rules(rounds=1, min_clients=1))
    aggregator = Federation(log, federation, clock=SystemClock(), writer="w")
    run_to_end(aggregator, [LightClient(log, federation, "c0", train(0), 5, "1")])
    data, inbox = topics.data_topic(federation), topics.aggregator_topic(federation)
    if damage == "deleted":
        log.delete_records(data, 0, log.bounds(data, 0)[1])
    elif damage == "others":
        spec = next(s for s in topics.federation_topics(federation) if s.name == data)
        end = log.bounds(data, 0)[1]
        log.delete_topics([data])
        log.create_topics([spec])
        log.append(data, [Outgoing(b"others") for _ in range(end)])
    else:
        spec = next(s for s in topics.federation_topics(federation) if s.name == inbox)
        log.delete_topics([inbox])
        log.create_topics([spec])
    command(log, federation, "rollback", version=0)
    worker = Worker(
        lambda name, guard: Federation(log, name, clock=SystemClock(), writer="x", guard=guard), log.existing
    )
    record = announcement_of(federation, Rules())
    worker.announced(Record(topics.MODEL_CONTROL, 0, 1, 0, record.key, bytes(record.value or b"")))
    try:
        (first, *_) = until(lambda: told(log, federation), what="a word of the aggregator")
    finally:
        worker.close(PATIENCE)
    return federation, first


@pytest.mark.parametrize("damage", ["deleted", "others"])
def test_weights_that_cannot_be_read(log: KafkaLog, damage: str) -> None:
    """Deleted from the topic, or other records in their place."""
    federation, first = resumed(log, damage)
    assert first.startswith(f"the weights of version 0 cannot be read from {topics.data_topic(federation)}: "), first
    assert first.endswith("roll back to a version whose weights are there, or restore the topic from a copy")


def test_a_snapshot_that_leads_nowhere(log: KafkaLog) -> None:
    """The aggregator topic is empty, and the run was to be read on from behind its end."""
    federation, first = resumed(log, "emptied")
    topic = topics.aggregator_topic(federation)
    assert first.startswith("the run is to be read on from offset ") and f"of {topic}, which holds 0 to 0" in first
    assert first.endswith("restart it as a new deployment")
