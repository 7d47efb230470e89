"""Pages of inference: what is deployed, deploying a version, one of them, and trying any version."""

from __future__ import annotations

import json
import os
from dataclasses import dataclass
from typing import Any

from django.contrib import messages
from django.core.paginator import Paginator
from django.http import Http404, HttpRequest, HttpResponse, JsonResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.views.decorators.http import require_http_methods, require_POST, require_safe

from backend.accounts.pages import admins_only, operators_only, viewers_only
from backend.accounts.roles import user_of
from backend.deployments.models import Deployment, State, Version
from backend.inference import examples, services
from backend.inference.forms import InferenceForm
from backend.inference.models import Inference, ServingState
from backend.inference.replicas import serving_spec
from backend.inference.samples import random_sample
from backend.inference.serializers import InferenceCreateSerializer, ScaleSerializer
from backend.inference.traffic import traffic
from backend.launchers.options import Options, replica_logs
from backend.rest.problems import Problem
from backend.streams.pictures import sides_of
from mainstem.errors import LogError, MainstemError
from mainstem.jobs.kubernetes.limits import job_settings
from mainstem.jobs.kubernetes.manifest import Placement
from mainstem.serving.kubernetes.manifest import deployment_manifest

ROWS = 50
NEWEST = 12
"""So many runs are offered to be tried."""
LOG_BYTES = 32 << 10
SHORT = 8
"""Values that an example shows of one dimension."""


@dataclass(frozen=True, slots=True)
class Attempt:
    """What the try-it panel needs of a version. `sides` (height, width, channels) where its input is a picture."""

    deployment: Deployment
    version: int

    @property
    def shape(self) -> list[int]:
        """Of one sample."""
        return list(self.deployment.input.get("shape", ()))

    @property
    def sides(self) -> str:
        """Height, width and channels of the picture that a sample is; empty where it is none."""
        found = sides_of(tuple(self.shape))
        return " ".join(map(str, found)) if found is not None else ""

    @property
    def body(self) -> dict[str, Any]:
        """An example of what REST is sent: one sample of zeros, shortened where it is long."""
        sample: Any = 0.0
        for size in reversed(self.shape):
            sample = [sample] * size if size <= SHORT else [sample, "..."]
        return {"inputs": [sample]}

    @property
    def address(self) -> str:
        """Where REST predicts."""
        return f"/api/results/{self.deployment.federation}/versions/{self.version}/predict/"


@require_safe
@viewers_only
def inference_list(request: HttpRequest) -> HttpResponse:
    """All deployed versions, the newest first; `?state=` narrows it. The table alone where htmx asks for it."""
    rows = Inference.objects.select_related("deployment")
    state = request.GET.get("state", "")
    if state in ServingState.values:
        rows = rows.filter(state=state)
    runs = Deployment.objects.filter(version__gt=0).exclude(state=State.DELETING).defer("architecture")
    context = {
        "page": Paginator(rows, ROWS).get_page(request.GET.get("page")),
        "state": state,
        "states": ServingState.choices,
        "runs": runs[:NEWEST],
    }
    part = request.headers.get("HX-Request")
    return render(request, "inference/parts/rows.html" if part else "inference/list.html", context)


@require_http_methods(["GET", "HEAD", "POST"])
@operators_only
def inference_deploy(request: HttpRequest, federation: str, version: int) -> HttpResponse:
    """The form; sent, it deploys the version and leads to its page."""
    deployment, found = _find(federation, version)
    if request.method != "POST":
        form = InferenceForm(InferenceForm.defaults(deployment, version))
        return render(request, "inference/deploy.html", _plan(form, deployment, found))
    form = InferenceForm(request.POST)
    made = form.judged(lambda: services.create(_checked(form, deployment, version), user_of(request)))
    if made is None:
        return render(request, "inference/deploy.html", _plan(form, deployment, found), status=form.status)
    messages.success(request, f"Version {version} of {deployment.name} is being deployed as {made.name}.")
    return redirect("inference-page", made.name)


@require_POST
@operators_only
def inference_preview(request: HttpRequest, federation: str, version: int) -> HttpResponse:
    """What the form would deploy, and what is wrong with it; writes nothing."""
    deployment, found = _find(federation, version)
    part = request.headers.get("HX-Request")
    name = "inference/deploy_verdict.html" if part else "inference/deploy.html"
    return render(request, name, _plan(InferenceForm(request.POST), deployment, found))


def _checked(form: InferenceForm, deployment: Deployment, version: int) -> dict[str, Any]:
    asked = InferenceCreateSerializer(data=form.body(deployment.federation, version))
    asked.is_valid(raise_exception=True)
    return dict(asked.validated_data)


