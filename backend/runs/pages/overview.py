"""The first page: what runs now, how the platform is, and what needs a person."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from django.db.models import Q
from django.http import HttpRequest, HttpResponseBase
from django.shortcuts import render
from django.views.decorators.http import require_safe

from backend.accounts.pages import viewers_only
from backend.catalog.models import Model
from backend.deployments.models import OPEN, Deployment, Refusal, State
from backend.launchers.models import Job
from backend.runs.charts.curves import thin, told_versions
from backend.runs.health import health
from backend.runs.reasons.reasons import Hindrance
from backend.runs.reasons.troubles import newest_streams, reasons_of, troubles_of, with_troubles
from backend.streams.models import DataSource

CARDS = 24
NEWEST = 8
POINTS = 120
"""Of a longer run the lowest and the highest of every stretch."""


@require_safe
@viewers_only
def overview(request: HttpRequest) -> HttpResponseBase:
    """Open federations with their curves, recent refusals and failures. The inside alone where htmx asks for it."""
    rows = Deployment.objects.defer("architecture").select_related("model")
    open_ = list(with_troubles(rows.filter(state__in=OPEN))[:CARDS])
    streams = newest_streams() if any(deployment.state == State.WAITING for deployment in open_) else []
    ended = list(rows.exclude(state__in=OPEN).order_by("-ended_ms", "-id")[:NEWEST])
    context = {
        "cards": [{**_card(deployment), "reasons": _reasons(deployment, streams)} for deployment in open_],
        "ended": [_card(deployment) for deployment in ended],
        "refusals": Refusal.objects.select_related("deployment").order_by("-id")[:NEWEST],
        "failed_jobs": Job.objects.filter(state="failed")[:NEWEST],
        "failed": with_troubles(
            rows.filter(Q(state__in=(State.FAILED, State.LOST)) | ~Q(error="") | Q(lost_count__gt=0))
        )[:NEWEST],
        "any": bool(open_ or ended),
        "has_models": Model.objects.exists(),
    }
    part = request.headers.get("HX-Request")
    return render(request, "runs/parts/overview.html" if part else "runs/overview.html", context)


@require_safe
@viewers_only
def health_part(request: HttpRequest) -> HttpResponseBase:
    """How Kafka and the platform's parts are; a part of its own, since Kafka may take its time to answer."""
    return render(request, "runs/parts/health.html", {"signs": health.signs()})


def _reasons(deployment: Deployment, streams: list[DataSource]) -> list[Hindrance]:
    """Why it does not go on. Whom an open round waits for changes all the time: that stands on its own page."""
    return troubles_of(deployment) if deployment.state == State.RUNNING else reasons_of(deployment, streams)


def _card(deployment: Deployment) -> dict[str, Any]:
    curve = _curve(deployment)
    rounds = deployment.rules.get("rounds") or 0
    return {
        "deployment": deployment,
        "metric": curve.metric,
        "newest": curve.newest,
        "line": curve.line,
        "rounds": rounds,
        "share": round(min(1.0, deployment.round / rounds) * 100) if rounds else 0,
    }


@dataclass(frozen=True, slots=True)
class _Curve:
    """What a card tells of a run's measures; `line` is `spark`'s."""

    metric: str
    newest: str
    line: str


_curves: OrderedDict[int, tuple[tuple[int, int], _Curve]] = OrderedDict()
"""By deployment, with the state of its rows: the page is asked for every few seconds, a run's end comes once."""
_lock = threading.Lock()


def _curve(deployment: Deployment) -> _Curve:
    mark = (deployment.refolds, deployment.folded)
    with _lock:
        known, found = _curves.get(deployment.pk, (None, None))
    if found is None or known != mark:
        told = told_versions(deployment)
        name = next((name for name in ("accuracy", "loss") if any(name in one for _, one in told)), "")
        points = [(version, one[name]) for version, one in told if name in one]
        found = _Curve(name, f"{points[-1][1]:.4f}" if points else "", spark(thin(points, POINTS)))
    with _lock:
        _curves[deployment.pk] = (mark, found)
        _curves.move_to_end(deployment.pk)
        while len(_curves) > 4 * (CARDS + NEWEST):
            _curves.popitem(last=False)
    return found


def spark(points: Sequence[tuple[float, float]]) -> str:
    """(x, y) as the points of a polyline in a drawing of 100 by 24; empty where there is no line to draw."""
    if len(points) < 2:
        return ""
    low, high = min(y for _, y in points), max(y for _, y in points)
    (first, _), (last, _) = points[0], points[-1]
    span, width = high - low or 1.0, last - first or 1.0
    return " ".join(f"{(x - first) / width * 100:.1f},{22 - (y - low) / span * 20:.1f}" for x, y in points)
