"""What a deployed version has answered and what waits, from its consumer group at Kafka."""

from __future__ import annotations

from typing import Any

from backend.deployments.log import kafka
from backend.inference.models import Inference
from mainstem.kafka.client.exchange_group import GroupStanding, group_standing

PATIENCE = 4.0
"""Seconds until a page says that Kafka is away."""


def traffic(inference: Inference) -> dict[str, Any]:
    """See `TrafficSerializer`; raises LogError."""
    standing = standing_of(inference)
    return {
        "members": standing.members,
        "answered": standing.tally.answered,
        "refused": standing.tally.refused,
        "lag": standing.lag,
        "partitions": [
            {"partition": p.number, "committed": p.committed, "end": p.end, "lag": p.lag} for p in standing.partitions
        ],
    }


def standing_of(inference: Inference) -> GroupStanding:
    """Its group's standing; raises LogError."""
    return group_standing(kafka.data_config(), inference.group, inference.input_topic, PATIENCE)
