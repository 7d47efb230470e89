"""Replicas as a Deployment over whatever cluster KUBECONFIG points at, with real pods of a small image."""

from __future__ import annotations

import json
import os
import secrets
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from backend.launchers.kubernetes.cluster import Cluster
from backend.launchers.kubernetes.fleet import ClusterFleet
from backend.launchers.replicas import FleetStanding
from mainstem.jobs.kubernetes.settings import JobSettings
from mainstem.serving.spec import ServingSpec
from tests.cluster.kube import anywhere as kubectl

pytestmark = [
    pytest.mark.cluster,
    pytest.mark.slow,
]

IMAGE = os.environ.get("MAINSTEM_TEST_BASE_IMAGE", "python:3.11-slim")
"""Has `python`, `sh` and `find`, as the training image has."""
SPEC = ServingSpec("digits", "cloud:1", "data:1", "ddy6heod", 5, "in", "out", "RAW", '{"data_reshape": "4"}')
SMALL: dict[str, Any] = {"image": IMAGE, "cpu": "10m", "memory": "64Mi"}
RBAC = Path(__file__).resolve().parents[2] / "kustomize/base/launcher-rbac.yaml"
SERVES = (
    "import os, pathlib, signal, time; signal.signal(15, lambda *_: exit(0))\n"
    "print(os.environ['INPUT_TOPIC'], os.getuid())\n"
    "while True: pathlib.Path.home().joinpath('ready').touch(); time.sleep(0.5)"
)
FAILS = "print('12:00 ERROR    serving MODEL_VERSION is 9'); raise SystemExit(2)"
SECONDS = 120.0
"""Longer than anything here takes on a busy machine."""


@pytest.fixture(scope="module")
def namespace() -> Iterator[str]:
    """A namespace in which only pods are admitted that `restricted` allows, with the base's accounts."""
    name = f"trial-serving-{secrets.token_hex(3)}"
    labels = {"pod-security.kubernetes.io/enforce": "restricted"}
    made = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name, "labels": labels}}
    kubectl("apply", "-f", "-", given=made)
    kubectl("apply", "-n", name, "-f", str(RBAC))
    yield name
    kubectl("delete", "namespace", name, "--wait=false")


@pytest.fixture
def cluster(namespace: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Cluster:
    """A connection as the launcher's account, with the verbs that the base gives it and no others."""
    view = json.loads(kubectl("config", "view", "--raw", "--minify", "--flatten", "-o", "json"))
    token = kubectl("create", "token", "mainstem-launcher", "-n", namespace).strip()
    view["users"] = [{"name": view["contexts"][0]["context"]["user"], "user": {"token": token}}]
    config = tmp_path / "launcher"
    config.write_text(json.dumps(view))
    with monkeypatch.context() as patch:
        patch.setenv("KUBECONFIG", str(config))
        return Cluster.connect(namespace)


def fleet(cluster: Cluster, program: str = SERVES, **settings: Any) -> ClusterFleet:
    """A fleet whose replicas run a few lines of Python."""
    chosen = JobSettings().overridden({**SMALL, **settings})
    return ClusterFleet(cluster, chosen, command=["python", "-u", "-c", program])


def until(made: ClusterFleet, spec: ServingSpec, replicas: int, good: Callable[[FleetStanding], bool]) -> FleetStanding:
    """Take steps until it stands as wanted."""
    deadline = time.monotonic() + SECONDS
    while True:
        made.refresh()
        standing = made.bring(spec, replicas)
        if good(standing):
            return standing
        assert time.monotonic() < deadline, f"after {SECONDS:.0f} s it is still {standing}"
        time.sleep(0.5)


def ended(made: ClusterFleet, name: str) -> None:
    """End it, and see that nothing is left."""
    deadline = time.monotonic() + SECONDS
    made.refresh()
    while not made.end(name):
        assert time.monotonic() < deadline, "it did not end in time"
        time.sleep(0.5)
        made.refresh()


def test_replicas_are_kept_scaled_and_ended(cluster: Cluster, namespace: str) -> None:
    """They become ready by their file, a deleted pod is replaced, another launcher goes on, the end leaves nothing."""
    made = fleet(cluster)
    until(made, SPEC, 2, lambda standing: standing == FleetStanding(2))
    assert "in 10001" in made.log("digits")
    pods = kubectl("get", "pods", "-n", namespace, "-l", "mainstem/inference=digits", "-o", "name").split()
    kubectl("delete", "-n", namespace, pods[0], "--wait=false")
    another = fleet(cluster)
    until(another, SPEC, 2, lambda standing: standing == FleetStanding(2))
    until(another, SPEC, 1, lambda standing: standing == FleetStanding(1))
    until(another, SPEC, 0, lambda standing: standing == FleetStanding(0))
    ended(another, "digits")
    assert kubectl("get", "deployments,pods", "-n", namespace, "-o", "name") == ""


def test_a_replica_whose_loop_hangs_is_not_ready(cluster: Cluster) -> None:
    """It touches its file once and never again: after a while it does not count."""
    hangs = "import pathlib, time; pathlib.Path.home().joinpath('ready').touch(); time.sleep(600)"
    made, spec = fleet(cluster, hangs), replace(SPEC, name="hangs")
    until(made, spec, 1, lambda standing: standing.ready == 1)
    until(made, spec, 1, lambda standing: standing.ready == 0)
    ended(made, "hangs")


def test_what_goes_wrong_is_told_in_a_sentence(cluster: Cluster) -> None:
    """The last words of a replica that ends, and an image that is not there."""
    made, spec = fleet(cluster, FAILS), replace(SPEC, name="fails")
    assert "MODEL_VERSION is 9" in until(made, spec, 1, lambda standing: bool(standing.problem)).problem
    ended(made, "fails")
    absent = fleet(cluster, image="no-such-image:1", image_pull_policy="Never")
    spec = replace(SPEC, name="absent")
    assert "no-such-image" in until(absent, spec, 1, lambda standing: bool(standing.problem)).problem
    ended(absent, "absent")


def test_what_has_no_row_is_swept(cluster: Cluster, namespace: str) -> None:
    """A Deployment that the database does not know goes."""
    made = fleet(cluster)
    until(made, replace(SPEC, name="stray"), 1, lambda standing: standing.ready == 1)
    made.refresh()
    made.sweep(set())
    assert "stray" not in kubectl("get", "deployments", "-n", namespace, "-o", "name")
