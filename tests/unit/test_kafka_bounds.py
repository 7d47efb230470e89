"""Asking a partition for its offsets while librdkafka remembers that it had no leader."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
from confluent_kafka import KafkaError, KafkaException

from mainstem.errors import LogError
from mainstem.kafka.client.log import KafkaLog
from tests.support.patience import until


class Client:
    """As librdkafka's: one that heard of a partition without a leader calls it unknown from then on."""

    def __init__(self, partitions: dict[int, Any], *, stale: bool = False) -> None:
        self.partitions, self.stale, self.closed = partitions, stale, False

    def get_watermark_offsets(self, partition: Any, timeout: float, cached: bool) -> tuple[int, int]:
        if self.stale or partition.partition not in self.partitions:
            raise KafkaException(KafkaError(KafkaError._UNKNOWN_PARTITION))
        return 3, 9

    def list_topics(self, topic: str, timeout: float) -> Any:
        return SimpleNamespace(topics={topic: SimpleNamespace(partitions=self.partitions, error=None)})

    def close(self) -> None:
        self.closed = True


@pytest.fixture
def log(monkeypatch: pytest.MonkeyPatch) -> KafkaLog:
    """A log whose first client is stale; those that it makes after it are not."""
    made = KafkaLog({"bootstrap.servers": "127.0.0.1:1"}, timeout=2.0)
    made._asker._client = Client({0: object()}, stale=True)  # type: ignore[assignment]
    made._admin._client = Client({0: object()})  # type: ignore[assignment]
    monkeypatch.setattr("mainstem.kafka.client.log.Consumer", lambda config: Client({0: object()}))
    return made


def test_a_partition_that_had_no_leader_is_asked_for_anew(log: KafkaLog) -> None:
    """It is there again, so its offsets are told within a moment rather than after 15 minutes."""
    stale: Any = log._asker._client
    assert log.bounds("FED-ddy6heod-model_control_topic", 0) == (3, 9)
    until(lambda: stale.closed)


def test_a_partition_that_is_not_there_is_an_error_at_once(log: KafkaLog) -> None:
    """The broker says so itself."""
    with pytest.raises(LogError, match="offsets of t"):
        log.bounds("t", 7)
