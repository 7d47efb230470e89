"""Our five sinks' records and announcements, and answers of a deployed version, as kafka-python sees them."""

from __future__ import annotations

import json
import uuid
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
from confluent_kafka import Producer

from inject_scripts import AvroSink, FederatedRawSink, OnlineFederatedRawSink, OnlineRawSink, RawSink
from mainstem.kafka.broker.embedded import EmbeddedKafka
from mainstem.kafka.client.config import client_config
from mainstem.kafka.client.log import KafkaLog
from mainstem.protocol.messages import InputSpec
from mainstem.protocol.topics import stream_spec
from mainstem.serving.spec import SOURCE_HEADER, STATUS_HEADER, samples_codec
from tests.kafka.test_serving_on_kafka import Desk, desk, opened_run
from tests.peers.conftest import Peer, Seen

pytestmark = pytest.mark.kafka

DIGITS = np.arange(6 * 784, dtype=np.uint8).reshape(6, 28, 28)
LABELS = np.array([3, 1, 4, 1, 5, 9], dtype=np.uint8)
MNIST = {"data_type": "uint8", "label_type": "uint8", "data_reshape": "28 28", "label_reshape": "1"}
COMMIT, ABORT = b"\0\0\0\1", b"\0\0\0\0"
"""Keys of transaction markers (KIP-98): version 0, then the type."""
MARKED = bytes(6)
"""A marker's value: version 0, then the coordinator's epoch, which is 0 on one broker."""


@pytest.fixture(scope="module")
def written(kafka: EmbeddedKafka, tmp_path_factory: pytest.TempPathFactory) -> dict[str, tuple[str, str]]:
    """Each of our sinks' data topic and control topic, with all six digits in it (Avro: two patients)."""
    schemes = tmp_path_factory.mktemp("schemes")
    data, label = schemes / "data.avsc", schemes / "label.avsc"
    data.write_text('{"type": "record", "name": "P", "fields": [{"name": "age", "type": "float"}]}')
    label.write_text('{"type": "record", "name": "L", "fields": [{"name": "sick", "type": "boolean"}]}')
    places: dict[str, tuple[str, str]] = {}
    for kind in (RawSink, FederatedRawSink, OnlineRawSink, OnlineFederatedRawSink):
        topic = f"ours-{uuid.uuid4().hex[:8]}"
        sink: Any = kind(kafka.bootstrap_servers, topic, 1, control_topic=f"{topic}-control", description="Mnist")
        if kind is OnlineFederatedRawSink:
            sink.send_online_control_msg(data=DIGITS[0], label=LABELS[0])
        for x, y in zip(DIGITS, LABELS, strict=True):
            sink.send(data=x, label=y)
        sink.online_close() if "Online" in kind.__name__ else sink.close()
        places[kind.__name__] = (topic, sink.control_topic)
    topic = f"ours-{uuid.uuid4().hex[:8]}"
    avro = AvroSink(kafka.bootstrap_servers, topic, 1, data, label, control_topic=f"{topic}-control")
    avro.send_avro({"age": 61.5}, {"sick": True})
    avro.send_avro({"age": -0.25}, {"sick": False})
    avro.close()
    return {**places, "AvroSink": (topic, avro.control_topic)}


@pytest.fixture(scope="module")
def read(peer: Peer, written: dict[str, tuple[str, str]]) -> dict[str, list[Seen]]:
    """All of that by topic, as the peer sees it."""
    return peer.listen(*(topic for place in written.values() for topic in place))


@pytest.mark.parametrize("kind", ["RawSink", "FederatedRawSink", "OnlineRawSink", "OnlineFederatedRawSink"])
def test_they_read_our_raw_sinks(written: dict[str, tuple[str, str]], read: dict[str, list[Seen]], kind: str) -> None:
    """Records byte for byte, nothing between them; the announcement as Kafka-ML's loggers take it apart."""
    topic, control = written[kind]
    assert [(s.offset, s.value, s.key, s.headers) for s in read[topic]] == [
        (number, x.tobytes(), y.tobytes(), []) for number, (x, y) in enumerate(zip(DIGITS, LABELS, strict=True))
    ]
    body = announcement(read[control])
    assert body["input_config"] == MNIST and body["input_format"] == "RAW" and body["description"] == "Mnist"
    live = "Online" in kind
    assert body["topic"] == (topic if live else f"{topic}:0:0:6") and body["incremental"] is live
    assert body["total_msg"] == (None if live else 6) and body["unsupervised_topic"] is None


