"""Keeps control records and folds them into tables: idempotent, in order, and again from the start if one comes late.

The rows are a function of the set of records alone, however they were delivered. A record that contradicts a kept one
puts the run in doubt: which of them the log holds only the log can tell (`rereading`).
"""

from __future__ import annotations

import logging
import threading
from collections import OrderedDict
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from django.conf import settings
from django.db import models, transaction

from backend.deployments.models import (
    ClientRound,
    ControlRecord,
    Deployment,
    FederationId,
    Member,
    Refusal,
    Round,
    State,
    Version,
)
from backend.deployments.projection import announcements
from backend.deployments.projection.columns import fit
from backend.deployments.projection.fold import Changes, changes_of
from mainstem.errors import OLDER
from mainstem.protocol.control import ControlReader, Entry
from mainstem.protocol.log import Record
from mainstem.protocol.messages import Unknown
from mainstem.protocol.signing import HEADER
from mainstem.protocol.topics import MODEL_CONTROL, control_topic, federation_of
from mainstem.protocol.witness import holds

log = logging.getLogger(__name__)

READERS = 64
"""Federations whose chain a web worker keeps in memory; others are read again from the stored records."""


GONE = 1000
"""Clients that left, failed or were removed: so many of a run stand in its table."""


@dataclass(slots=True)
class Intake:
    """What became of a batch."""

    accepted: int = 0
    duplicates: int = 0
    refused: list[dict[str, Any]] = field(default_factory=list)

    def refuse(self, record: Record, reason: str) -> None:
        """Note a record that counts for nothing."""
        place = {"topic": record.topic, "partition": record.partition, "offset": record.offset}
        self.refused.append({**place, "reason": reason})


def take(cluster_id: str, records: Iterable[tuple[str, Record]]) -> Intake:
    """Store and fold a batch of (topic id, record)."""
    taken = Intake()
    batches: dict[tuple[str, str], list[Record]] = {}
    for topic_id, record in records:
        federation = federation_of(record.topic)
        if record.topic == MODEL_CONTROL:
            fresh, problem = announcements.take(cluster_id, topic_id, record)
            taken.duplicates += not fresh
            taken.accepted += fresh and not problem
            if fresh and problem:
                taken.refuse(record, problem)
        elif federation is None or record.topic != control_topic(federation) or record.partition != 0:
            taken.refuse(record, f"the record is of {record.topic[:80]}; a federation's control topic is expected")
        else:
            batches.setdefault((federation, topic_id), []).append(record)
    for (federation, topic_id), batch in batches.items():
        _take_topic(federation, cluster_id, topic_id, batch, taken)
    return taken


def _take_topic(federation: str, cluster_id: str, topic_id: str, batch: Sequence[Record], taken: Intake) -> None:
    try:
        with transaction.atomic():
            deployment = _deployment(federation)
            if deployment is None:
                for record in batch:
                    taken.refuse(record, f"federation {federation} was deleted")
            else:
                _claim(deployment, cluster_id, topic_id)
                kept = {row.offset: row for row in ControlRecord.of(deployment).filter(offset__in=_offsets(batch))}
                if reason := deployment.doubt or _doubt(deployment, (cluster_id, topic_id), kept, batch):
                    doubt(deployment, reason)
                    for record in batch:  # once the log is read again, they come with it
                        taken.refuse(record, reason)
                else:
                    store_and_fold(deployment, batch, kept.keys(), taken)
    except BaseException:
        _forget(federation)  # what the reader in memory has seen was not committed
        raise


def _deployment(federation: str) -> Deployment | None:
    """The federation's row, locked; made where the log knows it and we do not. None where it was deleted."""
    found = Deployment.objects.select_for_update().filter(federation=federation).first()
    if found is not None:
        return found
    known, _ = FederationId.objects.get_or_create(id=federation)
    if known.deleted_at is not None:
        return None
    made, _ = Deployment.objects.get_or_create(
        federation=federation, defaults={"name": federation, "external": True, "state": State.WAITING}
    )
    return Deployment.objects.select_for_update().get(pk=made.pk)


def _claim(deployment: Deployment, cluster_id: str, topic_id: str) -> None:
    if not deployment.topic_id and not deployment.cluster_id:
        deployment.cluster_id, deployment.topic_id = cluster_id, topic_id


def _offsets(batch: Iterable[Record]) -> list[int]:
    return [record.offset for record in batch]


def _doubt(
    deployment: Deployment, place: tuple[str, str], kept: Mapping[int, ControlRecord], batch: Iterable[Record]
) -> str:
    """Why the kept records and these cannot all be of one log; empty where they can."""
    if (deployment.cluster_id, deployment.topic_id) != place:
        return f"federation {deployment.federation} is known from another topic of that name (id {deployment.topic_id})"
    contradicted = (record for record in batch if record.offset in kept and not kept[record.offset].equals(record))
    record = next(contradicted, None)
    return "" if record is None else contradiction(record.topic, record.offset)


