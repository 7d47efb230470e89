"""Real replicas with a real Keras model at a real broker: headers kept, three formats, exactly once under kills."""

from __future__ import annotations

import io
import json
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import fastavro
import numpy as np
import pytest
from confluent_kafka import Consumer, Message, Producer

from mainstem.kafka.broker.embedded import EmbeddedKafka
from mainstem.kafka.client.config import client_config
from mainstem.kafka.client.exchange_group import forget_group, group_standing
from mainstem.kafka.client.log import KafkaLog
from mainstem.protocol import topics, updates
from mainstem.protocol.log import Outgoing
from mainstem.protocol.messages import Data, InputSpec, Opened, Rules, StrategyChoice, Topics, Training, encode
from mainstem.protocol.weights import specs_of
from mainstem.serving.spec import AnswerTally, ServingSpec
from tests.support.patience import PATIENCE

pytestmark = [pytest.mark.kafka, pytest.mark.training]

RAW = {"data_type": "float32", "data_reshape": "8"}


@pytest.fixture(scope="module")
def model() -> tuple[str, list[tuple[str, Any]], Callable[[Any], Any]]:
    """A small classifier: its architecture, its weights by name, and what it says."""
    from federated_training.engines.keras import models, runtime

    runtime.prepare(Path("/nonexistent"))
    import keras

    layers = [keras.Input((8,)), keras.layers.Dense(16, activation="relu"), keras.layers.Dense(3, activation="softmax")]
    built = models.build(keras.Sequential(layers).to_json(), seed=1)
    names = [tensor["name"] for tensor in models.tensors_of(built)]
    named = list(zip(names, models.weights_of(built), strict=True))
    return models.describe(built)["architecture"], named, built.predict_on_batch


@pytest.fixture(scope="module")
def federation(kafka: EmbeddedKafka, model: tuple[str, list[tuple[str, Any]], Any]) -> str:
    """A run whose version 0 is the model."""
    return opened_run(kafka, model)


def opened_run(kafka: EmbeddedKafka, model: tuple[str, list[tuple[str, Any]], Any]) -> str:
    """Open a run of the model at this broker; its id."""
    log = KafkaLog(client_config(kafka.bootstrap_servers))
    name = topics.new_federation_id()
    log.create_topics((*topics.shared_topics(), *topics.federation_topics(name)))
    where = Topics(control=topics.control_topic(name), data=topics.data_topic(name),
                   aggregator=topics.aggregator_topic(name))  # fmt: skip
    specs, tensors = specs_of(model[1]), [array for _, array in model[1]]
    weights = updates.publish(log, where.data, writer="opener", update="version-0", specs=specs, tensors=tensors)
    opened = Opened(
        federation=name, seq=0, prev="", name="test", framework="tf", architecture=model[0],
        input=InputSpec(shape=(8,), label_shape=(3,)), training=Training(), strategy=StrategyChoice(), rules=Rules(),
        data=Data(), topics=where, tensors=specs, weights=weights,
    )  # fmt: skip
    log.append(where.control, [Outgoing(encode(opened))])
    log.close()
    return name


