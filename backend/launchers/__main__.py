"""`python -m backend.launchers`: the one process that opens deployments in Kafka and runs training Jobs."""

from __future__ import annotations

import argparse
import fcntl
import os
import sys
import threading
from pathlib import Path
from typing import IO

import django

from backend.launchers.settings import LauncherSettings
from mainstem.errors import ConfigError
from mainstem.runtime.environ import home
from mainstem.runtime.metrics.health import Health
from mainstem.runtime.metrics.serving import serving
from mainstem.runtime.program import Program, run
from mainstem.runtime.settings import variables
from mainstem.runtime.variables import CLOUD, DATA, LOG_LINES, METRICS, Variable

EVERY_SECONDS = 0.5
END_SECONDS = 15.0
"""How long Jobs may take to end with the platform: their supervisors kill them after 10 s."""


PROGRAM = Program(
    "backend.launchers",
    "launchers",
    "Opens deployments in Kafka, matches streams with federations, and runs their training Jobs. On SIGTERM it ends "
    "the Jobs of this machine; a cluster's go on. Killed, it leaves all of them running, and the next one finds them. "
    "A second one on the same database stands by until the first has ended.",
    {
        "Its database": (
            Variable("MAINSTEM_SECRET_KEY", "as the backend's; or a file's name in MAINSTEM_SECRET_KEY_FILE"),
            Variable("DATABASE_URL", "the same; or in DATABASE_URL_FILE", otherwise="SQLite in MAINSTEM_HOME"),
            Variable("MAINSTEM_HOME", "the state directory: database, Jobs, logs", ".mainstem"),
        ),
        "Where Kafka is": (*CLOUD, *DATA),
        "Its Jobs": (
            *variables(LauncherSettings),
            Variable("MAINSTEM_JOB_...", "of Jobs on a cluster: docs/kubernetes-jobs.md", otherwise="as there"),
        ),
        "Metrics": METRICS,
        "Its log": LOG_LINES,
    },
)  # fmt: skip


def main(arguments: list[str] | None = None) -> int:
    """Run until SIGTERM or SIGINT, and end this machine's Jobs."""
    return run(PROGRAM, _work, arguments)


def _work(options: argparse.Namespace, stop: threading.Event) -> None:
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "backend.project.settings")
    django.setup()
    from backend.launchers import process
    from backend.launchers.lease import Holder, Tenure
    from backend.launchers.meters import DatabaseCollector

    health, tenure = Health(), Tenure(Holder.launcher())
    with only_one(home(os.environ)), serving("launcher", health, DatabaseCollector()):
        try:
            if process.stand_by(tenure, stop, EVERY_SECONDS, health):
                process.run(stop, EVERY_SECONDS, END_SECONDS, health, tenure)
        finally:
            tenure.give_back()


def only_one(root: Path) -> IO[str]:
    """Hold the launcher's lock until closed; raises ConfigError where another launcher holds it."""
    root.mkdir(mode=0o700, parents=True, exist_ok=True)
    file = (root / "launcher.lock").open("a")
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        file.close()
        raise ConfigError(f"another launcher runs on {root}: end that one first, or set MAINSTEM_HOME") from None
    return file


if __name__ == "__main__":
    sys.exit(main())
