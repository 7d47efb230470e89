"""What is on a Kafka: its topics with their sizes, and whether it answers at all."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterable, Iterator, Mapping
from concurrent.futures import Future
from dataclasses import dataclass
from typing import Any

from confluent_kafka import KafkaError, KafkaException, TopicPartition
from confluent_kafka.admin import AdminClient, OffsetSpec  # type: ignore[attr-defined]

from mainstem.errors import LogError
from mainstem.kafka.client.config import Config
from mainstem.kafka.client.door import explanation, knock
from mainstem.kafka.client.identity import GONE


@dataclass(frozen=True, slots=True)
class TopicOverview:
    """A topic: partitions, and over all of them the records still readable and those ever written."""

    name: str
    partitions: int
    records: int
    written: int


def topic_overviews(config: Config, timeout: float = 10.0) -> list[TopicOverview]:
    """All topics but Kafka's own, by name; raises LogError where the brokers do not answer within `timeout` seconds."""
    admin = asking(config)
    with translated(config):
        found = admin.list_topics(timeout=timeout).topics
        numbers = {name: sorted(found[name].partitions) for name in sorted(found) if not name.startswith("__")}
        places = [TopicPartition(name, number) for name, many in numbers.items() for number in many]
        first, end = bounds(admin, places, timeout)
    return [
        TopicOverview(
            name,
            len(many),
            sum(end[name, number] - first[name, number] for number in many),
            sum(end[name, number] for number in many),
        )
        for name, many in numbers.items()
    ]


_NEW_LEADER = {KafkaError.FENCED_LEADER_EPOCH, KafkaError.UNKNOWN_LEADER_EPOCH, KafkaError.NOT_LEADER_FOR_PARTITION}
"""Between the question who leads a partition and the one about its offsets its leader came back, or another did."""

Offsets = dict[tuple[str, int], int]
"""(topic, partition) to an offset."""


def bounds(admin: AdminClient, places: Iterable[TopicPartition], timeout: float) -> tuple[Offsets, Offsets]:
    """The first readable and the next offset of each place, all asked at once; raises KafkaException."""
    wanted = list(places)
    if not wanted:
        return {}, {}
    deadline = time.monotonic() + timeout
    while True:
        first, end = (
            admin.list_offsets(dict.fromkeys(wanted, which), request_timeout=timeout)
            for which in (OffsetSpec.earliest(), OffsetSpec.latest())  # type: ignore[no-untyped-call]
        )
        try:
            return _settled(first), _settled(end)
        except KafkaException as error:
            if error.args[0].code() not in _NEW_LEADER or time.monotonic() > deadline:
                raise
            time.sleep(0.1)


def ends(admin: AdminClient, places: Iterable[TopicPartition], timeout: float) -> Offsets:
    """The next offset of each place that there is, all asked at once; raises KafkaException."""
    wanted = [TopicPartition(place.topic, place.partition) for place in places]
    if not wanted:
        return {}
    found: Offsets = {}
    latest = OffsetSpec.latest()  # type: ignore[no-untyped-call]
    for place, future in admin.list_offsets(dict.fromkeys(wanted, latest), request_timeout=timeout).items():
        try:
            found[place.topic, place.partition] = int(future.result().offset)
        except KafkaException as error:
            if error.args[0].code() not in GONE:
                raise
    return found


def _settled(futures: Mapping[TopicPartition, Future[Any]]) -> Offsets:
    return {(place.topic, place.partition): int(future.result().offset) for place, future in futures.items()}


@contextlib.contextmanager
def translated(config: Config, name: str = "") -> Iterator[None]:
    """Kafka's exceptions as LogError that names the servers; `name` is the topic or group that is asked about."""
    try:
        yield
    except KafkaException as error:
        raise LogError(explanation(config, error.args[0], "Describe", name)) from error


def answers(config: Config, timeout: float = 3.0) -> bool:
    """Whether Kafka answers a client that was just made."""
    try:
        return knock(config, timeout) > 0
    except LogError:
        return False


def asking(config: Config) -> AdminClient:
    """A new client that only asks; what goes wrong is raised, so librdkafka need not print it as well.

    One for each call, some milliseconds: people ask seldom, and what lives long can be stuck (see `renewed`).
    """
    return AdminClient({**config, "log_level": 0})
