"""FederatedDeployments on whatever cluster KUBECONFIG points at: kubectl, the controller, a backend on this machine.

The controller runs here as a process, with the token of its own ServiceAccount: so what its Role leaves out fails.
"""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from mainstem.platform import secret_settings
from mainstem.platform.home import Home
from mainstem.rest import Api, ApiError
from mainstem.runtime.processes import free_port

pytestmark = [pytest.mark.cluster, pytest.mark.slow]

NAMESPACE = "trial-operator"
COMPONENT = Path(__file__).parents[2] / "kustomize" / "components" / "operator"
SECONDS = 300.0
"""Longer than anything here takes on a busy machine."""


def kubectl(*arguments: str, given: Any = None, check: bool = True) -> str:
    """Run kubectl in the namespace; what it printed."""
    text = None if given is None else json.dumps(given)
    command = ["kubectl", "--namespace", NAMESPACE, *arguments]
    done = subprocess.run(command, input=text, text=True, capture_output=True, check=False, timeout=SECONDS)
    assert not check or done.returncode == 0, f"{' '.join(arguments)}: {done.stderr}"
    return done.stdout


def until(what: str, look: Callable[[], Any]) -> Any:
    """What `look` finds, as soon as it does."""
    deadline = time.monotonic() + SECONDS
    while not (found := look()):
        assert time.monotonic() < deadline, f"{what}: not within {SECONDS:.0f} s; {kubectl('get', 'fed', '-o', 'yaml')}"
        time.sleep(0.3)
    return found


def status(name: str) -> dict[str, Any]:
    """A resource's status; empty where there is none."""
    text = kubectl("get", "fed", name, "--ignore-not-found", "-o", "json")
    return dict(json.loads(text).get("status") or {}) if text else {}


def condition(name: str, kind: str) -> dict[str, Any]:
    """One of a resource's conditions."""
    return next((known for known in status(name).get("conditions", []) if known["type"] == kind), {})


def events(name: str) -> list[str]:
    """Reasons of the events that tell of a resource."""
    found = json.loads(kubectl("get", "events", "--field-selector", f"involvedObject.name={name}", "-o", "json"))
    return [item["reason"] for item in found["items"]]


def fed(name: str, **spec: Any) -> dict[str, Any]:
    """A FederatedDeployment."""
    return {
        "apiVersion": "mainstem.dev/v1alpha1",
        "kind": "FederatedDeployment",
        "metadata": {"name": name},
        "spec": {"model": "tiny", "on_delete": "delete", **spec},
    }


@pytest.fixture(scope="module")
def namespace() -> Iterator[str]:
    """The definition and the controller's account; the namespace goes at the end, with its resources."""
    kubectl("apply", "-f", str(COMPONENT / "crd.yaml"))
    kubectl("wait", "--for=condition=Established", "crd/federateddeployments.mainstem.dev", "--timeout=200s")
    kubectl("apply", "-f", "-", given={"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": NAMESPACE}})
    kubectl("apply", "-f", str(COMPONENT / "rbac.yaml"))
    yield NAMESPACE
    kubectl("annotate", "fed", "--all", "mainstem.dev/orphan=true")
    for one in json.loads(kubectl("get", "fed", "-o", "json"))["items"]:
        kubectl("patch", "fed", one["metadata"]["name"], "--type=merge", "-p", '{"metadata":{"finalizers":null}}')
    kubectl("delete", "namespace", NAMESPACE, "--wait=false")


@pytest.fixture(scope="module")
def backend(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Api, str]]:
    """`mainstem up` in a home of its own, with a model: its API, and its Kafka."""
    home = Home(tmp_path_factory.mktemp("operator") / "home")
    ports = [free_port()]
    ports.append(free_port(avoid=ports))
    environment = {key: value for key, value in os.environ.items() if not key.startswith(("MAINSTEM_M", "DATABASE_"))}
    command = [sys.executable, "-m", "mainstem.cli", "up", "--home", str(home.root)]
    command += ["--port", str(ports[0]), "--kafka-port", str(ports[1])]
    with subprocess.Popen(command, env=environment, stderr=subprocess.DEVNULL) as platform:
        try:
            until("the platform", lambda: (told := home.running()) is not None and told.ready)
            with Api(f"http://127.0.0.1:{ports[0]}") as api:
                api.login("admin", secret_settings.read(home.settings)["MAINSTEM_ADMIN_PASSWORD"])
                template = {"name": "mlp", "params": {"classes": 10}}
                api.post("models/", {"name": "tiny", "template": template, "seed": 7})
                yield api, f"127.0.0.1:{ports[1]}"
        finally:
            platform.send_signal(signal.SIGINT)
            platform.wait(60)


