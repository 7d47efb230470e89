"""The page of a run's clients: what each is doing, when it was last heard, and the Job that runs it."""

from __future__ import annotations

from typing import Any

from django.core.paginator import Paginator
from django.db.models import Count, Max, Sum
from django.http import HttpRequest, HttpResponseBase
from django.shortcuts import render
from django.views.decorators.http import require_safe

from backend.accounts.pages import viewers_only
from backend.deployments.models import ClientRound, Deployment, Member
from backend.launchers.models import Job
from backend.runs.charts.participation import LEFT_OUT
from backend.runs.ordering import members_in_order, natural
from backend.runs.pages.deployments import find, tabbed
from backend.runs.reasons.troubles import MOST, reasons_of
from mainstem.protocol import adapting

CLIENTS = 100
STATES = ("waiting", "training", "accepted", "refused", "silent", "left", "failed", "removed")


@require_safe
@viewers_only
def client_list(request: HttpRequest, federation: str) -> HttpResponseBase:
    """Clients with their Jobs; `?state=` and `?q=` narrow it, `?remove=` asks whether a client is to go.

    The table alone where htmx asks for it.
    """
    deployment = find(federation)
    state, q = request.GET.get("state", ""), request.GET.get("q", "").strip()
    members = deployment.members.all()
    if state in STATES:
        members = members.filter(state=state)
    if q:
        members = members.filter(client__icontains=q)
    page = Paginator(members_in_order(members), CLIENTS).get_page(request.GET.get("page"))
    leaving = deployment.members.exclude(state__in=Member.GONE).filter(client=request.GET.get("remove", "")).first()
    joined = page.paginator.count or state or q
    context = {
        **tabbed(deployment, "clients-page"),
        "reasons": [] if joined else reasons_of(deployment)[:MOST],
        "leaving": None if deployment.ended else leaving,
        "page": page, "rows": _rows(deployment, list(page)), "state": state, "q": q, "states": STATES,
        "own_models": deployment.members.filter(personal__isnull=False).exists(),
        "tensors": _tensors(deployment),
        "lonely": _lonely(deployment) if page.number == 1 and not (state or q) else [],
    }  # fmt: skip
    part = request.headers.get("HX-Request")
    return render(request, "runs/parts/members.html" if part else "runs/clients.html", context)


def _tensors(deployment: Deployment) -> list[tuple[str, str, str]]:
    """(name, shape, what becomes of it) of the model's tensors, where some stay at the sites."""
    found = deployment.tensors if deployment.personal_tensors else []
    words = {True: adapting.WORDS["kept"], False: adapting.WORDS["fits"]}
    staying = set(deployment.personal_tensors)
    return [(t["name"], " x ".join(map(str, t["shape"])), words[t["name"] in staying]) for t in found]


def _rows(deployment: Deployment, names: list[str]) -> list[dict[str, Any]]:
    members = sorted(deployment.members.filter(client__in=names), key=lambda member: natural(member.client))
    launched = {job.client_id: job for job in Job.objects.filter(federation=deployment.federation, client_id__in=names)}
    sent = ClientRound.objects.filter(round__deployment=deployment, client__in=names).values("client")
    columns = {"n": Count("id"), "nbytes": Sum("nbytes"), "last": Max("received_ms")}
    sums = {row["client"]: row for row in sent.annotate(**columns, out=Count("id", filter=LEFT_OUT))}
    refused = deployment.refusals.filter(client__in=names).values("client").annotate(n=Count("id"))
    counts = {row["client"]: row["n"] for row in refused}
    return [
        {
            "member": member,
            "job": launched.get(member.client),
            "sent": sums.get(member.client),
            "refused": counts.get(member.client, 0),
        }
        for member in members
    ]


def _lonely(deployment: Deployment) -> list[Any]:
    """Jobs whose client has not joined."""
    joined = deployment.members.values("client")
    there = Job.objects.filter(federation=deployment.federation).exclude(client_id__in=joined)
    return sorted(there[:CLIENTS], key=lambda job: natural(job.client_id))