def contradiction(topic: str, offset: int) -> str:
    """The sentence of a record that is another one than was kept."""
    return f"{topic} holds another record at offset {offset} than was read there before: {OLDER}"


def doubt(deployment: Deployment, reason: str) -> None:
    """Believe neither the rows nor what loggers bring, until the log was read again."""
    if deployment.doubt != reason:
        log.error("%s; the log of federation %s is read again", reason, deployment.federation)
        deployment.doubt = reason
        deployment.save(update_fields=["doubt"])


def store_and_fold(deployment: Deployment, batch: Sequence[Record], known: Collection[int], taken: Intake) -> None:
    """Keep what is new of a batch, beside the `known` offsets, and fold it. The deployment's row is locked."""
    place = {"cluster_id": deployment.cluster_id, "topic_id": deployment.topic_id, "partition": 0}
    fresh: dict[int, Record] = {}
    for record in batch:
        if record.offset in known or record.offset in fresh:
            taken.duplicates += 1
        else:
            fresh[record.offset] = record
    if not fresh:
        deployment.save()
        return
    rows = [
        ControlRecord(
            **place,
            topic=record.topic,
            offset=record.offset,
            timestamp_ms=record.timestamp_ms,
            federation=deployment.federation,
            value=record.value,
            signature=record.headers.get(HEADER),
        )
        for record in sorted(fresh.values(), key=lambda record: record.offset)
    ]
    ControlRecord.objects.bulk_create(rows)
    problems = fold_again(deployment) if rows[0].offset < deployment.folded else _fold(deployment, rows)
    for offset, record in fresh.items():
        if offset in problems:
            taken.refuse(record, problems[offset])
        else:
            taken.accepted += 1


def fold_again(deployment: Deployment) -> dict[int, str]:
    """Clear what was folded, and fold every kept record; the reasons of those not readable or not signed, by offset."""
    for rows in (deployment.rounds, deployment.versions, deployment.refusals, deployment.members):
        rows.all().delete()
    deployment.refolds += 1
    deployment.folded = deployment.superseded = deployment.undecodable = deployment.forged = 0
    if deployment.state not in (State.DELETING, State.LOST):
        deployment.state = State.WAITING
    deployment.detail = deployment.phase = deployment.sha256 = ""
    deployment.round = deployment.version = deployment.needed = 0
    deployment.head, deployment.evaluation, deployment.personal = {}, None, None
    deployment.failures, deployment.trouble = [], ""
    deployment.deadline_ms = deployment.opened_ms = deployment.ended_ms = None
    _forget(deployment.federation)
    return _fold(deployment, list(ControlRecord.of(deployment)))


def _fold(deployment: Deployment, rows: Sequence[ControlRecord]) -> dict[int, str]:
    """Fold rows that follow what was folded; the reasons of those not readable or not signed, by offset."""
    fixed = deployment.state if deployment.state in (State.DELETING, State.LOST) else None
    reader = _reader(deployment)
    problems: dict[int, str] = {}
    for row in rows:
        entry = _feed(reader, row)
        row.kind = _kind(entry)
        row.problem = (entry.problem or "").replace("\0", "")[:2000]
        if entry.record is None:
            problems[row.offset] = row.problem
            deployment.undecodable += 1
        elif entry.forged is not None:
            problems[row.offset] = row.problem
            deployment.forged += 1
            log.warning("%s@%d counts for nothing: %s", row.topic, row.offset, row.problem)
        elif entry.problem:
            deployment.superseded += 1
        _write(deployment, changes_of(entry, reader.chain.head))
        deployment.folded = row.offset + 1
    ControlRecord.objects.bulk_update(rows, ["kind", "problem"], batch_size=500)
    if deployment.lost_end is not None and holds(reader.chain.hashes, deployment.lost_end):
        log.info("federation %s: the log holds again what was witnessed of it", deployment.federation)
        deployment.lose(None)
    if fixed == State.DELETING or (fixed == State.LOST and not deployment.ended):
        deployment.state = fixed  # no record says so
    deployment.save()
    _remember(deployment, reader)
    return problems


def hashes_of(deployment: Deployment) -> Sequence[str]:
    """The sha256 of each lifecycle record that was folded, the oldest first. The deployment's row is locked."""
    reader = _reader(deployment)
    _remember(deployment, reader)
    return reader.chain.hashes


def _kind(entry: Entry) -> str:
    record = entry.record
    if isinstance(record, Unknown):
        return "unknown"
    return "" if record is None else str(type(record).__struct_config__.tag)


