"""Carries records to their topic, and forgets those that are old. The launcher process calls it in a loop."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterable
from datetime import timedelta

from django.db import transaction
from django.utils import timezone

from backend.audit.models import AuditEntry
from mainstem.errors import DecodeError, LogError
from mainstem.protocol.log import MessageLog, Outgoing, Record
from mainstem.protocol.messages import decode_audited, encode
from mainstem.protocol.topics import AUDIT, audit_spec
from mainstem.runtime.backoff import pause

log = logging.getLogger(__name__)

AT_ONCE = 500
FIRST_PAUSE_SECONDS, LONGEST_PAUSE_SECONDS = 0.25, 30.0
FORGET_EVERY_SECONDS = 600.0


class Publisher:
    """One step after the other; `days` is how long a row is kept once Kafka has its record."""

    def __init__(
        self, message_log: Callable[[], MessageLog], days: int, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._log, self._days, self._clock = message_log, days, clock
        self._attempts = 0
        self._due = self._forget_at = clock()

    def step(self) -> int:
        """Send what waits, the oldest first; how many records that were. Where Kafka is away, all stay and wait."""
        now = self._clock()
        if now < self._due:
            return 0
        if now >= self._forget_at:
            self._forget_at = now + FORGET_EVERY_SECONDS
            forget(self._days)
        try:
            sent = publish(self._log)
        except LogError as error:
            self._attempts += 1
            wait = pause(self._attempts, FIRST_PAUSE_SECONDS, LONGEST_PAUSE_SECONDS)
            self._due = now + wait
            log.warning("records of who did what wait for Kafka: %s; trying again in %.2f s", error, wait)
            return 0
        self._attempts = 0
        return sent


def publish(message_log: Callable[[], MessageLog]) -> int:
    """Write one batch; raises LogError. After a crash some are written again: a record counts once, by its id."""
    waiting = list(AuditEntry.objects.filter(sent_at=None).order_by("pk")[:AT_ONCE])
    if not waiting:
        return 0
    to = message_log()
    to.create_topics([audit_spec()])
    to.append(AUDIT, [Outgoing(encode(entry.record), key=entry.who.encode() or None) for entry in waiting])
    AuditEntry.objects.filter(pk__in=[entry.pk for entry in waiting]).update(sent_at=timezone.now())
    return len(waiting)


def forget(days: int) -> int:
    """Delete rows that are older and whose record Kafka has; how many. The topic keeps them."""
    old = AuditEntry.objects.filter(sent_at__isnull=False, at__lt=timezone.now() - timedelta(days=days))
    gone = 0
    while some := list(old.order_by("pk").values_list("pk", flat=True)[:AT_ONCE]):
        gone += AuditEntry.objects.filter(pk__in=some).delete()[0]
    return gone


def take(records: Iterable[Record]) -> tuple[int, list[tuple[Record, str]]]:
    """Rows of records that the topic holds: how many are new, and what is none of ours with the reason."""
    rows, refused = [], []
    for record in records:
        try:
            rows.append(AuditEntry.of(decode_audited(record.value)))
        except DecodeError as error:
            refused.append((record, str(error)))
    with transaction.atomic():
        known = set(AuditEntry.objects.filter(uid__in=[row.uid for row in rows]).values_list("uid", flat=True))
        fresh = {row.uid: row for row in rows if row.uid not in known}
        AuditEntry.objects.bulk_create(fresh.values(), ignore_conflicts=True)
    return len(fresh), refused
