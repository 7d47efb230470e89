"""Kafka-ML's control message: what a site says about a data stream on FEDERATED_DATA_CONTROL_TOPIC."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import Any

from mainstem.errors import ConfigError, DecodeError, LogError
from mainstem.protocol.topics import CONTROL_RECORD_LIMIT, TopicSpec, check_federation_id, data_control_spec
from mainstem.runtime.environ import checked
from mainstem.streams.announcement import DataAnnouncement, StreamRange

Deployment = int | str | bytes | None
"""A federation's id as text, and no other is meant; or a deployment's number, which means nobody in particular."""


def deployment_key(deployment: Deployment) -> bytes | None:
    """The control message's key: a number big-endian in as few bytes as it needs, a federation's id as text.

    Digits are a number, also as text. Raises ConfigError.
    """
    if deployment is None or isinstance(deployment, bytes):
        return deployment
    if isinstance(deployment, str):
        if not deployment.isascii() or not deployment.isdigit() or len(deployment) in (0, 8) or len(deployment) > 18:
            return checked("deployment_id", check_federation_id, deployment).encode()
        deployment = int(deployment)
    if deployment < 0:
        raise ConfigError(f"deployment_id is {deployment}; it must not be negative")
    return deployment.to_bytes(max(1, (deployment.bit_length() + 7) // 8), "big")


def range_text(ranges: Iterable[StreamRange]) -> str:
    """`topic:partition:start:end,...`; raises LogError where the text outgrows a control record."""
    text = ",".join(map(str, ranges))
    if len(text) > CONTROL_RECORD_LIMIT // 2:
        raise LogError(
            f"the stream is in {text.count(',') + 1} pieces, since another producer writes into the same "
            "partition; use a topic of its own"
        )
    return text


def control_message(
    *,
    topic: str,
    unsupervised_topic: str | None,
    input_format: str,
    description: str,
    dataset_restrictions: Any,
    input_config: Mapping[str, Any],
    validation_rate: float,
    test_rate: float,
    total_msg: int | None,
    incremental: bool,
) -> bytes:
    """The message's JSON, with Kafka-ML's fields in Kafka-ML's order, as its readers accept it.

    Raises ConfigError where Mainstem would not accept it.
    """
    body: dict[str, Any] = {
        "topic": topic,
        "unsupervised_topic": unsupervised_topic,
        "input_format": input_format,
        "description": description,
        "dataset_restrictions": dataset_restrictions,
        "input_config": input_config,
        "validation_rate": validation_rate,
        "test_rate": test_rate,
        "total_msg": total_msg,
    }
    if incremental:  # the order that Kafka-ML's online sinks have
        body["dataset_restrictions"] = body.pop("dataset_restrictions")
    body["incremental"] = incremental
    try:
        value = json.dumps(body).encode()
    except (TypeError, ValueError) as error:
        raise ConfigError(f"the announcement cannot be written as JSON: {error}") from error
    try:
        DataAnnouncement.decode(None, value)
    except DecodeError as error:
        raise ConfigError(str(error)) from error
    return value


def control_spec(topic: str) -> TopicSpec:
    """A control topic to create: one partition, kept, whatever its name."""
    return replace(data_control_spec(), name=topic)
