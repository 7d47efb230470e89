"""One topic for a person to look at: its partitions, and who reads it and how far behind."""

from __future__ import annotations

from dataclasses import dataclass

from confluent_kafka import ConsumerGroupTopicPartitions, KafkaException, TopicPartition
from confluent_kafka.admin import AdminClient

from mainstem.kafka.client.config import Config
from mainstem.kafka.client.overview import asking, bounds, translated

MOST_GROUPS = 200
"""Of consumer groups, each of which costs a request."""


@dataclass(frozen=True, slots=True)
class PartitionBounds:
    """A partition: its first readable offset, and the next to be written."""

    number: int
    first: int
    end: int

    @property
    def records(self) -> int:
        """How many offsets are readable."""
        return self.end - self.first


@dataclass(frozen=True, slots=True)
class Reader:
    """A consumer group at one partition. `committed` None: it is assigned but has committed nothing."""

    group: str
    state: str
    members: int
    partition: int
    committed: int | None
    lag: int | None


@dataclass(frozen=True, slots=True)
class Inspection:
    """A topic's partitions and readers."""

    name: str
    partitions: list[PartitionBounds]
    readers: list[Reader]


def inspect(config: Config, topic: str, timeout: float = 10.0) -> Inspection | None:
    """What there is to know of a topic; None where there is none of that name. Raises LogError."""
    admin = asking(config)
    with translated(config, topic):
        found = admin.list_topics(timeout=timeout).topics.get(topic)
        if found is None or found.error is not None:
            return None
        places = [TopicPartition(topic, number) for number in sorted(found.partitions)]
        first, end = bounds(admin, places, timeout)
        partitions = [PartitionBounds(p.partition, first[topic, p.partition], end[topic, p.partition]) for p in places]
        return Inspection(topic, partitions, _readers(admin, partitions, topic, timeout))


def _readers(admin: AdminClient, partitions: list[PartitionBounds], topic: str, timeout: float) -> list[Reader]:
    """The groups that have committed an offset of this topic or are assigned a partition of it."""
    groups = admin.list_consumer_groups(request_timeout=timeout).result().valid or []
    names = sorted(group.group_id for group in groups)[:MOST_GROUPS]
    if not names:
        return []
    described = admin.describe_consumer_groups(names, request_timeout=timeout)
    ends = {bound.number: bound.end for bound in partitions}
    readers: list[Reader] = []
    for name in names:
        group = described[name].result()
        assigned: dict[int, int] = {}
        for member in group.members:
            for place in member.assignment.topic_partitions if member.assignment else ():
                if place.topic == topic:
                    assigned[place.partition] = assigned.get(place.partition, 0) + 1
        committed = _committed(admin, name, topic, timeout)
        for number in sorted({*assigned, *committed} & set(ends)):
            offset = committed.get(number)
            lag = None if offset is None else max(0, ends[number] - offset)
            readers.append(Reader(name, group.state.name.lower(), assigned.get(number, 0), number, offset, lag))
    return readers


def _committed(admin: AdminClient, group: str, topic: str, timeout: float) -> dict[int, int]:
    asked = admin.list_consumer_group_offsets([ConsumerGroupTopicPartitions(group)], request_timeout=timeout)
    try:
        places = asked[group].result().topic_partitions or []
    except KafkaException:  # it went away meanwhile, or is another's to look at
        return {}
    return {place.partition: place.offset for place in places if place.topic == topic and place.offset >= 0}
