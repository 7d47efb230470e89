"""Topics for people: what is in Kafka, whose it is, and which topics may be deleted."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from django.conf import settings
from rest_framework import status

from backend.audit.recording import outside
from backend.deployments.log import kafka
from backend.deployments.models import Deployment, FederationId, State
from backend.rest.problems import Problem
from backend.streams.decoding import Message, message_of
from mainstem.errors import LogError
from mainstem.kafka.client.config import Config
from mainstem.kafka.client.inspection import Inspection, inspect
from mainstem.kafka.client.overview import TopicOverview, topic_overviews
from mainstem.protocol.log import MessageLog
from mainstem.protocol.topics import (
    AUDIT,
    DATA_CONTROL,
    MODEL_CONTROL,
    aggregator_topic,
    control_topic,
    data_topic,
    federation_of,
    reserved,
)

PATIENCE = 4.0
"""Seconds until a page says that Kafka is away."""
AT_ONCE = 20
MOST_BYTES = 32 << 20
"""Of records that are read for one look: chunks are large."""
OVER = (State.FINISHED, State.FAILED, State.STOPPED, State.LOST)


@dataclass(frozen=True, slots=True)
class KafkaCluster:
    """A Kafka: the cloud's, or that of the data streams where it is another."""

    name: str
    title: str

    @property
    def config(self) -> Config:
        """Its clients' settings; raises LogError where it is not configured."""
        return kafka.data_config() if self.name == "data" else kafka.cloud_config()

    @property
    def log(self) -> MessageLog:
        """The shared connection to it."""
        return kafka.stream_log() if self.name == "data" else kafka.message_log()


def clusters() -> list[KafkaCluster]:
    """The clusters that there are to look at."""
    cloud = KafkaCluster("cloud", "the cloud's Kafka")
    apart = settings.DATA_BOOTSTRAP not in ("", settings.KAFKA_BOOTSTRAP)
    return [cloud, KafkaCluster("data", "the data streams' Kafka")] if apart else [cloud]


def cluster(name: str) -> KafkaCluster:
    """The cluster of that name, else the cloud's."""
    return next((one for one in clusters() if one.name == name), clusters()[0])


def overview(where: KafkaCluster) -> list[TopicOverview]:
    """Its topics; raises LogError."""
    return topic_overviews(where.config, PATIENCE)


def inspection(where: KafkaCluster, name: str) -> Inspection | None:
    """One of its topics; None where there is none of that name. Raises LogError."""
    return inspect(where.config, name, PATIENCE)


def purpose(name: str) -> str:
    """What a topic is for, by its name."""
    federation = federation_of(name)
    if federation is not None:
        kinds = {
            control_topic(federation): "the run itself: one record a round",
            data_topic(federation): "global weights",
            aggregator_topic(federation): "what clients send",
        }
        return kinds.get(name, "of a federation")
    if name == MODEL_CONTROL:
        return "announcements of open federations"
    if name == DATA_CONTROL:
        return "announcements of data streams"
    if name == AUDIT:
        return "who did what"
    return "data of a site"


def kept_because(names: list[str]) -> dict[str, str]:
    """Why each topic cannot be deleted here; empty where it can."""
    federations = {federation for name in names if (federation := federation_of(name)) is not None}
    states = dict(Deployment.objects.filter(federation__in=federations).values_list("federation", "state"))
    deleted = set(
        FederationId.objects.filter(pk__in=federations, deleted_at__isnull=False).values_list("pk", flat=True)
    )
    return {name: _why_kept(name, states, deleted) for name in names}


def _why_kept(name: str, states: dict[str, str], deleted: set[str]) -> str:
    federation = federation_of(name)
    if federation is None:
        return reserved(name) or "it holds a site's data, which is the site's own to delete"
    state = states.get(federation)
    if state in OVER or (state is None and federation in deleted):
        return ""
    if state is None:
        return f"federation {federation} is not known here: it may be another backend's"
    return f"federation {federation} is {State(state).label}: stop it first"


def destroys(name: str, records: int) -> list[str]:
    """What deleting a topic destroys, for a person to read before it is done."""
    lines = [f"its {records:,} records"]
    federation = federation_of(name)
    if federation is not None and Deployment.objects.filter(federation=federation).exists():
        lines.append(f"what federation {federation} needs to be resumed, verified or downloaded from")
    return lines


def delete(where: KafkaCluster, name: str, confirmed: str) -> None:
    """Delete a topic of a federation that is over; raises Problem, LogError."""
    reason = kept_because([name])[name]
    if reason:
        raise Problem(status.HTTP_409_CONFLICT, f"The topic {name} is kept: {reason}.")
    if confirmed != name:
        raise Problem(
            status.HTTP_400_BAD_REQUEST, f"This destroys the topic {name}: repeat its name in confirm.", field="confirm"
        )
    if inspection(where, name) is None:
        raise Problem(status.HTTP_404_NOT_FOUND, f"There is no topic {name}.")
    with outside("topic.delete", (name, where.title)):
        where.log.delete_topics([name])


def messages(where: KafkaCluster, name: str, partition: int, start: int, end: int) -> Iterator[Message]:
    """The messages with offsets in [start, end), bounded in number and bytes; raises LogError."""
    size = 0
    for record in where.log.read(name, partition, start, min(end, start + AT_ONCE)):
        yield message_of(record)
        size += len(record.value or b"")
        if size > MOST_BYTES:
            return


def away(error: LogError) -> str:
    """That Kafka cannot be asked, in a sentence."""
    return f"{error}. What is shown elsewhere comes from the database; try again when Kafka is back."
