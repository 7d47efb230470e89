"""The deployments' pages, rendered on the server."""

from __future__ import annotations

from typing import Any

from django.apps import apps
from django.core.paginator import Paginator
from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, render
from django.views.decorators.http import require_safe

from backend.accounts.pages import viewers_only
from backend.catalog.models import Model
from backend.deployments.models import Deployment

ROWS = 50


@require_safe
@viewers_only
def deployment_list(request: HttpRequest) -> HttpResponse:
    """All deployments, the newest first."""
    rows = Deployment.objects.defer("architecture")
    page = Paginator(rows, ROWS).get_page(request.GET.get("page"))
    return render(request, "deployments/list.html", {"page": page, "has_models": Model.objects.exists()})


@require_safe
@viewers_only
def deployment_detail(request: HttpRequest, federation: str) -> HttpResponse:
    """One deployment: where it stands, its rounds, clients, Jobs and refusals."""
    deployment = get_object_or_404(Deployment.objects.select_related("model"), federation=federation)
    rounds = deployment.rounds.order_by("-seq").prefetch_related("clients")
    page = Paginator(rounds, ROWS).get_page(request.GET.get("page"))
    members = list(deployment.members.all()[:1000])
    context: dict[str, Any] = {
        "deployment": deployment,
        "page": page,
        "rounds": page.object_list,
        "members": members,
        "waits_for": deployment.waits_for(members),
        "refusals": deployment.refusals.order_by("-offset")[:50],
        "jobs": _jobs(federation),
    }
    return render(request, "deployments/detail.html", context)


def _jobs(federation: str) -> list[Any]:
    return list(apps.get_model("launchers", "Job")._default_manager.filter(federation=federation)[:200])
