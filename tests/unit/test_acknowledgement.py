"""Records that librdkafka calls delivered and that are in no log, and how an append avoids them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from confluent_kafka import KafkaError

from mainstem.errors import LogError
from mainstem.kafka.client import exchange, outbox, stream_producer
from mainstem.kafka.client.acknowledgement import acknowledged
from mainstem.kafka.client.outbox import UNDER_WAY, Outbox
from mainstem.protocol.log import Outgoing

NOWHERE = -1001
"""The offset of a record that a later one's success was taken for (`RD_KAFKA_OFFSET_INVALID`)."""


class Report:
    """A delivery report's message."""

    def __init__(self, offset: int | None) -> None:
        self._offset = offset

    def offset(self) -> int | None:
        """Where the record stands, as librdkafka has it."""
        return self._offset

    def topic(self) -> str:
        """The record's topic."""
        return "t"

    def partition(self) -> int:
        """The record's partition."""
        return 0


class Wire:
    """A producer that keeps what it is given until the test answers for it."""

    def __init__(self, *_: object) -> None:
        self.open: list[Callable[[KafkaError | None, Any], None]] = []

    def produce(self, *_: object, on_delivery: Callable[[KafkaError | None, Any], None], **__: object) -> None:
        """Keep the record."""
        self.open.append(on_delivery)

    def answer(self, offset: int, error: KafkaError | None = None) -> None:
        """Report on the oldest record."""
        self.open.pop(0)(error, Report(offset))

    def poll(self, seconds: float) -> int:
        """Nothing comes by itself."""
        return 0

    def flush(self, seconds: float) -> int:
        """All there is has been answered."""
        return len(self.open)


@pytest.fixture
def wire(monkeypatch: pytest.MonkeyPatch) -> Wire:
    """What stands for each producer's connection to Kafka."""
    wire = Wire()
    for module in (outbox, stream_producer, exchange):
        monkeypatch.setattr(module, "Producer", lambda config: wire)
    return wire


def test_a_success_without_an_offset_is_an_error() -> None:
    """A report names an offset or an error."""
    assert acknowledged(None, Report(7)) == (None, 7)  # type: ignore[arg-type]
    for offset in (NOWHERE, None):
        error, _ = acknowledged(None, Report(offset))  # type: ignore[arg-type]
        assert error is not None and "may be lost" in error.str()
    refused = KafkaError(KafkaError.MSG_SIZE_TOO_LARGE)
    assert acknowledged(refused, Report(NOWHERE))[0] is refused  # type: ignore[arg-type]


def test_a_partition_gets_one_record_until_it_has_answered(wire: Wire) -> None:
    """No second record can stand for a first one that was refused; then as many as librdkafka has under way."""
    box = Outbox({}, 5.0)
    told: list[int] = []
    with box.lock:
        for _ in range(12):
            box.put("t", Outgoing(bytes(600_000)), lambda error, offset: told.append(offset), urgent=False)
        assert len(wire.open) == 1
        box.put("t", Outgoing(b"another partition", partition=1), lambda error, offset: None, urgent=False)
        assert len(wire.open) == 2
    wire.open.pop()
    wire.answer(NOWHERE, KafkaError(KafkaError.NOT_LEADER_FOR_PARTITION))
    assert len(wire.open) == 1, "it is not known yet whether the leader knows the producer"
    wire.answer(0)
    assert len(wire.open) == UNDER_WAY
    for offset in range(1, 11):
        wire.answer(offset)
    assert told == [-1001, *range(11)]
    box.stop.set()


def test_an_append_whose_record_may_be_lost_fails(wire: Wire) -> None:
    """The outbox tells whoever waits."""
    box = Outbox({}, 5.0)
    told: list[KafkaError | None] = []
    with box.lock:
        box.put("t", Outgoing(b"x"), lambda error, offset: told.append(error), urgent=False)
    wire.answer(NOWHERE)
    (error,) = told
    assert error is not None and "may be lost" in error.str()
    box.stop.set()


def test_a_stream_whose_record_may_be_lost_is_not_announced(wire: Wire) -> None:
    """The ranges of a stream never hold a record that has no offset."""
    producer = stream_producer.StreamProducer({"bootstrap.servers": "127.0.0.1:9"})
    producer.send("t", b"x")
    wire.answer(NOWHERE)
    with pytest.raises(LogError, match="may be lost"):
        producer.sent("t")
