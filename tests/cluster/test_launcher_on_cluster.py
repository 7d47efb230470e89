"""The Kubernetes launcher over whatever cluster KUBECONFIG points at, with real pods of a small image."""

from __future__ import annotations

import json
import os
import secrets
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from backend.launchers.kubernetes.cluster import Cluster
from backend.launchers.kubernetes.launcher import KubernetesLauncher
from mainstem.errors import LaunchRefused
from mainstem.jobs.kubernetes.settings import JobSettings
from mainstem.jobs.launcher import JobStatus
from mainstem.jobs.spec import JobSpec
from tests.cluster.kube import anywhere as kubectl

pytestmark = [
    pytest.mark.cluster,
    pytest.mark.slow,
]

IMAGE = os.environ.get("MAINSTEM_TEST_BASE_IMAGE", "python:3.11-slim")
"""Has a `python`; nothing else of it is used."""

SPEC = JobSpec("cloud:1", "data:1", "t:0:0:10", "RAW", '{"data_reshape": "4"}', "ddy6heod", "site-1")
SMALL: dict[str, Any] = {"image": IMAGE, "cpu": "10m", "memory": "64Mi", "backoff_limit": 0}
SECONDS = 90.0
"""Longer than anything here takes on a busy machine."""


@pytest.fixture(scope="module")
def namespace() -> Iterator[str]:
    """A namespace in which only pods are admitted that `restricted` allows."""
    name = f"trial-launcher-{secrets.token_hex(3)}"
    labels = {"pod-security.kubernetes.io/enforce": "restricted"}
    kubectl("apply", "-f", "-", given=_object("v1", "Namespace", name, labels=labels))
    yield name
    kubectl("delete", "namespace", name, "--wait=false")


def _object(version: str, kind: str, name: str, labels: Mapping[str, str] | None = None, **more: Any) -> dict[str, Any]:
    return {"apiVersion": version, "kind": kind, "metadata": {"name": name, "labels": dict(labels or {})}, **more}


Make = Callable[..., KubernetesLauncher]


@pytest.fixture
def make(namespace: str) -> Make:
    """Makes a launcher whose Jobs run a line of Python."""

    def launcher(program: str = "", owner: str = "mainstem", **more: Any) -> KubernetesLauncher:
        settings = JobSettings().overridden({**SMALL, **more.pop("settings", {})})
        command = more.pop("command", ["python", "-u", "-c", program])
        return KubernetesLauncher(Cluster.connect(namespace), settings, owner=owner, command=command, **more)

    return launcher


@pytest.fixture
def name() -> str:
    """A Job's name that no other test uses."""
    return f"federated-training-ddy6heod-{secrets.token_hex(6)}"


def until(launcher: KubernetesLauncher, name: str, good: Callable[[JobStatus], bool]) -> JobStatus:
    """Look until the status is as wanted."""
    deadline = time.monotonic() + SECONDS
    while True:
        launcher.refresh()
        status = launcher.status(name)
        if good(status):
            return status
        assert time.monotonic() < deadline, f"after {SECONDS:.0f} s it is still {status}"
        time.sleep(0.3)


def over(status: JobStatus) -> bool:
    return status.state in ("succeeded", "failed")


def test_a_job_succeeds_with_its_environment_and_a_readable_log(make: Make, name: str) -> None:
    """Its root file system cannot be written, /tmp and its home can; a new launcher finds the Job and its log."""
    launcher = make(
        "import os, pathlib; print(os.environ['FEDERATED_MODEL_ID'], os.getuid(), os.environ['KERAS_BACKEND'])\n"
        "for folder in ('/tmp', os.environ['HOME']): pathlib.Path(folder, 'file').write_text('it can be written')\n"
        "try: pathlib.Path('/file').write_text('')\n"
        "except OSError as error: print(error.strerror)\n",
        environ={"KERAS_BACKEND": "tensorflow"},
    )
    assert launcher.status(name).state == "absent"
    launcher.launch(name, SPEC)
    assert launcher.status(name).state == "pending"
    other = make()
    assert until(other, name, over) == JobStatus(name, "succeeded", 0)
    log = other.log(name)
    assert "ddy6heod 10001 tensorflow\nRead-only file system\n" in log
    assert other.log(name, tail=12).endswith("e system\n")
    other.stop(name)  # its verdict is known: forgotten, but the log stays
    other.refresh()
    assert other.status(name).state == "absent" and other.log(name) == log


