"""Announcements as the control logger brings them: other backends' federations become known, and forgotten again.

For a federation of our own they say nothing new: its control topic is what counts.
"""

from __future__ import annotations

from django.conf import settings
from django.db import transaction
from django.utils import timezone

from backend.deployments.models import ControlRecord, Deployment, FederationId, State
from backend.deployments.projection.columns import fit, whole
from mainstem.errors import DecodeError
from mainstem.protocol import announcing
from mainstem.protocol.log import Record
from mainstem.protocol.messages import Announcement
from mainstem.protocol.signing import HEADER


@transaction.atomic
def take(cluster_id: str, topic_id: str, record: Record) -> tuple[bool, str]:
    """Keep the record and note what it says: whether it is new, and why it counts for nothing (or "")."""
    place = {
        "cluster_id": cluster_id,
        "topic_id": topic_id,
        "partition": record.partition,
        "offset": record.offset,
    }
    problem, federation, announcement = "", "", None
    try:
        federation, announcement = announcing.read(record, settings.PLATFORM_KEY)
    except DecodeError as error:
        problem = str(error).replace("\0", "")[:2000]
    fields = {
        "topic": record.topic,
        "timestamp_ms": record.timestamp_ms,
        "federation": federation,
        "kind": "announcement",
        "value": record.value,
        "signature": record.headers.get(HEADER),
        "problem": problem,
    }
    kept, fresh = ControlRecord.objects.get_or_create(**place, defaults=fields)
    if not fresh and not kept.equals(record):  # the log went back to an older copy, and holds this one there now
        kept.delete()
        fresh = bool(ControlRecord.objects.create(**place, **fields))
    if fresh and not problem:
        _forget(federation) if announcement is None else _note(announcement)
    return fresh, problem


def _note(announcement: Announcement) -> None:
    known, _ = FederationId.objects.get_or_create(id=announcement.federation)
    if known.deleted_at is not None:
        return
    said = {
        "name": announcement.name,
        "framework": announcement.framework,
        "input": whole(announcement.input),
        "data": whole(announcement.data),
        "rules": {"min_clients": announcement.min_clients, "max_clients": announcement.max_clients},
    }
    deployment, created = Deployment.objects.get_or_create(
        federation=announcement.federation,
        defaults={"external": True, "state": State.WAITING, **fit(Deployment, said)},
    )
    if not deployment.external:
        return
    revision = fit(Deployment, {"revision": max(deployment.revision, announcement.revision)})
    Deployment.objects.filter(pk=deployment.pk).update(**revision)
    if not created:  # until `opened` was received, which says more
        Deployment.objects.filter(pk=deployment.pk, opened_ms=None).update(**fit(Deployment, said))


def _forget(federation: str) -> None:
    """A tombstone: another backend has deleted its federation. Our own go through the outbox."""
    if not Deployment.objects.filter(federation=federation, external=False).exists():
        FederationId.objects.update_or_create(id=federation, defaults={"deleted_at": timezone.now()})
        Deployment.objects.filter(federation=federation).delete()
