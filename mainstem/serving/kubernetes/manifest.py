"""The replicas of a deployed version as a Kubernetes Deployment. Pure.

Its pods are what a Job's pod is (`mainstem.jobs.kubernetes.manifest`), but start again for ever and say when they
answer.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from typing import Any, Final

from mainstem.jobs.kubernetes.manifest import FEDERATION, LAUNCHER, MANAGED_BY, OWNER, Placement, pod_spec, present
from mainstem.jobs.kubernetes.settings import JobSettings
from mainstem.serving.spec import READY_FILE, READY_SECONDS, ServingSpec

CONTAINER: Final = "serving"
COMMAND: Final = ("python", "-m", "federated_training.serving")
INFERENCE: Final = "mainstem/inference"
APP: Final = "federated-serving"
DIGEST: Final = "mainstem/digest"
"""An annotation: what the object was made from, so that a change is seen without comparing what Kubernetes added."""


def object_name(name: str) -> str:
    """The Deployment's name."""
    return f"{APP}-{name}"


def deployment_manifest(
    spec: ServingSpec,
    replicas: int,
    settings: JobSettings,
    placement: Placement,
    *,
    environ: Mapping[str, str] | None = None,
    command: Sequence[str] = COMMAND,
) -> dict[str, Any]:
    """The manifest. `environ` is given to every replica beside its spec."""
    own = {INFERENCE: spec.name, "app.kubernetes.io/name": APP}
    labels = {**own, "app.kubernetes.io/part-of": "mainstem", FEDERATION: spec.federation}
    if placement.owner is not None:
        labels |= {MANAGED_BY: LAUNCHER, OWNER: placement.owner}
    pod = pod_spec(
        CONTAINER,
        settings,
        placement,
        {**(environ or {}), **spec.to_environ()},
        command=command,
        restart="Always",
        probes={"readinessProbe": _probe()},
    )
    body = {
        "replicas": replicas,
        "revisionHistoryLimit": 1,
        "selector": {"matchLabels": own},
        # one more for a moment is no harm: the group divides the partitions anew
        "strategy": {"type": "RollingUpdate", "rollingUpdate": {"maxSurge": 1, "maxUnavailable": 0}},
        "template": {"metadata": {"labels": dict(labels)}, "spec": pod},
    }
    digest = hashlib.sha256(json.dumps([labels, body["template"]], sort_keys=True).encode()).hexdigest()[:32]
    metadata = {
        "name": object_name(spec.name),
        "namespace": placement.namespace,
        "labels": labels,
        "annotations": {DIGEST: digest},
    }
    return {"apiVersion": "apps/v1", "kind": "Deployment", "metadata": present(metadata), "spec": body}


def _probe() -> dict[str, Any]:
    """The file that a replica touches at each turn of its loop is not older than it may be."""
    fresh = f'test -n "$(find "$HOME/{READY_FILE}" -newermt "-{READY_SECONDS:.0f} seconds" 2>/dev/null)"'
    return {"exec": {"command": ["sh", "-c", fresh]}, "periodSeconds": 5, "timeoutSeconds": 5, "failureThreshold": 3}