def test_they_read_our_avro_sink(written: dict[str, tuple[str, str]], read: dict[str, list[Seen]]) -> None:
    """Schemaless Avro, as their decoders take it."""
    topic, control = written["AvroSink"]
    assert [(s.value, s.key) for s in read[topic]] == [
        (np.float32(61.5).tobytes(), b"\1"), (np.float32(-0.25).tobytes(), b"\0"),
    ]  # fmt: skip
    body = announcement(read[control])
    assert body["topic"] == f"{topic}:0:0:2" and json.loads(body["input_config"]["data_scheme"])["name"] == "P"


def announcement(seen: list[Seen]) -> dict[str, Any]:
    """The only control message there, by the steps that Kafka-ML's loggers take."""
    (record,) = seen
    assert int.from_bytes(record.key or b"", byteorder="big") == 1
    body: dict[str, Any] = json.loads(record.value or b"")
    return body


# ------------------------------------------------------------ answers, which are transactions
@pytest.fixture(scope="module")
def replica(kafka: EmbeddedKafka, model: Any, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Desk]:
    """A deployed version with a real model and one replica, for all tests here."""
    log = KafkaLog(client_config(kafka.bootstrap_servers))
    federation = opened_run(kafka, model)
    with desk(kafka, log, federation, tmp_path_factory.mktemp("replica"), partitions=1) as made:
        made.start("0")
        yield made
    log.close()


@pytest.mark.training
def test_answers_to_their_inference_scripts(peer: Peer, log: KafkaLog, replica: Desk, model: Any) -> None:
    """Questions without a key get the model's outputs; an old client finds the transactions' ends among them."""
    samples = np.random.default_rng(len(peer.name)).normal(0, 1, (10, 8)).astype("<f4")
    source, sink = replica.spec.input_topic, replica.spec.output_topic
    first = log.bounds(source, 0)[1]
    peer.ask(source, [sample.tobytes() for sample in samples])
    replica.answers(first + 10)
    everything = peer.listen(sink)[sink]
    answers = [seen for seen in everything if STATUS_HEADER in dict(seen.headers)]
    assert all(dict(seen.headers)[STATUS_HEADER] == b"ok" and seen.key is None for seen in answers)
    by_source = {dict(seen.headers)[SOURCE_HEADER]: json.loads((seen.value or b"").decode()) for seen in answers}
    outputs = [by_source[f"{source}:0:{first + number}".encode()]["outputs"] for number in range(10)]
    assert np.allclose(outputs, model[2](samples), atol=1e-6)
    others = [(seen.key, seen.value, seen.headers) for seen in everything if seen not in answers]
    assert all(other == (COMMIT, MARKED, []) for other in others)
    assert bool(others) is not peer.knows_transactions


def test_questions_in_avro(peer: Peer, log: KafkaLog) -> None:
    """What their Avro inference script writes is what a replica decodes."""
    topic = f"hcopd-in-{uuid.uuid4().hex[:8]}"
    log.create_topics([stream_spec(topic)])
    fields = [{"name": name, "type": "float"} for name in ("gender", "age", "smoking")]
    scheme = json.dumps({"type": "record", "name": "HCOPD", "fields": fields})
    peer.ask(topic, [{"gender": 0.5, "age": -1.25, "smoking": 0.1}], data_scheme=scheme)
    (question,) = log.read(topic, 0, 0, 1)
    codec = samples_codec("AVRO", {"data_scheme": scheme}, InputSpec(shape=(3,)))
    x, _ = codec.decode(None, question.value or b"")
    assert question.key is None and x.tolist() == np.array([0.5, -1.25, 0.1], np.float32).tolist()


def test_what_they_see_of_transactions(peer: Peer, kafka: EmbeddedKafka, log: KafkaLog) -> None:
    """Everybody sees the answer that was aborted; kafka-python 2.0.2 the two markers as well, as six bytes each."""
    topic = f"answers-{uuid.uuid4().hex[:8]}"
    log.create_topics([stream_spec(topic)])
    producer = Producer({"bootstrap.servers": kafka.bootstrap_servers, "transactional.id": topic})
    producer.init_transactions()
    for value, end in ((b"dropped", producer.abort_transaction), (b"kept", producer.commit_transaction)):
        producer.begin_transaction()
        producer.produce(topic, value, headers=[(SOURCE_HEADER, b"in:0:0"), (STATUS_HEADER, b"ok")], partition=0)
        producer.flush()
        end()
    seen = [(s.offset, s.key, s.value) for s in peer.listen(topic)[topic]]
    if not peer.knows_transactions:
        assert seen == [(0, None, b"dropped"), (1, ABORT, MARKED), (2, None, b"kept"), (3, COMMIT, MARKED)]
        return
    assert seen == [(0, None, b"dropped"), (2, None, b"kept")]  # its default is read_uncommitted
    committed = peer.listen(topic, isolation_level="read_committed")[topic]
    assert [(s.offset, s.value) for s in committed] == [(2, b"kept")]
