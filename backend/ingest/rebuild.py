"""Fills the tables of runs and streams from Kafka again: reads the control topics anew, as a control logger would."""

from __future__ import annotations

import secrets
import time
from collections.abc import Callable, Mapping
from contextlib import closing
from dataclasses import dataclass, field
from typing import Any

from backend.audit import outbox
from backend.deployments.projection import projection
from backend.deployments.projection.auditor import audit
from backend.streams import intake
from mainstem.errors import LogError
from mainstem.kafka.client.group_source import GroupSource
from mainstem.kafka.client.log import KafkaLog
from mainstem.protocol.batch import Batch
from mainstem.protocol.topics import AUDIT, CONTROL_PATTERN, DATA_CONTROL, MODEL_CONTROL

PATIENCE_SECONDS = 60.0
"""Without a record and without the end of the topics in sight for so long, something is wrong."""

Config = Mapping[str, str | int | float | bool]


@dataclass(slots=True)
class Rebuilt:
    """What was read: `accepted` records are new, `duplicates` stood in the database already.

    `dropped` are runs of which the database held records that the log does not.
    """

    accepted: int = 0
    duplicates: int = 0
    refused: list[dict[str, Any]] = field(default_factory=list)
    streams: int = 0
    dropped: int = 0
    audited: int = 0
    seconds: float = 0.0


def rebuild(cloud: Config, data: Config, say: Callable[[str], object] = lambda text: None) -> Rebuilt:
    """Read everything from the beginning into the tables; what they hold already is left alone. Raises LogError.

    A run whose rows and log contradict each other is read again from its log alone, which drops what is not in it.
    Its consumer group is its own and commits nothing, so the loggers and this do not disturb each other.
    """
    began, done = time.monotonic(), Rebuilt()

    def control(batch: Batch) -> None:
        taken = projection.take(batch.cluster_id, [(batch.topic_ids[r.topic], r) for r in batch.records])
        done.accepted += taken.accepted
        done.duplicates += taken.duplicates
        done.refused += taken.refused
        say(f"{done.accepted + done.duplicates} control records")

    def streams(batch: Batch) -> None:
        for record in batch.records:
            done.streams += intake.take(batch.cluster_id, batch.topic_ids[record.topic], record)[1]

    def audited(batch: Batch) -> None:
        new, refused = outbox.take(batch.records)
        done.audited += new
        done.refused += [
            {"topic": record.topic, "partition": record.partition, "offset": record.offset, "reason": reason}
            for record, reason in refused
        ]

    _drain(cloud, [f"^{MODEL_CONTROL}$", CONTROL_PATTERN], control)
    with closing(KafkaLog(cloud)) as source:
        done.dropped = audit(source)
    _drain(data, [f"^{DATA_CONTROL}$"], streams)
    _drain(cloud, [f"^{AUDIT}$"], audited)
    done.seconds = time.monotonic() - began
    return done


def _drain(config: Config, topics: list[str], take: Callable[[Batch], None]) -> None:
    source = GroupSource(config, group=f"mainstem-rebuild-{secrets.token_hex(6)}", topics=topics)
    try:
        deadline = time.monotonic() + PATIENCE_SECONDS
        while True:
            batch = source.batch(1.0)
            if batch is not None:
                take(batch)
                deadline = time.monotonic() + PATIENCE_SECONDS
            elif source.drained():
                return
            elif time.monotonic() > deadline:
                raise LogError(f"the end of {', '.join(topics)} was not reached; is Kafka well?")
    finally:
        source.close()
