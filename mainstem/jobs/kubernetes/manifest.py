"""A training Job as a Kubernetes manifest: the same dictionary for the launcher, for `kubectl apply`, for a test. Pure.

Everything that the `restricted` Pod Security Standard asks is in it. Sources: Kubernetes' "Pod Security Standards",
"Jobs" (pod failure policy, TTL after finished) and "Recommended Labels".
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import PurePath
from typing import Any, Final

import msgspec

from mainstem.jobs.kubernetes.settings import JobSettings
from mainstem.jobs.spec import FOR_GOOD, JobSpec
from mainstem.protocol.signing import SITE_KEY_FILE
from mainstem.runtime.exits import Exit

CONTAINER: Final = "training"
HOME: Final = "/home/mainstem"
STATE: Final = "/state"
CLIENTS: Final = "/etc/mainstem/kafka"
"""Where the Secret with Kafka's client configurations is mounted."""

SITE: Final = "/etc/mainstem/site"
"""Where the Secret with the site's key is mounted."""
SITE_KEY: Final = f"{SITE}/site.key"

MANAGED_BY: Final = "app.kubernetes.io/managed-by"
LAUNCHER: Final = "mainstem-launcher"
OWNER: Final = "mainstem/launcher"
FEDERATION: Final = "mainstem/federation"
CLIENT: Final = "mainstem/client"
"""An annotation: a client's id may be longer than a label's value."""

GRACE_SECONDS: Final = 30
"""For leaving the federation after SIGTERM."""


@dataclass(frozen=True, slots=True)
class Placement:
    """Where a Job goes and whose it is. `secret` is mounted whole at `CLIENTS`, `site`, the Secret with `site.key`, at
    `SITE`; `owner` is the launcher's name."""

    namespace: str | None = None
    owner: str | None = None
    secret: str | None = None
    site: str | None = None


def mounted(path: str) -> str:
    """Where a pod finds the client configuration that the backend has at `path`: the Secret's key of that name."""
    return f"{CLIENTS}/{PurePath(path).name}"


def job_manifest(
    name: str,
    spec: JobSpec,
    settings: JobSettings,
    placement: Placement,
    *,
    environ: Mapping[str, str] | None = None,
    command: Sequence[str] = (),
) -> dict[str, Any]:
    """The manifest of a Job. `environ` defaults to all of the spec's variables; `command` to the image's own."""
    labels = {
        "app.kubernetes.io/name": "federated-training",
        "app.kubernetes.io/part-of": "mainstem",
        FEDERATION: spec.federation,
    }
    if placement.owner is not None:
        labels |= {MANAGED_BY: LAUNCHER, OWNER: placement.owner}
    metadata = {
        "name": name,
        "namespace": placement.namespace,
        "labels": labels,
        "annotations": {CLIENT: spec.client_id} if spec.client_id else None,
    }
    job = {
        "backoffLimit": settings.backoff_limit,
        "ttlSecondsAfterFinished": settings.ttl_seconds,
        "activeDeadlineSeconds": settings.deadline_seconds,
        "podFailurePolicy": {"rules": _failure_rules()},
        "template": {
            "metadata": {"labels": dict(labels)},
            "spec": pod_spec(
                CONTAINER,
                settings,
                placement,
                {**(spec.to_environ() if environ is None else environ), **_state(settings), **_signing(placement)},
                claim=settings.state_claim,
                command=command,
                restart="Never",  # each attempt is a pod of its own, whose log and end can be read
            ),
        },
    }
    return {"apiVersion": "batch/v1", "kind": "Job", "metadata": present(metadata), "spec": present(job)}


def _failure_rules() -> list[dict[str, Any]]:
    """A drained node or a preemption is no failure of the Job; what a Job cannot mend by itself ends it."""
    codes = {"containerName": CONTAINER, "operator": "In"}
    return [
        {"action": "Ignore", "onPodConditions": [{"type": "DisruptionTarget", "status": "True"}]},
        {"action": "Ignore", "onExitCodes": {**codes, "values": [int(Exit.TERMINATED)]}},
        {"action": "FailJob", "onExitCodes": {**codes, "values": [int(code) for code in FOR_GOOD]}},
    ]


