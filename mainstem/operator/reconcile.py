"""One look at a FederatedDeployment: what the API says of it, and what to ask of the API. Knows no Kubernetes."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

from mainstem.errors import MainstemError
from mainstem.operator import mapping
from mainstem.rest import ApiError


class Rest(Protocol):
    """The API, as `mainstem.rest.Api` has it; every call may raise ApiError."""

    def get(self, path: str, **params: Any) -> Any: ...
    def post(self, path: str, body: dict[str, Any] | None = None) -> Any: ...
    def delete(self, path: str, **params: Any) -> None: ...


class Refused(MainstemError):
    """The spec cannot be carried out as it is; the sentence names the field. Only its change helps."""


class Away(MainstemError):
    """The API does not answer, or not to us; time or the administrator helps."""


@dataclass(frozen=True, slots=True)
class Resource:
    """A FederatedDeployment as the API server shows it."""

    namespace: str
    name: str
    uid: str
    created: str
    generation: int
    spec: mapping.Spec
    status: Mapping[str, Any] = field(default_factory=dict)

    @property
    def federation(self) -> str:
        """Its federation's id, as remembered or as it follows."""
        return str(self.status.get("federation") or mapping.federation_of(self.uid, self.spec))

    @property
    def deployment_name(self) -> str:
        """The name that the deployment has in the API."""
        return mapping.name_of(self.namespace, self.name)


Say = Callable[[str, str, str], None]
"""Takes an event: type (Normal, Warning), reason, sentence."""


def look(rest: Rest, resource: Resource, now: str, say: Say) -> dict[str, Any]:
    """The new `status`. Creates the deployment where it is missing, sends what may change, refuses what may not.

    `now` is the time as RFC 3339. Events are said when something happens, not at each look.
    """
    before: list[Mapping[str, Any]] = list(resource.status.get("conditions") or [])

    def told(kind: str, holds: bool, reason: str, message: str) -> dict[str, Any]:
        return mapping.condition(kind, holds, reason, message, now, before, resource.generation)

    def warned(kind: str, reason: str, message: str) -> dict[str, Any]:
        if _news(before, kind, reason, message):
            say("Warning", reason, message)
        return told(kind, False, reason, message)

    status: dict[str, Any] = dict(resource.status) | {"observedGeneration": resource.generation}
    try:
        deployment, applied = _deployment(rest, resource, say)
    except (Refused, Away) as error:
        reason = type(error).__name__
        if not resource.status.get("applied"):
            status["phase"] = "Refused" if isinstance(error, Refused) else "Pending"
        status["message"] = str(error)
        return status | {"conditions": _put(before, warned("Synced", reason, str(error)))}
    if deployment is None:
        gone = "its deployment was deleted through the API; delete this resource, and apply it anew for another run"
        conditions = _put(before, warned("Synced", "Gone", gone))
        return status | {"phase": "Gone", "message": gone, "conditions": conditions}
    status |= mapping.status_of(deployment, _evaluation(rest, deployment, resource.status)) | {"applied": applied}
    refused = mapping.changed(applied, resource.spec)
    if refused:
        why = (
            f"{', '.join(refused)} cannot change once a federation is open (it runs with what it was opened with): "
            "put the old value back, or apply another resource; round_deadline, stopped and on_delete may change"
        )
        accepted = warned("SpecAccepted", "Immutable", why)
    else:
        accepted = told("SpecAccepted", True, "Accepted", "the federation runs as the spec says")
    conditions = _put(before, accepted)
    try:
        status["applied"] = _send_changes(rest, resource, deployment, applied, say)
        synced = told("Synced", True, "Synced", "as the API shows it")
    except (Refused, Away) as error:
        synced = warned("Synced", type(error).__name__, str(error))
    conditions = _put(conditions, synced)
    done = status["phase"] == "Finished"
    conditions = _put(conditions, told("Finished", done, status["phase"], status["message"] or status["progress"]))
    if status["phase"] != resource.status.get("phase"):
        kind = "Warning" if status["phase"] == "Failed" else "Normal"
        say(kind, status["phase"], status["message"] or f"round {status['progress']}")
    return status | {"conditions": conditions}


def remove(rest: Rest, resource: Resource, say: Say) -> str | None:
    """What the resource's end asks for: None where all is done, else what it still waits for.

    Raises Refused or Away where the API does not do it.
    """
    deployment = _get(rest, resource.federation)
    if deployment is None or not _ours(deployment, resource):
        return None
    keep = resource.spec.get("on_delete") == "keep"
    if keep:
        if deployment["state"] in ("opening", "waiting", "running") and "command" not in deployment["pending"]:
            _ask(lambda: rest.post(f"deployments/{resource.federation}/stop/"))
            say("Normal", "Stopped", f"federation {resource.federation} is stopped; its results are kept")
        return None
    if deployment["state"] != "deleting":
        _ask(lambda: rest.delete(f"deployments/{resource.federation}/", confirm=resource.federation))
        say("Normal", "Deleting", f"federation {resource.federation} goes with its topics and results")
    return f"federation {resource.federation} to be removed from Kafka"


