"""The web's metrics: two real gunicorn workers that count together, on a port of their own."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest

from mainstem.processes import free_port
from tests.support.patience import PATIENCE


def fetch(port: int, path: str) -> tuple[int, str]:
    """Status and body."""
    request = urllib.request.Request(f"http://127.0.0.1:{port}{path}", headers={"Accept": "application/json"})
    try:
        with urllib.request.urlopen(request, timeout=PATIENCE) as response:
            return response.status, response.read().decode()
    except urllib.error.HTTPError as error:
        return error.code, error.read().decode()


@pytest.fixture(scope="module")
def web(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[int, int, Path]]:
    """gunicorn with our configuration on a fresh database: the port for people, that for metrics, its temp folder."""
    home = tmp_path_factory.mktemp("web")
    port, metrics = free_port(), free_port()
    environment = {
        **os.environ,
        "MAINSTEM_HOME": str(home),
        "DATABASE_URL": f"sqlite:///{home}/db.sqlite3",
        "MAINSTEM_SECRET_KEY": "only-for-tests",
        "MAINSTEM_BIND": f"127.0.0.1:{port}",
        "MAINSTEM_METRICS_HOST": "127.0.0.1",
        "MAINSTEM_METRICS_PORT": str(metrics),
        "MAINSTEM_WEB_WORKERS": "2",
        "TMPDIR": str(home),
    }
    python = [sys.executable, "-m"]
    subprocess.run([*python, "backend.manage", "migrate", "--verbosity", "0"], env=environment, check=True)
    command = [*python, "gunicorn", "-c", "python:backend.config.gunicorn", "backend.config.wsgi:application"]
    with subprocess.Popen(command, env=environment) as process:
        try:
            deadline = time.monotonic() + PATIENCE
            while True:
                try:
                    if fetch(port, "/api/health/")[0] == 200:
                        break
                except OSError:
                    assert process.poll() is None and time.monotonic() < deadline, "gunicorn does not answer"
                    time.sleep(0.1)
            yield port, metrics, home
        finally:
            process.send_signal(signal.SIGTERM)
            assert process.wait(PATIENCE) == 0
    assert not list(home.glob("mainstem-metrics-*")), "the directory goes with the server"


def test_workers_count_together(web: tuple[int, int, Path]) -> None:
    """Requests that either worker answered are in one sum, by route and status, whatever was asked for."""
    port, metrics, home = web
    asked = 0
    deadline = time.monotonic() + PATIENCE
    while asked < 40 or len(list(home.glob("mainstem-metrics-*/counter_*.db"))) < 2:
        assert time.monotonic() < deadline, "one worker answers everything"
        assert fetch(port, f"/no/such/page/{asked}")[0] == 404
        assert fetch(port, "/api/models/")[0] == 401
        asked += 1
    status, text = fetch(metrics, "/metrics")
    assert status == 200
    assert f'http_requests_total{{method="GET",route="model-list",status="401"}} {asked}.0' in text
    assert f'http_requests_total{{method="GET",route="none",status="404"}} {asked}.0' in text
    assert f'mainstem_http_request_seconds_bucket{{le="+Inf",route="model-list"}} {asked}.0' in text
    assert "/no/such" not in text


def test_the_ports_do_not_mix(web: tuple[int, int, Path]) -> None:
    """The port for people knows no /metrics, and the metrics' port nothing else."""
    port, metrics, _ = web
    assert fetch(port, "/metrics")[0] == 404
    assert fetch(metrics, "/healthz") == (200, "ok\n") and fetch(metrics, "/readyz")[0] == 200
    assert fetch(metrics, "/api/models/")[0] == fetch(metrics, "/login/")[0] == 404
