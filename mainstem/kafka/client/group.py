"""A member of a consumer group that uses the group for assignment only: what it owns, it reads from the beginning."""

from __future__ import annotations

from collections.abc import Mapping

from confluent_kafka import OFFSET_BEGINNING, Consumer, KafkaException, TopicPartition

from mainstem.errors import LogError
from mainstem.kafka.client.cursor import PASSING, record_of
from mainstem.kafka.client.door import explanation
from mainstem.kafka.client.renewed import ReplacedClient
from mainstem.protocol.log import Record


class GroupReader:
    """Polls one compacted topic as a group member.

    `poll` returns the next record or None; `lost` collects the partitions that went to another member since it was
    last emptied; `joined` says that it was given its share once. Two owners of a partition at one time are harmless
    to what this is used for.
    """

    def __init__(
        self, config: Mapping[str, str | int | float | bool], group: str, topic: str, session_timeout_ms: int = 6000
    ) -> None:
        self.lost: set[int] = set()
        self.joined = False
        self._topic = topic
        self._owned: set[int] = set()
        self._member: Consumer | None = None
        self._settings: dict[str, str | int | float | bool] = {
            **config,
            "group.id": group,
            "session.timeout.ms": session_timeout_ms,
            "heartbeat.interval.ms": max(300, session_timeout_ms // 6),
            "max.poll.interval.ms": max(60_000, session_timeout_ms),
            "enable.auto.commit": False,
            "auto.offset.reset": "earliest",
            "partition.assignment.strategy": "range",
            "topic.metadata.refresh.interval.ms": 5000,
            "fetch.wait.max.ms": 200,
            "allow.auto.create.topics": False,
        }
        self._consumer = ReplacedClient(self._join, lambda consumer: consumer.close())

    def poll(self, timeout: float) -> Record | None:
        """The next record of an owned partition; raises LogError. After a few failures a new member takes over."""
        try:
            with self._consumer.lend() as consumer:
                message = consumer.poll(timeout)
                problem = message.error() if message is not None else None
                if problem is not None and problem.code() not in PASSING and not problem.retriable():
                    raise KafkaException(problem)
        except KafkaException as error:
            raise LogError(
                f"consumer group: {explanation(self._settings, error.args[0], 'Read', self._topic)}"
            ) from error
        return record_of(message) if message is not None and problem is None else None

    def close(self) -> None:
        """Leave the group at once, so that another member takes over without waiting for a timeout."""
        self._consumer.close()

    def _join(self) -> Consumer:
        self._member = consumer = Consumer(self._settings)
        consumer.subscribe([self._topic], on_assign=self._assigned, on_revoke=self._revoked, on_lost=self._revoked)
        return consumer

    def _assigned(self, consumer: Consumer, partitions: list[TopicPartition]) -> None:
        """What the member before had and this one has not is lost now: until here it was better kept."""
        owned = {p.partition for p in partitions}
        self.lost = (self.lost | self._owned) - owned
        self._owned, self.joined = owned, True
        consumer.assign([TopicPartition(p.topic, p.partition, OFFSET_BEGINNING) for p in partitions])

    def _revoked(self, consumer: Consumer, partitions: list[TopicPartition]) -> None:
        if consumer is self._member:  # and not one that is left
            self.lost |= {p.partition for p in partitions}
            self._owned -= self.lost
