"""The launcher's own variables; those of its Jobs are `mainstem.jobs.kubernetes.settings`'."""

from __future__ import annotations

from typing import Annotated, Literal

from msgspec import Meta, Struct

from mainstem.runtime.fields import said

Positive = Annotated[int, Meta(ge=1, lt=1 << 31)]
Count = Annotated[int, Meta(ge=0, lt=1 << 31)]

NAMESPACE = "kafkaml"
"""Of the Jobs, where neither MAINSTEM_JOB_NAMESPACE nor a pod's own namespace says otherwise."""


class LauncherSettings(Struct, frozen=True):
    """The launcher's own variables."""

    launcher: Annotated[
        Literal["local", "kubernetes"],
        said("Launcher", "Jobs are processes of this machine, or Jobs of a cluster.", variable="MAINSTEM_LAUNCHER"),
    ] = "local"
    max_jobs: Annotated[
        Positive | None,
        said(
            "Jobs at a time", "So many Jobs at a time; a process takes some 0.5 GB.",
            variable="MAINSTEM_MAX_JOBS",
            otherwise="CPU cores, at least 3; no limit on a cluster, whose scheduler decides",
        ),
    ] = None  # fmt: skip
    backoff_limit: Annotated[
        Count,
        said(
            "Attempts", "So often in a row a Job may fail and start again; on a cluster Kubernetes counts that.",
            variable="MAINSTEM_JOB_BACKOFF_LIMIT",
        ),
    ] = 3  # fmt: skip
    namespace: Annotated[
        str | None,
        said(
            "Namespace", "Where the Jobs run on a cluster.",
            variable="MAINSTEM_JOB_NAMESPACE",
            otherwise=f"the launcher's own namespace, outside a pod `{NAMESPACE}`",
        ),
    ] = None  # fmt: skip
    name: Annotated[
        str,
        said(
            "Name",
            "The label `mainstem/launcher` of its Jobs; two launchers in a namespace need two.",
            variable="MAINSTEM_LAUNCHER_NAME",
        ),
    ] = "mainstem"
    audit_days: Annotated[
        Positive,
        said(
            "Who did what", "So long the table of who did what keeps a record; its topic keeps it longer.",
            unit="days", variable="MAINSTEM_AUDIT_DAYS",
        ),
    ] = 400  # fmt: skip
    secret: Annotated[
        str | None,
        said("Secret", "The Secret with Kafka's client configurations.", variable="MAINSTEM_JOB_SECRET"),
    ] = None
    site_secret: Annotated[
        str | None,
        said(
            "Site's key", "The Secret with the key of this platform's site, as `site.key`: its Jobs sign with it.",
            variable="MAINSTEM_JOB_SITE_SECRET",
        ),
    ] = None  # fmt: skip