class Operator:
    """The controller's process, which may be killed and started again."""

    def __init__(self, directory: Path, api: Api, token: str) -> None:
        config = yaml.safe_load(Path(os.environ["KUBECONFIG"]).read_text())
        account = kubectl("create", "token", "mainstem-operator", "--duration=1h").strip()
        config["users"] = [{"name": config["users"][0]["name"], "user": {"token": account}}]
        self.kubeconfig = directory / "kubeconfig"
        self.kubeconfig.write_text(yaml.safe_dump(config))
        self.token = directory / "token"
        self.token.write_text(token)
        self.environment = os.environ | {
            "KUBECONFIG": str(self.kubeconfig),
            "MAINSTEM_API": api.address,
            "MAINSTEM_TOKEN_FILE": str(self.token),
        }
        self.process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Start it."""
        command = [sys.executable, "-m", "mainstem.operator", "--namespace", NAMESPACE]
        self.process = subprocess.Popen(command, env=self.environment)

    def kill(self) -> None:
        """SIGKILL."""
        if self.process is not None:
            self.process.kill()
            self.process.wait()


def token_of(api: Api, role: str) -> str:
    """An API token of a new user of a role."""
    name, password = f"operator-{role}-{random.getrandbits(32):x}", "correct horse battery"
    api.post("users/", {"username": name, "password": password, "role": role})
    return str(api.post("auth/token/", {"username": name, "password": password, "name": "operator"})["token"])


@pytest.fixture(scope="module")
def operator(namespace: str, backend: tuple[Api, str], tmp_path_factory: pytest.TempPathFactory) -> Iterator[Operator]:
    """A controller that runs."""
    made = Operator(tmp_path_factory.mktemp("controller"), backend[0], token_of(backend[0], "admin"))
    made.start()
    yield made
    made.kill()


@pytest.fixture
def clients(backend: tuple[Api, str]) -> Iterator[Callable[[str, int], None]]:
    """Starts light protocol clients for a federation; they end with the test."""
    started: list[subprocess.Popen[bytes]] = []

    def start(federation: str, number: int) -> None:
        command = [sys.executable, "-m", "tests.support.client_process", "--bootstrap", backend[1]]
        command += ["--federation", federation, "--number", str(number)]
        started.append(subprocess.Popen(command, stderr=subprocess.DEVNULL))

    yield start
    for process in started:
        process.kill()
        process.wait()


def test_apply_get_delete(operator: Operator, backend: tuple[Api, str], clients: Callable[[str, int], None]) -> None:
    """A federation is opened, trains to its end and shows what the API shows; its end removes it from both."""
    api = backend[0]
    kubectl("apply", "-f", "-", given=fed("whole", rounds=3, min_clients=2, round_deadline=60))
    federation = until("opened", lambda: status("whole").get("phase") == "Waiting" and status("whole")["federation"])
    assert api.get(f"deployments/{federation}/")["name"] == f"{NAMESPACE}/whole"
    for number in range(2):
        clients(federation, number)
    until("finished", lambda: status("whole").get("phase") == "Finished")
    shown, told = status("whole"), api.get(f"deployments/{federation}/")
    assert (shown["progress"], shown["clients"], shown["sha256"]) == ("3/3", 2, told["sha256"])
    assert (shown["round"], shown["version"]) == (told["round"], told["version"])
    table = kubectl("get", "fed", "whole").splitlines()
    assert table[0].split() == ["NAME", "PHASE", "ROUND", "CLIENTS", "ACCURACY", "FEDERATION", "AGE"]
    assert table[1].split()[:4] == ["whole", "Finished", "3/3", "2"]
    assert kubectl("wait", "--for=condition=Finished", "fed/whole", "--timeout=30s")
    assert {"Created", "Finished"} <= set(events("whole"))
    kubectl("delete", "fed", "whole", "--timeout=200s")
    with pytest.raises(ApiError, match="404"):
        api.get(f"deployments/{federation}/")


def test_what_the_api_refuses_is_shown_and_can_be_mended(operator: Operator, backend: tuple[Api, str]) -> None:
    """The API's sentence stands in the status and in an event; a mended spec opens the federation."""
    kubectl("apply", "-f", "-", given=fed("wrong", min_clients=5, max_clients=2))
    until("refused", lambda: status("wrong").get("phase") == "Refused")
    assert "max_clients is 2" in status("wrong")["message"] and "Refused" in events("wrong")
    kubectl("apply", "-f", "-", given=fed("wrong", min_clients=1, max_clients=2))
    until("opened", lambda: status("wrong").get("phase") == "Waiting")
    kubectl("delete", "fed", "wrong", "--timeout=200s")


