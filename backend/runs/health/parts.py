"""How the platform's other processes are, seen from outside: by what they have not done, and by what they say.

A part that is stuck does not say so. So a logger is judged by the records that wait for it, an aggregator by its place
in the group, the launcher by its silence.
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterator

from django.utils import timezone

from backend.deployments.log import kafka
from backend.launchers.models import Report
from backend.runs.health.sign import Sign
from mainstem.errors import MainstemError
from mainstem.kafka.client.config import Config
from mainstem.kafka.client.exchange_group import GroupStanding, group_standing
from mainstem.protocol.log import Record, Source
from mainstem.protocol.topics import AGGREGATORS, DATA_CONTROL, MODEL_CONTROL
from mainstem.relay.command import group_of
from mainstem.runtime.site import site_of

LATE_SECONDS = 60.0
"""What has waited for so long shows a part that fails."""

ASK_SECONDS = 3.0


def signs() -> Iterator[Sign]:
    """One of each part. Kafka answers, or did just now."""
    site = site_of(os.environ)
    yield _logger("Control logger", kafka.cloud_config(), kafka.message_log(), "control_logger", MODEL_CONTROL, site)
    yield _logger("Data logger", kafka.data_config(), kafka.stream_log(), "data_control_logger", DATA_CONTROL, site)
    yield _aggregators()
    yield launcher()


def _logger(name: str, config: Config, log: Source, part: str, topic: str, site: str | None) -> Sign:
    try:
        standing = group_standing(config, group_of(part, site), topic, ASK_SECONDS)
        if not standing.members:
            return Sign(name, "away", f"no {part} reads from Kafka: start one, or look at its log")
        waits = late(oldest(log, topic, standing))
    except MainstemError as error:
        return Sign(name, "away", str(error))
    if waits is not None:
        return Sign(name, "away", f"{part} has left a record waiting for {waits:.0f} s: look at its log")
    return Sign(name, "ok", "brings every record")


def oldest(log: Source, topic: str, standing: GroupStanding) -> int | None:
    """When the oldest record that the group has not committed was written; None where none waits. Raises LogError."""
    times = [
        record.timestamp_ms
        for place in standing.partitions
        if place.lag
        for record in _first(log, topic, place.number, max(place.first, place.committed or 0), place.end)
    ]
    return min(times, default=None)


def _first(log: Source, topic: str, partition: int, start: int, end: int) -> Iterator[Record]:
    """The first record of a range that may hold none, but markers of transactions."""
    for record in log.read(topic, partition, start, end):
        yield record
        return


def late(written_ms: int | None) -> float | None:
    """Seconds that a record has waited, where that is long; None else."""
    age = 0.0 if written_ms is None else time.time() - written_ms / 1000
    return age if age >= LATE_SECONDS else None


def _aggregators() -> Sign:
    try:
        members = group_standing(kafka.cloud_config(), AGGREGATORS, MODEL_CONTROL, ASK_SECONDS).members
    except MainstemError as error:
        return Sign("Aggregator", "away", str(error))
    if not members:
        return Sign("Aggregator", "away", "none is connected: runs stand still until one is")
    return Sign("Aggregator", "ok", f"{members} share{'s' if members == 1 else ''} the runs")


def launcher() -> Sign:
    """What makes and starts Jobs; its row tells, without Kafka."""
    report = Report.objects.first()
    if report is None:
        return Sign("Launcher", "away", "none has run on this database")
    silent = (timezone.now() - report.at).total_seconds()
    if silent >= LATE_SECONDS:
        return Sign("Launcher", "away", f"it has said nothing for {silent:.0f} s: look at its log")
    return Sign("Launcher", "away", report.trouble) if report.trouble else Sign("Launcher", "ok", "all its loops turn")
