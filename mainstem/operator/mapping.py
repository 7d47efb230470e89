"""From a FederatedDeployment to REST's fields and back. Pure: no Kubernetes, no HTTP."""

from __future__ import annotations

import hashlib
import string
from collections.abc import Mapping
from typing import Any, Final

GROUP, VERSION, PLURAL, KIND = "mainstem.dev", "v1alpha1", "federateddeployments", "FederatedDeployment"

OWN_FIELDS: Final = frozenset({"model", "configuration", "stopped", "on_delete"})
"""Fields of `spec` that are not handed on to POST /api/deployments/ as they are."""

CHANGEABLE: Final = frozenset({"round_deadline", "stopped", "on_delete"})
"""Fields that may change once the federation is open."""

_ALPHABET: Final = string.ascii_lowercase + string.digits
_NAME_LIMIT: Final = 100

PHASES: Final = {
    "opening": "Opening",
    "waiting": "Waiting",
    "running": "Running",
    "stopped": "Stopped",
    "finished": "Finished",
    "failed": "Failed",
    "deleting": "Deleting",
}
"""The API's states as a resource's phases. Beside them: Pending, Refused, Gone."""

Spec = Mapping[str, Any]


def federation_of(uid: str, spec: Spec) -> str:
    """The federation id: the one that was asked for, else one that follows from the resource's UID.

    So a controller that died between creating and remembering finds its own work again.
    """
    if spec.get("federation"):
        return str(spec["federation"])
    number = int.from_bytes(hashlib.sha256(uid.encode()).digest()[:16], "big")
    letters = []
    for _ in range(8):
        number, rest = divmod(number, len(_ALPHABET))
        letters.append(_ALPHABET[rest])
    return "".join(letters)


def name_of(namespace: str, name: str) -> str:
    """The deployment's name: by it a person, and the controller, knows to whom it belongs."""
    return f"{namespace}/{name}"[:_NAME_LIMIT]


def body_of(spec: Spec, *, federation: str, name: str, configuration: int, model: int | None) -> dict[str, Any]:
    """The body of POST /api/deployments/."""
    body = {key: value for key, value in spec.items() if key not in OWN_FIELDS}
    body |= {"federation": federation, "name": name, "configuration": configuration}
    if model is not None:
        body["model"] = model
    return body


def applied_of(spec: Spec) -> dict[str, Any]:
    """What to remember of the spec with which the federation was opened."""
    return {key: value for key, value in spec.items() if key not in ("stopped", "on_delete")}


def changed(applied: Spec, spec: Spec) -> list[str]:
    """Fields whose change the open federation cannot take, in order."""
    keys = {*applied, *applied_of(spec)} - CHANGEABLE
    return sorted(key for key in keys if applied.get(key) != spec.get(key))


def deadline_to_send(deployment: Mapping[str, Any], spec: Spec, applied: Spec) -> float | None:
    """The deadline that the API must still be told, in seconds; None where it knows it or none was asked for."""
    asked = spec.get("round_deadline")
    if asked is None or float(asked) == float(applied.get("round_deadline") or 0):
        return None
    return None if round(float(asked) * 1000) == deployment["rules"]["deadline_ms"] else float(asked)


def status_of(deployment: Mapping[str, Any], evaluation: Mapping[str, Any] | None) -> dict[str, Any]:
    """The columns and details of `status`. `evaluation` is the newest that the clients have measured."""
    members = deployment.get("members") or []
    here = [member for member in members if member["state"] not in ("left", "failed")]
    values = (evaluation or {}).get("values") or {}
    accuracy = values.get("accuracy")
    waits = deployment.get("waits_for") or []
    return {
        "federation": deployment["federation"],
        "phase": PHASES.get(deployment["state"], deployment["state"].capitalize()),
        "round": deployment["round"],
        "rounds": deployment["rounds"],
        "progress": f"{deployment['round']}/{deployment['rounds']}",
        "version": deployment["version"],
        "sha256": deployment["sha256"],
        "clients": len(members) if deployment["state"] == "finished" else len(here),
        "waits_for": waits[:20],
        "accuracy": "" if accuracy is None else f"{accuracy:.4f}",
        "evaluation": {key: float(value) for key, value in sorted(values.items())},
        "message": deployment.get("error") or deployment.get("detail") or "",
    }


def condition(
    kind: str, holds: bool, reason: str, message: str, now: str, before: list[Mapping[str, Any]], generation: int
) -> dict[str, Any]:
    """A condition as Kubernetes has them; its time of transition stays where its status does."""
    status = "True" if holds else "False"
    old = next((known for known in before if known.get("type") == kind), None)
    since = old["lastTransitionTime"] if old is not None and old.get("status") == status else now
    return {
        "type": kind,
        "status": status,
        "reason": reason,
        "message": message[:2000],
        "observedGeneration": generation,
        "lastTransitionTime": since,
    }