def test_changes_are_sent_or_explained(operator: Operator, backend: tuple[Api, str]) -> None:
    """Deadline and pause reach the run; another number of rounds is refused in a condition."""
    api = backend[0]
    kubectl("apply", "-f", "-", given=fed("changes", rounds=4, round_deadline=600))
    federation = until(
        "opened", lambda: status("changes").get("phase") == "Waiting" and status("changes")["federation"]
    )
    kubectl("apply", "-f", "-", given=fed("changes", rounds=9, round_deadline=120, stopped=True))
    until("deadline", lambda: api.get(f"deployments/{federation}/")["rules"]["deadline_ms"] == 120_000)
    until("stopped", lambda: status("changes").get("phase") == "Stopped")
    refused = until("explained", lambda: condition("changes", "SpecAccepted").get("status") == "False" and "x")
    assert refused and "rounds cannot change" in condition("changes", "SpecAccepted")["message"]
    kubectl("apply", "-f", "-", given=fed("changes", rounds=4, round_deadline=120))
    until("resumed", lambda: status("changes").get("phase") == "Waiting")
    until("accepted", lambda: condition("changes", "SpecAccepted").get("status") == "True")
    kubectl("delete", "fed", "changes", "--timeout=200s")


def test_kills_at_any_moment_make_one_deployment(operator: Operator, backend: tuple[Api, str]) -> None:
    """The controller is killed again and again while it opens five federations: five are there, each once."""
    api, names = backend[0], [f"killed-{number}" for number in range(5)]
    dice = random.Random(7)
    for name in names:
        kubectl("apply", "-f", "-", given=fed(name))
        operator.kill()
        operator.start()
        time.sleep(dice.uniform(1.0, 3.5))  # when it dies, not what is waited for
        operator.kill()
    operator.start()
    for name in names:
        until(name, lambda name=name: status(name).get("phase") == "Waiting")  # type: ignore[misc]
    made = [one["name"] for one in api.pages("deployments/") if "/killed-" in one["name"]]
    assert sorted(made) == [f"{NAMESPACE}/{name}" for name in names]
    kubectl("delete", "fed", *names, "--wait=false")
    operator.kill()  # in the middle of the end, too
    operator.start()
    kubectl("wait", "--for=delete", *[f"fed/{name}" for name in names], "--timeout=200s")
    assert not [one for one in api.pages("deployments/") if "/killed-" in one["name"]]


def test_an_end_that_is_refused_says_so(operator: Operator, backend: tuple[Api, str]) -> None:
    """A token that may not delete keeps the resource, with a reason; the annotation lets it go alone."""
    api = backend[0]
    kubectl("apply", "-f", "-", given=fed("held"))
    federation = until("opened", lambda: status("held").get("phase") == "Waiting" and status("held")["federation"])
    admin = operator.token.read_text()
    operator.token.write_text(token_of(api, "operator"))
    try:
        kubectl("delete", "fed", "held", "--wait=false")
        until("said so", lambda: "cannot be deleted now" in status("held").get("message", ""))
        assert "NotDeleted" in events("held")
        kubectl("annotate", "fed", "held", "mainstem.dev/orphan=true")
        kubectl("wait", "--for=delete", "fed/held", "--timeout=200s")
        assert api.get(f"deployments/{federation}/")["state"] == "waiting"
    finally:
        operator.token.write_text(admin)