# ------------------------------------------------------------ the deployment
def _deployment(rest: Rest, resource: Resource, say: Say) -> tuple[dict[str, Any] | None, dict[str, Any]]:
    """The API's deployment and the spec that it was opened with; None where it was there and is gone."""
    federation, applied = resource.federation, resource.status.get("applied")
    found = _get(rest, federation)
    if found is not None:
        if not _ours(found, resource):
            raise Refused(f"federation: {federation} belongs to the deployment {found['name']!r}; leave the field out")
        return found, dict(applied or mapping.applied_of(resource.spec))
    if applied:
        return None, dict(applied)
    model = None if resource.spec.get("model") is None else _find(rest, "models", "model", resource.spec["model"])
    body = mapping.body_of(
        resource.spec,
        federation=federation,
        name=resource.deployment_name,
        configuration=_configuration(rest, resource.spec, model),
        model=model,
    )
    made = _ask(lambda: rest.post("deployments/", body))
    if isinstance(made, list):  # cannot be: a fixed id needs one model
        raise Refused("configuration: it has several models; name one in model")
    say("Normal", "Created", f"opened federation {federation}")
    return made, mapping.applied_of(resource.spec)


def _ours(deployment: Mapping[str, Any], resource: Resource) -> bool:
    """Whether this resource made it: it has its name, and is not older."""
    made, created = str(deployment["created_at"]), resource.created
    return bool(deployment["name"] == resource.deployment_name and made[:19] >= created[:19])


def _get(rest: Rest, federation: str) -> dict[str, Any] | None:
    try:
        return dict(_ask(lambda: rest.get(f"deployments/{federation}/")))
    except Refused as error:
        if isinstance(error.__cause__, ApiError) and error.__cause__.status == 404:
            return None
        raise


def _find(rest: Rest, path: str, what: str, wanted: str | int) -> int:
    """A model's or configuration's number, by its name or number."""
    if isinstance(wanted, int):
        return wanted
    found = _ask(lambda: rest.get(f"{path}/", name=wanted))["results"]
    if not found:
        raise Refused(f"{what}: there is none named {wanted!r}; GET /api/{path}/ lists them")
    return int(found[0]["id"])


def _configuration(rest: Rest, spec: mapping.Spec, model: int | None) -> int:
    """The named configuration; without one, that of the model alone, made where there is none."""
    if spec.get("configuration") is not None:
        return _find(rest, "configurations", "configuration", spec["configuration"])
    if model is None:
        raise Refused("model: name a model, a configuration, or both")
    name = f"model {model}"
    known = _ask(lambda: rest.get("configurations/", name=name))["results"]
    if known:
        return int(known[0]["id"])
    text = "Made for FederatedDeployments that name a model and no configuration."
    return int(_ask(lambda: rest.post("configurations/", {"name": name, "models": [model], "description": text}))["id"])


def _send_changes(
    rest: Rest, resource: Resource, deployment: Mapping[str, Any], applied: dict[str, Any], say: Say
) -> dict[str, Any]:
    """Tell the API what may change; the applied spec after it."""
    address = f"deployments/{resource.federation}"
    if "command" in deployment["pending"]:
        return applied  # the last one first
    deadline = mapping.deadline_to_send(deployment, resource.spec, applied)
    if deadline is not None and deployment["state"] in ("opening", "waiting", "running"):
        _ask(lambda: rest.post(f"{address}/deadline/", {"round_deadline": deadline}))
        say("Normal", "Deadline", f"rounds have {deadline:g} s from here on")
    if resource.spec.get("round_deadline") is not None:
        applied = applied | {"round_deadline": resource.spec["round_deadline"]}
    stopped, was = bool(resource.spec.get("stopped")), bool(applied.get("stopped"))
    if stopped and not was:
        if deployment["state"] in ("opening", "waiting", "running"):
            _ask(lambda: rest.post(f"{address}/stop/"))
            say("Normal", "Stopping", "spec.stopped is true")
        return applied | {"stopped": True}
    if was and not stopped and deployment["state"] in ("opening", "waiting", "running"):
        return applied  # the stop is still under way
    if was and not stopped:
        if deployment["state"] == "stopped":
            _ask(lambda: rest.post(f"{address}/resume/"))
            say("Normal", "Resuming", "spec.stopped is no longer true")
        return {key: value for key, value in applied.items() if key != "stopped"}
    return applied


def _evaluation(rest: Rest, deployment: Mapping[str, Any], before: Mapping[str, Any]) -> Mapping[str, Any] | None:
    """What the clients have measured of the newest version that they have measured."""
    if deployment.get("evaluation"):
        return dict(deployment["evaluation"])
    number = deployment["version"]
    if number == 0:
        return None
    if number == before.get("version") and before.get("evaluation"):
        return {"values": before["evaluation"]}
    version = _ask(lambda: rest.get(f"results/{deployment['federation']}/versions/{number - 1}/"))
    return dict(version["evaluation"]) if version.get("evaluation") else None


def _ask(call: Callable[[], Any]) -> Any:
    """Ask the API; raises Refused where it says no, Away where it cannot say."""
    try:
        return call()
    except ApiError as error:
        if error.status is None or error.status >= 500 or error.status in (401, 403, 408, 429):
            raise Away(str(error)) from error
        raise Refused(str(error)) from error


# ------------------------------------------------------------ conditions
def _put(conditions: list[Mapping[str, Any]], new: dict[str, Any]) -> list[Mapping[str, Any]]:
    return [known for known in conditions if known.get("type") != new["type"]] + [new]


def _news(before: list[Mapping[str, Any]], kind: str, reason: str, message: str) -> bool:
    """Whether this was not said already."""
    old = next((known for known in before if known.get("type") == kind), {})
    return (old.get("reason"), old.get("message")) != (reason, message[:2000])
