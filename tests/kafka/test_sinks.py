"""Kafka-ML's sinks, used as its users' scripts use them: records and control messages byte for byte."""

from __future__ import annotations

import json
import threading
import uuid
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from inject_scripts import AvroSink, FederatedRawSink, OnlineFederatedRawSink, OnlineRawSink, RawSink
from mainstem.errors import ConfigError, DecodeError, LogError
from mainstem.kafka.broker.embedded import EmbeddedKafka
from mainstem.kafka.client.config import client_config
from mainstem.kafka.client.log import KafkaLog
from mainstem.kafka.client.stream_producer import StreamProducer
from mainstem.protocol.log import Record
from mainstem.protocol.topics import DATA_CONTROL, TopicSpec, stream_spec
from mainstem.streams.announcement import DataAnnouncement, StreamRange
from mainstem.streams.codecs import codec_for
from tests.support.patience import PATIENCE

pytestmark = pytest.mark.kafka

DIGITS = np.arange(6 * 784, dtype=np.uint8).reshape(6, 28, 28)
LABELS = np.array([3, 1, 4, 1, 5, 9], dtype=np.uint8)
RESTRICTION = '{"features": {"label": {"num_classes": 10, "type": "integer"}}}'

DATA_SCHEME = """{"namespace": "data.ertis.uma.es", "type": "record", "name": "HCOPD", "fields": [
     {"name": "gender", "type": "float"}, {"name": "age", "type": "float"}, {"name": "smoking", "type": "float"}]}"""
LABEL_SCHEME = """{"namespace": "label.ertis.uma.es", "type": "record", "name": "HCOPD",
 "fields": [{"name": "diagnosis", "type": "boolean"}]}"""


def name(prefix: str) -> str:
    """A topic of this test's own."""
    return f"{prefix}-{uuid.uuid4().hex[:8]}"


def everything(kafka: EmbeddedKafka, topic: str) -> list[Record]:
    """All records of a topic's only partition."""
    log = KafkaLog(client_config(kafka.bootstrap_servers))
    try:
        return list(log.read(topic, 0, *log.bounds(topic, 0)))
    finally:
        log.close()


def announced(kafka: EmbeddedKafka, control: str) -> tuple[Record, dict[str, Any], DataAnnouncement]:
    """The only record of a control topic, as JSON and as Mainstem understands it."""
    (record,) = everything(kafka, control)
    assert record.value is not None
    return record, json.loads(record.value), DataAnnouncement.decode(record.key, record.value)


def test_raw_sink_as_in_kafka_ml(kafka: EmbeddedKafka) -> None:
    """RawSink: types and shapes from the first sample; the control message is Kafka-ML's, byte for byte."""
    topic, control = name("automl"), name("control")
    mnist = RawSink(
        boostrap_servers=kafka.bootstrap_servers,
        topic=topic,
        deployment_id=1,
        description="Mnist dataset",
        validation_rate=0.1,
        test_rate=0.1,
        control_topic=control,
    )
    for x, y in zip(DIGITS, LABELS, strict=True):
        mnist.send(data=x, label=y)
    mnist.close()
    records = everything(kafka, topic)
    assert [(r.key, r.value) for r in records] == [
        (y.tobytes(), x.tobytes()) for x, y in zip(DIGITS, LABELS, strict=True)
    ]
    record, _, announcement = announced(kafka, control)
    assert record.key == b"\x01" and announcement.federation is None
    assert (
        record.value
        == json.dumps(
            {
                "topic": f"{topic}:0:0:6",
                "unsupervised_topic": None,
                "input_format": "RAW",
                "description": "Mnist dataset",
                "dataset_restrictions": {},
                "input_config": {
                    "data_type": "uint8",
                    "label_type": "uint8",
                    "data_reshape": "28 28",
                    "label_reshape": "1",
                },
                "validation_rate": 0.1,
                "test_rate": 0.1,
                "total_msg": 6,
                "incremental": False,
            }
        ).encode()
    )
    batch = codec_for("RAW", announcement.input_config, classes=10).decode_many(
        [(r.key, r.value or b"") for r in records]
    )
    assert np.array_equal(batch.x, DIGITS) and batch.y is not None and np.array_equal(batch.y[:, 0], LABELS)


