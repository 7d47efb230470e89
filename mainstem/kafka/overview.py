"""What is on a Kafka: its topics with their sizes, and whether it answers at all."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from confluent_kafka import Consumer, KafkaException, TopicPartition

from mainstem.errors import LogError


@dataclass(frozen=True, slots=True)
class TopicOverview:
    """A topic: partitions, and over all of them the records still readable and those ever written."""

    name: str
    partitions: int
    records: int
    written: int


def topic_overviews(config: Mapping[str, str | int | float | bool], timeout: float = 10.0) -> list[TopicOverview]:
    """All topics but Kafka's own, by name; raises LogError where the brokers do not answer within `timeout` seconds."""
    consumer = _asking(config)
    try:
        found = consumer.list_topics(timeout=timeout).topics
        overviews = []
        for name in sorted(name for name in found if not name.startswith("__")):
            bounds = [
                consumer.get_watermark_offsets(TopicPartition(name, number), timeout=timeout)
                for number in sorted(found[name].partitions)
            ]
            known = [pair for pair in bounds if pair is not None]
            records = sum(high - low for low, high in known)
            overviews.append(TopicOverview(name, len(bounds), records, sum(high for _, high in known)))
        return overviews
    except KafkaException as error:
        raise LogError(f"Kafka at {config.get('bootstrap.servers')} does not answer: {error.args[0].str()}") from error
    finally:
        consumer.close()


def broker_count(config: Mapping[str, str | int | float | bool], timeout: float = 5.0) -> int:
    """How many brokers the cluster has; raises LogError where none answers within `timeout` seconds."""
    consumer = _asking(config)
    try:
        return len(consumer.list_topics(timeout=timeout).brokers)
    except KafkaException as error:
        raise LogError(f"Kafka at {config.get('bootstrap.servers')} does not answer: {error.args[0].str()}") from error
    finally:
        consumer.close()


def _asking(config: Mapping[str, str | int | float | bool]) -> Consumer:
    """A consumer that only asks; what goes wrong is raised, so librdkafka need not print it as well."""
    return Consumer({**config, "group.id": "mainstem-overview", "enable.auto.commit": False, "log_level": 0})
