"""The page of a run's versions: the trail of its model, two of them side by side, a way back to one."""

from __future__ import annotations

from typing import Any

from django.http import HttpRequest, HttpResponseBase
from django.shortcuts import render
from django.views.decorators.http import require_safe

from backend.accounts.pages import viewers_only
from backend.config.query import number_of
from backend.deployments import events
from backend.deployments.figures import NOTHING, figure, measured
from backend.deployments.models import Deployment, Round, Version
from backend.deployments.pages import find, tabbed

VERSIONS = 200


@require_safe
@viewers_only
def version_list(request: HttpRequest, federation: str) -> HttpResponseBase:
    """Versions, the newest first; `?a=` and `?b=` compare two."""
    deployment = find(federation)
    versions = list(deployment.versions.defer("weights").order_by("-number")[:VERSIONS])
    rounds = {round_.version: round_ for round_ in deployment.rounds.filter(version__in=[v.number for v in versions])}
    lineage = deployment.lineage
    names = sorted({name for version in versions[:20] for name in events.names(version.evaluation)})
    rows = [_row(version, rounds.get(version.number), lineage, names) for version in versions]
    chosen = [
        next((row for row in rows if row["version"].number == number_of(request.GET.get(which))), None)
        for which in ("a", "b")
    ]
    context = {
        **tabbed(deployment, "versions-page"),
        "rows": rows,
        "names": names,
        "a": chosen[0],
        "b": chosen[1],
        "differences": _differences(deployment, chosen[0], chosen[1], names),
        "total": deployment.versions.count(),
    }
    return render(request, "deployments/versions.html", context)


def _row(version: Version, round_: Round | None, lineage: frozenset[int], names: list[str]) -> dict[str, Any]:
    return {
        "version": version,
        "round": round_,
        "current": version.number in lineage,
        "metrics": [measured(version.evaluation, name) for name in names],
        "values": events.values(version.evaluation),
    }


def _differences(
    deployment: Deployment, a: dict[str, Any] | None, b: dict[str, Any] | None, names: list[str]
) -> list[tuple[str, str, str, str]]:
    """(what, of a, of b, the change) of two versions."""
    if a is None or b is None:
        return []
    lines = []
    for name in names:
        one, other = a["values"].get(name), b["values"].get(name)
        change = f"{other - one:+.4f}" if one is not None and other is not None else ""
        lines.append((name, figure(one), figure(other), change))
    for title, field in (("examples", "examples"), ("updates", "accepted"), ("refused", "refused")):
        one, other = (getattr(row["round"], field, None) for row in (a, b))
        change = f"{other - one:+d}" if one is not None and other is not None else ""
        lines.append((title, _whole(one), _whole(other), change))
    clients = [
        set(row["round"].clients.values_list("client", flat=True)) if row["round"] is not None else set()
        for row in (a, b)
    ]
    lines.append(("only there took part", _few(clients[0] - clients[1]), _few(clients[1] - clients[0]), ""))
    lines.append(("sha256", a["version"].sha256[:16], b["version"].sha256[:16], ""))
    return lines


def _whole(value: int | None) -> str:
    return NOTHING if value is None else str(value)


def _few(names: set[str]) -> str:
    shown = ", ".join(sorted(names)[:8]) or "nobody"
    return shown if len(names) <= 8 else f"{shown} and {len(names) - 8} more"