def test_a_failure_says_its_exit_code_and_last_words(make: Make, name: str) -> None:
    """Each attempt is a pod of its own, and the log has them all."""
    launcher = make("print('cannot go on'); raise SystemExit(1)", settings={"backoff_limit": 1})
    launcher.launch(name, SPEC)
    status = until(launcher, name, over)
    assert (status.state, status.exit_code, status.detail) == ("failed", 1, "exit code 1: cannot go on")
    assert launcher.log(name).count("cannot go on") == 2


def test_unusable_settings_are_not_tried_again(make: Make, name: str) -> None:
    """Exit code 2 fails the Job at once, whatever its back-off limit."""
    launcher = make("raise SystemExit(2)", settings={"backoff_limit": 5})
    launcher.launch(name, SPEC)
    status = until(launcher, name, over)
    assert (status.state, status.exit_code) == ("failed", 2)
    assert launcher.log(name).count("--- pod") == 1


def test_an_image_that_cannot_be_pulled_is_told(make: Make, name: str) -> None:
    """The Job waits, and its status names the image."""
    launcher = make(settings={"image": "no-such-image:1"})
    launcher.launch(name, SPEC)
    status = until(launcher, name, lambda s: "cannot be pulled" in s.detail)
    assert status.state == "pending" and "no-such-image:1" in status.detail
    launcher.stop(name)
    assert until(launcher, name, lambda s: s.state == "absent")


def test_a_job_out_of_memory_says_so(make: Make, name: str) -> None:
    """With its limit and the setting that raises it."""
    launcher = make("held = []\nwhile True: held.append(bytearray(8 << 20))", settings={"memory": "48Mi"})
    launcher.launch(name, SPEC)
    status = until(launcher, name, over)
    assert (status.state, status.exit_code) == ("failed", 137)
    assert "OOMKilled" in status.detail and "48Mi" in status.detail and "job.memory" in status.detail


def test_a_deadline_ends_a_job(make: Make, name: str) -> None:
    """It runs, and then it has failed with the deadline as the reason."""
    launcher = make("import time; time.sleep(600)", settings={"deadline_seconds": 3})
    launcher.launch(name, SPEC)
    status = until(launcher, name, over)
    assert status.state == "failed" and "job.deadline_seconds" in status.detail and "3 s" in status.detail


def test_a_job_that_no_node_takes_says_why(make: Make, name: str) -> None:
    """A node selector that nothing matches."""
    launcher = make(settings={"node_selector": {"pool": "there-is-none"}})
    launcher.launch(name, SPEC)
    status = until(launcher, name, lambda s: "Unschedulable" in s.detail)
    assert status.state == "pending" and "node" in status.detail
    launcher.stop(name)


def test_a_missing_secret_is_named(make: Make, name: str) -> None:
    """Only the pod's events know it."""
    launcher = make("pass", secret="no-such-secret")
    launcher.launch(name, SPEC)
    status = until(launcher, name, lambda s: "no-such-secret" in s.detail)
    assert status.state == "pending"
    launcher.stop(name)


