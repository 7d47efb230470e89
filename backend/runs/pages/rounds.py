"""The page of one round: what each client sent and how it weighed, what was refused, what the version is made of."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

from django.http import HttpRequest, HttpResponseBase
from django.shortcuts import get_object_or_404, redirect, render
from django.views.decorators.http import require_POST, require_safe
from msgspec import ValidationError, convert

from backend.accounts.pages import operators_only, viewers_only
from backend.deployments.examinations import examinations
from backend.deployments.live.events import names
from backend.deployments.models import ClientRound, Deployment, Round, Version
from backend.runs.charts import grid
from backend.runs.charts.figures import measured
from backend.runs.charts.participation import scored_by
from backend.runs.ordering import natural
from backend.runs.pages.deployments import find, tabbed
from mainstem.errors import ConfigError
from mainstem.jobs.compiling import rate_of
from mainstem.protocol.messages import Training

CLIENTS = 1000
SORTS: dict[str, Callable[[ClientRound], float]] = {
    "client": lambda client: 0,
    "weight": lambda client: -client.coefficient,
    "score": lambda client: math.inf if client.score is None else client.score,
    "examples": lambda client: -client.examples,
    "train": lambda client: -client.train_seconds,
    "upload": lambda client: -client.upload_seconds,
    "received": lambda client: client.received_ms,
    "size": lambda client: -client.nbytes,
    "error": lambda client: -(client.encoding_error or 0.0),
}
"""What a round's updates are ordered by; those that are alike, by name."""


@require_safe
@viewers_only
def round_detail(request: HttpRequest, federation: str, seq: str) -> HttpResponseBase:
    """A committed round, by its place in the run's chain; `?sort=` orders its clients."""
    deployment = find(federation)
    round_ = get_object_or_404(grid.with_sums(deployment.rounds.all()), seq=int(seq))
    sort = request.GET.get("sort", "client")
    sort = sort if sort in SORTS else "client"
    clients = sorted(round_.clients.all(), key=lambda client: (SORTS[sort](client), natural(client.client)))[:CLIENTS]
    examined = examinations.current(deployment, round_)
    shown = sorted({name for client in clients[:20] for name in names(client.training)})
    context = {
        **tabbed(deployment, "deployment-page"),
        **_examined(deployment, round_, examined),
        "round": round_,
        **_saved(round_, clients, deployment.versions.filter(number=round_.version).first()),
        "rate": _rate(deployment, round_),
        "undone": round_.version not in deployment.lineage,
        "version": deployment.versions.filter(number=round_.version).first(),
        "base": deployment.versions.filter(number=round_.base_version).first(),
        "before": deployment.rounds.filter(seq__lt=round_.seq).order_by("-seq").first(),
        "after": deployment.rounds.filter(seq__gt=round_.seq).order_by("seq").first(),
        "names": shown,
        "rows": _rows(round_, clients, shown, examined),
        "sort": sort,
        "scored_by": scored_by(round_.strategy),
        "scored": any(client.score is not None for client in clients),
        "scaled": any(client.scale != 1 for client in clients),
        "refusals": deployment.refusals.filter(round=round_.number).order_by("offset")[:200],
        "lanes": grid.lanes(round_, clients, grid.CLIENTS) if clients else None,
    }
    return render(request, "runs/round.html", context)


@require_POST
@operators_only
def round_examine(request: HttpRequest, federation: str, seq: str) -> HttpResponseBase:
    """Have the round's version proved and its updates measured."""
    deployment = find(federation)
    examinations.ask(deployment, get_object_or_404(deployment.rounds, seq=int(seq)))
    return redirect("round-page", federation, seq)


@require_safe
@viewers_only
def round_proof(request: HttpRequest, federation: str, seq: str) -> HttpResponseBase:
    """The examination's part of the page, which asks again until there is an outcome."""
    deployment = find(federation)
    round_ = get_object_or_404(deployment.rounds, seq=int(seq))
    context = _examined(deployment, round_, examinations.current(deployment, round_))
    response = render(request, "runs/parts/proof.html", {"deployment": deployment, "round": round_, **context})
    if context["examined"] is not None and not context["examined"].pending:
        response.headers["HX-Refresh"] = "true"  # the table has norms to show
    return response


def _rate(deployment: Deployment, round_: Round) -> str:
    """At which learning rate clients trained for it; empty: at their optimizer's own, or nobody knows."""
    try:
        rate = rate_of(convert(deployment.training, Training), round_.number, deployment.rules.get("rounds", 1))
    except (ConfigError, ValidationError):
        return ""  # a newer release opened it
    return "" if rate is None else f"{rate:.4g}"


def _examined(deployment: Deployment, round_: Round, examined: Any) -> dict[str, Any]:
    outcome = examined.outcome if examined is not None else None
    return {"examined": examined, "outcome": outcome, "proof": (outcome or {}).get("proof")}


def _saved(round_: Round, clients: list[ClientRound], version: Version | None) -> dict[str, Any]:
    """What encodings spare a round's clients, as parts of whole models, and the mean of the errors that they make."""
    errors = [client.encoding_error for client in clients if client.encoding_error is not None]
    found: dict[str, Any] = {"encoding_error": sum(errors) / len(errors) if errors else None}
    if version is not None and version.nbytes:
        received = sum(client.nbytes for client in clients)
        found["fetched"] = version.fetched if version.fetched and version.fetched < version.nbytes else None
        found["saved_down"] = 1 - (version.fetched or 0) / version.nbytes
        if errors:
            found["saved_up"] = 1 - received / (version.nbytes * len(clients))
    return found


def _rows(round_: Round, clients: list[ClientRound], metrics: list[str], examined: Any) -> list[dict[str, Any]]:
    measures = ((examined.outcome if examined is not None else None) or {}).get("measures", [])
    by_offset = {measure["offset"]: measure for measure in measures}
    strange = examinations.outliers(measures)
    total = sum(client.coefficient for client in clients) or 1.0
    heaviest = max((client.coefficient for client in clients), default=1.0) or 1.0
    found = []
    for client in clients:
        found.append(
            {
                "client": client,
                "metrics": [measured(client.training, name) for name in metrics],
                "percent": f"{client.coefficient / total:.1%}",
                "score": "none" if client.score is None else f"{client.score:.4g}",
                "bar": round(client.coefficient / heaviest * 100, 1),
                "behind": max(0, round_.base_version - client.base_version),
                "measure": by_offset.get(client.offset),
                "outlier": client.offset in strange,
            }
        )
    return found
