"""Announcing a stream from here: what a sink of Kafka-ML writes, for people who have the topic, or only its name."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from rest_framework import status

from backend.audit.recording import outside
from backend.deployments.log import kafka
from backend.rest.problems import Problem
from mainstem.errors import DecodeError
from mainstem.protocol.log import Outgoing
from mainstem.protocol.topics import DATA_CONTROL, data_control_spec, reserved, stream_spec
from mainstem.streams.announcement import DataAnnouncement, exact


@dataclass(frozen=True, slots=True)
class Announced:
    """Where the announcement stands, and which of its topics were made for it."""

    topic: str
    made: tuple[str, ...]
    offset: int

    def __str__(self) -> str:
        made = "".join(f" The topic {name} was missing and is made, with one partition." for name in self.made)
        return f"{self.topic} is announced; it is listed within a second.{made}"


def announce(fields: Mapping[str, Any]) -> Announced:
    """Write the announcement, and make the topics of samples that are missing.

    `fields` are those of `AnnouncementSerializer`. Raises Problem with the field to blame, and LogError.
    """
    said = dict(fields)
    federation = str(said.pop("federation", "") or "")
    if said.get("incremental") is None:  # a bare name without a count says nothing else
        said["incremental"] = ":" not in said["topic"] and said.get("total_msg") is None
    value = json.dumps(said).encode()
    try:
        stream = DataAnnouncement.decode(federation.encode() or None, value)
    except DecodeError as error:
        blamed = next((name for name in said if str(error).startswith(name)), None)
        raise Problem(status.HTTP_400_BAD_REQUEST, str(error), field=blamed) from error
    with outside("stream.announce", (stream.topic, stream.description)):
        made = _make_missing(stream)
        log = kafka.stream_log()
        log.create_topics([data_control_spec()])
        (offset,) = log.append(DATA_CONTROL, [Outgoing(value, key=federation.encode() or None)])
    return Announced(stream.topic, made, offset)


def _make_missing(stream: DataAnnouncement) -> tuple[str, ...]:
    names = {part.topic for part in stream.ranges}
    for name in sorted(names):
        if why := reserved(name):
            raise Problem(status.HTTP_400_BAD_REQUEST, f"{name} is no topic for samples: {why}.", field="topic")
    log = kafka.stream_log()
    missing = sorted(names - log.existing(names))
    if missing and exact(stream.ranges):
        raise Problem(
            status.HTTP_409_CONFLICT,
            f"There is no topic {missing[0]}, so none of these offsets: give its bare name, and it is made.",
            field="topic",
        )
    log.create_topics([stream_spec(name) for name in missing])
    return tuple(missing)
