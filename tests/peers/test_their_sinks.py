"""Kafka-ML's five sinks with kafka-python, old and new: what they write is what a Job trains on, value for value."""

from __future__ import annotations

import json
import uuid
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from federated_training.data.decoders import Decoder
from federated_training.data.stream import Stream
from mainstem.cli.main import main
from mainstem.jobs.compiling import input_of
from mainstem.jobs.spec import JobSpec
from mainstem.kafka.broker.embedded import EmbeddedKafka
from mainstem.kafka.client.log import KafkaLog
from mainstem.protocol.log import Outgoing, Record
from mainstem.protocol.messages import Announcement, Data, InputSpec, Topics
from mainstem.protocol.topics import data_control_spec, stream_spec
from mainstem.streams.announcement import DataAnnouncement, misfit
from tests.peers.conftest import Peer

pytestmark = pytest.mark.kafka

DIGITS = np.arange(6 * 784, dtype=np.uint8).reshape(6, 28, 28)
LABELS = np.array([3, 1, 4, 1, 5, 9], dtype=np.uint8)
MNIST = {"data_type": "uint8", "label_type": "uint8", "data_reshape": "28 28", "label_reshape": "1"}
RESTRICTION = '{"features": {"label": {"num_classes": 10, "type": "integer"}}}'
DIGIT_CLASSES = input_of((28, 28), "float32", (10,), "sparse_categorical_crossentropy")

PATIENTS = """{"namespace": "data.ertis.uma.es",
 "type": "record", "name": "HCOPD",
 "fields": [{"name": "gender", "type": "float"}, {"name": "age", "type": "float"}, {"name": "smoking", "type": "float"}]
}"""
DIAGNOSES = '{"namespace": "label", "type": "record", "name": "D", "fields": [{"name": "sick", "type": "boolean"}]}'

Samples = list[tuple[Any, Any]]


def samples(which: slice = slice(None)) -> Samples:
    """Digits as the RAW sinks send them."""
    return [(x.tobytes(), y.tobytes()) for x, y in zip(DIGITS[which], LABELS[which], strict=True)]


@pytest.fixture
def place(log: KafkaLog) -> tuple[str, str]:
    """A data topic and a control topic of this test's own; brokers make none by themselves."""
    topic = f"automl-{uuid.uuid4().hex[:8]}"
    control = f"{topic}-control"
    log.create_topics([stream_spec(topic), stream_spec(control)])
    return topic, control


def everything(log: KafkaLog, topic: str) -> list[Record]:
    """All records of a topic's first partition."""
    return list(log.read(topic, 0, *log.bounds(topic, 0)))


def announced(log: KafkaLog, control: str) -> tuple[bytes | None, DataAnnouncement]:
    """The only announcement there, with its key."""
    (record,) = everything(log, control)
    return record.key, DataAnnouncement.decode(record.key, record.value)


def stream_of(log: KafkaLog, said: DataAnnouncement, model: InputSpec) -> Stream:
    """The announced stream as the Job reads it that a launcher starts for it."""
    spec = JobSpec(
        cloud_bootstrap="", data_bootstrap="", data_topic=said.topic, input_format=said.input_format,
        input_config=json.dumps(dict(said.input_config)), federation="abcdefgh", client_id="c1",
        total_msg=said.total_msg, incremental=said.incremental, unsupervised_topic=said.unsupervised_topic,
    )  # fmt: skip
    return Stream(log, spec, Decoder(spec, model))


def digits_of(log: KafkaLog, said: DataAnnouncement, at_least: int = 1) -> tuple[NDArray[Any], list[int]]:
    """Samples and labels of a stream of digits, as a model trains on them."""
    x, y = stream_of(log, said, DIGIT_CLASSES).open(at_least=at_least, patience=10)
    assert x.dtype == np.float32
    return x, y.tolist()


def test_a_topic_that_the_command_makes(
    peer: Peer, log: KafkaLog, place: tuple[str, str], kafka: EmbeddedKafka, monkeypatch: pytest.MonkeyPatch
) -> None:
    """`mainstem topics create`, as docs/kafka-ml.md says: their sink finds it, and nothing waits for a minute."""
    monkeypatch.setenv("KML_CLOUD_BOOTSTRAP_SERVERS", kafka.bootstrap_servers)
    monkeypatch.delenv("DATA_BOOTSTRAP_SERVERS", raising=False)
    topic, control = f"{place[0]}-made", place[1]
    assert main(["topics", "create", topic]) == 0
    peer.sink(topic, control, samples(), input_config=MNIST)
    assert announced(log, control)[1].topic == f"{topic}:0:0:6"


def test_raw_sink(peer: Peer, log: KafkaLog, place: tuple[str, str]) -> None:
    """RawSink behind records that were there before it: its range begins behind them."""
    topic, control = place
    log.append(topic, [Outgoing(b"somebody else's"), Outgoing(b"too")])
    peer.sink(topic, control, samples(), input_config=MNIST, test_rate=0.1)
    key, said = announced(log, control)
    assert key == b"\x01" and said.topic == f"{topic}:0:2:8" and said.total_msg == 6
    assert (said.validation_rate, said.test_rate, said.description) == (0.1, 0.1, "Mnist dataset")
    assert said.restrictions == {} and not said.incremental
    x, y = digits_of(log, said)
    assert np.array_equal(x, DIGITS) and y == LABELS.tolist()


