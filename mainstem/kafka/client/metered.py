"""A Kafka log that counts what passes through it, by direction and kind of topic."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from mainstem.kafka.client.cursor import KafkaCursor
from mainstem.kafka.client.log import KafkaLog
from mainstem.protocol import topics
from mainstem.protocol.log import Outgoing, Record
from mainstem.runtime.metrics import names
from mainstem.runtime.metrics.objects import counter

BYTES, RECORDS = counter(names.KAFKA_BYTES), counter(names.KAFKA_RECORDS)


def kind_of(topic: str) -> str:
    """The role of a topic in the protocol: few values, whatever the number of federations."""
    federation = topics.federation_of(topic)
    if federation is None:
        return "announcements" if topic == topics.MODEL_CONTROL else "other"
    roles = {
        topics.control_topic(federation): "control",
        topics.data_topic(federation): "data",
        topics.aggregator_topic(federation): "aggregator",
    }
    return roles.get(topic, "other")


def _count(direction: str, topic: str, records: int, nbytes: int) -> None:
    labels = (direction, kind_of(topic))
    RECORDS.labels(*labels).inc(records)
    BYTES.labels(*labels).inc(nbytes)


class MeteredCursor(KafkaCursor):
    """A reader that counts what it returns."""

    def poll(self, timeout: float, limit: int = 500) -> list[Record]:
        """See `log.Cursor`."""
        records = super().poll(timeout, limit)
        if records:
            _count("in", records[0].topic, len(records), sum(len(record.value or b"") for record in records))
        return records


class MeteredLog(KafkaLog):
    """A `KafkaLog` that counts records and the bytes of their values."""

    reader = MeteredCursor

    def append(self, topic: str, records: Iterable[Outgoing]) -> list[int]:
        """See `log.MessageLog`."""
        kept = records if isinstance(records, list) else None  # a generator makes its records as they are sent
        sent = sum(map(_size, kept or ()))

        def passing() -> Iterator[Outgoing]:
            nonlocal sent
            for record in records:
                sent += _size(record)
                yield record

        offsets = super().append(topic, passing() if kept is None else kept)
        _count("out", topic, len(offsets), sent)
        return offsets


def _size(record: Outgoing) -> int:
    return 0 if record.value is None else memoryview(record.value).nbytes
