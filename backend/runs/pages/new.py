"""The page of a new deployment: what it would open is shown while it is filled in."""

from __future__ import annotations

import json
import os
from dataclasses import dataclass
from typing import Any

import yaml
from django.conf import settings
from django.contrib import messages
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.views.decorators.http import require_http_methods, require_POST

from backend.accounts.pages import operators_only
from backend.accounts.roles import user_of
from backend.catalog.models import Model
from backend.deployments import services
from backend.deployments.log.opening import topics_of
from backend.deployments.models import Deployment
from backend.deployments.planning import storage
from backend.launchers.jobs import matching
from backend.project import environment as env
from backend.runs.api.serializers import DeploymentCreateSerializer
from backend.runs.pages.new_form import DeploymentForm
from backend.streams.models import DataSource
from mainstem.jobs.kubernetes.limits import job_settings
from mainstem.jobs.kubernetes.manifest import Placement, job_manifest, mounted
from mainstem.jobs.spec import JobSpec
from mainstem.protocol.topics import MODEL_CONTROL
from mainstem.streams.codecs import raw_config

UNNAMED = "xxxxxxxx"
"""Stands for a federation's id that is not drawn yet."""
MOST_STREAMS = 100
"""So many of the newest streams are asked whether they fit."""
MOST_SHOWN = 5


@dataclass(frozen=True, slots=True)
class JudgedStream:
    """A stream, and why it does not fit (empty: it does)."""

    source: DataSource
    reason: str


@dataclass(frozen=True, slots=True)
class Preview:
    """What one model's federation would be."""

    model: Model
    deployment: Deployment
    topics: list[str]
    fitting: list[JudgedStream]
    others: list[JudgedStream]
    manifest: str
    storage: dict[str, Any] | None


@require_http_methods(["GET", "HEAD", "POST"])
@operators_only
def deployment_new(request: HttpRequest) -> HttpResponse:
    """The form; sent, it opens the federation and leads to its live page."""
    if request.method != "POST":
        return _page(request, DeploymentForm(DeploymentForm.defaults(request.GET.get("configuration", ""))))
    form = DeploymentForm(request.POST)
    made = form.judged(lambda: services.create(_checked(form), user_of(request)))
    if made is None:
        return _page(request, form)
    if len(made) == 1:
        messages.success(request, f"{made[0].name} is being opened as federation {made[0].federation}.")
        return redirect("deployment-page", made[0].federation)
    messages.success(request, f"{len(made)} federations are being opened.")
    return redirect("deployment-list-page")


@require_POST
@operators_only
def deployment_preview(request: HttpRequest) -> HttpResponse:
    """What the form would open, and what is wrong with it; writes nothing."""
    form = DeploymentForm(request.POST)
    if not request.headers.get("HX-Request"):
        return _page(request, form)
    if not form.model_is_offered:  # another configuration was chosen: the page is about to offer that one's models
        typed = request.POST.copy()
        typed["model"] = ""
        form = DeploymentForm(typed)
    return render(request, "runs/new_verdict.html", _context(form))


def _page(request: HttpRequest, form: DeploymentForm) -> HttpResponse:
    status = form.status
    return render(request, "runs/new.html", _context(form), status=status)


def _context(form: DeploymentForm) -> dict[str, Any]:
    previews = None if form.errors or form.empty else form.judged(lambda: _previews(_checked(form)))
    return {"form": form, "previews": previews, "body": form.body(), "announced": MODEL_CONTROL}


def _checked(form: DeploymentForm) -> dict[str, Any]:
    asked = DeploymentCreateSerializer(data=form.body())
    asked.is_valid(raise_exception=True)
    checked: dict[str, Any] = asked.validated_data
    return checked


def _previews(asked: dict[str, Any]) -> list[Preview]:
    streams = list(DataSource.objects.filter(problem="")[:MOST_STREAMS])
    federation = asked.get("federation") or UNNAMED
    return [_preview(federation, model, objects, streams) for model, _, objects in services.planned(asked)[:MOST_SHOWN]]


def _preview(federation: str, model: Model, objects: dict[str, Any], streams: list[DataSource]) -> Preview:
    wanted = Deployment(federation=federation, name=model.name, model=model, framework=model.framework, **objects)
    judged = [JudgedStream(source, matching.unfit(source, wanted) or "") for source in streams]
    fitting = [stream for stream in judged if not stream.reason]
    return Preview(
        model=model,
        deployment=wanted,
        topics=topics_of(federation),
        fitting=fitting,
        others=[stream for stream in judged if stream.reason][:MOST_SHOWN],
        manifest=_manifest(wanted, fitting[0].source if fitting else None),
        storage=storage.shown(wanted),
    )


def _manifest(wanted: Deployment, source: DataSource | None) -> str:
    """The Job that would train on this stream on a cluster, as YAML; on an invented stream where none fits yet."""
    cloud = settings.KAFKA_BOOTSTRAP or "kafka:9092"
    secret = env.text("MAINSTEM_JOB_SECRET") or None
    cloud_file, data_file = (
        mounted(path) if path and secret else None
        for path in (settings.KAFKA_CLIENT_CONFIG, settings.DATA_CLIENT_CONFIG)
    )
    spec = JobSpec(
        cloud_bootstrap=cloud,
        data_bootstrap=settings.DATA_BOOTSTRAP or cloud,
        data_topic=source.topic if source else "a-stream:0:0:550",
        input_format=source.input_format if source else "RAW",
        input_config=json.dumps(source.input_config if source else raw_config(wanted.input)),
        federation=wanted.federation,
        framework=wanted.framework,
        client_id=matching.client_id(source.announcement, source.digest) if source else "a-client",
        validation_rate=source.validation_rate if source else 0.0,
        test_rate=source.test_rate if source else 0.0,
        total_msg=(source.total_msg if source.readable is None else source.readable) if source else None,
        topic_ids=source.stream_ids if source else {},
        cloud_client_config=cloud_file,
        data_client_config=data_file,
    )
    chosen = job_settings(wanted.job, os.environ)
    site = env.text("MAINSTEM_JOB_SITE_SECRET") or None
    placement = Placement(env.text("MAINSTEM_JOB_NAMESPACE") or None, None, secret, site)
    name = matching.job_name(wanted.federation, source) if source else f"federated-training-{wanted.federation}-client"
    return str(yaml.safe_dump(job_manifest(name, spec, chosen, placement), sort_keys=False, width=100))