def _write(deployment: Deployment, changes: Changes) -> None:
    for name, value in fit(Deployment, changes.deployment).items():
        setattr(deployment, name, value)
    mine: dict[str, Any] = {"deployment": deployment}
    if changes.version is not None:
        row = fit(Version, changes.version)
        Version.objects.update_or_create(**mine, number=row.pop("number"), defaults=row)
    if changes.round is not None:
        row = fit(Round, changes.round)
        round_, _ = Round.objects.update_or_create(**mine, seq=row.pop("seq"), defaults=row)
        _upsert(ClientRound, {"round": round_}, changes.clients, ["client", "offset"])
    _upsert(Refusal, mine, changes.refusals, ["offset"])
    _upsert(Member, mine, _with_last_words(deployment, changes.members), ["client"])
    if changes.present is not None:
        _part_with(deployment, changes.present)
    for number, measured in changes.evaluations.items():
        deployment.versions.filter(number=number).update(
            evaluation=fit(Version, {"evaluation": measured})["evaluation"]
        )


def _part_with(deployment: Deployment, present: frozenset[str]) -> None:
    """Whom a commit no longer names has left; of those who are gone the newest `GONE` are shown."""
    here = deployment.members.exclude(state__in=Member.GONE).values_list("client", flat=True)
    left = sorted(set(here) - present)
    for at in range(0, len(left), 500):
        deployment.members.filter(client__in=left[at : at + 500]).update(state="left", awaited=False)
    gone = deployment.members.filter(state__in=Member.GONE).order_by("-last_ms", "client")
    older = list(gone.values_list("pk", flat=True)[GONE:])
    for at in range(0, len(older), 500):
        deployment.members.filter(pk__in=older[at : at + 500]).delete()


def _with_last_words(deployment: Deployment, members: Sequence[dict[str, Any]]) -> Sequence[dict[str, Any]]:
    """A failed member keeps its sentence: commits do not have it, and a later aggregator has not heard it."""
    silent = {row["client"] for row in members if row.get("state") == "failed" and not row["detail"]}
    if not silent:
        return members
    said = deployment.members.filter(state="failed", client__in=silent).exclude(detail="")
    words = dict(said.values_list("client", "detail"))
    return [
        {**row, "detail": words[row["client"]]} if row["client"] in words.keys() & silent else row for row in members
    ]


def _upsert(model: type[models.Model], owner: dict[str, Any], rows: Sequence[dict[str, Any]], keys: list[str]) -> None:
    """Insert or update rows by their owner and keys; of rows with the same keys the last one counts."""
    unique = {tuple(row[key] for key in keys): row for row in (fit(model, row) for row in rows)}
    if not unique:
        return
    changed = [name for name in next(iter(unique.values())) if name not in keys]
    model._default_manager.bulk_create(
        [model(**owner, **row) for row in unique.values()],
        update_conflicts=True,
        unique_fields=[*owner, *keys],
        update_fields=changed,
        batch_size=500,
    )


# ---------------------------------------------------------------- chains in memory
_lock = threading.Lock()
_readers: OrderedDict[str, tuple[tuple[int, int, int], ControlReader]] = OrderedDict()


def _mark(deployment: Deployment) -> tuple[int, int, int]:
    return deployment.pk, deployment.refolds, deployment.folded


def _reader(deployment: Deployment) -> ControlReader:
    """The reader that has seen exactly what was folded: from memory, or from the stored records."""
    with _lock:
        mark, reader = _readers.pop(deployment.federation, (None, None))
    if reader is not None and mark == _mark(deployment):
        return reader
    if reader is None or mark is None or mark[:2] != _mark(deployment)[:2] or mark[2] > deployment.folded:
        reader, start = ControlReader(deployment.federation, settings.PLATFORM_KEY), 0
    else:
        start = mark[2]  # another web worker folded on from here
    for row in ControlRecord.of(deployment).filter(offset__gte=start, offset__lt=deployment.folded).iterator():
        _feed(reader, row)
    return reader


def _feed(reader: ControlReader, row: ControlRecord) -> Entry:
    value = None if row.value is None else bytes(row.value)
    return reader.feed(row.offset, row.timestamp_ms, value, row.headers)


def _remember(deployment: Deployment, reader: ControlReader) -> None:
    with _lock:
        _readers[deployment.federation] = (_mark(deployment), reader)
        while len(_readers) > READERS:
            _readers.popitem(last=False)


def _forget(federation: str) -> None:
    with _lock:
        _readers.pop(federation, None)


def forget_all() -> None:
    """Drop every chain in memory, as a restart of the process does."""
    with _lock:
        _readers.clear()
