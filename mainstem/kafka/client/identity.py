"""Which topic a name means now: its id, and whether it is compacted."""

from __future__ import annotations

from collections.abc import Collection

from confluent_kafka import KafkaError, KafkaException, TopicCollection
from confluent_kafka.admin import AdminClient, ConfigResource, ResourceType  # type: ignore[attr-defined]

from mainstem.protocol.log import TopicIdentity

GONE = frozenset({KafkaError.UNKNOWN_TOPIC_OR_PART, KafkaError.UNKNOWN_TOPIC_ID, KafkaError._UNKNOWN_TOPIC})
ABSENT = GONE | {KafkaError.LEADER_NOT_AVAILABLE}
"""The latter: it is being made."""


def ids_of(admin: AdminClient, topics: Collection[str], timeout: float) -> dict[str, str | None]:
    """The id of each topic, None of one that is not there; all asked at once. Raises KafkaException."""
    ids: dict[str, str | None] = {}
    if not topics:
        return ids
    for name, future in admin.describe_topics(TopicCollection(list(topics)), request_timeout=timeout).items():
        try:
            ids[name] = str(future.result(timeout=timeout + 1).topic_id)
        except KafkaException as error:
            if error.args[0].code() not in GONE:
                raise
            ids[name] = None
    return ids


def identify(admin: AdminClient, topic: str, timeout: float) -> TopicIdentity | None:
    """The topic of that name; None where there is none. Raises KafkaException where Kafka does not tell.

    A principal that may read a topic may ask for its id, but not always for its settings: `compacted` is None then.
    """
    resource = ConfigResource(ResourceType.TOPIC, topic)
    try:
        described = admin.describe_topics(TopicCollection([topic]), request_timeout=timeout)[topic]
        settings = admin.describe_configs([resource], request_timeout=timeout)[resource]
        found = str(described.result().topic_id)
    except KafkaException as error:
        if error.args[0].code() in GONE:
            return None
        raise
    try:
        policy = settings.result()["cleanup.policy"].value
    except KafkaException:
        return TopicIdentity(found)
    return TopicIdentity(found, "compact" in str(policy))
