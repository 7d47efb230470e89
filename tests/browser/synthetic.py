"""A story told to the backend as a control logger tells it, over its API, record by record."""

from __future__ import annotations

import base64
from dataclasses import replace
from itertools import islice

from confluent_kafka import Producer
from confluent_kafka.admin import AdminClient
from confluent_kafka.cimpl import NewTopic

from mainstem.kafka.client.identity import ids_of
from mainstem.protocol.chain import Head
from mainstem.protocol.log import Record
from mainstem.protocol.messages import ControlRecord
from mainstem.protocol.signing import HEADER, SigningKey
from mainstem.protocol.topics import control_topic, federation_topics
from tests.browser.platform import Platform
from tests.support.long_runs import BATCH, Story
from tests.support.patience import PATIENCE, until


class Topics:
    """A run's topics on the platform's Kafka, which is asked now and then whether it holds what the pages show."""

    def __init__(self, servers: str, federation: str) -> None:
        self._name = control_topic(federation)
        self._producer = Producer({"bootstrap.servers": servers, "linger.ms": 0})
        admin = AdminClient({"bootstrap.servers": servers})
        told = {"message.timestamp.type": "CreateTime", "message.timestamp.before.max.ms": str(2**62)}
        made = [
            NewTopic(spec.name, spec.partitions, 1, config={**dict(spec.settings), **told})
            for spec in federation_topics(federation)
        ]
        for future in admin.create_topics(made).values():
            future.result(PATIENCE)
        self.cluster_id = str(admin.describe_cluster().result(PATIENCE).cluster_id)
        self.topic_id = until(lambda: ids_of(admin, [self._name], PATIENCE)[self._name], what="the new topic's id")

    def append(self, records: list[Record]) -> None:
        """The records, stamped as they are."""
        for record in records:
            self._producer.produce(
                self._name, record.value, partition=0, timestamp=record.timestamp_ms, headers=dict(record.headers)
            )
        assert self._producer.flush(PATIENCE) == 0


class Tale:
    """A run that is only told. `tell` appends records to its topic and delivers them."""

    def __init__(self, platform: Platform, federation: str, clients: int, rounds: int) -> None:
        self.federation = federation
        self.story = Story(federation, clients, rounds)
        self._platform = platform
        self._topics = Topics(platform.kafka, federation)
        self._key = SigningKey.from_pem(platform.home.platform_key.read_bytes())
        self.tell([self.story.opening()])

    def tell(self, records: list[ControlRecord]) -> None:
        """Append records and deliver them as the control logger would, which may come first."""
        told = [self._signed(self.story.told(record)[0]) for record in records]
        self._topics.append(told)
        entries = []
        for stored in told:
            assert stored.value is not None
            entries.append(
                {
                    "topic": stored.topic, "topic_id": self._topics.topic_id, "partition": 0, "offset": stored.offset,
                    "timestamp_ms": stored.timestamp_ms, "value_b64": base64.b64encode(stored.value).decode(),
                    "signature_b64": base64.b64encode(stored.headers[HEADER]).decode(),
                }
            )  # fmt: skip
        self._platform.deliver({"cluster_id": self._topics.cluster_id, "records": entries})

    def _signed(self, record: Record) -> Record:
        """As the platform would have written it."""
        name, header = self._key.sign(record.topic, record.value or b"")
        return replace(record, headers={name: header})

    def rounds(self, count: int) -> None:
        """So many more rounds, every client in each of them."""
        for _ in range(count):
            self.tell([self.story.round()])

    def progress(self, count: int) -> None:
        """So many more words about the open round: each has a client more that has uploaded, in turn."""
        made = self.story.progress(count)
        while batch := list(islice(made, BATCH)):
            self.tell(list(batch))

    @property
    def head(self) -> Head:
        """The chain's head."""
        return self.story.head
