"""Sites' own models on a cluster: what a claim keeps is there for the pod that comes after one that was killed."""

from __future__ import annotations

import json
import secrets
from collections.abc import Iterator
from typing import Any

import pytest

from mainstem.rest import Api, ApiError
from tests.cluster.kube import kubectl, objects, until
from tests.cluster.runs import Run

pytestmark = [pytest.mark.cluster, pytest.mark.slow]

ALLOWED = "MAINSTEM_JOB_ALLOW_STATE_CLAIM"
PARTS = ("deployment/backend", "deployment/launcher")


def answers(api: Api) -> bool:
    """Whether the way to the backend leads to its new pod by now."""
    try:
        api.get("auth/me/")
    except ApiError as error:
        if error.status is not None and error.status < 500:
            raise
        return False
    return True


def set_variable(api: Api, change: str) -> None:
    """As an administrator sets a variable, for the two parts that judge Jobs' settings."""
    kubectl("set", "env", *PARTS, change)
    for part in PARTS:
        kubectl("rollout", "status", part, "--timeout=300s", timeout=310)
    until("the new backend", lambda: answers(api), 120)


@pytest.fixture
def claim(api: Api) -> Iterator[str]:
    """A claim that deployments may name."""
    name = f"kept-{secrets.token_hex(4)}"
    asked = {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "64Mi"}}}
    made = {"apiVersion": "v1", "kind": "PersistentVolumeClaim", "metadata": {"name": name}, "spec": asked}
    kubectl("apply", "-f", "-", given=json.dumps(made))
    set_variable(api, f"{ALLOWED}={name}")
    yield name
    set_variable(api, f"{ALLOWED}-")
    kubectl("delete", "pvc", name, "--wait=false")


def ended(run: Run) -> tuple[str, list[Any]]:
    """The final sha256, and what the clients measured of their own models at the end."""
    result = run.finished()
    own = [member["personal"]["values"] for member in result["members"]]
    return str(result["sha256"]), sorted((values["accuracy"], values["loss"]) for values in own)


def test_a_killed_pod_s_own_model_is_there_for_the_next_one(api: Api, claim: str) -> None:
    """Ditto with a claim: killed in mid-round without a word, the site ends with the bytes of the undisturbed run, in
    the shared model and in its own; a claim that no administrator has listed is refused."""
    with pytest.raises(ApiError, match=ALLOWED):
        Run.begin(api, ditto=0.5, job={"state_claim": "not-listed"})
    settings = {"ditto": 0.5, "epochs": 2, "job": {"state_claim": claim}}
    undisturbed = ended(Run.begin(api, **settings))
    run = Run.begin(api, **settings)
    run.until_round(1)
    victim = objects("pods", f"mainstem/federation={run.federation}")[0]["metadata"]
    kubectl("delete", "pod", victim["name"], "--grace-period=0", "--force", "--wait=false")
    assert ended(run) == undisturbed
    pods = objects("pods", f"mainstem/federation={run.federation}")
    assert len(pods) == 3 and victim["uid"] not in {pod["metadata"]["uid"] for pod in pods}
    logs = [kubectl("logs", pod["metadata"]["name"]) for pod in pods]
    assert not any("nothing is left" in log for log in logs), logs
