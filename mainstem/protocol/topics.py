"""Every topic's name and settings, once (the protocol's topic table)."""

from __future__ import annotations

import re
import secrets
import string
from collections.abc import Mapping
from dataclasses import dataclass

from mainstem.errors import ConfigError

MODEL_CONTROL = "FEDERATED_MODEL_CONTROL_TOPIC"
"""Announcements of open federations; compacted, keyed by federation id."""

DATA_CONTROL = "FEDERATED_DATA_CONTROL_TOPIC"
"""Announcements of data streams, at the data Kafka."""

AUDIT = "FEDERATED_AUDIT_TOPIC"
"""Who did what to the platform, at the cloud's Kafka. The platform alone writes it, and reads it."""

AGGREGATOR_PREFIX = "FEDERATED_AGGREGATOR_TOPIC-"
"""With which the names of all aggregator topics begin, and no others: ACLs can say it, and so give clients the right to
write these alone."""

FEDERATION_PREFIX = "FED-"
"""With which the names of all control and data topics begin, which clients read."""

AGGREGATORS = "mainstem-aggregators"
"""The consumer group that shares the announcements out among the aggregators."""

CONTROL_PATTERN = r"^FED-[a-z0-9]{8}-model_control_topic$"
"""Regular expression of every federation's control topic (for pattern subscriptions)."""

MESSAGE_LIMIT = 8 << 20
"""Largest record in bytes that our topics take; chunks stay far below it."""

CONTROL_RECORD_LIMIT = 900_000
"""Control records stay below 1 MB: whatever is longer is paged."""

_ID = re.compile(r"[a-z0-9]{8}")
_OF_A_FEDERATION = re.compile(
    rf"{AGGREGATOR_PREFIX}(?P<clients>[a-z0-9]{{8}})|{FEDERATION_PREFIX}(?P<server>[a-z0-9]{{8}})-.*", re.DOTALL
)
_TOPIC = re.compile(r"[A-Za-z0-9._-]{1,249}")
_CLIENT = re.compile(r"[A-Za-z0-9._-]{1,64}")
_ALPHABET = string.ascii_lowercase + string.digits


@dataclass(frozen=True, slots=True)
class TopicSpec:
    """A topic to create: its name, partitions, and settings as Kafka names them."""

    name: str
    partitions: int
    settings: Mapping[str, str]


def new_federation_id() -> str:
    """A fresh federation id: 8 characters of [a-z0-9]."""
    return "".join(secrets.choice(_ALPHABET) for _ in range(8))


def check_federation_id(value: str) -> str:
    """Return `value` if it is a federation id; raises ConfigError."""
    if not _ID.fullmatch(value):
        raise ConfigError(f"federation id {value!r} must be exactly 8 characters of a-z and 0-9")
    return value


def check_client_id(value: str) -> str:
    """Return `value` if it is a client id; raises ConfigError."""
    if not _CLIENT.fullmatch(value):
        raise ConfigError(f"client id {value[:80]!r} must be 1 to 64 characters of A-Z a-z 0-9 . _ -")
    return value


def is_topic_name(value: str) -> bool:
    """Whether Kafka takes a topic of that name."""
    return _TOPIC.fullmatch(value) is not None and value not in (".", "..")


def check_topic_name(value: str, field: str = "topic") -> str:
    """Return `value` if it can be a topic's name; raises ConfigError."""
    if not is_topic_name(value):
        raise ConfigError(f"{field} is {value[:60]!r}; a topic's name is 1 to 249 characters of A-Z a-z 0-9 . _ -")
    return value


def reserved(topic: str) -> str | None:
    """Why people neither make, fill nor delete a topic of that name; None for one of samples."""
    if topic in (MODEL_CONTROL, DATA_CONTROL):
        return "every federation needs it"
    if topic == AUDIT:
        return "it holds who did what"
    if (federation := federation_of(topic)) is not None:
        return f"it is of federation {federation}, whose run is in it; delete the federation to delete it"
    return "Kafka keeps such names for itself" if topic.startswith("__") else None


def is_of_the_cloud(topic: str) -> bool:
    """Whether a topic of that name is on the cloud's Kafka; all others are where the data streams are."""
    return topic in (MODEL_CONTROL, AUDIT) or federation_of(topic) is not None


def control_topic(federation: str) -> str:
    """The federation's control topic: lifecycle records, commands, pages."""
    return f"{FEDERATION_PREFIX}{check_federation_id(federation)}-model_control_topic"


def data_topic(federation: str) -> str:
    """The federation's global weights. Partition 0 has what clients fetch with each version; 1 what they fetch only
    when they join, and what the server keeps."""
    return f"{FEDERATION_PREFIX}{check_federation_id(federation)}-model_data_topic"


def aggregator_topic(federation: str) -> str:
    """The clients' records: joined, heartbeat, chunks, updates, failed, left."""
    return f"{AGGREGATOR_PREFIX}{check_federation_id(federation)}"


def federation_of(topic: str) -> str | None:
    """The federation id in a per-federation topic's name, or None."""
    found = _OF_A_FEDERATION.fullmatch(topic)
    return found and (found["clients"] or found["server"])


_FOREVER = {"retention.ms": "-1", "retention.bytes": "-1", "cleanup.policy": "delete"}
_OURS = {"max.message.bytes": str(MESSAGE_LIMIT), "message.timestamp.type": "LogAppendTime"}


def federation_topics(federation: str, *, aggregator_partitions: int = 1) -> tuple[TopicSpec, ...]:
    """The three topics of a federation; pruning is by DeleteRecords, never by time."""
    settings = {**_FOREVER, **_OURS}
    return (
        TopicSpec(control_topic(federation), 1, settings),
        TopicSpec(data_topic(federation), 2, settings),
        TopicSpec(aggregator_topic(federation), aggregator_partitions, settings),
    )


def shared_topics(*, model_control_partitions: int = 12) -> tuple[TopicSpec, ...]:
    """The topics that all federations share at the cloud's Kafka."""
    compacted = {**_OURS, "cleanup.policy": "compact", "min.cleanable.dirty.ratio": "0.1"}
    return (TopicSpec(MODEL_CONTROL, model_control_partitions, compacted),)


def audit_spec() -> TopicSpec:
    """Who did what: one partition, so that it has one order; kept for ever, unless its own settings say otherwise."""
    return TopicSpec(AUDIT, 1, {**_FOREVER, **_OURS})


def data_control_spec() -> TopicSpec:
    """The announcements of data streams: one partition, kept."""
    return TopicSpec(DATA_CONTROL, 1, {**_FOREVER, **_OURS})


def stream_spec(topic: str, partitions: int = 1) -> TopicSpec:
    """A site's data topic with the broker's own settings."""
    return TopicSpec(topic, partitions, {})
