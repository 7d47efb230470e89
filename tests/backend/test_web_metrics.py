"""The web's metrics: two real gunicorn workers that count together, on a port of their own."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from mainstem.runtime.processes import free_port
from tests.support.patience import PATIENCE
from tests.support.web import fetch, serving


@pytest.fixture(scope="module")
def web(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[int, int, Path]]:
    """The server's port for people, that for metrics, its temp folder."""
    home, metrics = tmp_path_factory.mktemp("web"), free_port()
    settings = {"MAINSTEM_METRICS_HOST": "127.0.0.1", "MAINSTEM_METRICS_PORT": metrics, "MAINSTEM_WEB_WORKERS": 2}
    with serving(home, **settings) as server:
        yield server.port, metrics, home
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
