"""What the API tells of Jobs on the real cluster, from the deployment's `job` object to the pod and back."""

from __future__ import annotations

import json
import secrets
import subprocess
import sys
from typing import Any

import pytest

from mainstem.rest import Api
from tests.cluster.kube import kubectl, until
from tests.cluster.runs import KAFKA, TEMPLATE

pytestmark = [pytest.mark.cluster, pytest.mark.slow]

SECONDS = 240.0


@pytest.fixture(scope="module")
def restriction(api: Api) -> dict[str, str]:
    """A stream that is announced for the federations of this module alone."""
    name = f"api-jobs-{secrets.token_hex(4)}"
    only = {"test": name}
    command = [
        sys.executable, "-m", "inject_scripts.inject_dummy_training_data", "--json", "--quiet", "--bootstrap", KAFKA,
        "--topic", name, "--restriction", json.dumps(only), "--train-samples", "50", "--test-samples", "0",
    ]  # fmt: skip
    subprocess.run(command, check=True, capture_output=True, text=True, timeout=120)
    return only


def deploy(api: Api, restriction: dict[str, str], job: dict[str, Any]) -> str:
    """A federation whose Jobs have these settings."""
    name = f"api-jobs-{secrets.token_hex(4)}"
    model = api.post("models/", {"name": name, "kind": "template", "template": TEMPLATE, "seed": 1})
    configuration = api.post("configurations/", {"name": name, "models": [model["id"]]})
    asked = {"configuration": configuration["id"], "rounds": 1, "data_restriction": restriction, "job": job}
    return str(api.post("deployments/", asked)["federation"])


def job_of(api: Api, federation: str, words: str, state: str = "") -> dict[str, Any]:
    """The federation's one Job, as soon as its detail has these words, and it this state if one is given."""

    def look() -> dict[str, Any] | None:
        jobs = api.pages("jobs/", federation=federation)
        return next((job for job in jobs if words in job["detail"] and state in ("", job["state"])), None)

    return until(f"a Job with {words!r}", look, SECONDS)


def test_a_job_that_no_node_takes_and_its_stop(api: Api, restriction: dict[str, str]) -> None:
    """It is starting and says why; a person's stop takes exactly it from the cluster."""
    federation = deploy(api, restriction, {"memory": "200Gi"})
    job = job_of(api, federation, "Unschedulable")
    assert job["state"] == "starting" and job["exit_code"] is None
    pod = json.loads(kubectl("get", "job", job["name"], "--output", "json"))["spec"]["template"]["spec"]
    assert pod["containers"][0]["resources"]["requests"]["memory"] == "200Gi"
    api.post(f"jobs/{job['name']}/stop/")
    stopped = job_of(api, federation, "a person stopped it", "stopped")
    assert not kubectl("get", "job", stopped["name"], "--ignore-not-found", "--output", "name")


def test_a_job_without_memory_fails_with_the_reason_and_a_log(api: Api, restriction: dict[str, str]) -> None:
    """TensorFlow does not fit into 96 MiB: no retries of ours, and the reason names the setting to raise."""
    federation = deploy(api, restriction, {"memory": "96Mi", "backoff_limit": 0})
    job = job_of(api, federation, "OOMKilled", "failed")  # its pod says so before the Job is given up
    assert job["exit_code"] == 137 and job["attempts"] == 1
    assert "96Mi" in job["detail"] and "job.memory" in job["detail"]
    assert api.text(f"jobs/{job['name']}/log/").startswith("--- pod ")