def pod_spec(
    name: str,
    settings: JobSettings,
    placement: Placement,
    environ: Mapping[str, str],
    *,
    claim: str | None = None,
    command: Sequence[str],
    restart: str,
    probes: Mapping[str, Any] | None = None,
) -> dict[str, Any]:
    """A pod of one container of that name, as the `restricted` standard asks; `claim` is mounted at `STATE`."""
    volumes: list[dict[str, Any]] = [
        {"name": "tmp", "emptyDir": {"sizeLimit": settings.scratch}},
        {"name": "home", "emptyDir": {"sizeLimit": settings.scratch}},
    ]
    mounts: list[dict[str, Any]] = [{"name": "tmp", "mountPath": "/tmp"}, {"name": "home", "mountPath": HOME}]  # noqa: S108
    if placement.secret is not None:
        volumes.append({"name": "kafka", "secret": {"secretName": placement.secret, "defaultMode": 0o440}})
        mounts.append({"name": "kafka", "mountPath": CLIENTS, "readOnly": True})
    if placement.site is not None:
        volumes.append({"name": "site", "secret": {"secretName": placement.site, "defaultMode": 0o440}})
        mounts.append({"name": "site", "mountPath": SITE, "readOnly": True})
    if claim is not None:
        volumes.append({"name": "state", "persistentVolumeClaim": {"claimName": claim}})
        mounts.append({"name": "state", "mountPath": STATE})
    container = {
        "name": name,
        "image": settings.image,
        "imagePullPolicy": settings.image_pull_policy,
        "command": list(command) or None,
        "env": [{"name": n, "value": value} for n, value in {"HOME": HOME, **_devices(settings), **environ}.items()],
        "resources": _resources(settings),
        "securityContext": {
            "allowPrivilegeEscalation": False,
            "capabilities": {"drop": ["ALL"]},
            "readOnlyRootFilesystem": True,
        },
        "terminationMessagePolicy": "FallbackToLogsOnError",
        "volumeMounts": mounts,
        **(probes or {}),
    }
    user = {} if settings.user is None else dict.fromkeys(("runAsUser", "runAsGroup", "fsGroup"), settings.user)
    return present(
        {
            "restartPolicy": restart,
            "automountServiceAccountToken": False,
            "enableServiceLinks": False,
            "terminationGracePeriodSeconds": GRACE_SECONDS,
            "priorityClassName": settings.priority_class,
            "runtimeClassName": settings.runtime_class,
            "nodeSelector": settings.node_selector or None,
            "tolerations": msgspec.to_builtins(settings.tolerations) or None,
            "imagePullSecrets": [{"name": secret} for secret in settings.pull_secrets] or None,
            "securityContext": {"runAsNonRoot": True, **user, "seccompProfile": {"type": "RuntimeDefault"}},
            "containers": [present(container)],
            "volumes": volumes,
        }
    )


def _state(settings: JobSettings) -> dict[str, str]:
    """Where clients keep what must outlive their pods."""
    return {"FEDERATED_STATE": STATE} if settings.state_claim is not None else {}


def _signing(placement: Placement) -> dict[str, str]:
    """With which key its records are signed."""
    return {SITE_KEY_FILE: SITE_KEY} if placement.site is not None else {}


def _devices(settings: JobSettings) -> dict[str, str]:
    """The training program uses no GPU unless told; in the container those that it was given count from 0."""
    return {"CUDA_VISIBLE_DEVICES": ",".join(map(str, range(settings.gpus)))} if settings.gpus else {}


def _resources(settings: JobSettings) -> dict[str, Any]:
    device = {settings.gpu_resource: str(settings.gpus)} if settings.gpus else {}
    limit = {"cpu": settings.cpu_limit} if settings.cpu_limit else {}
    return {
        "requests": {"cpu": settings.cpu, "memory": settings.memory, **device},
        "limits": {**limit, "memory": settings.memory, **device},
    }


def present(fields: Mapping[str, Any]) -> dict[str, Any]:
    """The fields that have a value."""
    return {name: value for name, value in fields.items() if value is not None}
