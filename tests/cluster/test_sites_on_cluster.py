"""The platform's cluster as the cloud, and two namespaces made of `kustomize/edge`, each with a Kafka of its own."""

from __future__ import annotations

import json
import os
import secrets
import signal
import socket
import subprocess
import sys
import textwrap
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from mainstem.rest import Api
from mainstem.runtime.processes import free_port
from tests.cluster.kube import kubectl, until
from tests.cluster.manifests import ROOT
from tests.cluster.runs import KAFKA
from tests.support.sightings import records, sightings, windows

pytestmark = [pytest.mark.cluster, pytest.mark.slow]

SITES, ROUNDS, SAMPLES = ("north", "south"), 2, 60
SECONDS = 600.0
PARTS = ("deployment/backend", "deployment/launcher", "deployment/control-logger", "deployment/data-control-logger",
         "statefulset/kafka")  # fmt: skip


def overlay(directory: Path, namespace: str, site: str, port: int) -> Path:
    """An overlay as a site writes it: its name, the cloud's Kafka, and how its own is reached from outside."""
    directory.mkdir()
    for name in ("secret-key", "admin-password", "token"):
        (directory / name).write_text(secrets.token_urlsafe(36))
    (directory / "kustomization.yaml").write_text(
        textwrap.dedent(f"""\
        apiVersion: kustomize.config.k8s.io/v1beta1
        kind: Kustomization
        namespace: {namespace}
        resources: [{os.path.relpath(ROOT / "kustomize/edge", directory)}]
        configMapGenerator:
          - name: mainstem
            behavior: merge
            literals:
              - MAINSTEM_SITE={site}
              - KML_CLOUD_BOOTSTRAP_SERVERS=kafka.kafkaml.svc:9092
              - MAINSTEM_JOB_CPU=100m
              - MAINSTEM_JOB_MEMORY=1536Mi
        secretGenerator:
          - name: mainstem
            behavior: replace
            files: [secret-key, admin-password, token]
        patches:
          - target: {{kind: StatefulSet, name: kafka}}
            patch: |
              apiVersion: apps/v1
              kind: StatefulSet
              metadata: {{name: kafka}}
              spec:
                template:
                  spec:
                    containers:
                      - name: kafka
                        env: [{{name: MAINSTEM_KAFKA_EXTERNAL, value: "localhost:{port}"}}]
        """)
    )
    return directory


@contextmanager
def site(directory: Path, name: str, port: int) -> Iterator[str]:
    """A site's namespace with everything ready, its Kafka at `localhost:port`; deleted in the end."""
    namespace = f"trial-launcher-{name}-{secrets.token_hex(3)}"
    subprocess.run([ROOT / "kustomize/make-secrets.sh", "edge"], check=True)  # which the overlay reads, to replace them
    try:
        kubectl("apply", "-k", str(overlay(directory / name, namespace, name, port)), "--namespace", namespace)
        for part in PARTS:
            kubectl("rollout", "status", part, "--timeout=590s", "--namespace", namespace, timeout=600)
        command = ["kubectl", "--namespace", namespace, "port-forward", "service/kafka-external", f"{port}:9094"]
        with subprocess.Popen(command, stdout=subprocess.DEVNULL) as forward:
            try:
                until("the site's Kafka", lambda: listens(port), 30)
                yield namespace
            finally:
                forward.send_signal(signal.SIGTERM)
    finally:
        kubectl("delete", "namespace", namespace, "--ignore-not-found", "--wait=false")


def listens(port: int) -> bool:
    """Whether somebody does."""
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


def inject(directory: Path, port: int, name: str, seed: int) -> list[bytes]:
    """Samples that are nowhere else in the world, by the public script; their bytes."""
    random = np.random.default_rng(seed)
    samples = random.random((SAMPLES, 784), dtype=np.float32)
    labels = np.eye(10, dtype=np.float32)[random.integers(0, 10, SAMPLES)]
    path = directory / f"{name}.npz"
    np.savez(path, x=samples, y=labels)
    command = [
        sys.executable, "-m", "inject_scripts.inject_files", str(path), "--json", "--quiet", "--topic", f"{name}-data",
        "--restriction", json.dumps({"sites": "two"}), "--bootstrap", f"localhost:{port}",
    ]  # fmt: skip
    done = subprocess.run(command, check=False, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    return [sample.tobytes() for sample in samples]


def test_two_namespaces_train_one_model_and_keep_their_samples(api: Api, tmp_path: Path) -> None:
    """Each site's launcher starts its Job in its own namespace; then every record of the cloud's Kafka is read."""
    ports = {name: free_port() for name in SITES}
    with ExitStack() as stack:
        namespaces = {name: stack.enter_context(site(tmp_path, name, ports[name])) for name in SITES}
        name = f"sites-{secrets.token_hex(4)}"
        template = {"name": "mlp", "params": {"input_shape": [784], "units": [16], "classes": 10}}
        model = api.post("models/", {"name": name, "kind": "template", "template": template, "seed": 1})
        configuration = api.post("configurations/", {"name": name, "models": [model["id"]]})
        asked = {"configuration": configuration["id"], "rounds": ROUNDS, "min_clients": len(SITES),
                 "data_restriction": {"sites": "two"}}  # fmt: skip
        federation = api.post("deployments/", asked)["federation"]
        samples = {name: inject(tmp_path, ports[name], name, seed) for seed, name in enumerate(SITES)}

        def ended() -> dict[str, Any] | None:
            found: dict[str, Any] = api.get(f"results/{federation}/")
            return found if found["state"] in ("finished", "failed", "stopped") else None

        result = until("the end of the run", ended, SECONDS)
        assert result["state"] == "finished" and len(result["rounds"]) == ROUNDS
        assert list(api.pages("jobs/", federation=federation)) == []
        for name, namespace in namespaces.items():
            jobs = kubectl("get", "jobs", "--namespace", namespace, "--selector", f"mainstem/federation={federation}",
                           "--output", "name").split()  # fmt: skip
            assert len(jobs) == 1
            kubectl(
                "wait", "--for=condition=complete", jobs[0], "--namespace", namespace, "--timeout=120s", timeout=130
            )
            pods = kubectl("get", "pods", "--namespace", namespace, "--output", "name")
            assert "aggregator" not in pods
            assert sightings(windows(samples[name]), records(f"localhost:{ports[name]}")).keys() == {f"{name}-data"}
        pieces = windows(sample for one in samples.values() for sample in one)
        cloud = list(records(KAFKA))
        assert f"FEDERATED_AGGREGATOR_TOPIC-{federation}" in {topic for topic, _ in cloud}
        assert sightings(pieces, cloud) == {}
