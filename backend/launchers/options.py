"""The launcher's settings from environment variables, and the launcher itself."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cache, partial
from pathlib import Path, PurePath
from typing import TYPE_CHECKING, TypeVar

from django.conf import settings

from backend.launchers.jobs.plan import Patience
from backend.launchers.local.fleet import LocalFleet
from backend.launchers.local.launcher import LocalLauncher
from backend.launchers.replicas import Fleet
from backend.launchers.settings import NAMESPACE, LauncherSettings
from mainstem.errors import ConfigError
from mainstem.jobs.kubernetes.limits import JobLimits
from mainstem.jobs.kubernetes.manifest import mounted
from mainstem.jobs.kubernetes.settings import JobSettings
from mainstem.jobs.launcher import Launcher
from mainstem.runtime import endpoints
from mainstem.runtime.settings import from_environ

if TYPE_CHECKING:  # the official client costs a second and 60 MB: only where there is a cluster
    from backend.launchers.kubernetes.cluster import Cluster
    from backend.launchers.kubernetes.fleet import ClusterFleet
    from backend.launchers.kubernetes.launcher import KubernetesLauncher

Made = TypeVar("Made")

IN_POD = Path("/var/run/secrets/kubernetes.io/serviceaccount/namespace")
"""Where a pod finds the namespace that it runs in."""

PASSED_ON = (
    "KERAS_BACKEND", "TF_CPP_MIN_LOG_LEVEL", "MAINSTEM_LOG_FORMAT", "MAINSTEM_TRAINING_THREADS",
    "MAINSTEM_TRAINING_PATIENCE",
)  # fmt: skip
"""What of the launcher's environment a Job in the cluster is given. Nothing secret is among it."""


@dataclass(frozen=True, slots=True)
class ClusterOptions:
    """Where and how Jobs run on Kubernetes."""

    namespace: str
    defaults: JobSettings
    limits: JobLimits
    owner: str
    secret: str | None
    site: str | None
    environ: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Options:
    """Which Kafka the Jobs use, how many run at a time, how often a failed one starts again, and where they run."""

    cloud_bootstrap: str
    data_bootstrap: str
    cloud_client_config: str | None
    data_client_config: str | None
    max_jobs: int | None
    patience: Patience
    audit_days: int = 400
    cluster: ClusterOptions | None = None
    """None: they are processes of this machine."""

    @staticmethod
    def from_environ(environ: Mapping[str, str] = os.environ) -> Options:
        """Read them; raises ConfigError naming the variable."""
        own, cloud, data = from_environ(LauncherSettings, environ), endpoints.cloud(environ), endpoints.data(environ)
        cluster = _cluster(environ)
        if cluster is None:
            limit, patience = own.max_jobs or max(3, os.cpu_count() or 1), Patience(limit=own.backoff_limit)
            return Options(
                cloud.servers, data.servers, cloud.properties, data.properties, limit, patience, own.audit_days
            )
        return Options(
            cloud_bootstrap=cloud.servers,
            data_bootstrap=data.servers,
            cloud_client_config=_mounted(endpoints.CLOUD_PROPERTIES, cloud.properties, cluster.secret),
            data_client_config=_mounted(endpoints.DATA_PROPERTIES, data.properties, cluster.secret),
            max_jobs=own.max_jobs,
            patience=Patience(limit=0),  # Kubernetes has tried as often as `backoff_limit` allows
            audit_days=own.audit_days,
            cluster=cluster,
        )


def _cluster(environ: Mapping[str, str]) -> ClusterOptions | None:
    own = from_environ(LauncherSettings, environ)
    if own.launcher == "local":
        return None
    return ClusterOptions(
        namespace=own.namespace or _own_namespace() or NAMESPACE,
        defaults=JobSettings.from_environ(environ),
        limits=JobLimits.from_environ(environ),
        owner=own.name,
        secret=own.secret,
        site=own.site_secret,
        environ={name: environ[name] for name in PASSED_ON if name in environ},
    )


def _own_namespace() -> str | None:
    try:
        return IN_POD.read_text("ascii").strip()
    except OSError:
        return None


def _mounted(variable: str, path: str | None, secret: str | None) -> str | None:
    """See `manifest.mounted`; raises ConfigError where there is no Secret."""
    if path is None:
        return None
    if secret is None:
        raise ConfigError(
            f"{variable} is set, so the Jobs need it too: name in MAINSTEM_JOB_SECRET the Secret that holds "
            f"{PurePath(path).name}"
        )
    return mounted(path)


def local_launcher() -> LocalLauncher:
    """Runs Jobs below `$MAINSTEM_HOME/jobs`."""
    return LocalLauncher(settings.HOME / "jobs")


@cache
def _connection(namespace: str) -> Cluster:
    """One a process, which its threads share."""
    from backend.launchers.kubernetes.cluster import Cluster

    return Cluster.connect(namespace)


def _on_cluster(make: Callable[..., Made], options: ClusterOptions) -> Made:
    return make(
        _connection(options.namespace),
        options.defaults,
        limits=options.limits,
        owner=options.owner,
        secret=options.secret,
        environ=options.environ,
    )


def cluster_launcher(options: ClusterOptions) -> KubernetesLauncher:
    """Runs Jobs on the cluster; raises ClusterError where none is known."""
    from backend.launchers.kubernetes.launcher import KubernetesLauncher

    return _on_cluster(partial(KubernetesLauncher, site=options.site), options)


def local_fleet() -> LocalFleet:
    """Keeps replicas below `$MAINSTEM_HOME/serving`."""
    return LocalFleet(settings.HOME / "serving")


def cluster_fleet(options: ClusterOptions) -> ClusterFleet:
    """Keeps replicas on the cluster; raises ClusterError where none is known."""
    from backend.launchers.kubernetes.fleet import ClusterFleet

    return _on_cluster(ClusterFleet, options)


def log_reader() -> Launcher:
    """A launcher for reading the logs of Jobs, in any process."""
    options = _cluster(os.environ)
    return local_launcher() if options is None else cluster_launcher(options)


def replica_logs() -> Fleet:
    """A fleet for reading the logs of replicas, in any process."""
    options = _cluster(os.environ)
    return local_fleet() if options is None else cluster_fleet(options)