def test_federated_raw_sink_as_in_kafka_ml(kafka: EmbeddedKafka) -> None:
    """FederatedRawSink: restrictions as JSON text, and unlabelled data in a topic of their own."""
    topic, unlabelled, control = name("mnist_fed"), name("unsupervised"), name("control")
    mnist = FederatedRawSink(
        boostrap_servers=kafka.bootstrap_servers,
        topic=topic,
        deployment_id=1,
        description="Mnist dataset",
        dataset_restrictions=RESTRICTION,
        validation_rate=0.1,
        test_rate=0,
        control_topic=control,
        unsupervised_topic=unlabelled,
    )
    for x, y in zip(DIGITS[:4], LABELS[:4], strict=True):
        mnist.send(data=x, label=y)
    for x in DIGITS[4:]:
        mnist.unsupervised_send(data=x)
    mnist.close()
    assert [(r.key, r.value) for r in everything(kafka, unlabelled)] == [(b"\0", x.tobytes()) for x in DIGITS[4:]]
    _, body, announcement = announced(kafka, control)
    assert body["topic"] == f"{topic}:0:0:4" and body["unsupervised_topic"] == f"{unlabelled}:0:0:2"
    assert body["dataset_restrictions"] == RESTRICTION and body["total_msg"] == 4
    assert announcement.restrictions == json.loads(RESTRICTION) and not announcement.incremental


def test_federated_sinks_default_to_mainstems_control_topic(kafka: EmbeddedKafka) -> None:
    """Without `control_topic` every sink announces on FEDERATED_DATA_CONTROL_TOPIC, created when missing."""
    topic = name("defaults")
    sink = FederatedRawSink(kafka.bootstrap_servers, topic, "ddy6heod")
    sink.send(np.zeros(4, np.float32), np.eye(2, dtype=np.float32)[1])
    sink.close()
    (record,) = [r for r in everything(kafka, DATA_CONTROL) if r.key == b"ddy6heod"]
    assert record.value is not None
    body = json.loads(record.value)
    assert body["topic"] == f"{topic}:0:0:1" and body["dataset_restrictions"] == "{}"
    assert body["input_config"] == {
        "data_type": "float32",
        "label_type": "float32",
        "data_reshape": "4",
        "label_reshape": "2",
    }


def test_online_raw_sink_announces_before_its_first_record(kafka: EmbeddedKafka) -> None:
    """OnlineRawSink: the bare topic, no total, incremental; `online_close` adds nothing."""
    topic, control = name("automl"), name("control")
    mnist = OnlineRawSink(
        boostrap_servers=kafka.bootstrap_servers,
        topic=topic,
        deployment_id=1,
        description="Mnist dataset",
        validation_rate=0.1,
        control_topic=control,
    )
    mnist.send(data=DIGITS[0], label=LABELS[0])
    record, _, announcement = announced(kafka, control)
    mnist.send(data=DIGITS[1], label=LABELS[1])
    mnist.online_close()
    assert (
        record.value
        == json.dumps(
            {
                "topic": topic,
                "unsupervised_topic": None,
                "input_format": "RAW",
                "description": "Mnist dataset",
                "input_config": {
                    "data_type": "uint8",
                    "label_type": "uint8",
                    "data_reshape": "28 28",
                    "label_reshape": "1",
                },
                "validation_rate": 0.1,
                "test_rate": 0,
                "total_msg": None,
                "dataset_restrictions": {},
                "incremental": True,
            }
        ).encode()
    )
    assert announcement.incremental and announcement.ranges == (StreamRange(topic),)
    assert len(everything(kafka, topic)) == 2 and len(everything(kafka, control)) == 1


def test_online_federated_raw_sink_announces_when_told(kafka: EmbeddedKafka) -> None:
    """OnlineFederatedRawSink: `send_online_control_msg(data, label)`; with unlabelled data the labelled ranges."""
    topic, control, unlabelled = name("mnist_fed"), name("control"), name("unsupervised")
    live = OnlineFederatedRawSink(
        boostrap_servers=kafka.bootstrap_servers,
        topic=topic,
        deployment_id=300,
        description="Mnist dataset",
        dataset_restrictions=RESTRICTION,
        validation_rate=0.1,
        control_topic=control,
    )
    live.send_online_control_msg(data=DIGITS[0], label=LABELS[0])
    live.send(data=DIGITS[0], label=LABELS[0])
    live.online_close()
    record, body, announcement = announced(kafka, control)
    assert record.key == b"\x01\x2c" and announcement.federation is None
    assert body["topic"] == topic and body["total_msg"] is None and body["incremental"] is True
    second = name("control")
    both = OnlineFederatedRawSink(
        kafka.bootstrap_servers, topic, 1, control_topic=second, unsupervised_topic=unlabelled
    )
    both.send(data=DIGITS[1], label=LABELS[1])
    both.send_online_control_msg(data=DIGITS[1], label=LABELS[1])
    both.unsupervised_send(data=DIGITS[2])
    both.online_close()
    _, body, _ = announced(kafka, second)
    assert (body["topic"], body["unsupervised_topic"], body["total_msg"]) == (f"{topic}:0:1:2", unlabelled, 1)


