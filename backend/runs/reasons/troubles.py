"""What is known of a run that does not go on: its log, its aggregator, clients that gave up, Jobs, streams."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Sequence
from datetime import timedelta
from typing import Any

from django.db.models import Prefetch, Q, QuerySet
from django.utils import timezone

from backend.deployments.models import OPEN, Deployment, Member, State
from backend.launchers.jobs import matching
from backend.launchers.models import Job
from backend.runs.health import parts
from backend.runs.ordering import natural
from backend.runs.reasons import reasons
from backend.runs.reasons.reasons import Facts, Hindrance, Launched
from backend.streams.models import DataSource

MOST = 20
"""Reasons that a page shows."""

MOST_STREAMS = 100
"""Of the newest streams it is said why they do not fit."""

UNENDED = (*OPEN, State.FAILED)
"""A run that has not reached its end: in any other, who gave up stands at the client alone."""

START_SECONDS = 30
"""Until a Job that its cluster has not started yet is a trouble."""

UNDER_WAY = ("pending", "starting", "running")


def with_troubles(rows: QuerySet[Deployment]) -> QuerySet[Deployment]:
    """The same rows, ready for `told` of each: two queries for all of them."""
    return rows.prefetch_related(
        Prefetch("members", _members(), to_attr="failed_members"), Prefetch("jobs", _jobs(), to_attr="troubled_jobs")
    )


def detail_of(deployment: Deployment) -> str:
    """The deployment's `detail`: what its newest record says, then the first of its troubles."""
    return reasons.detail_with(deployment.detail, troubles_of(deployment))


def troubles_of(deployment: Deployment) -> list[Hindrance]:
    """Why the run does not go on, without whom and what it merely waits for."""
    return reasons.reasons(_troubles(deployment))


def reasons_of(deployment: Deployment, streams: Sequence[DataSource] | None = None) -> list[Hindrance]:
    """Why the run does not go on; of `streams`, the newest, it is said why none fits. They are read where not given."""
    return reasons.reasons(_troubles(deployment, **_waits(deployment, streams)))


def newest_streams() -> list[DataSource]:
    """The streams, and refused announcements, that are asked whether they fit."""
    return list(DataSource.objects.defer("value", "key").order_by("-id")[:MOST_STREAMS])


# ---------------------------------------------------------------- troubles
def _troubles(deployment: Deployment, **waits: Any) -> Facts:
    said_of_log = (deployment.unwitnessed, deployment.lost, _doubted(deployment), deployment.amended)
    log = tuple(filter(None, said_of_log))
    if deployment.state not in UNENDED:
        return Facts(deployment.state, log, deployment.error)
    if hasattr(deployment, "troubled_jobs"):
        members, launched = deployment.failed_members, deployment.troubled_jobs  # type: ignore[attr-defined]
    else:
        members, launched = _members().filter(deployment=deployment), _jobs().filter(deployment=deployment)
    gave_up = {failure["client"]: failure["detail"] for failure in deployment.failures}
    gave_up |= {  # a commit names who failed no longer
        member.client: member.detail for member in members if member.client not in gave_up
    }
    return Facts(
        deployment.state,
        log,
        kafka=deployment.error,
        aggregator=deployment.trouble,
        gave_up=tuple(gave_up.items()),
        jobs=tuple(Launched(job.name, job.client_id, job.state, job.detail) for job in launched),
        **waits,
    )


def _doubted(deployment: Deployment) -> str:
    return deployment.doubt and f"{deployment.doubt}. What is shown here is read again from the log."


def _members() -> QuerySet[Member]:
    return Member.objects.filter(state="failed").exclude(detail="")


def _jobs() -> Any:
    late = timezone.now() - timedelta(seconds=START_SECONDS)
    stuck = Q(state="pending", wanted=True) | Q(state="starting", wanted=True, started_at__lt=late)
    return Job.objects.filter(Q(state="failed") | stuck).exclude(detail="").order_by("id")


# ---------------------------------------------------------------- waiting
def _waits(deployment: Deployment, streams: Sequence[DataSource] | None) -> dict[str, Any]:
    match deployment.state:
        case State.WAITING if deployment.input:
            return {"waiting": _waiting(deployment, streams)}
        case State.RUNNING:
            return {"round": _round(deployment)}
    return {}


def _waiting(deployment: Deployment, streams: Sequence[DataSource] | None) -> reasons.Waiting:
    needed = matching.rules_of(deployment).min_clients
    here = deployment.members.exclude(state__in=(*Member.GONE, "silent"))
    active = here.count()
    if active >= needed:
        return reasons.Waiting(active, needed)
    launched = Job.objects.filter(federation=deployment.federation)
    elsewhere = launched.exclude(client_id__in=here.values("client")).values_list("state")
    states = Counter(state for (state,) in elsewhere)
    under_way = sum(states[state] for state in UNDER_WAY)
    taken = set(launched.values_list("source_id", flat=True))
    found = [_stream(source, deployment) for source in _asked(streams) if source.pk not in taken]
    launcher = parts.launcher() if states["pending"] or any(stream.fits for stream in found) else None
    return reasons.Waiting(
        active,
        needed,
        under_way=under_way,
        idle=states.total() - under_way,
        streams=sorted(found, key=lambda stream: stream.elsewhere),
        wants=_wants(deployment),
        launcher=launcher.text if launcher is not None and launcher.state != "ok" else "",
    )


def _asked(streams: Sequence[DataSource] | None) -> Sequence[DataSource]:
    return newest_streams() if streams is None else streams


def _stream(source: DataSource, deployment: Deployment) -> reasons.IdleStream:
    misfit = matching.unfit(source, deployment)
    return reasons.IdleStream(
        source.pk,
        source.topic[:60] or "no topic",
        fits=misfit is None,
        reason=matching.waits_for_kafka(source, deployment) if misfit is None else misfit,
        elsewhere=source.addressed_to not in ("", deployment.federation),
    )


def _wants(deployment: Deployment) -> str:
    """What a stream must be to fit, as an answer to "Announce ..."."""
    announced = deployment.announcement
    restriction = announced.data.restriction
    said = f"one whose samples have the shape {list(announced.input.shape)}"
    said += f", with {announced.data.min_data} records at least" if announced.data.min_data > 1 else ""
    return said + (f" and the restriction {json.dumps(restriction, ensure_ascii=False)}" if restriction else "")


def _round(deployment: Deployment) -> reasons.Open:
    rules = matching.rules_of(deployment)
    members = deployment.members.filter(awaited=True).values_list("client", "state")
    awaited = sorted(members, key=lambda member: natural(member[0]))
    return reasons.Open(
        deployment.round + 1,
        [client for client, _ in awaited],
        [client for client, state in awaited if state == "silent"],
        deadline_seconds=rules.deadline_ms / 1000,
        quorum=(rules.quorum or rules.min_clients) if rules.mode == "sync" else None,
        below_quorum=rules.below_quorum,
    )
