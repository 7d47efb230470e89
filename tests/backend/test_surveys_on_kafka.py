"""Streams that do not hold what was announced: transactions, compaction, retention, topics made anew."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator

import numpy as np
import pytest
from confluent_kafka import Producer

from backend.streams.models import DataSource
from backend.streams.samples import look
from federated_training.data.decoders import Decoder
from federated_training.data.stream import Stream
from mainstem.errors import ConfigError
from mainstem.jobs.spec import JobSpec
from mainstem.kafka.broker.embedded import EmbeddedKafka
from mainstem.kafka.client.config import client_config
from mainstem.kafka.client.log import KafkaLog
from mainstem.protocol.log import Outgoing
from mainstem.protocol.messages import InputSpec
from mainstem.protocol.topics import TopicSpec, new_federation_id, stream_spec
from mainstem.streams.announcement import parse_ranges
from mainstem.streams.survey import Standing, survey
from tests.support.patience import until

pytestmark = [pytest.mark.backend, pytest.mark.kafka]

CONFIG = {"data_type": "float32", "data_reshape": "2", "label_type": "float32", "label_reshape": "1"}


@pytest.fixture
def site(kafka: EmbeddedKafka) -> Iterator[KafkaLog]:
    """The Kafka of a site, as launcher and Job read it."""
    log = KafkaLog(client_config(kafka.bootstrap_servers), committed=True)
    yield log
    log.close()


def records(count: int, first: int = 0) -> list[Outgoing]:
    """Samples with their number as data, and a label out of ten."""
    return [Outgoing(np.full(2, first + n, "<f4").tobytes(), key=np.float32(n % 10).tobytes()) for n in range(count)]


def topic(site: KafkaLog, count: int = 0) -> str:
    """A fresh topic of so many records."""
    name = f"survey-{new_federation_id()}"
    site.create_topics([stream_spec(name)])
    if count:
        site.append(name, records(count))
    return name


def stream(site: KafkaLog, ranges: str, **more: object) -> Stream:
    """The Job's view of it."""
    spec = JobSpec("k", "k", ranges, "RAW", json.dumps(CONFIG), "abcdefgh", **more)  # type: ignore[arg-type]
    return Stream(site, spec, Decoder(spec, InputSpec(shape=(2,), label_shape=(1,))))


class Transactions:
    """A producer of transactions."""

    def __init__(self, kafka: EmbeddedKafka, name: str) -> None:
        self._name = name
        self._producer = Producer({"bootstrap.servers": kafka.bootstrap_servers, "transactional.id": name})
        self._producer.init_transactions()

    def begin(self, count: int) -> None:
        """Send so many records, which nobody may read yet."""
        self._producer.begin_transaction()
        for record in records(count):
            self._producer.produce(self._name, bytes(record.value or b""), record.key, partition=0)
        self._producer.flush()

    def commit(self) -> None:
        """They count."""
        self._producer.commit_transaction()

    def abort(self) -> None:
        """They never were."""
        self._producer.abort_transaction()


def test_transactions_are_counted_by_what_can_be_read(kafka: EmbeddedKafka, site: KafkaLog) -> None:
    """Markers and aborted records are offsets, and nothing else; an open transaction is waited for."""
    name = topic(site)
    producer = Transactions(kafka, name)
    producer.begin(40)
    producer.commit()
    producer.begin(20)
    producer.abort()
    until(lambda: site.bounds(name, 0)[1] == 62, what="the marker of the aborted transaction")
    ranges = parse_ranges(f"{name}:0:0:62")
    found = survey(site, ranges, announced=62)
    assert (found.standing, found.readable) == (Standing.READY, 40)
    assert found.notice == "62 announced, 40 readable: the other offsets hold aborted transactions or markers"
    assert survey(site, ranges, announced=40).notice == ""
    assert len(stream(site, f"{name}:0:0:62", total_msg=40).open()[0]) == 40
    with pytest.raises(ConfigError, match=r"62 announced, 40 readable: .*set TOTAL_MSG to 40"):
        stream(site, f"{name}:0:0:62", total_msg=62).open()
    for more in ({"incremental": True}, {"total_msg": 50}):
        with pytest.raises(ConfigError, match="has 40 records; 50 are needed"):
            stream(site, name, **more).open(at_least=50, patience=0.0)
    producer.begin(10)
    waits = survey(site, parse_ranges(f"{name}:0:0:72"))
    assert waits.standing is Standing.WAITS and "can be read up to 62: a transaction is open" in waits.notice
    producer.commit()
    assert survey(site, parse_ranges(f"{name}:0:0:72")).readable == 50
    assert len(stream(site, name, incremental=True).open(at_least=50, patience=5.0)[0]) == 50
    assert len(stream(site, name, total_msg=50).open(patience=5.0)[0]) == 50


def test_a_compacted_topic_keeps_a_record_a_label(site: KafkaLog) -> None:
    """550 announced, 10 readable, since the label is the key: said before a Job starts, and by the Job."""
    name = f"survey-{new_federation_id()}"
    settings = {
        "cleanup.policy": "compact", "min.cleanable.dirty.ratio": "0.001", "segment.bytes": str(1 << 20),
        "segment.ms": "1", "max.compaction.lag.ms": "1",
    }  # fmt: skip
    site.create_topics([TopicSpec(name, 1, settings)])
    site.append(name, records(550))
    ranges = parse_ranges(f"{name}:0:0:550")
    deadline = time.monotonic() + 60
    while (found := survey(site, ranges, announced=550, counted=550)).readable != 10:
        assert time.monotonic() < deadline, found
        site.append(name, [Outgoing(b"", key=b"rolls the segment")])
        time.sleep(0.3)
    assert found.standing is Standing.READY and found.notice == "550 announced, 10 readable: the topic is compacted"
    source = DataSource(topic=f"{name}:0:0:550", input_format="RAW", input_config=CONFIG)
    assert (len(look(site, source, 0).samples), look(site, source, 0).after) == (10, 550)
    with pytest.raises(ConfigError, match="550 announced, 10 readable: the topic is compacted; to train"):
        stream(site, f"{name}:0:0:550", total_msg=550).open()


def test_what_retention_took_and_what_was_made_anew_is_gone(site: KafkaLog) -> None:
    """The topic's id tells one from the other; neither starts a Job."""
    name = topic(site, 55)
    ranges = parse_ranges(f"{name}:0:0:55")
    known = survey(site, ranges, announced=55).topic_ids
    assert list(known) == [name] and len(stream(site, f"{name}:0:0:55", topic_ids=known).open()[0]) == 55
    growing = stream(site, name, incremental=True)
    growing.open()
    site.delete_records(name, 0, 30)
    found = survey(site, ranges, announced=55, known=known)
    assert found.standing is Standing.GONE and found.notice.startswith("55 announced, 25 readable: 30 were deleted")
    site.delete_topics([name])
    deadline = time.monotonic() + 10
    while (found := survey(site, ranges, known=known)).notice != f"its topic {name} was deleted":
        assert time.monotonic() < deadline, found
        time.sleep(0.05)
    site.create_topics([stream_spec(name)])
    site.append(name, records(55))
    assert "made again" in survey(site, ranges, announced=55, known=known).notice
    with pytest.raises(ConfigError, match="made again"):
        stream(site, f"{name}:0:0:55", topic_ids=known).open()
    with pytest.raises(ConfigError, match="made again"):
        growing.refresh()
