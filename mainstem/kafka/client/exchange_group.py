"""How the replicas of a deployed version stand: their group, its positions, and the tallies kept there."""

from __future__ import annotations

from dataclasses import dataclass

from confluent_kafka import ConsumerGroupTopicPartitions, KafkaError, KafkaException, TopicPartition
from confluent_kafka.admin import AdminClient

from mainstem.errors import LogError
from mainstem.kafka.client.config import Config
from mainstem.kafka.client.door import explanation
from mainstem.kafka.client.overview import asking, bounds, translated
from mainstem.serving.spec import AnswerTally


@dataclass(frozen=True, slots=True)
class PartitionStanding:
    """A partition of the input topic. `committed` None: nothing of it was answered yet."""

    number: int
    first: int
    end: int
    committed: int | None
    tally: AnswerTally

    @property
    def lag(self) -> int:
        """Offsets that wait for an answer."""
        return max(0, self.end - max(self.first, self.committed or 0))


@dataclass(frozen=True, slots=True)
class GroupStanding:
    """The group's members and its place in each partition; no partitions where the topic does not exist."""

    members: int
    partitions: list[PartitionStanding]

    @property
    def tally(self) -> AnswerTally:
        """Over all partitions."""
        return sum((partition.tally for partition in self.partitions), AnswerTally())

    @property
    def lag(self) -> int:
        """Over all partitions."""
        return sum(partition.lag for partition in self.partitions)


def group_standing(config: Config, group: str, topic: str, timeout: float = 10.0) -> GroupStanding:
    """Ask Kafka; raises LogError."""
    admin = asking(config)
    with translated(config, topic):
        found = admin.list_topics(timeout=timeout).topics.get(topic)
        numbers = sorted(found.partitions) if found is not None and found.error is None else []
        first, end = bounds(admin, [TopicPartition(topic, number) for number in numbers], timeout)
        kept = _kept(admin, group, topic, timeout)
        members = _members(admin, group, timeout)
    return GroupStanding(
        members,
        [PartitionStanding(n, first[topic, n], end[topic, n], *kept.get(n, (None, AnswerTally()))) for n in numbers],
    )


def forget_group(config: Config, group: str, timeout: float = 10.0) -> None:
    """Delete the group's positions; does nothing where there is no such group. Raises LogError, also while it lives."""
    admin = asking(config)  # kept until the answer is there: one that is gone fails its futures
    try:
        admin.delete_consumer_groups([group], request_timeout=timeout)[group].result()
    except KafkaException as error:
        if error.args[0].code() != KafkaError.GROUP_ID_NOT_FOUND:
            raise LogError(f"the group {group} cannot be deleted: {explanation(config, error.args[0])}") from error


def _kept(admin: AdminClient, group: str, topic: str, timeout: float) -> dict[int, tuple[int, AnswerTally]]:
    asked = admin.list_consumer_group_offsets([ConsumerGroupTopicPartitions(group)], request_timeout=timeout)
    try:
        places = asked[group].result().topic_partitions or []
    except KafkaException as error:
        if error.args[0].code() == KafkaError.GROUP_ID_NOT_FOUND:
            return {}
        raise
    return {
        p.partition: (p.offset, AnswerTally.parse(p.metadata)) for p in places if p.topic == topic and p.offset >= 0
    }


def _members(admin: AdminClient, group: str, timeout: float) -> int:
    try:
        described = admin.describe_consumer_groups([group], request_timeout=timeout)[group].result()
    except KafkaException as error:
        if error.args[0].code() == KafkaError.GROUP_ID_NOT_FOUND:
            return 0
        raise
    return len(described.members)