def test_avro_sink_as_in_kafka_ml(kafka: EmbeddedKafka, tmp_path: Path) -> None:
    """AvroSink: schema files, schemaless records of NumPy scalars, schemas as text in the control message."""
    (tmp_path / "data.avsc").write_text(DATA_SCHEME)
    (tmp_path / "label.avsc").write_text(LABEL_SCHEME)
    topic, control = name("hcopd"), name("control")
    hcopd = AvroSink(
        boostrap_servers=kafka.bootstrap_servers,
        topic=topic,
        deployment_id=1,
        data_scheme_filename=str(tmp_path / "data.avsc"),
        label_scheme_filename=str(tmp_path / "label.avsc"),
        description="COPD dataset",
        validation_rate=0.1,
        test_rate=0.1,
        control_topic=control,
    )
    features = np.array([[0.5, -1.25, 2.0], [1.0, 0.0, -3.5]])
    for row, sick in zip(features, np.array([1, 0]), strict=True):
        hcopd.send_avro({"gender": row[0], "age": row[1], "smoking": row[2]}, {"diagnosis": bool(sick)})
    hcopd.close()
    records = everything(kafka, topic)
    assert [r.value for r in records] == [row.astype("<f4").tobytes() for row in features]
    assert [r.key for r in records] == [b"\1", b"\0"]
    _, body, announcement = announced(kafka, control)
    assert body["input_config"] == {"data_scheme": DATA_SCHEME, "label_scheme": LABEL_SCHEME}
    assert body["input_format"] == "AVRO" and body["topic"] == f"{topic}:0:0:2"
    batch = codec_for(announcement.input_format, announcement.input_config, classes=2).decode_many(
        [(r.key, r.value or b"") for r in records]
    )
    assert np.array_equal(batch.x, features) and batch.y is not None and batch.y.tolist() == [[True], [False]]
    with pytest.raises(ConfigError, match="Avro schema"):
        AvroSink(kafka.bootstrap_servers, topic, 1, tmp_path / "none.avsc", tmp_path / "label.avsc")


