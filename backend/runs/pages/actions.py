"""What a person does with a run on its page: each answers with the page and a sentence about what was asked for."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from django.contrib import messages
from django.core.exceptions import PermissionDenied
from django.http import Http404, HttpRequest, HttpResponseBase
from django.shortcuts import redirect
from django.views.decorators.http import require_POST

from backend.accounts.models import User
from backend.accounts.pages import operators_only
from backend.accounts.roles import Role, at_least, user_of
from backend.deployments import services, witnesses
from backend.deployments.models import Deployment
from backend.rest.problems import Problem
from backend.rest.serializers import Serializer
from backend.runs.api.serializers import AdmissionChangeSerializer, DeadlineSerializer, RollbackSerializer
from backend.runs.api.witnesses import AcceptSerializer
from backend.runs.pages.deployments import find
from backend.sites import admission
from mainstem.errors import MainstemError


@require_POST
@operators_only
def act(request: HttpRequest, federation: str, action: str) -> HttpResponseBase:
    """Do it, or say in the run's own page why it cannot be done."""
    deployment = find(federation)
    if action not in ACTIONS:
        raise Http404
    if action in FOR_ADMINS and not at_least(request.user, Role.ADMIN):
        raise PermissionDenied
    try:
        address, said = ACTIONS[action](request, deployment, user_of(request))
    except (Problem, MainstemError) as error:
        messages.error(request, str(error))
        return redirect(HOMES.get(action, "deployment-page"), federation)
    messages.success(request, said)
    return redirect(*address)


FOR_ADMINS = ("accept", "delete")

HOMES = {"rollback": "versions-page", "remove": "clients-page"}
"""The page that has an action's button, where it is not the run's first."""

Answer = tuple[tuple[str, ...], str]


def _stop(request: HttpRequest, deployment: Deployment, user: User) -> Answer:
    services.stop(deployment, user)
    return ("deployment-page", deployment.federation), "The run is asked to stop; what the open round has is kept."


def _resume(request: HttpRequest, deployment: Deployment, user: User) -> Answer:
    services.resume(deployment, user, admission.resuming(deployment))
    return ("deployment-page", deployment.federation), "The run goes on from its last commit."


def _restart(request: HttpRequest, deployment: Deployment, user: User) -> Answer:
    made = services.restart(deployment, user, admission.renewed(deployment.rules))
    return ("deployment-page", made.federation), f"Federation {made.federation} was opened with the same settings."


def _deadline(request: HttpRequest, deployment: Deployment, user: User) -> Answer:
    seconds = _checked(DeadlineSerializer, "round_deadline", request)
    services.change_deadline(deployment, float(seconds), user)
    return ("deployment-page", deployment.federation), f"Rounds now have {float(seconds):g} s."


def _rollback(request: HttpRequest, deployment: Deployment, user: User) -> Answer:
    version = int(_checked(RollbackSerializer, "version", request))
    services.rollback(deployment, version, user)
    return ("versions-page", deployment.federation), f"The run goes on from version {version}."


def _remove(request: HttpRequest, deployment: Deployment, user: User) -> Answer:
    client = request.POST.get("client", "")
    services.remove(deployment, client, user)
    return ("clients-page", deployment.federation), f"{client} is being removed from the run."


def _admission(request: HttpRequest, deployment: Deployment, user: User) -> Answer:
    mode = request.POST.get("admission", "")
    asked = {"admission": mode} | ({"sites": request.POST.getlist("sites")} if mode == "enrolled" else {})
    services.admit(deployment, _valid(AdmissionChangeSerializer, asked)["admission"], user)
    return ("deployment-page", deployment.federation), "The run is asked to admit these from now on, and no others."


def _accept(request: HttpRequest, deployment: Deployment, user: User) -> Answer:
    form = _valid(AcceptSerializer, {name: request.POST.get(name, "") for name in ("hash", "why")})
    witnesses.accept(deployment.pk, form["hash"], form["why"], user)
    return ("deployment-page", deployment.federation), "The run goes on from what the log holds."


def _delete(request: HttpRequest, deployment: Deployment, user: User) -> Answer:
    services.delete(deployment, request.POST.get("confirm", "").strip())
    return ("deployment-list-page",), f"Federation {deployment.federation} is being deleted."


def _checked(kind: type[Serializer], field: str, request: HttpRequest) -> float:
    return float(_valid(kind, {field: request.POST.get(field, "")})[field])


def _valid(kind: type[Serializer], data: dict[str, Any]) -> dict[str, Any]:
    form = kind(data=data)
    if form.is_valid():
        return dict(form.validated_data)
    raise Problem(400, " ".join(str(reason) for reasons in form.errors.values() for reason in reasons))


ACTIONS: dict[str, Callable[[HttpRequest, Deployment, User], Answer]] = {
    "stop": _stop,
    "resume": _resume,
    "restart": _restart,
    "deadline": _deadline,
    "rollback": _rollback,
    "remove": _remove,
    "admission": _admission,
    "accept": _accept,
    "delete": _delete,
}
