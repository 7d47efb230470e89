"""The page of a run's versions: the trail of its model in pages, any two side by side, a way back to one."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from django.core.paginator import Paginator
from django.db.models import Max, Min
from django.http import HttpRequest, HttpResponseBase
from django.shortcuts import render
from django.views.decorators.http import require_safe

from backend.accounts.pages import viewers_only
from backend.deployments.live import events
from backend.deployments.models import Deployment, Round, Version
from backend.rest.query import number_of
from backend.runs.charts.figures import NOTHING, figure, measured
from backend.runs.pages.deployments import find, tabbed
from mainstem.runtime.words import few

ROWS = 50
"""Versions on a page."""


@require_safe
@viewers_only
def version_list(request: HttpRequest, federation: str) -> HttpResponseBase:
    """Versions in pages, the newest first; `?version=` has the page of that one, `?a=` and `?b=` compare any two."""
    deployment = find(federation)
    found = deployment.versions.defer("weights").order_by("-number")
    asked = {name: number_of(request.GET.get(name)) for name in ("version", "a", "b")}
    paginator = Paginator(found, ROWS)
    if asked["version"] is not None:
        page = paginator.get_page(found.filter(number__gt=asked["version"]).count() // ROWS + 1)
    else:
        page = paginator.get_page(request.GET.get("page"))
    chosen = [number for number in (asked["a"], asked["b"]) if number is not None]
    there: dict[int | None, Version] = {version.number: version for version in found.filter(number__in=chosen)}
    a, b = there.get(asked["a"]), there.get(asked["b"])
    versions = [version for version in (*page, a, b) if version is not None]
    names = sorted({name for version in versions for name in events.names(version.evaluation)})
    rounds = {round_.version: round_ for round_ in deployment.rounds.filter(version__in=[v.number for v in versions])}
    lineage = deployment.lineage

    def row(version: Version) -> dict[str, Any]:
        return _row(version, rounds.get(version.number), lineage, names)

    context = {
        **tabbed(deployment, "versions-page"),
        "page": page,
        "rows": [row(version) for version in page],
        "names": names,
        "asked": asked,
        "missing": _missing(deployment, asked.values()),
        "differences": _differences(row(a), row(b), names) if a is not None and b is not None else [],
        "newest": page.paginator.count and found[0].number,
    }
    return render(request, "runs/versions.html", context)


def _missing(deployment: Deployment, asked: Iterable[int | None]) -> list[str]:
    """A sentence for each version that was asked for and is none of the run's."""
    wanted = [number for number in dict.fromkeys(asked) if number is not None]
    known = set(deployment.versions.filter(number__in=wanted).values_list("number", flat=True))
    lost = [number for number in wanted if number not in known]
    ends = deployment.versions.aggregate(first=Min("number"), last=Max("number")) if lost else {}
    return [f"There is no version {n}: they run from {ends['first']} to {ends['last']}." for n in lost]


def _row(version: Version, round_: Round | None, lineage: frozenset[int], names: list[str]) -> dict[str, Any]:
    return {
        "version": version,
        "round": round_,
        "current": version.number in lineage,
        "metrics": [measured(version.evaluation, name) for name in names],
        "values": events.values(version.evaluation),
    }


def _differences(a: dict[str, Any], b: dict[str, Any], names: list[str]) -> list[tuple[str, str, str, str]]:
    """(what, of a, of b, the change) of two versions."""
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
    return few(sorted(names), 8) or "nobody"
