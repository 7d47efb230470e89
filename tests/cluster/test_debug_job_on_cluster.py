"""`debug_training_job.yaml`, applied by hand, joins a federation of its id on the real cluster and trains."""

from __future__ import annotations

import json
import secrets
import subprocess
import sys
from typing import Any

import pytest
import yaml

from mainstem.rest import Api, ApiError
from tests.cluster.kube import kubectl, until
from tests.cluster.manifests import ROOT
from tests.cluster.runs import KAFKA, TEMPLATE

pytestmark = [pytest.mark.cluster, pytest.mark.slow]

FEDERATION = "ddy6heod"
ROUNDS = 2


def deploy(api: Api) -> str:
    """A federation of the fixed id; on a platform that has seen it, of another one, since ids are never reused."""
    name = f"debug-job-{secrets.token_hex(4)}"
    model = api.post("models/", {"name": name, "kind": "template", "template": TEMPLATE, "seed": 1})
    configuration = api.post("configurations/", {"name": name, "models": [model["id"]]})
    asked = {"configuration": configuration["id"], "rounds": ROUNDS, "epochs": 1}
    try:
        return str(api.post("deployments/", {**asked, "federation": FEDERATION})["federation"])
    except ApiError as error:
        if "was used before" not in str(error) and error.status != 409:
            raise
        return str(api.post("deployments/", asked)["federation"])


def test_the_job_applied_by_hand_trains(api: Api) -> None:
    """With the seed's environment: a bare topic's name, no counts and no rates; its stream is announced for nobody."""
    job = yaml.safe_load((ROOT / "debug_training_job.yaml").read_text("utf-8"))
    name = job["metadata"]["name"]
    environ = {entry["name"]: entry["value"] for entry in job["spec"]["template"]["spec"]["containers"][0]["env"]}
    command = [
        sys.executable, "-m", "inject_scripts.inject_dummy_training_data", "--json", "--quiet", "--bootstrap", KAFKA,
        "--topic", environ["DATA_TOPIC"], "--restriction", json.dumps({"for": "the Job applied by hand"}),
    ]  # fmt: skip
    subprocess.run(command, check=True, capture_output=True, text=True, timeout=120)
    federation = deploy(api)
    text = (ROOT / "debug_training_job.yaml").read_text("utf-8").replace(FEDERATION, federation)
    kubectl("delete", "job", name, "--ignore-not-found")
    kubectl("apply", "-f", "-", given=text)
    try:

        def ended() -> dict[str, Any] | None:
            found: dict[str, Any] = api.get(f"results/{federation}/")
            return found if found["state"] in ("finished", "failed", "stopped") else None

        result = until("the end of the run", ended, 420)
        members = api.get(f"deployments/{federation}/")["members"]
        kubectl("wait", "--for=condition=complete", f"job/{name}", "--timeout=120s", timeout=130)
    finally:
        log = kubectl("logs", f"job/{name}", "--tail=20")
        kubectl("delete", "job", name, "--wait=false")
    assert result["state"] == "finished" and len(result["rounds"]) == ROUNDS, log
    assert [member["client"] for member in members] == [environ["FEDERATED_CLIENT_ID"]]
