"""What Kafka holds under some names now: which topic each is, and from where to where its first partition reaches."""

from __future__ import annotations

from collections.abc import Collection

from confluent_kafka import KafkaException, TopicCollection, TopicPartition
from confluent_kafka.admin import AdminClient

from mainstem.kafka.identity import GONE
from mainstem.kafka.overview import bounds
from mainstem.ports import Holding, Holdings


def holdings(admin: AdminClient, topics: Collection[str], timeout: float) -> Holdings:
    """All topics asked for at once, in three requests; raises KafkaException."""
    cluster = str(admin.describe_cluster(request_timeout=timeout).result().cluster_id)
    if not topics:
        return Holdings(cluster, {})
    ids: dict[str, str] = {}
    for name, future in admin.describe_topics(TopicCollection(list(topics)), request_timeout=timeout).items():
        try:
            ids[name] = str(future.result().topic_id)
        except KafkaException as error:
            if error.args[0].code() not in GONE:
                raise
    first, end = bounds(admin, [TopicPartition(name, 0) for name in ids], timeout)
    found = {name: Holding(ids[name], first[name, 0], end[name, 0]) for name in ids}
    return Holdings(cluster, {name: found.get(name) for name in topics})