class Desk:
    """A deployed version with topics of its own: ask it, read its answers, start and kill its replicas."""

    def __init__(self, kafka: EmbeddedKafka, log: KafkaLog, federation: str, home: Path, **more: Any) -> None:
        partitions = more.pop("partitions", 2)
        name = f"t-{topics.new_federation_id()}"
        self.servers, self.home, self.stack = kafka.bootstrap_servers, home, ExitStack()
        self.spec = ServingSpec(**{
            "name": name, "cloud_bootstrap": self.servers, "data_bootstrap": self.servers, "federation": federation,
            "version": 0, "input_topic": f"{name}-in", "output_topic": f"{name}-out", "input_format": "RAW",
            "input_config": json.dumps(RAW), **more,
        })  # fmt: skip
        log.create_topics([topics.stream_spec(f"{name}-{way}", partitions) for way in ("in", "out")])
        self.producer = Producer({"bootstrap.servers": self.servers, "linger.ms": 5})

    def start(self, member: str) -> subprocess.Popen[bytes]:
        """A replica, killed at the end if need be."""
        home = self.home / member
        home.mkdir(exist_ok=True)
        environ = {"PATH": os.environ["PATH"], "PYTHONPATH": os.getcwd(), "HOME": str(home)}
        command = [sys.executable, "-m", "federated_training.serving"]
        with (home / "log").open("ab") as output:
            process = subprocess.Popen(
                command, env=environ | self.spec.to_environ() | {"SERVING_MEMBER": member}, stdout=output, stderr=output
            )
        self.stack.callback(process.wait)
        self.stack.callback(process.kill)
        return process

    def said(self, member: str) -> str:
        """A replica's output."""
        return (self.home / member / "log").read_text()

    def ask(self, value: bytes | None, key: bytes | None = None, headers: Any = (), partition: int = -1) -> None:
        """Write one record."""
        while True:
            try:
                self.producer.produce(self.spec.input_topic, value, key, partition, headers=list(headers))
                return
            except BufferError:
                self.producer.poll(0.1)

    def answers(self, count: int, seconds: float = PATIENCE) -> list[Message]:
        """So many committed answers, and whatever else comes within a moment after them."""
        self.producer.flush()
        consumer = Consumer(
            {"bootstrap.servers": self.servers, "group.id": f"reader-{topics.new_federation_id()}",
             "auto.offset.reset": "earliest", "isolation.level": "read_committed", "enable.auto.commit": False}
        )  # fmt: skip
        consumer.subscribe([self.spec.output_topic])
        found: list[Message] = []
        deadline = time.monotonic() + seconds
        while len(found) < count:
            assert time.monotonic() < deadline, f"{len(found)} of {count} answers came"
            found += [message for message in consumer.consume(count, 0.5) if message.error() is None]
        found += [message for message in consumer.consume(1000, 1.5) if message.error() is None]
        consumer.close()
        return found


@contextmanager
def desk(kafka: EmbeddedKafka, log: KafkaLog, federation: str, home: Path, **more: Any) -> Iterator[Desk]:
    """A desk whose replicas end with it."""
    made = Desk(kafka, log, federation, home, **more)
    with made.stack:
        yield made


def sample(number: int) -> Any:
    """A sample that is its number's own."""
    return np.random.default_rng(number).normal(0, 1, 8).astype("<f4")


def headers_of(message: Message) -> list[tuple[str, Any]]:
    return [(header[0], header[1]) for header in message.headers() or []]


def test_answers_are_the_models_with_key_and_headers(
    kafka: EmbeddedKafka, log: KafkaLog, federation: str, model: Any, tmp_path: Path
) -> None:
    """Outputs are the model's, headers with their order and repetitions are kept, bad records are answered."""
    with desk(kafka, log, federation, tmp_path) as made:
        replica = made.start("0")
        kept = [("trace", b"a"), ("trace", b"b"), ("empty", None)]
        for number in range(40):
            made.ask(sample(number).tobytes(), str(number).encode(), kept)
        made.ask(b"too short", b"bad", [("trace", b"bad")])
        made.ask(None, b"tombstone")
        made.ask(np.full(8, np.nan, "<f4").tobytes(), b"nan")
        made.ask(b"x" * 900_000, b"huge")
        answers = made.answers(44)
        assert len(answers) == 44, made.said("0")
        by_key = {message.key(): message for message in answers}
        wanted = model[2](np.stack([sample(number) for number in range(40)]))
        for number in range(40):
            message = by_key[str(number).encode()]
            assert np.allclose(json.loads(message.value() or b"")["outputs"], wanted[number], atol=1e-6)
            assert headers_of(message)[:3] == kept
            assert dict(headers_of(message))["mainstem-version"] == b"0"
            assert dict(headers_of(message))["mainstem-federation"] == federation.encode()
        for key, why in ((b"bad", "9 bytes"), (b"tombstone", "no value"), (b"nan", "finite"), (b"huge", "900000")):
            assert why in json.loads(by_key[key].value() or b"")["error"]
            assert dict(headers_of(by_key[key]))["mainstem-status"] == b"refused"
        standing = group_standing(client_config(made.servers), made.spec.group, made.spec.input_topic)
        assert (standing.members, standing.lag, standing.tally) == (1, 0, AnswerTally(44, 4))
        replica.send_signal(signal.SIGTERM)
        assert replica.wait(PATIENCE) == 0, made.said("0")
        assert "refused 4 of them" in made.said("0")
        forget_group(client_config(made.servers), made.spec.group)
        gone = group_standing(client_config(made.servers), made.spec.group, made.spec.input_topic)
        assert gone.members == 0 and gone.tally.answered == 0 and gone.lag == 44
        forget_group(client_config(made.servers), made.spec.group)


