"""A site of a test: where injection scripts write to, and what Mainstem reads there."""

from __future__ import annotations

import uuid

from mainstem.kafka.broker.embedded import EmbeddedKafka
from mainstem.kafka.client.config import client_config
from mainstem.kafka.client.log import KafkaLog
from mainstem.streams.announcement import DataAnnouncement
from mainstem.streams.codecs import SampleBatch, codec_for


def name(prefix: str) -> str:
    """A topic of this test's own."""
    return f"{prefix}-{uuid.uuid4().hex[:8]}"


class Site:
    """A data topic and a control topic of one test, and what Mainstem reads from them."""

    def __init__(self, kafka: EmbeddedKafka) -> None:
        self.topic, self.control = name("data"), name("control")
        self.bootstrap = kafka.bootstrap_servers
        self.options = ["--bootstrap", self.bootstrap, "--topic", self.topic, "--control-topic", self.control]
        self._log = KafkaLog(client_config(self.bootstrap))

    def announced(self) -> list[tuple[DataAnnouncement, SampleBatch]]:
        """Every announcement with the samples that its ranges hold."""
        found = []
        for record in self._log.read(self.control, 0, *self._log.bounds(self.control, 0)):
            announcement = DataAnnouncement.decode(record.key, record.value)
            codec = codec_for(announcement.input_format, announcement.input_config)
            records = []
            for r in announcement.ranges:
                assert r.partition is not None and r.start is not None and r.end is not None
                records += [(d.key, d.value or b"") for d in self._log.read(r.topic, r.partition, r.start, r.end)]
            found.append((announcement, codec.decode_many(records)))
        return found
