"""The launcher's settings from environment variables, and the launcher itself."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path, PurePath
from typing import TYPE_CHECKING

from django.conf import settings

from backend.config import environment as env
from backend.launchers.fleet import Fleet
from backend.launchers.local import LocalLauncher
from backend.launchers.local_fleet import LocalFleet
from backend.launchers.plan import Patience
from mainstem.errors import ConfigError
from mainstem.job_limits import JobLimits
from mainstem.job_settings import JobSettings
from mainstem.manifest import CLIENTS
from mainstem.ports import Launcher

if TYPE_CHECKING:  # the official client costs a second and 60 MB: only where there is a cluster
    from backend.launchers.cluster import Cluster
    from backend.launchers.cluster_fleet import ClusterFleet
    from backend.launchers.kubernetes import KubernetesLauncher

NAMESPACE = "kafkaml"
"""Of the Jobs, where neither MAINSTEM_JOB_NAMESPACE nor a pod's own namespace says otherwise."""

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
    cluster: ClusterOptions | None = None
    """None: they are processes of this machine."""

    @staticmethod
    def from_environ(environ: Mapping[str, str] = os.environ) -> Options:
        """Read them; raises ConfigError naming the variable.

        MAINSTEM_LAUNCHER is local (processes) or kubernetes. MAINSTEM_MAX_JOBS is how many Jobs may run at a time;
        the default is no limit on a cluster, whose scheduler decides, and on one machine the number of CPU cores and at
        least 3: each process costs about 0.5 GB of memory. MAINSTEM_JOB_BACKOFF_LIMIT (3) is how often in a row a Job
        may fail and start again; on a cluster Kubernetes counts that.
        """
        cloud = env.text("KML_CLOUD_BOOTSTRAP_SERVERS", environ=environ)
        data = env.text("DATA_BOOTSTRAP_SERVERS", cloud, environ)
        cloud_config = env.text("KML_CLOUD_CLIENT_CONFIG", environ=environ) or None
        data_config = env.text("DATA_CLIENT_CONFIG", environ=environ) or (cloud_config if data == cloud else None)
        cluster = _cluster(environ)
        limit = env.number("MAINSTEM_MAX_JOBS", max(3, os.cpu_count() or 1), environ)
        if cluster is None:
            patience = Patience(limit=env.number("MAINSTEM_JOB_BACKOFF_LIMIT", 3, environ))
            return Options(cloud, data, cloud_config, data_config, limit, patience)
        limited = bool(env.text("MAINSTEM_MAX_JOBS", environ=environ))
        return Options(
            cloud_bootstrap=cloud,
            data_bootstrap=data,
            cloud_client_config=_mounted("KML_CLOUD_CLIENT_CONFIG", cloud_config, cluster.secret),
            data_client_config=_mounted("DATA_CLIENT_CONFIG", data_config, cluster.secret),
            max_jobs=limit if limited else None,
            patience=Patience(limit=0),  # Kubernetes has tried as often as `backoff_limit` allows
            cluster=cluster,
        )


def _cluster(environ: Mapping[str, str]) -> ClusterOptions | None:
    kind = env.text("MAINSTEM_LAUNCHER", "local", environ)
    if kind == "local":
        return None
    if kind != "kubernetes":
        raise ConfigError(f"MAINSTEM_LAUNCHER is {kind!r}; it must be local or kubernetes")
    return ClusterOptions(
        namespace=env.text("MAINSTEM_JOB_NAMESPACE", _own_namespace() or NAMESPACE, environ),
        defaults=JobSettings.from_environ(environ),
        limits=JobLimits.from_environ(environ),
        owner=env.text("MAINSTEM_LAUNCHER_NAME", "mainstem", environ),
        secret=env.text("MAINSTEM_JOB_SECRET", environ=environ) or None,
        environ={name: environ[name] for name in PASSED_ON if name in environ},
    )


def _own_namespace() -> str | None:
    try:
        return IN_POD.read_text("ascii").strip()
    except OSError:
        return None


def _mounted(variable: str, path: str | None, secret: str | None) -> str | None:
    """Where a Job finds the client configuration that this process has at `path`: the Secret's key of that name."""
    if path is None:
        return None
    if secret is None:
        raise ConfigError(
            f"{variable} is set, so the Jobs need it too: name in MAINSTEM_JOB_SECRET the Secret that holds "
            f"{PurePath(path).name}"
        )
    return f"{CLIENTS}/{PurePath(path).name}"


def local_launcher() -> LocalLauncher:
    """Runs Jobs below `$MAINSTEM_HOME/jobs`."""
    return LocalLauncher(settings.HOME / "jobs")


@cache
def _connection(namespace: str) -> Cluster:
    """One a process, which its threads share."""
    from backend.launchers.cluster import Cluster

    return Cluster.connect(namespace)


def cluster_launcher(options: ClusterOptions) -> KubernetesLauncher:
    """Runs Jobs on the cluster; raises ClusterError where none is known."""
    from backend.launchers.kubernetes import KubernetesLauncher

    return KubernetesLauncher(
        _connection(options.namespace),
        options.defaults,
        limits=options.limits,
        owner=options.owner,
        secret=options.secret,
        environ=options.environ,
    )


def local_fleet() -> LocalFleet:
    """Keeps replicas below `$MAINSTEM_HOME/serving`."""
    return LocalFleet(settings.HOME / "serving")


def cluster_fleet(options: ClusterOptions) -> ClusterFleet:
    """Keeps replicas on the cluster; raises ClusterError where none is known."""
    from backend.launchers.cluster_fleet import ClusterFleet

    return ClusterFleet(
        _connection(options.namespace),
        options.defaults,
        limits=options.limits,
        owner=options.owner,
        secret=options.secret,
        environ=options.environ,
    )


def log_reader() -> Launcher:
    """A launcher for reading the logs of Jobs, in any process."""
    options = _cluster(os.environ)
    return local_launcher() if options is None else cluster_launcher(options)


def replica_logs() -> Fleet:
    """A fleet for reading the logs of replicas, in any process."""
    options = _cluster(os.environ)
    return local_fleet() if options is None else cluster_fleet(options)
