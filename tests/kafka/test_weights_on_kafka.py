"""Models of every shape through the real broker, exact to the bit; and what a reader refuses."""

from __future__ import annotations

import uuid

import numpy as np
import pytest
from confluent_kafka.admin import AdminClient
from confluent_kafka.cimpl import NewPartitions

from mainstem.client.voice import UpdateClaim, Voice
from mainstem.errors import LogError, RefusedError, UnreadableError
from mainstem.kafka.broker.embedded import EmbeddedKafka
from mainstem.kafka.client.config import client_config
from mainstem.kafka.client.log import KafkaLog
from mainstem.protocol import topics, updates
from mainstem.protocol.exchange import exchange_of
from mainstem.protocol.log import Outgoing
from mainstem.protocol.messages import Base, TensorSpec, Update, Weights
from mainstem.protocol.topics import MESSAGE_LIMIT, TopicSpec
from mainstem.protocol.weights import Tensor, specs_of, tensors_in
from tests.support.sent import said

pytestmark = pytest.mark.kafka


@pytest.fixture
def topic(log: KafkaLog) -> str:
    """A topic of its own with three partitions."""
    name = f"weights-{uuid.uuid4().hex[:8]}"
    log.create_topics([TopicSpec(name, 3, {"max.message.bytes": str(MESSAGE_LIMIT)})])
    return name


def put(log: KafkaLog, topic: str, tensors: list[Tensor], partition: int = 0, writer: str = "w") -> Weights:
    """Publish unnamed tensors."""
    specs = named(tensors)
    return updates.publish(
        log, topic, writer=writer, update=uuid.uuid4().hex, specs=specs, tensors=tensors, partition=partition
    )


def named(tensors: list[Tensor]) -> tuple[TensorSpec, ...]:
    """Their specs."""
    return specs_of((f"t{i}", t) for i, t in enumerate(tensors))


def same(a: list[Tensor], b: list[Tensor]) -> bool:
    """Equal in dtype, shape and every bit."""
    return len(a) == len(b) and all(
        x.dtype == y.dtype and x.shape == y.shape and x.tobytes() == y.tobytes() for x, y in zip(a, b, strict=True)
    )


def test_three_hundred_tensors(log: KafkaLog, topic: str) -> None:
    """More tensors than a byte counts come back in order."""
    tensors: list[Tensor] = [np.full((i % 7 + 1,), i, np.float32) for i in range(300)]
    assert same(updates.read(log, topic, put(log, topic, tensors), named(tensors)), tensors)


def test_partitions_that_are_added_are_found(kafka: EmbeddedKafka, log: KafkaLog, topic: str) -> None:
    """A reader that knew the topic before it grew reads what is written to a new partition."""
    tensors: list[Tensor] = [np.arange(5, dtype=np.float32)]
    assert same(updates.read(log, topic, put(log, topic, tensors), named(tensors)), tensors)
    admin = AdminClient(client_config(kafka.bootstrap_servers))
    admin.create_partitions([NewPartitions(topic, 4)])[topic].result(10)
    other = KafkaLog(client_config(kafka.bootstrap_servers))
    weights = put(other, topic, tensors, partition=3)
    other.close()
    assert same(updates.read(log, topic, weights, named(tensors)), tensors)


def test_sixty_megabytes_in_one_tensor(log: KafkaLog, topic: str) -> None:
    """A tensor far beyond the record limit comes back whole."""
    tensors: list[Tensor] = [np.random.default_rng(0).random(15_000_000, np.float32)]
    weights = put(log, topic, tensors)
    assert weights.nbytes == 60_000_000
    assert same(updates.read(log, topic, weights, named(tensors)), tensors)


def test_zero_dimensional_empty_and_every_dtype(log: KafkaLog, topic: str) -> None:
    """0-d and empty tensors, and float16, float64, integers and booleans, are exact."""
    tensors: list[Tensor] = [
        np.array(7, np.int64),
        np.array(1.5, np.float16),
        np.zeros((0, 4), np.float32),
        np.array([[np.pi]], np.float64),
        np.array([True, False]),
        np.arange(5, dtype=np.uint8),
        np.array([-0.0, np.finfo(np.float32).tiny / 2], np.float32),
        np.arange(6, dtype=">f4").reshape(2, 3),
        np.asfortranarray(np.arange(6, dtype=np.float32).reshape(2, 3)),
    ]
    back = updates.read(log, topic, put(log, topic, tensors), named(tensors))
    assert same(back, [t.astype(t.dtype.newbyteorder("=")) for t in tensors])


def test_interleaved_writers_and_partitions(log: KafkaLog, topic: str) -> None:
    """Chunks of two writers, one record each in turn and on two partitions, do not mix."""
    a: list[Tensor] = [np.full(3_000_000, 1, np.float32)]
    b: list[Tensor] = [np.full(3_000_000, 2, np.float32)]
    wa1, wb1, wa2 = put(log, topic, a, writer="a"), put(log, topic, b, writer="b"), put(log, topic, a, 2, "a")
    assert same(updates.read(log, topic, wb1, named(b)), b)
    assert same(updates.read(log, topic, wa1, named(a)), a)
    assert same(updates.read(log, topic, wa2, named(a)), a)


def test_offsets_of_the_future_are_refused_at_once(log: KafkaLog, topic: str) -> None:
    """A manifest that names chunks nobody wrote is refused, not waited for."""
    tensors: list[Tensor] = [np.zeros(10, np.float32)]
    weights = put(log, topic, tensors)
    claims = Weights(
        writer="w",
        update=weights.update,
        chunks=(type(weights.chunks[0])(0, 10**9, 1),),
        nbytes=40,
        sha256=weights.sha256,
    )
    with pytest.raises(RefusedError, match="not written yet"):
        updates.read(log, topic, claims, named(tensors))


def test_missing_topic_and_pruned_records(log: KafkaLog, topic: str) -> None:
    """A topic that is not there and offsets that are gone are errors of the log, with a sentence."""
    with pytest.raises(LogError, match="does not exist"):
        log.append("no-such-topic-here", [Outgoing(b"x")])
    with pytest.raises(LogError, match="does not exist"):
        log.partitions("no-such-topic-here")
    log.append(topic, [Outgoing(b"%d" % i) for i in range(10)])
    log.delete_records(topic, 0, 5)
    with pytest.raises(UnreadableError, match="no longer"):
        list(log.read(topic, 0, 2, 8))
    assert [r.value for r in log.read(topic, 0, 5, 8)] == [b"5", b"6", b"7"]


@pytest.mark.parametrize(("kilobytes", "records"), [(250, 1), (1500, 3)])
def test_a_small_update_is_one_record(log: KafkaLog, kilobytes: int, records: int) -> None:
    """With its payload and, in a header, its manifest; a larger one is its chunks and a record that names them."""
    federation = topics.new_federation_id()
    log.create_topics(topics.federation_topics(federation))
    tensors: list[Tensor] = [np.arange(64 * kilobytes, dtype=np.float32) + n for n in range(4)]
    exchange = exchange_of(named(tensors))
    Voice(log, federation, "c", "1").update(Base(seq=0, version=0), 0, exchange, tensors, UpdateClaim(examples=5))
    topic = topics.aggregator_topic(federation)
    assert log.bounds(topic, 0) == (0, records)
    ((record, update),) = said(log, federation)
    assert isinstance(update, Update) and record.offset == records - 1 and record.key == b"c"
    payloads = updates.read_update(log, topic, record.offset, update, exchange, {})
    assert same(tensors_in(exchange.model, b"".join(payloads)), tensors)
