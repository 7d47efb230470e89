"""Training Jobs as Kubernetes Jobs. Everything that the launcher knows is in the cluster, so a new one finds it."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from typing import Any

from backend.launchers.jobs.verdict import FORGOTTEN, ended, judge, needs_events, untold
from backend.launchers.kubernetes.cluster import Cluster, ClusterError
from mainstem.errors import ConfigError, LaunchRefused
from mainstem.jobs.kubernetes.limits import JobLimits
from mainstem.jobs.kubernetes.manifest import CONTAINER, LAUNCHER, MANAGED_BY, OWNER, Placement, job_manifest
from mainstem.jobs.kubernetes.settings import JobSettings
from mainstem.jobs.launcher import JobStatus
from mainstem.jobs.spec import JobSpec

WARNINGS_SECONDS = 10.0
"""How old what is known of the events about a waiting Job may be."""

_UID = "batch.kubernetes.io/controller-uid"
_JOB = "batch.kubernetes.io/job-name"


class KubernetesLauncher:
    """`Launcher` over the Jobs of one namespace that carry this launcher's name. Not for several threads.

    `defaults` are what a deployment's own settings override as far as `limits` allow it when the Job is made;
    `environ` is given to every Job beside its spec.
    """

    def __init__(
        self,
        cluster: Cluster,
        defaults: JobSettings,
        *,
        limits: JobLimits = JobLimits(),  # noqa: B008 (it cannot be changed)
        owner: str = "mainstem",
        secret: str | None = None,
        site: str | None = None,
        environ: Mapping[str, str] | None = None,
        command: Sequence[str] = (),
    ) -> None:
        self._cluster = cluster
        self._defaults, self._limits = defaults, limits
        self._placement = Placement(cluster.namespace, owner, secret, site)
        self._environ = dict(environ or {})
        self._command = command
        self._ours = f"{MANAGED_BY}={LAUNCHER},{OWNER}={owner}"
        self._jobs: dict[str, dict[str, Any]] = {}
        self._pods: dict[str, list[dict[str, Any]]] = {}
        self._warnings: dict[str, tuple[float, list[str]]] = {}

    def refresh(self) -> None:
        """See `Launcher`: two lists, rarely three, whatever the number of Jobs. Raises ClusterError."""
        self._pods = self._pods_by_job()
        # the Jobs after their pods: a Job's verdict is then never older than what its pods say
        self._jobs = {job["metadata"]["name"]: job for job in self._cluster.jobs(self._ours)}
        if any(untold(job, self._pods.get(job["metadata"]["uid"], ())) for job in self._jobs.values()):
            self._pods = self._pods_by_job()  # it failed between the two: how, its pod says by now
        stale = time.monotonic() - 10 * WARNINGS_SECONDS
        self._warnings = {uid: told for uid, told in self._warnings.items() if told[0] > stale}

    def _pods_by_job(self) -> dict[str, list[dict[str, Any]]]:
        pods: dict[str, list[dict[str, Any]]] = {}
        for pod in self._cluster.pods(self._ours):
            pods.setdefault(pod["metadata"]["labels"].get(_UID, ""), []).append(pod)
        return pods

    def launch(self, name: str, spec: JobSpec, job: Mapping[str, Any] | None = None) -> None:
        """See `Launcher`. A Job of that name which has ended makes room for the new one."""
        try:
            settings = self._limits.settings(job or {}, self._defaults)
        except ConfigError as error:
            raise LaunchRefused(str(error)) from error
        environ = {**self._environ, **spec.to_environ()}
        manifest = job_manifest(name, spec, settings, self._placement, environ=environ, command=self._command)
        for _ in range(2):
            try:
                self._jobs[name] = self._cluster.create_job(manifest)
                return
            except ClusterError as error:
                if error.status != 409:
                    raise LaunchRefused(str(error)) from error
            there = self._cluster.job(name)
            if there is None:
                continue
            if not self._owns(there):
                raise LaunchRefused(f"a Job {name} that this launcher did not make is in {self._cluster.namespace}")
            self._jobs[name] = there
            if ended(there) is None:
                return  # it is ours and runs: whoever created it, it is this one
            self._cluster.delete_job(name, there["metadata"]["uid"])
        raise LaunchRefused(f"the Job {name} that ended before is still being deleted")

    def status(self, name: str) -> JobStatus:
        """See `Launcher`."""
        job = self._jobs.get(name)
        pods = self._pods.get(job["metadata"]["uid"], []) if job is not None else []
        uid = needs_events(job, pods) if job is not None else None
        return judge(name, job, pods, self._told(uid) if uid is not None else ())

    def stop(self, name: str) -> None:
        """See `Launcher`. What has ended keeps its pods, and so its log, until its time to live is over."""
        job = self._jobs.pop(name, None) or self._cluster.job(name)
        if job is None or not self._owns(job):
            return
        uid = job["metadata"]["uid"]
        if ended(job) is None:
            self._cluster.delete_job(name, uid)
        elif FORGOTTEN not in job["metadata"].get("annotations", {}):
            self._cluster.annotate_job(name, uid, FORGOTTEN, "true")

    def log(self, name: str, tail: int = 65536) -> str:
        """See `Launcher`: of all attempts whose pods are still there, each under a line of its own."""
        pods = list(self._cluster.pods(f"{self._ours},{_JOB}={name}"))
        pods.sort(key=lambda pod: str(pod["metadata"].get("creationTimestamp")), reverse=True)
        parts: list[str] = []
        for pod in pods:
            left = tail - sum(map(len, parts))
            if left <= 0:
                break
            parts.insert(0, self._cluster.said(pod["metadata"]["name"], CONTAINER, left))
        return "".join(parts)

    def _told(self, uid: str) -> list[str]:
        """The warnings about what waits: first asked at the second look, since most things wait only for a moment."""
        now = time.monotonic()
        if uid not in self._warnings:
            self._warnings[uid] = (now - WARNINGS_SECONDS, [])
        elif now - self._warnings[uid][0] >= WARNINGS_SECONDS:
            self._warnings[uid] = (now, self._cluster.warnings(uid))
        return self._warnings[uid][1]

    def _owns(self, job: Mapping[str, Any]) -> bool:
        labels: Mapping[str, str] = job["metadata"].get("labels", {})
        return labels.get(MANAGED_BY) == LAUNCHER and labels.get(OWNER) == self._placement.owner