def test_federated_raw_sink(peer: Peer, log: KafkaLog, place: tuple[str, str]) -> None:
    """FederatedRawSink: restrictions as JSON text match a federation's, data without labels lie in a topic beside."""
    topic, control = place
    unlabelled = f"{topic}-unlabelled"
    log.create_topics([stream_spec(unlabelled)])
    peer.sink(
        topic, control, samples(slice(4)), input_config=MNIST, dataset_restrictions=RESTRICTION,
        unsupervised_topic=unlabelled, unlabelled=[x.tobytes() for x in DIGITS[4:]],
    )  # fmt: skip
    _, said = announced(log, control)
    assert said.topic == f"{topic}:0:0:4" and said.unsupervised_topic == f"{unlabelled}:0:0:2" and said.total_msg == 4
    federation = Announcement(
        federation="abcdefgh", name="digits", revision=1, framework="tf", input=InputSpec(shape=(28, 28)),
        data=Data(min_data=4, restriction=json.loads(RESTRICTION)), min_clients=1, max_clients=1,
        topics=Topics(control="c", data="d", aggregator="a"),
    )  # fmt: skip
    assert misfit(said, federation) is None
    x, y = digits_of(log, said)
    assert np.array_equal(x, DIGITS[:4]) and y == LABELS[:4].tolist()
    assert [(r.key, r.value) for r in everything(log, unlabelled)] == [(b"\0", x.tobytes()) for x in DIGITS[4:]]


def test_online_raw_sink(peer: Peer, log: KafkaLog, place: tuple[str, str]) -> None:
    """OnlineRawSink announces the bare topic before its first record; what is sent later is read later."""
    topic, control = place
    peer.sink(topic, control, samples(slice(3)), input_config=MNIST, announced="first")
    key, said = announced(log, control)
    assert key == b"\x01" and said.topic == topic and said.incremental and said.total_msg is None
    stream = stream_of(log, said, DIGIT_CLASSES)
    x, y = stream.open(at_least=3, patience=10)
    assert np.array_equal(x, DIGITS[:3]) and y.tolist() == LABELS[:3].tolist()
    peer.sink(topic, f"{control}-2", samples(slice(3, None)), input_config=MNIST, announced="never")
    grown = stream.refresh()
    assert grown is not None and np.array_equal(grown[0], DIGITS) and grown[1].tolist() == LABELS.tolist()


@pytest.mark.parametrize("unsupervised", [False, True])
def test_online_federated_raw_sink(peer: Peer, log: KafkaLog, place: tuple[str, str], unsupervised: bool) -> None:
    """OnlineFederatedRawSink: a bare topic, or the labelled ranges beside a live topic without labels."""
    topic, control = place
    unlabelled = f"{topic}-unlabelled" if unsupervised else None
    log.create_topics([stream_spec(f"{topic}-unlabelled")])
    peer.sink(
        topic, control, samples(), announced="after" if unsupervised else "first", input_config=MNIST,
        dataset_restrictions=RESTRICTION, unsupervised_topic=unlabelled,
        unlabelled=[x.tobytes() for x in DIGITS[4:]] if unsupervised else [],
    )  # fmt: skip
    _, said = announced(log, control)
    assert said.incremental and said.unsupervised_topic == unlabelled
    assert said.topic == (f"{topic}:0:0:6" if unsupervised else topic)
    assert said.total_msg == (6 if unsupervised else None)
    x, y = digits_of(log, said, at_least=6)
    assert np.array_equal(x, DIGITS) and y == LABELS.tolist()


def test_avro_sink(peer: Peer, log: KafkaLog, place: tuple[str, str]) -> None:
    """AvroSink with Avro's own library: schemaless records, the schema files' text in the announcement."""
    topic, control = place
    rows = np.array([[0.1, -1.25, 2.0], [1.0, 0.0, -3.5], [1e-30, 7.0, 3.4e38]])
    data = [dict(zip(("gender", "age", "smoking"), row, strict=True)) for row in rows.tolist()]
    labels = [{"sick": sick} for sick in (True, False, True)]
    config = {"data_scheme": PATIENTS, "label_scheme": DIAGNOSES}
    peer.sink(
        topic, control, list(zip(data, labels, strict=True)), input_format="AVRO", input_config=config, test_rate=0.1
    )
    _, said = announced(log, control)
    assert said.input_format == "AVRO" and said.input_config == config and said.topic == f"{topic}:0:0:3"
    model = input_of((3,), "float32", (1,), "binary_crossentropy")
    x, y = stream_of(log, said, model).open(patience=10)
    assert np.array_equal(x, rows.astype(np.float32)) and y.tolist() == [[1.0], [0.0], [1.0]]


def test_several_partitions(peer: Peer, log: KafkaLog) -> None:
    """Labels choose partitions as they do for our sinks, and every range is announced, also an empty one."""
    topic, control = (f"{name}-{uuid.uuid4().hex[:8]}" for name in ("wide", "control"))
    log.create_topics([stream_spec(topic, 4), stream_spec(control)])
    peer.sink(topic, control, samples(), input_config=MNIST)
    _, said = announced(log, control)
    assert said.topic.count(",") == 3 and said.total_msg == 6 == sum(part.count or 0 for part in said.ranges)
    x, y = digits_of(log, said)
    read = sorted(zip(x.astype(np.uint8).tolist(), y, strict=True))
    assert read == sorted(zip(DIGITS.tolist(), LABELS.tolist(), strict=True))


def test_the_default_control_topic(peer: Peer, log: KafkaLog, place: tuple[str, str]) -> None:
    """FEDERATED_DATA_CONTROL_TOPIC as Mainstem makes it takes their announcements; a key may be text."""
    log.create_topics([data_control_spec()])
    name = data_control_spec().name
    start = log.bounds(name, 0)[1]
    peer.sink(place[0], name, samples(slice(1)), input_config=MNIST, deployment_id="ddy6heod")
    (record,) = log.read(name, 0, start, log.bounds(name, 0)[1])
    assert record.key == b"ddy6heod"
    assert DataAnnouncement.decode(record.key, record.value).topic == f"{place[0]}:0:0:1"