def test_ranges_are_exact_beside_another_producer(kafka: EmbeddedKafka) -> None:
    """Two sinks write into one partition at once: each announces exactly its own records."""
    topic = name("shared")
    controls = [name("control"), name("control")]
    turn = threading.Barrier(2)

    def inject(number: int) -> None:
        sink = RawSink(kafka.bootstrap_servers, topic, 1, control_topic=controls[number])
        for i in range(300):
            if i % 100 == 0:
                sink._producer.flush()
                turn.wait(PATIENCE)  # both are about to write, several times
            sink.send(np.array([number, i], np.int32), np.int32(number))
        sink.close()

    threads = [threading.Thread(target=inject, args=(n,)) for n in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(PATIENCE)
    records = everything(kafka, topic)
    for number, control in enumerate(controls):
        _, body, announcement = announced(kafka, control)
        assert body["total_msg"] == 300 == sum(r.count or 0 for r in announcement.ranges)
        own = [r for r in records if any((g.start or 0) <= r.offset < (g.end or 0) for g in announcement.ranges)]
        values = [np.frombuffer(r.value or b"", np.int32).tolist() for r in own]
        assert values == [[number, i] for i in range(300)]


def test_several_partitions_are_announced_each(kafka: EmbeddedKafka) -> None:
    """In a topic of several partitions the key chooses, and every range is exact."""
    topic, control = name("wide"), name("control")
    producer = StreamProducer(client_config(kafka.bootstrap_servers))
    assert producer.ensure_topic(stream_spec(topic, 3)) == 3
    producer.close()
    sink = RawSink(kafka.bootstrap_servers, topic, 1, control_topic=control)
    for i in range(30):
        sink.send(np.uint8(i), np.uint8(i))
    sink.close()
    _, body, announcement = announced(kafka, control)
    assert body["total_msg"] == 30 and len(announcement.ranges) == 3
    assert sorted(r.partition for r in announcement.ranges if r.partition is not None) == [0, 1, 2]


@pytest.mark.parametrize(
    "change",
    [
        {"dataset_restrictions": {"a": 1}},
        {"dataset_restrictions": '{"a": 1}'},
        {"topic": "hand-made"},
        {"topic": "hand-made:0:0:10,hand-made:1:5:9"},
        {"unsupervised_topic": "u:0:0:5"},
        {"input_config": '{"data_type": "uint8", "data_reshape": "4", "label_type": "uint8", "label_reshape": ""}'},
        {"total_msg": None, "incremental": True, "topic": "live"},
        {"time": "2024-01-01T00:00:00"},
    ],
)
@pytest.mark.parametrize("key", [b"\x01", b"\0\0\0\x01", b"\0" * 7 + b"\x01"])
def test_hand_made_control_messages_are_accepted(key: bytes, change: dict[str, Any]) -> None:
    """Whatever shape Kafka-ML's message allows, with a key of any width, is understood."""
    body = {
        "topic": "hand-made:0:0:10",
        "unsupervised_topic": None,
        "input_format": "RAW",
        "description": "",
        "dataset_restrictions": "{}",
        "validation_rate": 0,
        "test_rate": 0,
        "total_msg": 10,
        "incremental": False,
        "input_config": {"data_type": "uint8", "data_reshape": "4", "label_type": "uint8", "label_reshape": ""},
    } | change
    announcement = DataAnnouncement.decode(key, json.dumps(body).encode())
    assert announcement.federation is None
    assert codec_for(announcement.input_format, announcement.input_config).x_shape == (4,)


def test_bad_arguments_are_refused_before_anything_is_sent(kafka: EmbeddedKafka) -> None:
    """Rates, restrictions, topics and ids are checked by the constructor, by name."""
    cases: list[tuple[Callable[[], Any], str]] = [
        (lambda: FederatedRawSink(kafka.bootstrap_servers, "t", 1, validation_rate=0.6, test_rate=0.6), "below 1"),
        (lambda: FederatedRawSink(kafka.bootstrap_servers, "t", 1, dataset_restrictions="{"), "dataset_restrictions"),
        (lambda: RawSink(kafka.bootstrap_servers, "a:b", 1), "topic"),
        (lambda: RawSink(kafka.bootstrap_servers, "t", -1), "deployment_id"),
    ]
    for make, told in cases:
        with pytest.raises(ConfigError, match=told):
            make()


def test_samples_that_would_not_decode_raise_at_once(kafka: EmbeddedKafka) -> None:
    """A sample of another size, or one with NaN, is not sent; what was sent before is announced."""
    topic, control = name("strict"), name("control")
    sink = RawSink(kafka.bootstrap_servers, topic, 1, control_topic=control)
    sink.send(np.zeros(4, np.float32), np.uint8(1))
    with pytest.raises(DecodeError, match="16"):
        sink.send(np.zeros(5, np.float32), np.uint8(1))
    with pytest.raises(DecodeError, match="finite"):
        sink.send(np.full(4, np.nan, np.float32), np.uint8(1))
    with pytest.raises(ConfigError, match="unsupervised_topic"):
        sink.unsupervised_send(np.zeros(4, np.float32))
    sink.close()
    assert announced(kafka, control)[1]["topic"] == f"{topic}:0:0:1"


def test_a_sink_that_sent_nothing_announces_nothing(kafka: EmbeddedKafka) -> None:
    """An empty stream is no stream."""
    control = name("control")
    RawSink(kafka.bootstrap_servers, name("empty"), 1, control_topic=control).close()
    assert everything(kafka, control) == []


def test_an_absent_broker_is_one_sentence() -> None:
    """Nothing listens: the error names the address and the time."""
    producer = StreamProducer(client_config("127.0.0.1:9"), timeout=1)
    with pytest.raises(LogError, match=r"no Kafka broker answered at 127\.0\.0\.1:9 within 1 s"):
        producer.ensure_topic(stream_spec("t"))
    producer.send("t", b"x")
    with pytest.raises(LogError, match="no Kafka broker answered"):
        producer.flush()
    producer.close(wait=False)


def test_records_above_the_topics_limit_surface(kafka: EmbeddedKafka) -> None:
    """A refusal by the broker raises instead of a stream with a hole."""
    topic = name("narrow")
    producer = StreamProducer(client_config(kafka.bootstrap_servers))
    producer.ensure_topic(TopicSpec(topic, 1, {"max.message.bytes": "1000"}))
    producer.close()
    sink = RawSink(kafka.bootstrap_servers, topic, 1, control_topic=name("control"))
    sink.send(np.zeros(2000, np.uint8), np.uint8(0))
    with pytest.raises(LogError, match="refused a record"):
        sink.close()
    with pytest.raises(LogError, match="refused a record"):
        sink.send(np.zeros(2000, np.uint8), np.uint8(0))
