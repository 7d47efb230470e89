"""`python -m backend.launchers`: the one process that opens deployments in Kafka and runs training Jobs."""

from __future__ import annotations

import argparse
import fcntl
import os
import signal
import sys
import threading
from pathlib import Path
from typing import IO

import django

from mainstem import logs
from mainstem.errors import ConfigError, MainstemError
from mainstem.metrics.health import Health
from mainstem.metrics.serving import serving

EVERY_SECONDS = 0.5
END_SECONDS = 15.0
"""How long Jobs may take to end with the platform: their supervisors kill them after 10 s."""


def main(arguments: list[str] | None = None) -> int:
    """Run until SIGTERM or SIGINT, end this machine's Jobs and return 0; 1 with a sentence when it cannot start."""
    parser = argparse.ArgumentParser(
        prog="python -m backend.launchers",
        description="Opens deployments in Kafka, matches streams with federations, and runs their training Jobs. "
        "On SIGTERM it ends the Jobs of this machine; a cluster's go on. Killed, it leaves all of them running, and "
        "the next one finds them. A second one on the same database stands by until the first has ended.",
        epilog="MAINSTEM_LAUNCHER: local (processes of this machine, the default) or kubernetes. "
        "MAINSTEM_MAX_JOBS: training processes at a time (default: CPU cores, at least 3; some 0.5 GB each). "
        "MAINSTEM_JOB_BACKOFF_LIMIT: how often in a row a failed Job starts again (default: 3).",
    )
    parser.parse_args(arguments)
    logs.configure("launchers")
    stop = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop.set())
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "backend.config.settings")
    try:
        django.setup()
        from backend.launchers.lease import Holder, Tenure
        from backend.launchers.meters import DatabaseCollector
        from backend.launchers.process import run, stand_by

        health, tenure = Health(), Tenure(Holder.launcher())
        with only_one(_home()), serving("launcher", health, DatabaseCollector()):
            try:
                if stand_by(tenure, stop, EVERY_SECONDS, health):
                    run(stop, EVERY_SECONDS, END_SECONDS, health, tenure)
            finally:
                tenure.give_back()
    except MainstemError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    return 0


def _home() -> Path:
    from backend.config.environment import home

    return home()


def only_one(home: Path) -> IO[str]:
    """Hold the launcher's lock until closed; raises ConfigError where another launcher holds it."""
    home.mkdir(mode=0o700, parents=True, exist_ok=True)
    file = (home / "launcher.lock").open("a")
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        file.close()
        raise ConfigError(f"another launcher runs on {home}: end that one first, or set MAINSTEM_HOME") from None
    return file


if __name__ == "__main__":
    sys.exit(main())
