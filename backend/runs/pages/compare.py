"""Runs side by side: their curves in one chart, what differs in what they were told."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any

from django.db.models import Q
from django.http import HttpRequest, HttpResponseBase, JsonResponse
from django.shortcuts import render
from django.views.decorators.http import require_safe

from backend.accounts.pages import viewers_only
from backend.deployments.models import Deployment, State
from backend.runs.charts.curves import thin, told_versions
from backend.runs.charts.figures import figure

MOST = 8
OFFERED = 60
SETTINGS = ("training", "strategy", "rules", "data", "input")


@require_safe
@viewers_only
def compare(request: HttpRequest) -> HttpResponseBase:
    """`?run=` (several) and `?metric=` say what is compared; `?q=` narrows what is offered."""
    chosen = _chosen(request)
    curves = [told_versions(deployment) for deployment in chosen]
    metrics = sorted({name for curve in curves for point in curve for name in point[1]}, key=lambda n: (n != "loss", n))
    asked = request.GET.get("metric", "")
    metric = asked if asked in metrics else next(iter(metrics), "")
    q = request.GET.get("q", "").strip()
    found = Deployment.objects.exclude(state=State.OPENING).defer("architecture")
    found = found.filter(Q(name__icontains=q) | Q(federation=q[:8])) if q else found
    offered = [*chosen, *(row for row in found[:OFFERED] if row not in chosen)]
    context = {
        "q": q, "more": max(0, found.count() - OFFERED),
        "chosen": chosen, "names": [deployment.federation for deployment in chosen], "offered": offered, "most": MOST,
        "metrics": metrics, "metric": metric, "marks": "abcdefgh",
        "rows": [_summary(deployment, curve, metric) for deployment, curve in zip(chosen, curves, strict=True)],
        "differences": differences(chosen),
    }  # fmt: skip
    return render(request, "runs/compare.html", context)


@require_safe
@viewers_only
def compare_curves(request: HttpRequest) -> HttpResponseBase:
    """The chart's figures: `rounds`, and a line for each run, thinned where it is long."""
    metric = request.GET.get("metric", "loss")
    found = {
        run.federation: dict(thin([(n, point[metric]) for n, point in told_versions(run) if metric in point]))
        for run in _chosen(request)
    }
    numbers = sorted({number for line in found.values() for number in line})
    lines = {federation: [line.get(number) for number in numbers] for federation, line in found.items()}
    return JsonResponse({"rounds": numbers, "runs": lines})


def _chosen(request: HttpRequest) -> list[Deployment]:
    names = [name for name in dict.fromkeys(request.GET.getlist("run")) if len(name) == 8][:MOST]
    found = {row.federation: row for row in Deployment.objects.filter(federation__in=names).select_related("model")}
    return [found[name] for name in names if name in found]


def _summary(deployment: Deployment, curve: list[tuple[int, dict[str, float]]], metric: str) -> dict[str, Any]:
    points = [(point[metric], number) for number, point in curve if metric in point]
    best = (min(points) if "loss" in metric or "error" in metric else max(points)) if points else None
    span = (deployment.ended_ms or 0) - (deployment.opened_ms or 0)
    return {
        "deployment": deployment,
        "last": figure(points[-1][0] if points else None),
        "best": figure(best[0] if best else None),
        "at": best[1] if best else None,
        "seconds": span / 1000 if deployment.ended_ms and deployment.opened_ms else None,
    }


def differences(runs: list[Deployment]) -> list[tuple[str, list[str], bool]]:
    """Every setting by its path, with each run's value, and whether they differ; those that differ come first."""
    told = [dict(_flat({name: getattr(run, name) for name in SETTINGS})) for run in runs]
    paths = sorted({path for one in told for path in one})
    lines = [(path, [one.get(path, "") for one in told]) for path in paths]
    marked = [(path, found, len(set(found)) > 1) for path, found in lines]
    return sorted(marked, key=lambda line: (not line[2], line[0]))


def _flat(value: Mapping[str, Any], path: str = "") -> Iterator[tuple[str, str]]:
    for name, inner in value.items():
        here = f"{path}.{name}" if path else name
        if isinstance(inner, Mapping) and inner:
            yield from _flat(inner, here)
        else:
            yield here, inner if isinstance(inner, str) else json.dumps(inner)
