"""Members of consumer groups that are made anew when they keep failing."""

from __future__ import annotations

import threading
from typing import Any

import pytest
from confluent_kafka import KafkaError, KafkaException, TopicPartition

from mainstem.errors import LogError
from mainstem.kafka.client import group, group_source
from mainstem.kafka.client.group import GroupReader
from mainstem.kafka.client.group_source import GroupSource
from mainstem.kafka.client.renewed import FAILURES
from tests.support.patience import until


class Stuck:
    """In the place of librdkafka's consumer: the first one fails at every call, its `close` hangs."""

    made: list[Stuck]
    release = threading.Event()

    def __init__(self, config: dict[str, Any]) -> None:
        self.well, self.left = bool(Stuck.made), False
        self.callbacks: dict[str, Any] = {}
        Stuck.made.append(self)

    def subscribe(self, topics: list[str], **callbacks: Any) -> None:
        self.callbacks = callbacks

    def assign(self, partitions: list[TopicPartition]) -> None: ...

    def poll(self, timeout: float) -> None:
        if not self.well:
            raise KafkaException(KafkaError(KafkaError._FAIL, "stuck"))

    def list_topics(self, timeout: float) -> Any:
        self.poll(timeout)
        return type("Metadata", (), {"topics": {}, "cluster_id": "c"})

    def close(self) -> None:
        self.left = True
        if not self.well:
            Stuck.release.wait(60)


@pytest.fixture(autouse=True)
def _stuck(monkeypatch: pytest.MonkeyPatch) -> Any:
    Stuck.made, Stuck.release = [], threading.Event()
    for module in (group, group_source):
        monkeypatch.setattr(module, "Consumer", Stuck)
    yield
    Stuck.release.set()


def test_an_aggregator_joins_anew() -> None:
    """What the member before owned is kept until the new one is given its share; who left is not heard."""
    reader = GroupReader({}, "g", "t")
    with pytest.raises(LogError, match="stuck"):
        reader.poll(0)
    first = Stuck.made[0]

    def assigned(member: Stuck, *numbers: int) -> None:
        member.callbacks["on_assign"](member, [TopicPartition("t", n) for n in numbers])

    assigned(first, 0, 1, 2)
    for _ in range(FAILURES - 1):
        with pytest.raises(LogError, match="stuck"):
            reader.poll(0)
    assert reader.poll(0) is None and len(Stuck.made) == 2 and not reader.lost
    assigned(Stuck.made[1], 1, 2, 3)
    until(lambda: first.left)
    first.callbacks["on_revoke"](first, [TopicPartition("t", n) for n in (0, 1, 2)])
    assert reader.lost == {0}
    reader.close()


def test_a_logger_joins_anew() -> None:
    """Also where leaving hangs: the new member does not wait for it."""
    source = GroupSource({"bootstrap.servers": "localhost:1"}, group="g", topics=["^t$"])
    for _ in range(FAILURES):
        with pytest.raises(LogError, match="stuck"):
            source.batch(0)
    assert source.batch(0) is None and len(Stuck.made) == 2
    until(lambda: Stuck.made[0].left)
    source.close()