@pytest.mark.parametrize("input_format", ["JSON", "AVRO"])
def test_other_formats(
    kafka: EmbeddedKafka, log: KafkaLog, federation: str, model: Any, tmp_path: Path, input_format: str
) -> None:
    """JSON and Avro records are read as training streams are."""
    scheme = {
        "type": "record",
        "name": "sample",
        "fields": [{"name": "x", "type": {"type": "array", "items": "float"}}],
    }
    config = RAW if input_format == "JSON" else {"data_scheme": scheme, "data_reshape": "8", "data_type": "float32"}

    def encoded(x: Any) -> bytes:
        if input_format == "JSON":
            return json.dumps(x.tolist()).encode()
        buffer = io.BytesIO()
        fastavro.schemaless_writer(buffer, fastavro.parse_schema(scheme), {"x": x.tolist()})
        return buffer.getvalue()

    more = {"input_format": input_format, "input_config": json.dumps(config)}
    with desk(kafka, log, federation, tmp_path, **more) as made:
        made.start("0")
        for number in range(5):
            made.ask(encoded(sample(number)), str(number).encode())
        made.ask(b"\xff\xff{", b"bad")
        answers = {message.key(): json.loads(message.value() or b"") for message in made.answers(6)}
    wanted = model[2](np.stack([sample(number) for number in range(5)]))
    for number in range(5):
        assert np.allclose(answers[str(number).encode()]["outputs"], wanted[number], atol=1e-6)
    assert "error" in answers[b"bad"]


def test_answers_as_kafka_ml_writes_them(
    kafka: EmbeddedKafka, log: KafkaLog, federation: str, model: Any, tmp_path: Path
) -> None:
    """`{"values"}` and nothing for a bad record, without transactions: a reader of everything sees answers alone.

    Where a replica was killed each question still has an answer, and the position goes on from the last commit.
    """
    more = {"answers": "values", "delivery": "at-least-once", "partitions": 1}
    with desk(kafka, log, federation, tmp_path, **more) as made:
        replica = made.start("0")
        for number in range(5):
            made.ask(sample(number).tobytes())
        made.ask(b"too short")
        assert len(made.answers(5)) == 5, made.said("0")
        replica.kill()
        replica.wait()
        for number in range(5, 8):
            made.ask(sample(number).tobytes())
        made.start("0")
        assert len(made.answers(8)) >= 8
        first, end = log.bounds(made.spec.output_topic, 0)
        records = list(log.read(made.spec.output_topic, 0, first, end))
        assert len(records) == end - first  # no offset is an end of a transaction
        sources = [record.headers["mainstem-source"].decode().rsplit(":", 1)[1] for record in records]
        assert sorted({int(source) for source in sources}) == [0, 1, 2, 3, 4, 6, 7, 8]
        wanted = model[2](np.stack([sample(number) for number in range(8)]))
        for record, source in zip(records, map(int, sources), strict=True):
            answer = json.loads(record.value or b"")
            assert list(answer) == ["values"]
            assert np.allclose(answer["values"], wanted[source - (source > 5)], atol=1e-6)
        standing = group_standing(client_config(made.servers), made.spec.group, made.spec.input_topic)
        assert standing.tally == AnswerTally(9, 1) and standing.lag == 0


