"""What stands in a run's way, whoever says so: its log, its aggregator, clients that gave up, their launchers."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from django.db.models import Prefetch, Q, QuerySet
from django.utils import timezone

from backend.deployments.launched import jobs
from backend.deployments.models import Deployment, Member, State

MOST = 20
"""Troubles that a page shows."""

TOLD = 3
"""Troubles that the `detail` of a deployment names."""

OPEN = (State.OPENING, State.WAITING, State.RUNNING, State.FAILED)
"""A run that has not reached its end: in any other, who gave up stands at the client alone."""

START_SECONDS = 30
"""Until a Job that its cluster has not started yet is a trouble."""


@dataclass(frozen=True, slots=True)
class Trouble:
    """A sentence, and who it is about, or the log; `job` names the client's Job where it told."""

    about: str
    detail: str
    job: str = ""

    def __str__(self) -> str:
        return f"{self.about}: {self.detail}"


def with_troubles(rows: QuerySet[Deployment]) -> QuerySet[Deployment]:
    """The same rows, ready for `troubles` of each: two queries for all of them."""
    return rows.prefetch_related(
        Prefetch("members", _members(), to_attr="failed_members"), Prefetch("jobs", _jobs(), to_attr="troubled_jobs")
    )


def troubles(deployment: Deployment) -> list[Trouble]:
    """All of them, what clients said themselves before what their launcher saw of them."""
    found = [Trouble("the log", told) for told in (deployment.lost, _doubted(deployment), deployment.amended) if told]
    if deployment.state not in OPEN:
        return found
    if hasattr(deployment, "troubled_jobs"):
        members, launched = deployment.failed_members, deployment.troubled_jobs  # type: ignore[attr-defined]
    else:
        members, launched = _members().filter(deployment=deployment), _jobs().filter(deployment=deployment)
    found += [Trouble("the aggregator", deployment.trouble)] if deployment.trouble else []
    found += [Trouble(failure["client"], failure["detail"]) for failure in deployment.failures]
    gave_up = {failure["client"] for failure in deployment.failures}  # a commit names who failed no longer
    found += [Trouble(member.client, member.detail) for member in members if member.client not in gave_up]
    said = {trouble.about for trouble in found}
    return found + [Trouble(job.client_id, job.detail, job.name) for job in launched if job.client_id not in said]


def _doubted(deployment: Deployment) -> str:
    return deployment.doubt and f"{deployment.doubt}. What is shown here is read again from the log."


def _members() -> QuerySet[Member]:
    return Member.objects.filter(state="failed").exclude(detail="")


def _jobs() -> Any:
    late = timezone.now() - timedelta(seconds=START_SECONDS)
    stuck = Q(state="pending", wanted=True) | Q(state="starting", wanted=True, started_at__lt=late)
    return jobs().filter(Q(state="failed") | stuck).exclude(detail="").order_by("id")


def told(deployment: Deployment) -> str:
    """The deployment's `detail`: what its newest record says, then the first of its troubles."""
    found = troubles(deployment)
    more = f"and {len(found) - TOLD} more" if len(found) > TOLD else ""
    return " ".join(filter(None, [deployment.detail, "; ".join([*map(str, found[:TOLD]), *filter(None, [more])])]))
