"""The page of one round: what each client sent and how it weighed, what was refused, what the version is made of."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from django.http import HttpRequest, HttpResponseBase
from django.shortcuts import get_object_or_404, redirect, render
from django.views.decorators.http import require_POST, require_safe

from backend.accounts.pages import operators_only, viewers_only
from backend.deployments import examinations, runs
from backend.deployments.events import names
from backend.deployments.figures import measured
from backend.deployments.models import ClientRound, Deployment, Round
from backend.deployments.ordering import natural
from backend.deployments.pages import find, tabbed

CLIENTS = 1000
SORTS: dict[str, Callable[[ClientRound], float]] = {
    "client": lambda client: 0,
    "examples": lambda client: -client.examples,
    "train": lambda client: -client.train_seconds,
    "upload": lambda client: -client.upload_seconds,
    "received": lambda client: client.received_ms,
    "size": lambda client: -client.nbytes,
}
"""What a round's updates are ordered by; those that are alike, by name."""


@require_safe
@viewers_only
def round_detail(request: HttpRequest, federation: str, seq: str) -> HttpResponseBase:
    """A committed round, by its place in the run's chain; `?sort=` orders its clients."""
    deployment = find(federation)
    round_ = get_object_or_404(runs.with_sums(deployment.rounds.all()), seq=int(seq))
    sort = request.GET.get("sort", "client")
    sort = sort if sort in SORTS else "client"
    clients = sorted(round_.clients.all(), key=lambda client: (SORTS[sort](client), natural(client.client)))[:CLIENTS]
    examined = examinations.current(deployment, round_)
    shown = sorted({name for client in clients[:20] for name in names(client.training)})
    context = {
        **tabbed(deployment, "deployment-page"),
        **_examined(deployment, round_, examined),
        "round": round_,
        "undone": round_.version not in deployment.lineage,
        "version": deployment.versions.filter(number=round_.version).first(),
        "base": deployment.versions.filter(number=round_.base_version).first(),
        "before": deployment.rounds.filter(seq__lt=round_.seq).order_by("-seq").first(),
        "after": deployment.rounds.filter(seq__gt=round_.seq).order_by("seq").first(),
        "names": shown,
        "rows": _rows(round_, clients, shown, examined),
        "sort": sort,
        "refusals": deployment.refusals.filter(round=round_.number).order_by("offset")[:200],
        "lanes": runs.lanes(round_, clients, runs.CLIENTS) if clients else None,
    }
    return render(request, "deployments/round.html", context)


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
    response = render(request, "deployments/parts/proof.html", {"deployment": deployment, "round": round_, **context})
    if context["examined"] is not None and not context["examined"].pending:
        response.headers["HX-Refresh"] = "true"  # the table has norms to show
    return response


def _examined(deployment: Deployment, round_: Round, examined: Any) -> dict[str, Any]:
    outcome = examined.outcome if examined is not None else None
    return {"examined": examined, "outcome": outcome, "proof": (outcome or {}).get("proof")}


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
                "share": client.coefficient / total,
                "bar": round(client.coefficient / heaviest * 100, 1),
                "behind": max(0, round_.base_version - client.base_version),
                "measure": by_offset.get(client.offset),
                "outlier": client.offset in strange,
            }
        )
    return found