def test_each_question_is_answered_once_though_replicas_are_killed(
    kafka: EmbeddedKafka, log: KafkaLog, federation: str, tmp_path: Path
) -> None:
    """kill -9 at random instants under load, and restarts: committed answers are the questions, each exactly once."""
    count, kills, chance = 6000, 6, random.Random(7)
    with desk(kafka, log, federation, tmp_path, partitions=4) as made:
        replicas = {member: made.start(member) for member in ("0", "1")}
        made.ask(sample(0).tobytes(), b"0")
        made.answers(1)
        asked = 1
        while asked < count or kills:
            for _ in range(60):
                if asked < count:
                    made.ask(sample(asked).tobytes(), str(asked).encode(), [("number", str(asked).encode())])
                    asked += 1
            made.producer.poll(0)
            time.sleep(0.05)
            if kills and asked > count * (7 - kills) // 8:
                member = chance.choice(sorted(replicas))
                time.sleep(chance.uniform(0.0, 0.4))
                replicas[member].kill()
                replicas[member].wait()
                replicas[member] = made.start(member)
                kills -= 1
        answers = made.answers(count)
        numbers = sorted(int(message.key() or b"-1") for message in answers)
        assert numbers == list(range(count)), (made.said("0")[-2000:], made.said("1")[-2000:])
        sources = {dict(headers_of(message))["mainstem-source"] for message in answers}
        assert len(sources) == count
        standing = group_standing(client_config(made.servers), made.spec.group, made.spec.input_topic)
        assert standing.tally.answered == count and standing.tally.refused == 0 and standing.lag == 0


def test_a_killed_broker_delays_answers_and_loses_none(model: Any, tmp_path: Path) -> None:
    """kill -9 of the broker under load, and its restart: replicas go on or start again, each answer stands once."""
    count = 2000
    with EmbeddedKafka() as broker:
        log = KafkaLog(client_config(broker.bootstrap_servers))
        with desk(broker, log, opened_run(broker, model), tmp_path) as made:
            replicas = [made.start(member) for member in ("0", "1")]
            made.ask(sample(0).tobytes(), b"0")
            made.answers(1)
            for number in range(1, count):
                made.ask(sample(number).tobytes(), str(number).encode())
                if number == count // 2:
                    made.producer.flush()
                    broker.kill()
                    broker.start()
            made.producer.flush()
            config, spec = client_config(made.servers), made.spec
            deadline = time.monotonic() + PATIENCE
            while group_standing(config, spec.group, spec.input_topic).tally.answered < count:
                assert time.monotonic() < deadline, (made.said("0")[-2000:], made.said("1")[-2000:])
                for number, replica in enumerate(replicas):
                    if replica.poll() is not None:  # as the launcher does
                        replicas[number] = made.start(str(number))
                time.sleep(1.0)
            answers = made.answers(count)
            assert sorted(int(message.key() or b"-1") for message in answers) == list(range(count))
        log.close()


@pytest.mark.parametrize(
    ("more", "code", "why"),
    [
        ({"version": 9}, 2, "no such version"),
        ({"sha256": "0" * 64}, 2, "MODEL_SHA256"),
        ({"input_config": json.dumps({"data_type": "float32", "data_reshape": "9"})}, 2, "data_reshape"),
        ({"federation": "zzzzzzzz"}, 1, "zzzzzzzz"),
    ],
)
def test_what_cannot_be_served_is_said(
    kafka: EmbeddedKafka, log: KafkaLog, federation: str, tmp_path: Path, more: Any, code: int, why: str
) -> None:
    """A version, hash or format that cannot be ends the replica with its sentence."""
    with desk(kafka, log, more.pop("federation", federation), tmp_path, **more) as made:
        replica = made.start("0")
        assert replica.wait(PATIENCE) == code, made.said("0")
        assert why in made.said("0")
