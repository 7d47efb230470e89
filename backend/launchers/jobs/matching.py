"""Which stream trains for which federation: one Job a pair, once, however often and from wherever it is asked.

The database decides races: a Job's name and its place among a federation's `max_clients` are unique there.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

import msgspec
from django.db import IntegrityError, transaction
from django.db.models import Q

from backend.deployments.models import Deployment, Member, State
from backend.launchers.models import Job
from backend.project import database
from backend.sites import own
from backend.streams.models import DataSource
from mainstem.errors import ConfigError
from mainstem.protocol.messages import Rules
from mainstem.protocol.topics import check_client_id
from mainstem.streams.announcement import DataAnnouncement, misfit, parse_ranges
from mainstem.streams.survey import Standing

log = logging.getLogger(__name__)

OPEN = (State.WAITING, State.RUNNING)
"""The states in which a federation takes streams: its opening is in the log and it has not ended."""

MOST_NOTICES = 100
"""Of the newest streams that something is wrong with."""

TRIES = 20
"""How many lost races for a place are too many for one round."""


@dataclass(slots=True)
class Memory:
    """Pairs (deployment, source) whose decision cannot change, so that a loop decides each once."""

    decided: set[tuple[int, int]] = field(default_factory=set)


def match(sources: Iterable[DataSource] | None = None, memory: Memory | None = None) -> int:
    """Make the Jobs that are missing between open federations and `sources` (default: all); how many were made."""
    memory = memory or Memory()
    deployments = open_federations()
    if not deployments:
        return 0
    given = None if sources is None else {source.pk: source for source in sources}
    candidates = list(
        DataSource.objects.filter(problem="", standing__in=(Standing.READY, Standing.GONE))
        .order_by("id")
        .values_list("pk", flat=True)
        if given is None
        else [pk for pk, source in given.items() if not source.problem]
    )
    made = 0
    for deployment in deployments:
        open_pairs = [pk for pk in candidates if (deployment.pk, pk) not in memory.decided]
        if not open_pairs:
            continue
        if _first_free_slot(deployment) is None:
            continue  # full: asked again when a place is free
        if own.refusal(deployment) is not None:
            continue  # asked again: the allow list may be changed
        taken = set(Job.objects.filter(federation=deployment.federation).values_list("source_id", flat=True))
        for pk in open_pairs:
            if pk not in taken:
                source = given[pk] if given is not None else DataSource.objects.get(pk=pk)
                if waits_for_kafka(source, deployment):
                    continue  # asked again once the launcher has looked
                if unfit(source, deployment) is None:
                    if not assign(source, deployment):
                        break
                    made += 1
            memory.decided.add((deployment.pk, pk))
    return made


def open_federations() -> list[Deployment]:
    """The federations that take streams, the oldest first.

    Of others' those whose `opened` was read: anybody can announce what does not exist.
    """
    known = Q(external=False) | Q(opened_ms__isnull=False)
    waiting = Deployment.objects.filter(known, state__in=OPEN).order_by("created_at", "id")
    return [deployment for deployment in waiting if deployment.input]


def unfit(source: DataSource, deployment: Deployment) -> str | None:
    """Why the stream does not fit the federation, or may not train for it, in a sentence; None where it does."""
    if source.problem:
        return source.problem
    if source.standing == Standing.GONE:
        return source.notice
    return _misfit(source, deployment) or own.refusal(deployment)


def _misfit(source: DataSource, deployment: Deployment) -> str | None:
    try:
        return misfit(source.announcement, deployment.announcement)
    except ConfigError as error:
        return str(error)


def waits_for_kafka(source: DataSource, deployment: Deployment) -> str:
    """Why it is not known yet what Kafka holds of the stream; empty where it is.

    A federation that opens later wants a look of its own: topics may be made anew, and compacted, at any time.
    """
    if source.standing == Standing.GONE:
        return ""
    seen = source.surveyed_at is not None and source.surveyed_at >= deployment.created_at
    if seen and source.standing == Standing.READY:
        return ""
    return source.notice or "Kafka has not been asked yet what it holds of the stream"


def changed(job: Job) -> str:
    """Why the Job's stream is not the one any more that it was made for, in a sentence; empty where it is."""
    source = job.source
    if source.standing == Standing.GONE:
        return source.notice
    if job.records is None or source.readable is None or source.readable == job.records:
        return ""
    return f"{job.records} of its records could be read when the Job was made, and {source.readable} now"


