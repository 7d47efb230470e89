"""How the platform is, for the overview: Kafka, the projection, outbox, Jobs, disks. Asked once for all who look."""

from __future__ import annotations

import threading
import time

from django.conf import settings
from django.db.models import Count, Min
from django.utils import timezone

from backend.deployments.log.kafka import cloud_config, message_log
from backend.deployments.models import OPEN, Deployment, OutboxEntry, State
from backend.launchers.models import Job
from backend.runs.health import parts
from backend.runs.health.sign import Sign
from mainstem.errors import MainstemError
from mainstem.kafka.client.door import knock
from mainstem.protocol.topics import control_topic
from mainstem.runtime.disk import Disks, size

FRESH_SECONDS = 5.0
KAFKA_SECONDS = 3.0
WATCHED = 20
"""Open federations whose control topic is compared with what was folded."""
LATE = 20
"""Records that the projection may be behind without a word: a batch on its way."""


_lock = threading.Lock()
_found: tuple[float, list[Sign]] = (float("-inf"), [])


def signs() -> list[Sign]:
    """At most FRESH_SECONDS old; who asks while another finds out waits for that one's answer."""
    global _found
    with _lock:
        if time.monotonic() - _found[0] > FRESH_SECONDS:
            _found = (time.monotonic(), [*_kafka(), _outbox(), jobs_sign(), *_disks()])
        return _found[1]


def _kafka() -> list[Sign]:
    try:
        brokers = knock(cloud_config(), KAFKA_SECONDS)
        kafka = Sign("Kafka", "ok", f"{brokers} broker{'s' if brokers != 1 else ''} at {settings.KAFKA_BOOTSTRAP}")
        return [kafka, _projection(), *parts.signs()]
    except MainstemError as error:
        return [Sign("Kafka", "away", f"{error}. Runs go on by themselves once that is mended.")]


def _projection() -> Sign:
    """How far the database is behind the open federations' logs."""
    open_ = Deployment.objects.filter(state__in=(State.WAITING, State.RUNNING)).exclude(topic_id="")
    behind = 0
    for federation, folded in open_.values_list("federation", "folded")[:WATCHED]:
        topic = control_topic(federation)
        end = message_log().bounds(topic, 0)[1]
        behind = max(behind, end - folded)
        first = next(message_log().read(topic, 0, folded, end), None) if end > folded else None
        if first is not None and (waits := parts.late(first.timestamp_ms)) is not None:
            text = f"a record of federation {federation} has waited for {waits:.0f} s: look at the control logger"
            return Sign("Log", "away", text)
    doubted = Deployment.objects.exclude(doubt="").values_list("federation", flat=True)[:WATCHED]
    if doubted:
        return Sign("Log", "waiting", f"it does not hold what was read of {', '.join(doubted)}: it is read again")
    if behind > LATE:
        return Sign("Log", "waiting", f"these pages are {behind} records behind the log: look at the control logger")
    return Sign("Log", "ok", "these pages are up with it")


def _outbox() -> Sign:
    found = OutboxEntry.objects.filter(done_at=None).aggregate(number=Count("pk"), oldest=Min("created_at"))
    waiting = found["number"]
    if not waiting:
        return Sign("Commands", "ok", "all are written to Kafka")
    age = (timezone.now() - found["oldest"]).total_seconds()
    if age >= parts.LATE_SECONDS:
        return Sign("Commands", "away", f"{waiting} wait to be written to Kafka, the oldest for {age:.0f} s")
    return Sign("Commands", "waiting", f"{waiting} wait to be written to Kafka")


def jobs_sign() -> Sign:
    """What runs and waits, and which Jobs of open runs have failed: those of runs that are over trouble nobody."""
    found = Job.objects.order_by()
    counts = dict(found.filter(state__in=("running", "pending")).values_list("state").annotate(n=Count("id")))
    failed = found.filter(state="failed", deployment__state__in=OPEN)
    newest = failed.order_by("-ended_at", "-id").first()
    if newest is not None:
        said = f"{failed.count()} of open runs failed, the newest: {newest.client_id}: {newest.detail}"
        return Sign("Jobs", "failing", said)
    return Sign("Jobs", "ok", ", ".join(f"{counts[state]} {state}" for state in sorted(counts)[::-1]) or "none runs")


def _disks() -> list[Sign]:
    """Of this machine; where Kafka runs elsewhere, its own is not seen."""
    states = {"ok": "ok", "low": "waiting", "full": "away"}
    return [
        Sign("Disk", states[disk.state], disk.said or f"{size(disk.free)} left at {disk.name}")
        for disk in Disks(settings.HOME, settings.DISK_FLOOR).look()
    ]
