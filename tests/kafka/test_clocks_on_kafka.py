"""Stamps that a real broker takes from whoever writes: two hours ahead, on a topic that somebody has altered."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence

import numpy as np
import pytest
from confluent_kafka import Producer
from confluent_kafka.admin import AdminClient
from confluent_kafka.admin._config import AlterConfigOpType, ConfigEntry, ConfigResource
from confluent_kafka.admin._resource import ResourceType

from mainstem.aggregator.federation import Federation
from mainstem.kafka.broker.embedded import EmbeddedKafka
from mainstem.kafka.client.config import client_config
from mainstem.kafka.client.log import KafkaLog
from mainstem.protocol import topics
from mainstem.protocol.control import ControlTopic
from mainstem.protocol.messages import ClientRecord, Heartbeat, Joined, Progress, Rules, Tick, encode
from mainstem.protocol.weights import Tensor
from mainstem.runtime.clock import SystemClock
from tests.support.federations import LightClient, head_tensors, open_federation, rounds_of
from tests.support.patience import PATIENCE

pytestmark = pytest.mark.kafka

AHEAD_MS = 2 * 3_600_000


def stamped_by(kafka: EmbeddedKafka, topic: str, kind: str) -> None:
    """Alter whose stamps the topic takes, however far ahead."""
    entries = [
        ConfigEntry(name, value, incremental_operation=AlterConfigOpType.SET)
        for name, value in (("message.timestamp.type", kind), ("message.timestamp.after.max.ms", str(2 * AHEAD_MS)))
    ]
    resource = ConfigResource(ResourceType.TOPIC, topic, incremental_configs=entries)
    admin = AdminClient(client_config(kafka.bootstrap_servers))  # kept: a collected one fails its futures
    for done in admin.incremental_alter_configs([resource]).values():
        done.result(PATIENCE)


def write_ahead(kafka: EmbeddedKafka, topic: str, record: ClientRecord) -> None:
    """A record that its writer stamps two hours ahead."""
    producer = Producer(client_config(kafka.bootstrap_servers))
    stamp = time.time_ns() // 1_000_000 + AHEAD_MS
    producer.produce(topic, encode(record), partition=0, timestamp=stamp)
    assert producer.flush(PATIENCE) == 0


@pytest.mark.parametrize("for_good", [False, True], ids=["for a moment", "for good"])
@pytest.mark.parametrize("what", ["heartbeat", "tick"])
def test_a_record_stamped_two_hours_ahead_ends_nothing(
    kafka: EmbeddedKafka, log: KafkaLog, for_good: bool, what: str
) -> None:
    """With one of two updates in, the round stays open for the other, and people are told of the clocks."""
    rules = Rules(rounds=1, min_clients=2, below_quorum="fail", heartbeat_timeout_ms=4000)
    id_ = open_federation(log, [np.zeros(3, np.float32)], rules)
    topic = topics.aggregator_topic(id_)

    def train(tensors: Sequence[Tensor], _: int) -> list[Tensor]:
        return [tensor + 1 for tensor in tensors]

    a, b = (LightClient(log, id_, name, train, examples=1) for name in ("a", "b"))
    federation = Federation(log, id_, clock=SystemClock(), writer="w")
    machine, deadline = federation.machine, time.monotonic() + PATIENCE

    def until(done: Callable[[], bool]) -> None:
        while not done():
            assert time.monotonic() < deadline and federation.step(0.05), machine.phase

    if for_good:
        stamped_by(kafka, topic, "CreateTime")
    b.voice.send(Joined(federation=id_, client="b", incarnation="1", examples=1))
    a.step()
    until(lambda: machine.head is not None and len(machine.round.accepted) == 1 and machine.round.time.started)
    stamped_by(kafka, topic, "CreateTime")
    record = Tick(writer="w", seq=0) if what == "tick" else Heartbeat(client="a", incarnation="1", phase="waiting")
    write_ahead(kafka, topic, record)
    if not for_good:
        stamped_by(kafka, topic, "LogAppendTime")
    begun, told = machine.round.time_ms, machine.round.time.told
    until(lambda: machine.round.time.told >= told + 3)
    assert machine.phase == "open" and machine.round.time_ms - begun < PATIENCE * 1000
    while federation.step(0.05):
        assert time.monotonic() < deadline, machine.phase
        for client in (a, b):
            if not client.gone:
                client.step()
    assert [r.closed.by for r in rounds_of(log, id_)] == ["all"] and (head_tensors(log, id_)[0] == 1).all()
    entries = ControlTopic(log, id_).sync()
    said = {entry.record.detail for entry in entries if isinstance(entry.record, Progress)} - {""}
    if for_good:
        assert any("set message.timestamp.type=LogAppendTime on it" in detail for detail in said)
