"""gunicorn's configuration: `gunicorn -c python:backend.project.gunicorn backend.project.wsgi:application`.

Its settings are `backend.gate.web`'s. Every live stream holds a thread while it is open: they come on top of the
threads, so that requests never wait for streams. Only a request that is there gets a thread (`backend.gate.worker`).
With MAINSTEM_METRICS_PORT set, all workers listen there as well, and
count into one directory that is made anew at each start.
"""

from __future__ import annotations

import atexit
import os
import shutil
import tempfile
from typing import Any

from backend.gate.web import web
from mainstem.runtime.addresses import address
from mainstem.runtime.metrics import beat
from mainstem.runtime.metrics.port import HOST, port_of

_web = web()
bind = [_web.bind]
workers = _web.workers
threads = _web.threads + _web.live_streams
worker_class = "backend.gate.worker.GateWorker"
worker_connections = 512  # below the 1,024 files that many machines allow a process
timeout = 180
graceful_timeout = 20
control_socket_disable = True
loglevel = "warning"
worker_tmp_dir = "/dev/shm" if os.path.isdir("/dev/shm") else None  # noqa: S108 (heartbeats, never on a slow disk)

_port = port_of()
if _port is not None:
    bind.append(address((os.environ.get(HOST) or "0.0.0.0").strip("[]"), _port))  # noqa: S104
    if "PROMETHEUS_MULTIPROC_DIR" not in os.environ:  # before prometheus_client is imported, which reads it once
        os.environ["PROMETHEUS_MULTIPROC_DIR"] = tempfile.mkdtemp(prefix="mainstem-metrics-")
        _owner, _directory = os.getpid(), os.environ["PROMETHEUS_MULTIPROC_DIR"]

        @atexit.register
        def _remove() -> None:
            if os.getpid() == _owner:
                shutil.rmtree(_directory, ignore_errors=True)


def when_ready(server: Any) -> None:
    """The master's sign of life; it looks after its workers itself (`timeout`)."""
    beat.start()


def post_worker_init(worker: Any) -> None:
    """Live streams end when their worker is told to: browsers then come again by themselves."""
    from backend.gate.life import life

    life.alive = lambda: bool(worker.alive)


def child_exit(server: Any, worker: Any) -> None:
    """A worker's gauges go with it; its counters stay in the sums."""
    if "PROMETHEUS_MULTIPROC_DIR" in os.environ:
        from prometheus_client import multiprocess

        multiprocess.mark_process_dead(worker.pid)  # type: ignore[no-untyped-call]
