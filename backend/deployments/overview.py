"""The first page: what runs now, and what needs a person."""

from __future__ import annotations

from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.views.decorators.http import require_safe

from backend.accounts.pages import viewers_only
from backend.catalog.models import Model
from backend.deployments.models import Deployment, State

OPEN = (State.OPENING, State.WAITING, State.RUNNING)


@require_safe
@viewers_only
def overview(request: HttpRequest) -> HttpResponse:
    """Federations that are open, and whether there is anything to start from."""
    rows = Deployment.objects.defer("architecture")
    context = {"open": rows.filter(state__in=OPEN)[:50], "has_models": Model.objects.exists()}
    return render(request, "deployments/overview.html", context)
