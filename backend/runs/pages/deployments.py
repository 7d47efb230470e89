"""The deployments' pages, rendered on the server: the list, and one run as it lives."""

from __future__ import annotations

import math
from functools import cached_property
from typing import Any

from django.core.paginator import Page, Paginator
from django.db.models import Count, Max, Min, Q
from django.http import Http404, HttpRequest, HttpResponseBase, JsonResponse
from django.shortcuts import get_object_or_404, render
from django.views.decorators.http import require_safe

from backend.accounts.pages import viewers_only
from backend.accounts.roles import Role, at_least
from backend.catalog.models import Model
from backend.deployments import services
from backend.deployments.live.hub import made
from backend.deployments.models import Deployment, Member, Round, State
from backend.deployments.planning import storage
from backend.rest.query import number_of
from backend.runs.charts import curves, grid, participation
from backend.runs.charts.figures import measured
from backend.runs.charts.newest import newest_measure
from backend.runs.ordering import members_in_order
from backend.runs.reasons.notices import notices
from backend.runs.reasons.reasons import Hindrance
from backend.runs.reasons.troubles import MOST, reasons_of, with_troubles
from backend.sites import admission

ROWS = 50
REFUSALS = 50
LANES = 12
TALLIES = 20

TABS = (
    ("deployment-page", "Live"),
    ("clients-page", "Clients and Jobs"),
    ("versions-page", "Versions"),
    ("recorder-page", "Flight recorder"),
)
LEGEND = tuple((grid.SIGNS[code], word, code) for word, code in grid.CODES.items())


def find(federation: str) -> Deployment:
    """The deployment that a page is about; raises Http404."""
    rows = Deployment.objects.select_related("model").defer("architecture", "model__architecture")
    return get_object_or_404(rows, federation=federation)


def tabbed(deployment: Deployment, tab: str) -> dict[str, Any]:
    """What the head of each page about a run needs."""
    rows = Deployment.objects.only("federation", "name")
    parent = deployment.parent and (
        rows.filter(federation=deployment.parent).first() or Deployment(federation=deployment.parent)
    )
    children = list(rows.filter(parent=deployment.federation).order_by("id"))
    return {"deployment": deployment, "tabs": TABS, "tab": tab, "parent": parent, "children": children}


@require_safe
@viewers_only
def deployment_list(request: HttpRequest) -> HttpResponseBase:
    """All deployments, the newest first; `?state=` and `?q=` narrow it."""
    rows = Deployment.objects.defer("architecture").select_related("model")
    state, q = request.GET.get("state", ""), request.GET.get("q", "").strip()
    if state in State.values:
        rows = rows.filter(state=state)
    if q:
        rows = rows.filter(Q(name__icontains=q) | Q(federation=q[:8]))
    page = Paginator(with_troubles(rows), ROWS).get_page(request.GET.get("page"))
    context = {
        "page": page, "states": State.choices, "state": state, "q": q,
        "filtered": bool(state or q), "has_models": Model.objects.exists(),
    }  # fmt: skip
    return render(request, "runs/list.html", context)


@require_safe
@viewers_only
def deployment_detail(request: HttpRequest, federation: str) -> HttpResponseBase:
    """One run: where it stands, curves, the grid of clients and rounds, the rounds' table, lanes, refusals."""
    deployment = find(federation)
    after = deployment.folded - 1  # before the rows are read: what comes meanwhile is told again, which does no harm
    shown = _Shown(request, deployment)
    context = {
        **tabbed(deployment, "deployment-page"),
        "upto": number_of(request.GET.get("upto")),
        **_standing(deployment, shown),
        **_learning(request, deployment, shown),
        **_grid(request, deployment, shown),
        **_participation(deployment),
        **_rounds(deployment, shown),
        **_lanes(shown.rounds),
        **_refusals(deployment),
        "after": after,
        "made": made(deployment),
    }
    if at_least(request.user, Role.OPERATOR):
        context["admission_modes"] = admission.MODES.items()
        context["offered"] = admission.offered(deployment)
    if at_least(request.user, Role.ADMIN):
        context["destroys"] = destroyed(deployment)
    return render(request, "runs/detail.html", context)


@require_safe
@viewers_only
def deployment_part(request: HttpRequest, federation: str, name: str) -> HttpResponseBase:
    """A part of that page alone, for htmx to put in the place of the old one."""
    deployment = find(federation)
    shown = _Shown(request, deployment)
    context: dict[str, Any]
    match name:
        case "actions":
            context = {}
        case "standing":
            context = _standing(deployment, shown)
        case "learning":
            context = _learning(request, deployment, shown)
        case "grid":
            context = _grid(request, deployment, shown)
        case "participation":
            context = _participation(deployment)
        case "rounds":
            context = _rounds(deployment, shown)
        case "lanes":
            context = _lanes(shown.rounds)
        case "refusals":
            context = _refusals(deployment)
        case _:
            raise Http404
    context["deployment"] = deployment
    return render(request, f"runs/parts/{name}.html", context)


@require_safe
@viewers_only
def deployment_curves(request: HttpRequest, federation: str) -> HttpResponseBase:
    """The charts' figures as JSON, for the rounds and clients that the page's address names."""
    deployment = find(federation)
    names = list(_Shown(request, deployment).clients)
    metric = request.GET.get("metric", "loss")[:128]
    return JsonResponse(curves.drawn(deployment, _span(request), metric, names))


def destroyed(deployment: Deployment) -> list[str]:
    """What deleting the deployment destroys, in words."""
    doomed = services.destroys(deployment)
    lines = [
        f"{doomed['rounds']} rounds and {doomed['versions']} versions of the model",
        f"the topics {', '.join(doomed['topics'])} with every update in them",
    ]
    if doomed["jobs"]:
        lines.append(f"{doomed['jobs']} training Jobs, which are ended")
    if doomed["inferences"]:
        lines.append(f"the replicas of its deployed versions {', '.join(doomed['inferences'])}, which are ended")
    return lines