def test_client_configurations_come_from_a_secret(make: Make, name: str, namespace: str) -> None:
    """As files that the Job's user can read, and nowhere in the manifest."""
    held = {"cloud.properties": "sasl.password=secret-word"}
    kubectl("apply", "-n", namespace, "-f", "-", given=_object("v1", "Secret", "clients", stringData=held))
    launcher = make("print(open('/etc/mainstem/kafka/cloud.properties').read())", secret="clients")
    launcher.launch(name, SPEC)
    assert until(launcher, name, over).state == "succeeded"
    assert "secret-word" in launcher.log(name)
    assert "secret-word" not in kubectl("get", "job", name, "-n", namespace, "-o", "json")


def test_a_full_quota_refuses_and_says_so(make: Make, name: str, namespace: str) -> None:
    """A quota on Jobs refuses the creation; one on pods lets the Job wait, with the quota's name in its status."""
    quota = _object("v1", "ResourceQuota", "few", spec={"hard": {"count/jobs.batch": "0"}})
    launcher = make("pass")
    kubectl("apply", "-n", namespace, "-f", "-", given=quota)
    try:
        with pytest.raises(LaunchRefused, match="quota"):
            _retry_until_refused(launcher, name)
        kubectl("apply", "-n", namespace, "-f", "-", given={**quota, "spec": {"hard": {"pods": "0"}}})
        deadline = time.monotonic() + SECONDS
        while True:  # the quota's controller takes a moment
            try:
                launcher.launch(name, SPEC)
                break
            except LaunchRefused:
                assert time.monotonic() < deadline
                time.sleep(0.3)
        status = until(launcher, name, lambda s: "is refused" in s.detail or over(s))
        assert status.state == "pending" and "few" in status.detail
    finally:
        kubectl("delete", "resourcequota", "few", "-n", namespace)
        launcher.stop(name)


def _retry_until_refused(launcher: KubernetesLauncher, name: str) -> None:
    deadline = time.monotonic() + SECONDS
    while time.monotonic() < deadline:
        launcher.launch(name, SPEC)
        launcher.stop(name)
        time.sleep(0.3)


def test_stop_ends_exactly_its_own(make: Make, name: str, namespace: str) -> None:
    """Another launcher's Job, and one applied by hand, stay; a Job of ours goes with its pods."""
    program = "import time; time.sleep(600)"
    ours, theirs = make(program), make(program, owner="another")
    by_hand, foreign = f"{name}-x", f"{name}-y"
    ours.launch(name, SPEC)
    theirs.launch(foreign, SPEC)
    manifest = json.loads(kubectl("get", "job", name, "-n", namespace, "-o", "json"))["spec"]["template"]["spec"]
    job = _object("batch/v1", "Job", by_hand, spec={"template": {"spec": manifest}})
    kubectl("apply", "-n", namespace, "-f", "-", given=job)
    until(ours, name, lambda s: s.state == "running")
    for each in (by_hand, foreign):
        ours.stop(each)
        assert ours.status(each).state == "absent" and ours.log(each) == ""
        with pytest.raises(LaunchRefused, match="did not make"):
            ours.launch(each, SPEC)
    ours.stop(name)
    until(ours, name, lambda s: s.state == "absent")
    ours.stop(name)
    left = kubectl("get", "jobs", "-n", namespace, "-o", "name").split()
    assert f"job.batch/{name}" not in left
    assert {f"job.batch/{by_hand}", f"job.batch/{foreign}"} <= set(left)
    kubectl("delete", "job", by_hand, foreign, "-n", namespace, "--wait=false")


def test_launching_again_changes_nothing_while_it_runs_and_starts_anew_after_its_end(make: Make, name: str) -> None:
    """A name is one Job, whoever launches it and however often."""
    launcher = make("raise SystemExit(3)")
    launcher.launch(name, SPEC)
    first = launcher._jobs[name]["metadata"]["uid"]
    make().launch(name, SPEC)
    launcher.launch(name, SPEC)
    assert launcher._jobs[name]["metadata"]["uid"] == first
    assert until(launcher, name, over).exit_code == 3
    again = make("pass")
    again.launch(name, SPEC)
    assert again._jobs[name]["metadata"]["uid"] != first
    assert until(again, name, over).state == "succeeded"


