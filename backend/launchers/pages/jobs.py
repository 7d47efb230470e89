"""Pages of the training Jobs: all of them, and one with its log as it comes."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from typing import Any

from django.contrib import messages
from django.core.paginator import Paginator
from django.http import Http404, HttpRequest, HttpResponseBase
from django.shortcuts import get_object_or_404, redirect, render
from django.views.decorators.http import require_POST, require_safe

from backend.accounts.pages import operators_only, viewers_only
from backend.launchers import services
from backend.launchers.jobs.specs import spec_of
from backend.launchers.models import Job, JobState
from backend.launchers.options import Options, log_reader
from backend.rest.problems import Problem
from mainstem.errors import MainstemError
from mainstem.jobs.kubernetes.limits import job_settings
from mainstem.jobs.kubernetes.manifest import Placement, job_manifest

ROWS = 50
LOG_BYTES = 64 << 10
"""How much of a log's end a page shows; the API gives more."""
STOP_POLLING = 286
"""htmx asks no more after it."""
ENDED = (JobState.SUCCEEDED, JobState.FAILED, JobState.STOPPED)


@require_safe
@viewers_only
def job_list(request: HttpRequest) -> HttpResponseBase:
    """All Jobs, the newest first; `?state=` and `?federation=` narrow it. The table alone where htmx asks for it."""
    rows = Job.objects.select_related("deployment", "source")
    state, federation = request.GET.get("state", ""), request.GET.get("federation", "").strip()
    if state in JobState.values:
        rows = rows.filter(state=state)
    if federation:
        rows = rows.filter(federation=federation[:8])
    page = Paginator(rows, ROWS).get_page(request.GET.get("page"))
    context = {
        "page": page, "state": state, "federation": federation, "states": JobState.choices,
        "filtered": bool(state or federation),
    }  # fmt: skip
    part = request.headers.get("HX-Request")
    return render(request, "launchers/parts/jobs.html" if part else "launchers/jobs.html", context)


@require_safe
@viewers_only
def job_detail(request: HttpRequest, name: str) -> HttpResponseBase:
    """One Job: how it stands, the end of its log, its environment and its manifest."""
    job = get_object_or_404(Job.objects.select_related("deployment", "source"), name=name)
    if request.headers.get("HX-Request"):
        told = {"job": job, **_log(job)}
        return render(request, "launchers/parts/job.html", told, status=STOP_POLLING if told["ended"] else 200)
    return render(request, "launchers/job.html", {"job": job, **_log(job), **_contract(job)})


@require_POST
@operators_only
def job_act(request: HttpRequest, name: str, action: str) -> HttpResponseBase:
    """Stop it or start it again."""
    job = get_object_or_404(Job.objects.select_related("deployment"), name=name)
    if action not in ACTIONS:
        raise Http404
    do, said = ACTIONS[action]
    try:
        do(job)
        messages.success(request, said)
    except Problem as error:
        messages.error(request, str(error.detail))
    return redirect("job-page", name)


ACTIONS: dict[str, tuple[Callable[[Job], None], str]] = {
    "stop": (services.stop, "The Job is asked to end."),
    "retry": (services.retry, "The Job starts again."),
}


def _log(job: Job) -> dict[str, Any]:
    try:
        return {"log": log_reader().log(job.name, LOG_BYTES), "ended": job.state in ENDED}
    except (MainstemError, OSError) as error:
        return {"log": "", "log_error": f"The log cannot be read now: {error}", "ended": job.state in ENDED}


def _contract(job: Job) -> dict[str, Any]:
    """The environment that the Job gets, and the manifest that it has or would have on a cluster."""
    try:
        spec = spec_of(job, Options.from_environ())
        settings = job_settings(job.deployment.job if job.deployment else {}, os.environ)
        manifest = job_manifest(job.name, spec, settings, Placement())
    except MainstemError as error:
        return {"contract_error": str(error)}
    return {"environment": sorted(spec.to_environ().items()), "manifest": json.dumps(manifest, indent=2)}
