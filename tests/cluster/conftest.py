"""The platform on the cluster that KUBECONFIG names, reached as README says: `port_fwd.sh` and the login it made."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from mainstem.rest import Api
from mainstem.runtime.processes import free_port
from tests.cluster.kube import kubectl
from tests.cluster.manifests import ROOT

KAFKA_PORT = 31162
PARTS = ("deployment/backend", "deployment/launcher", "deployment/aggregator", "deployment/control-logger",
         "deployment/data-control-logger", "statefulset/kafka")  # fmt: skip


@pytest.fixture(scope="session")
def applied() -> None:
    """`kubectl apply -k kustomize/local`, and every part is ready. `./build.sh` must have run, its images be there."""
    assert os.environ.get("KUBECONFIG"), "KUBECONFIG must name the cluster to test on"
    assert (ROOT / "kustomize/local/secrets/token").exists(), "run ./build.sh first: it makes images and secrets"
    kubectl("apply", "-k", str(ROOT / "kustomize/local"))
    for part in PARTS:
        kubectl("rollout", "status", part, "--timeout=300s", timeout=310)


@pytest.fixture(scope="session")
def api_address(applied: None) -> Iterator[str]:
    """The backend through `port_fwd.sh`, with Kafka at the port that it tells its clients."""
    port = free_port()
    script = subprocess.Popen(
        [ROOT / "port_fwd.sh", "--ui", "0", "--api", str(port), "--kafka", str(KAFKA_PORT)], start_new_session=True
    )
    try:
        for wanted in (port, KAFKA_PORT):
            deadline = time.monotonic() + 30
            while True:
                assert script.poll() is None, "port_fwd.sh ended; its reason is above"
                try:
                    socket.create_connection(("127.0.0.1", wanted), 1).close()
                    break
                except OSError:
                    assert time.monotonic() < deadline, f"port {wanted} did not open"
                    time.sleep(0.2)
        yield f"http://127.0.0.1:{port}"
    finally:
        script.send_signal(signal.SIGTERM)
        script.wait(20)


@pytest.fixture(scope="session")
def api(api_address: str) -> Iterator[Api]:
    """Logged in as the admin whose password is in the overlay's secrets."""
    password = Path(ROOT, "kustomize/local/secrets/admin-password").read_text()
    with Api(api_address) as connected:
        connected.login("admin", password)
        yield connected