# ---------------------------------------------------------------- parts
class _Shown:
    """The rounds and clients that the page's address names, the metrics, why the run waits: read when needed, once."""

    def __init__(self, request: HttpRequest, deployment: Deployment) -> None:
        self._request, self._deployment = request, deployment

    @cached_property
    def rounds(self) -> list[Round]:
        return grid.told_rounds(self._deployment, number_of(self._request.GET.get("upto")))

    @cached_property
    def metrics(self) -> list[str]:
        return grid.metric_names(self._deployment, self.rounds)

    @cached_property
    def clients(self) -> Page[str]:
        members, q = self._deployment.members.all(), self.q
        found = members_in_order(members.filter(client__icontains=q) if q else members)
        return Paginator(found, grid.CLIENTS).get_page(self._request.GET.get("page"))

    @property
    def q(self) -> str:
        return self._request.GET.get("q", "").strip()

    @cached_property
    def reasons(self) -> list[Hindrance]:
        return reasons_of(self._deployment)[:MOST]


def _span(request: HttpRequest) -> curves.Span:
    """The rounds of the charts: `?from=` to `?to=`; without an end those up to the grid's last one."""
    first, last, upto = (number_of(request.GET.get(name)) for name in ("from", "to", "upto"))
    return curves.Span(first, upto if last is None else last)


def _learning(request: HttpRequest, deployment: Deployment, shown: _Shown) -> dict[str, Any]:
    asked, metrics = request.GET.get("metric", ""), shown.metrics
    metric = asked if asked in metrics else next(iter(metrics), "")
    span = _span(request)
    ends = deployment.rounds.filter(**span.of("number")).aggregate(first=Min("number"), last=Max("number"))
    newest = deployment.round if span.last is None else span.last
    count = 0 if ends["first"] is None else ends["last"] - ends["first"] + 1
    return {
        "metrics": metrics, "metric": metric, "rounds": shown.rounds, "span": span, "ends": ends,
        "to": number_of(request.GET.get("to")), "banded": curves.banded(len(shown.clients), count),
        "carried_by_range": _carried(request, "metric", "show", "q", "upto", "page"),
        "recent": max(1, newest - grid.ROUNDS + 1) if newest > grid.ROUNDS else None,
        "every": math.ceil(count / (curves.POINTS // 2)) if count > curves.POINTS else 1,
    }  # fmt: skip


def _carried(request: HttpRequest, *names: str) -> list[tuple[str, str]]:
    """What a form of the page leaves of the address as it is."""
    return [(name, request.GET[name]) for name in names if request.GET.get(name)]


def _grid(request: HttpRequest, deployment: Deployment, shown: _Shown) -> dict[str, Any]:
    upto, q, page = number_of(request.GET.get("upto")), shown.q, shown.clients
    rounds, metrics = shown.rounds, shown.metrics
    show = request.GET.get("show", "")
    show = show if show in metrics else ""
    current = None if upto else grid.open_round(deployment, rounds)
    there = {member.client: member for member in deployment.members.filter(client__in=list(page))}
    rows = grid.grid(deployment, rounds, [there[name] for name in page if name in there], current, show)
    return {
        "stuck": not rows and any(reason.wrong for reason in shown.reasons),
        "metrics": metrics,
        "rounds": rounds,
        "current": current,
        "upto": upto,
        "earlier": rounds[0].number - 1 if len(rounds) == grid.ROUNDS and rounds[0].number > 1 else None,
        "show": show,
        "q": q,
        "clients_page": page,
        "carried_by_search": _carried(request, "metric", "show", "from", "to", "upto"),
        "many": page.paginator.count > grid.CLIENTS or q,
        "rows": rows,
        "legend": LEGEND,
    }


def _participation(deployment: Deployment) -> dict[str, Any]:
    found = participation.tallies(deployment)
    return {"tallies": found[:TALLIES], "tallied": len(found)}


def _standing(deployment: Deployment, shown: _Shown) -> dict[str, Any]:
    gone = (*Member.GONE, "silent")
    return {
        "wrong": [reason for reason in shown.reasons if reason.wrong],
        "waits": [reason for reason in shown.reasons if not reason.wrong],
        "notices": notices(deployment),
        "storage": storage.shown(deployment),
        "counted": deployment.members.aggregate(all=Count("pk"), active=Count("pk", filter=~Q(state__in=gone))),
        "timeline": grid.timeline(deployment),
        "best": newest_measure(deployment),
    }


def _rounds(deployment: Deployment, shown: _Shown) -> dict[str, Any]:
    rounds, metrics = shown.rounds, shown.metrics
    versions = deployment.versions.filter(number__in=[round_.version for round_ in rounds])
    columns = dict(versions.values_list("number", "evaluation"))

    def told(round_: Round) -> list[str]:
        return [measured(columns.get(round_.version), name) for name in metrics]

    return {
        "metrics": metrics,
        "rounds_desc": [(round_, told(round_)) for round_ in reversed(rounds)],
        "leaves_out": any(round_.left_out for round_ in rounds),
    }


def _lanes(rounds: list[Round]) -> dict[str, Any]:
    return {"lanes": grid.lanes(rounds[-1], list(rounds[-1].clients.all()), LANES) if rounds else None}


def _refusals(deployment: Deployment) -> dict[str, Any]:
    rows = deployment.refusals.order_by("-offset")
    return {"refusals": rows[:REFUSALS], "refusals_count": rows.count()}