def test_a_deleted_pod_starts_again_and_does_not_count_as_a_failure(make: Make, name: str, namespace: str) -> None:
    """A Job that ends with 143 when it is told to is not to blame, even without a back-off limit."""
    launcher = make("import signal, time; signal.signal(15, lambda *_: exit(143)); print('ready'); time.sleep(600)")
    launcher.launch(name, SPEC)
    until(launcher, name, lambda s: s.state == "running" and "ready" in launcher.log(name))
    pod = kubectl("get", "pods", "-n", namespace, "-l", f"job-name={name}", "-o", "name").strip()
    kubectl("delete", "-n", namespace, pod)
    until(launcher, name, lambda s: s.state == "running" and pod.split("/")[1] not in launcher.log(name))
    launcher.stop(name)


# ---------------------------------------------------------------- with the accounts of kustomize/base
RBAC = Path(__file__).resolve().parents[2] / "kustomize/base/launcher-rbac.yaml"


@pytest.fixture
def account(namespace: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], Cluster]:
    """Makes a connection as a ServiceAccount of the base, with the verbs that it is given there."""
    kubectl("apply", "-n", namespace, "-f", str(RBAC))

    def connect(name: str) -> Cluster:
        view = json.loads(kubectl("config", "view", "--raw", "--minify", "--flatten", "-o", "json"))
        token = kubectl("create", "token", name, "-n", namespace).strip()
        view["users"] = [{"name": view["contexts"][0]["context"]["user"], "user": {"token": token}}]
        config = tmp_path / name
        config.write_text(json.dumps(view))
        with monkeypatch.context() as patch:
            patch.setenv("KUBECONFIG", str(config))
            return Cluster.connect(namespace)

    return connect


def test_the_launcher_s_account_can_do_all_that_it_needs(account: Callable[[str], Cluster], name: str) -> None:
    """Create, look, tell why one waits, read the log, forget, start anew, stop: nothing is forbidden."""
    settings = JobSettings().overridden(SMALL)
    launcher = KubernetesLauncher(account("mainstem-launcher"), settings, command=["python", "-c", "print('done')"])
    launcher.launch(name, SPEC)
    assert until(launcher, name, over).state == "succeeded"
    assert "done" in launcher.log(name)
    launcher.stop(name)
    launcher.launch(name, SPEC)
    assert launcher._cluster.warnings("no-such-uid") == []
    launcher.stop(name)
    assert until(launcher, name, lambda s: s.state == "absent")


def test_the_accounts_may_do_nothing_else(
    account: Callable[[str], Cluster], make: Make, name: str, namespace: str
) -> None:
    """The web process reads logs and launches nothing; neither reads Secrets, runs commands in pods, or leaves home."""
    launcher = make("print('done')")
    launcher.launch(name, SPEC)
    until(launcher, name, over)
    web = KubernetesLauncher(account("mainstem-backend"), JobSettings(), command=["true"])
    assert "done" in web.log(name)
    with pytest.raises(LaunchRefused, match="forbidden"):
        web.launch(f"{name}-x", SPEC)
    asked = [
        ("get", "secrets"), ("create", "pods"), ("create", "pods/exec"), ("delete", "pods"), ("update", "jobs"),
        ("deletecollection", "jobs"), ("get", "configmaps"), ("create", "roles"),
    ]  # fmt: skip
    for who in ("mainstem-launcher", "mainstem-backend"):
        user = f"--as=system:serviceaccount:{namespace}:{who}"
        for verb, what, where in [*((verb, what, namespace) for verb, what in asked), ("create", "jobs", "default")]:
            done = subprocess.run(
                ["kubectl", "auth", "can-i", verb, what, "-n", where, user], capture_output=True, text=True, check=False
            )
            assert done.stdout.strip() == "no", f"{who} may {verb} {what} in {where}"
