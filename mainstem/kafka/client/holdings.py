"""What Kafka holds under some names now: which topic each is, and from where to where its first partition reaches."""

from __future__ import annotations

from collections.abc import Collection

from confluent_kafka import TopicPartition
from confluent_kafka.admin import AdminClient

from mainstem.kafka.client.identity import ids_of
from mainstem.kafka.client.overview import bounds
from mainstem.protocol.log import Holding, Holdings


def holdings(admin: AdminClient, topics: Collection[str], timeout: float) -> Holdings:
    """All topics asked for at once, in three requests; raises KafkaException."""
    cluster = str(admin.describe_cluster(request_timeout=timeout).result().cluster_id)
    if not topics:
        return Holdings(cluster, {})
    ids = {name: id_ for name, id_ in ids_of(admin, topics, timeout).items() if id_}
    first, end = bounds(admin, [TopicPartition(name, 0) for name in ids], timeout)
    found = {name: Holding(ids[name], first[name, 0], end[name, 0]) for name in ids}
    return Holdings(cluster, {name: found.get(name) for name in topics})
