"""The launcher's settings from environment variables, and the launcher itself."""

from __future__ import annotations

import os
from dataclasses import dataclass

from django.conf import settings

from backend.config import environment as env
from backend.launchers.local import LocalLauncher
from backend.launchers.plan import Patience


@dataclass(frozen=True, slots=True)
class Options:
    """Which Kafka the Jobs use, how many run at a time, how often a failed one starts again."""

    cloud_bootstrap: str
    data_bootstrap: str
    cloud_client_config: str | None
    data_client_config: str | None
    max_jobs: int
    patience: Patience

    @staticmethod
    def from_environ() -> Options:
        """Read them; raises ConfigError naming the variable.

        MAINSTEM_MAX_JOBS is how many training processes may run here at a time: each costs about 0.5 GB of memory.
        Its default is the number of CPU cores, and at least 3. MAINSTEM_JOB_BACKOFF_LIMIT (3) is how often in a row a
        Job may fail and start again.
        """
        cloud = env.text("KML_CLOUD_BOOTSTRAP_SERVERS")
        data = env.text("DATA_BOOTSTRAP_SERVERS", cloud)
        cloud_config = env.text("KML_CLOUD_CLIENT_CONFIG") or None
        data_config = env.text("DATA_CLIENT_CONFIG") or None
        return Options(
            cloud_bootstrap=cloud,
            data_bootstrap=data,
            cloud_client_config=cloud_config,
            data_client_config=data_config or (cloud_config if data == cloud else None),
            max_jobs=env.number("MAINSTEM_MAX_JOBS", max(3, os.cpu_count() or 1)),
            patience=Patience(limit=env.number("MAINSTEM_JOB_BACKOFF_LIMIT", 3)),
        )


def local_launcher() -> LocalLauncher:
    """Runs Jobs below `$MAINSTEM_HOME/jobs`; any process may read their logs through it."""
    return LocalLauncher(settings.HOME / "jobs")
