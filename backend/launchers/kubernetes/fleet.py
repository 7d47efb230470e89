"""Replicas as Kubernetes Deployments, one for each deployed version. Everything that is known is in the cluster."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Any

from backend.launchers.kubernetes.cluster import Cluster, ClusterError
from backend.launchers.replicas import FleetStanding
from backend.launchers.words import last_error
from mainstem.errors import LaunchRefused
from mainstem.jobs.kubernetes.limits import JobLimits
from mainstem.jobs.kubernetes.manifest import LAUNCHER, MANAGED_BY, OWNER, Placement
from mainstem.jobs.kubernetes.settings import JobSettings
from mainstem.serving.kubernetes.manifest import (
    APP,
    COMMAND,
    CONTAINER,
    DIGEST,
    INFERENCE,
    deployment_manifest,
    object_name,
)
from mainstem.serving.spec import ServingSpec


class ClusterFleet:
    """`fleet.Fleet` over the Deployments of one namespace that carry this launcher's name. Not for several threads."""

    def __init__(
        self,
        cluster: Cluster,
        defaults: JobSettings,
        *,
        limits: JobLimits = JobLimits(),  # noqa: B008 (it cannot be changed)
        owner: str = "mainstem",
        secret: str | None = None,
        environ: Mapping[str, str] | None = None,
        command: Sequence[str] = COMMAND,
    ) -> None:
        self._cluster, self._defaults, self._limits, self._command = cluster, defaults, limits, command
        self._placement = Placement(cluster.namespace, owner, secret)
        self._environ = dict(environ or {})
        self._ours = f"{MANAGED_BY}={LAUNCHER},{OWNER}={owner},app.kubernetes.io/name={APP}"
        self._objects: dict[str, dict[str, Any]] = {}
        self._pods: dict[str, list[dict[str, Any]]] = {}

    def refresh(self) -> None:
        """See `Fleet`: two lists, whatever the number of replicas. Raises ClusterError."""
        self._objects = {
            found["metadata"]["labels"][INFERENCE]: found
            for found in self._cluster.deployments(self._ours)
            if INFERENCE in found["metadata"].get("labels", {})
        }
        pods: dict[str, list[dict[str, Any]]] = {}
        for pod in self._cluster.pods(self._ours):
            pods.setdefault(pod["metadata"]["labels"].get(INFERENCE, ""), []).append(pod)
        self._pods = pods

    def bring(self, spec: ServingSpec, replicas: int, job: Mapping[str, Any] | None = None) -> FleetStanding:
        """See `Fleet`."""
        settings = self._limits.settings(job or {}, self._defaults)
        manifest = deployment_manifest(
            spec, replicas, settings, self._placement, environ=self._environ, command=self._command
        )
        there = self._objects.get(spec.name)
        if there is None:
            self._create(spec.name, manifest)
            return FleetStanding()
        metadata = there["metadata"]
        if metadata.get("annotations", {}).get(DIGEST) != manifest["metadata"]["annotations"][DIGEST]:
            change = {"metadata": {"annotations": manifest["metadata"]["annotations"]}, "spec": manifest["spec"]}
            self._cluster.patch_deployment(metadata["name"], metadata["uid"], change)
        elif there["spec"].get("replicas") != replicas:
            self._cluster.patch_deployment(metadata["name"], metadata["uid"], {"spec": {"replicas": replicas}})
        ready = int(there.get("status", {}).get("readyReplicas") or 0)
        problem = "" if ready >= replicas else trouble(there, self._pods.get(spec.name, ()))
        return FleetStanding(min(ready, replicas), problem)

    def _create(self, name: str, manifest: dict[str, Any]) -> None:
        try:
            self._objects[name] = self._cluster.create_deployment(manifest)
        except ClusterError as error:
            if error.status == 409:
                told = f"a Deployment {object_name(name)} that this launcher did not make is in the namespace"
                raise LaunchRefused(f"{told} {self._cluster.namespace}") from error
            raise LaunchRefused(str(error)) from error

    def end(self, name: str) -> bool:
        """See `Fleet`."""
        there = self._objects.get(name)
        if there is not None:
            self._cluster.delete_deployment(there["metadata"]["name"], there["metadata"]["uid"])
        return there is None and not self._pods.get(name)

    def sweep(self, names: Collection[str]) -> None:
        """See `Fleet`."""
        for name in set(self._objects) - set(names):
            self.end(name)

    def log(self, name: str, tail: int = 65536) -> str:
        """See `Fleet`."""
        pods = sorted(self._cluster.pods(f"{self._ours},{INFERENCE}={name}"), key=lambda pod: pod["metadata"]["name"])
        each = tail // max(1, len(pods))
        return "".join(self._cluster.said(pod["metadata"]["name"], CONTAINER, each) for pod in pods)


def trouble(found: Mapping[str, Any], pods: Collection[Mapping[str, Any]]) -> str:
    """Why replicas do not answer, as the Deployment and its pods say; empty where they are only starting. Pure."""
    for pod in pods:
        for state in pod.get("status", {}).get("containerStatuses") or ():
            waiting = state.get("state", {}).get("waiting") or {}
            ended = state.get("lastState", {}).get("terminated") or state.get("state", {}).get("terminated") or {}
            if ended:
                why = last_error(str(ended.get("message") or "")) or f"exit code {ended.get('exitCode')}"
                return f"pod {pod['metadata']['name']}: {why}; it is started again"
            if waiting.get("reason") not in (None, "ContainerCreating", "PodInitializing"):
                told = waiting.get("message") or waiting["reason"]
                return f"pod {pod['metadata']['name']}: {str(told)[:500]}"
        for condition in pod.get("status", {}).get("conditions") or ():
            if condition.get("reason") == "Unschedulable":
                return f"pod {pod['metadata']['name']}: {str(condition.get('message'))[:500]}"
    for condition in found.get("status", {}).get("conditions") or ():
        if condition.get("type") == "ReplicaFailure" and condition.get("status") == "True":
            return str(condition.get("message", ""))[:500]
    return ""