def _plan(form: InferenceForm, deployment: Deployment, version: Version) -> dict[str, Any]:
    number = version.number
    planned = None
    if not form.errors:
        planned = form.judged(lambda: services.planned(_checked(form, deployment, number)))
    return {
        "form": form,
        "deployment": deployment,
        "version": version,
        "body": form.body(deployment.federation, number),
        "planned": planned,
        "manifest": _manifest(planned) if planned is not None else "",
    }


def _manifest(inference: Inference) -> str:
    """What a cluster gets, or why that cannot be said here."""
    try:
        spec = serving_spec(inference, Options.from_environ())
        own = inference.deployment.job if inference.deployment is not None else {}
        settings = job_settings(own, os.environ)
        manifest = deployment_manifest(spec, inference.replicas, settings, Placement())
    except MainstemError as error:
        return str(error)
    return json.dumps(manifest, indent=2)


@require_safe
@viewers_only
def inference_detail(request: HttpRequest, name: str) -> HttpResponse:
    """One deployed version: how it stands, programs that use it, its replicas' log.

    For htmx the standing alone, or the log with `?part=log`.
    """
    inference = get_object_or_404(Inference.objects.select_related("deployment", "created_by"), name=name)
    part = request.GET.get("part") if request.headers.get("HX-Request") else None
    if part == "log":
        return render(request, "inference/parts/log.html", _log(inference))
    context: dict[str, Any] = {"inference": inference, **_traffic(inference)}
    if request.headers.get("HX-Request"):
        return render(request, "inference/parts/standing.html", context)
    context |= _log(inference)
    deployment = inference.deployment
    servers = _servers()
    context |= {
        "attempt": Attempt(deployment, inference.version) if deployment is not None else None,
        "destroys": services.destroys(inference),
        "programs": [
            ("producer", "Ask", examples.producer(inference, servers)),
            ("consumer", "Read the answers", examples.consumer(inference, servers)),
            ("console", "Read the answers in a terminal", examples.console(inference, servers)),
        ],
        "scale": {"replicas": 2},
        "manifest": _manifest(inference),
    }
    return render(request, "inference/detail.html", context)


def _servers() -> str:
    try:
        return Options.from_environ().data_bootstrap or "localhost:9092"
    except MainstemError:
        return "localhost:9092"


def _traffic(inference: Inference) -> dict[str, Any]:
    try:
        return {"traffic": traffic(inference)}
    except LogError as error:
        return {"away": str(error)}


def _log(inference: Inference) -> dict[str, Any]:
    try:
        return {"log": replica_logs().log(inference.name, LOG_BYTES)}
    except (MainstemError, OSError) as error:
        return {"log_error": f"The log cannot be read now: {error}"}


@require_POST
@operators_only
def inference_scale(request: HttpRequest, name: str) -> HttpResponse:
    """Want another number of replicas."""
    inference = get_object_or_404(Inference, name=name)
    asked = ScaleSerializer(data={"replicas": request.POST.get("replicas", "")})
    if not asked.is_valid():
        told = next(iter(asked.errors.values()))[0]
        messages.error(request, f"replicas: {told}")
        return redirect("inference-page", name)
    try:
        services.scale(inference, asked.validated_data["replicas"])
        messages.success(request, f"{name} is asked to have {asked.validated_data['replicas']} replicas.")
    except Problem as problem:
        messages.error(request, str(problem.detail))
    return redirect("inference-page", name)


@require_POST
@admins_only
def inference_end(request: HttpRequest, name: str) -> HttpResponse:
    """End it."""
    inference = get_object_or_404(Inference, name=name)
    services.end(inference)
    messages.success(request, f"{name} is being ended.")
    return redirect("inference-list-page")


@require_safe
@viewers_only
def inference_try(request: HttpRequest, federation: str, version: int) -> HttpResponse:
    """Try any version: no replica is needed, REST predicts."""
    deployment, found = _find(federation, version)
    context = {"deployment": deployment, "version": found, "attempt": Attempt(deployment, version)}
    return render(request, "inference/try.html", context)


@require_safe
@viewers_only
def inference_sample(request: HttpRequest, federation: str) -> HttpResponse:
    """A sample of the data that fits the federation, as JSON."""
    deployment = get_object_or_404(Deployment, federation=federation)
    try:
        found = random_sample(deployment)
    except LogError as error:
        return JsonResponse({"detail": f"Kafka does not do this now: {error}"}, status=503)
    if found is None:
        return JsonResponse({"detail": "No stream that fits this model can be read."}, status=404)
    return JsonResponse(found)


def _find(federation: str, number: int) -> tuple[Deployment, Version]:
    deployment = get_object_or_404(Deployment, federation=federation)
    version = deployment.versions.filter(number=number).first() if number < 1 << 31 else None
    if version is None:
        raise Http404
    return deployment, version