def notices(deployment: Deployment) -> list[str]:
    """What people should know of the streams that train for the federation, or would if they were whole."""
    marked = DataSource.objects.filter(problem="").exclude(notice="").defer("value").order_by("-id")[:MOST_NOTICES]
    training = set(Job.objects.filter(federation=deployment.federation).values_list("source_id", flat=True))
    open_ = deployment.state in OPEN and bool(deployment.input)
    return [
        f"stream {source.pk} ({source.topic[:100]}): {source.notice}"
        for source in marked
        if source.pk in training or (open_ and _misfit(source, deployment) is None)
    ]


def assign(source: DataSource, deployment: Deployment) -> bool:
    """Make the Job of this pair unless there is one; False where the federation has no free place."""
    name = job_name(deployment.federation, source)
    for _ in range(TRIES):
        if Job.objects.filter(name=name).exists():
            return True
        slot = _first_free_slot(deployment)
        if slot is None:
            return False
        try:
            with transaction.atomic():
                Job.objects.create(
                    name=name,
                    federation=deployment.federation,
                    deployment=deployment,
                    source=source,
                    client_id=client_id(source.announcement, source.digest),
                    records=source.readable,
                    slot=slot,
                )
        except IntegrityError as error:
            if not database.field_in_use(error):
                raise
            continue  # somebody else made this Job or took this place: look again
        who = {"federation": deployment.federation, "client": client_id(source.announcement, source.digest)}
        log.info("stream %s trains for %s as Job %s", source.topic[:100], deployment.federation, name, extra=who)
        return True
    return False  # the next round tries again


def take_slot(job: Job) -> bool:
    """Give a Job that has lost its place another; False where there is none."""
    for _ in range(TRIES):
        if job.slot is not None:
            return True
        slot = None if job.deployment is None else _first_free_slot(job.deployment)
        if slot is None:
            return False
        try:
            with transaction.atomic():
                Job.objects.filter(pk=job.pk, slot=None).update(slot=slot)
        except IntegrityError as error:
            if not database.field_in_use(error):
                raise
            continue
        job.refresh_from_db(fields=["slot"])
    return job.slot is not None


def explain(source: DataSource) -> list[dict[str, Any]]:
    """Each open federation with whether the stream fits, why not or why it waits, its Job's name and note."""
    jobs = {job.federation: job for job in Job.objects.filter(source=source)}
    said = notes_on(jobs.values())
    answers = []
    for deployment in open_federations():
        reason = unfit(source, deployment)
        job = jobs.get(deployment.federation)
        fits = reason is None
        if fits and job is None and _first_free_slot(deployment) is None:
            reason = f"it waits: all {rules_of(deployment).max_clients} places of the federation are taken"
        elif fits and job is None and (unknown := waits_for_kafka(source, deployment)):
            reason = f"it waits: {unknown}"
        answers.append(
            {
                "federation": deployment.federation,
                "deployment": deployment.pk,
                "name": deployment.name,
                "fits": fits,
                "reason": reason or "",
                "job": None if job is None else job.name,
                "note": "" if job is None else said.get(job.pk, ""),
            }
        )
    return answers


def notes_on(jobs: Iterable[Job]) -> dict[int, str]:
    """What the clients of these Jobs say of their streams, by the Job's key: which records they leave out, and why."""
    places = {(job.deployment_id, job.client_id): job.pk for job in jobs}
    said = Member.objects.filter(deployment__in={pk for pk, _ in places if pk}, client__in={name for _, name in places})
    return {
        places[member.deployment_id, member.client]: member.detail
        for member in said
        if member.detail and (member.deployment_id, member.client) in places
    }


def job_name(federation: str, source: DataSource) -> str:
    """The Job's name, the same for ever for this federation and this record; a Kubernetes name as well."""
    return f"federated-training-{federation}-{source.digest}"


def client_id(stream: DataAnnouncement, digest: str) -> str:
    """The client's id: its first topic's name, as far as there is room, and the announcement's digest."""
    topic = parse_ranges(stream.topic)[0].topic
    return check_client_id(f"{topic[:51]}-{digest}")


def rules_of(deployment: Deployment) -> Rules:
    """The federation's rules."""
    return msgspec.convert(deployment.rules, Rules)


def _first_free_slot(deployment: Deployment) -> int | None:
    used = set(Job.objects.filter(federation=deployment.federation, slot__isnull=False).values_list("slot", flat=True))
    limit = rules_of(deployment).max_clients
    return next((slot for slot in range(limit) if slot not in used), None)
