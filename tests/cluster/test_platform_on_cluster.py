"""The whole platform on a cluster: a run from model to download, pods deleted in mid-round, and what is barred.

`./test.sh --cluster` on the cluster that KUBECONFIG names, after `./build.sh` and once its images are at the nodes.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from mainstem.rest import Api
from tests.cluster import manifests
from tests.cluster.kube import NAMESPACE, kubectl, objects, pods, ready, refusal, until
from tests.cluster.runs import Run
from tests.cluster.test_manifests import NOT_BUILT_IN

pytestmark = [pytest.mark.cluster, pytest.mark.slow]

PARTS = ["aggregator", "backend", "control-logger", "data-control-logger", "kafka", "launcher"]


@pytest.fixture(scope="module")
def undisturbed(api: Api, tmp_path_factory: pytest.TempPathFactory) -> str:
    """The final sha256 of the run that nothing happened to, whose model is good."""
    run = Run.begin(api)
    result = run.finished()
    measured = run.accuracies(result, tmp_path_factory.mktemp("model"))
    assert min(measured) >= 0.85, measured
    return str(result["sha256"])


def jobs_pods(run: Run) -> list[dict[str, object]]:
    """The pods of the run's training Jobs."""
    return objects("pods", f"mainstem/federation={run.federation}")


def test_a_run_from_model_to_download(api: Api, undisturbed: str) -> None:
    """Jobs were launched by the backend, trained, and are shown as succeeded with their logs."""
    federation = next(iter(api.pages("deployments/", ordering="-created_at")))["federation"]
    shown = list(api.pages("jobs/", federation=federation))
    assert [job["state"] for job in shown] == ["succeeded"] * 3
    assert api.text(f"jobs/{shown[0]['name']}/log/").strip()
    owned = objects("jobs", f"mainstem/federation={federation}")
    assert len(owned) == 3
    assert len(undisturbed) == 64


@pytest.mark.parametrize("part", ["aggregator", "kafka", "backend"])
def test_a_deleted_pod_changes_nothing(api: Api, undisturbed: str, part: str) -> None:
    """In mid-round the pod goes; another takes its place, and the final model is the same, byte for byte."""
    run = Run.begin(api)
    run.until_round(1)
    before = {pod["metadata"]["uid"] for pod in pods(part)}
    kubectl("delete", "pod", "--selector", f"app.kubernetes.io/name={part}", "--wait=false")
    result = run.finished()
    assert result["sha256"] == undisturbed
    until(f"a new pod of {part}", lambda: any(ready(p) and p["metadata"]["uid"] not in before for p in pods(part)), 120)


def test_a_deleted_training_pod_changes_nothing(api: Api, undisturbed: str) -> None:
    """Kubernetes starts another pod of the Job, which takes the client's place and trains the same."""
    run = Run.begin(api)
    run.until_round(1)
    victim = json.loads(json.dumps(jobs_pods(run)))[0]["metadata"]
    kubectl("delete", "pod", victim["name"], "--wait=false")
    result = run.finished()
    assert result["sha256"] == undisturbed
    assert victim["uid"] not in {json.loads(json.dumps(pod))["metadata"]["uid"] for pod in jobs_pods(run)}
    assert len(jobs_pods(run)) == 3


@pytest.fixture
def cordoned() -> Iterator[list[str]]:
    """Nodes that take no new pods until the test ends; the test may give them back sooner."""
    nodes = [item["metadata"]["name"] for item in json.loads(kubectl("get", "nodes", "--output", "json"))["items"]]
    kubectl("cordon", *nodes)
    yield nodes
    kubectl("uncordon", *nodes)


def test_a_drained_node_changes_nothing(api: Api, undisturbed: str, request: pytest.FixtureRequest) -> None:
    """Evicted as a drain does it, the aggregator and a training pod wait for a node and then go on where they were."""
    run = Run.begin(api)
    run.until_round(1)
    nodes = request.getfixturevalue("cordoned")
    for pod in (pods("aggregator")[0], json.loads(json.dumps(jobs_pods(run)))[1]):
        name = pod["metadata"]["name"]
        eviction = {"apiVersion": "policy/v1", "kind": "Eviction", "metadata": {"name": name, "namespace": NAMESPACE}}
        kubectl("create", "--raw", f"/api/v1/namespaces/{NAMESPACE}/pods/{name}/eviction", "-f", "-",
                given=json.dumps(eviction))  # fmt: skip
    until("pods that wait for a node", lambda: any(p["status"]["phase"] == "Pending" for p in pods("aggregator")), 60)
    kubectl("uncordon", *nodes)
    assert run.finished()["sha256"] == undisturbed


@pytest.mark.usefixtures("applied")
@pytest.mark.parametrize("part", PARTS)
def test_pods_run_without_root_on_a_read_only_file_system(part: str) -> None:
    """As the manifests say, so the kernel does."""
    name = until(f"a pod of {part}", lambda: next((p for p in pods(part) if ready(p)), None), 120)["metadata"]["name"]
    told = kubectl("exec", name, "--", "sh", "-c", "id -u; cat /proc/1/status | grep -E 'CapEff|NoNewPrivs|Seccomp:'")
    facts = dict(line.split(":\t") for line in told.splitlines()[1:])
    assert told.splitlines()[0] == "10001"
    assert facts == {"CapEff": "0000000000000000", "NoNewPrivs": "1", "Seccomp": "2"}
    assert "Read-only file system" in refusal("exec", name, "--", "touch", "/opt/mainstem/app/x")
    assert "not found" in refusal("exec", name, "--", "pip", "--version")


@pytest.mark.usefixtures("applied")
def test_what_opens_uploads_has_neither_token_nor_network() -> None:
    """The workshop's container: no file of the ServiceAccount, and its first process has a filter of its own."""
    name = until("a backend", lambda: next((p for p in pods("backend") if ready(p)), None), 120)
    workshop = ("exec", name["metadata"]["name"], "--container", "workshop", "--")
    assert "No such file" in refusal(*workshop, "ls", "/var/run/secrets/kubernetes.io")
    assert "Seccomp_filters:\t2" in kubectl(*workshop, "grep", "Seccomp_filters", "/proc/1/status")
    kubectl("exec", name["metadata"]["name"], "--container", "web", "--", "test", "-r",
            "/var/run/secrets/kubernetes.io/serviceaccount/token")  # fmt: skip


@pytest.mark.usefixtures("applied")
def test_a_pod_that_violates_restricted_is_refused() -> None:
    """The namespace itself bars it, whoever asks."""
    pod = {
        "apiVersion": "v1", "kind": "Pod", "metadata": {"name": "trespasser"},
        "spec": {"containers": [{"name": "it", "image": "federated_backend", "securityContext": {"privileged": True}}]},
    }  # fmt: skip
    told = refusal("create", "-f", "-", given=json.dumps(pod))
    assert 'violates PodSecurity "restricted' in told
    assert "privileged" in told


@pytest.mark.usefixtures("applied")
@pytest.mark.parametrize(
    ("account", "allowed"),
    [
        ("mainstem", {}),
        ("mainstem-backend", {"pods": "list", "pods/log": "get"}),
        (
            "mainstem-launcher",
            {
                "jobs.batch": "create delete get list patch",
                "deployments.apps": "create delete list patch",
                "pods": "list",
                "events": "list",
                "pods/log": "get",
            },
        ),
    ],
)
def test_accounts_may_do_what_they_need_and_no_more(account: str, allowed: dict[str, str]) -> None:
    """Beyond what every account may ask about itself; docs/kubernetes.md shows the same."""
    told = kubectl("auth", "can-i", "--list", "--no-headers", "--as", f"system:serviceaccount:{NAMESPACE}:{account}")
    found = {}
    for line in told.splitlines():
        resource, verbs = line.split()[0], line[line.rindex("[") + 1 : line.rindex("]")]
        if not resource.startswith(("[", "selfsubject")):
            found[resource] = " ".join(sorted(verbs.split()))
    assert found == allowed


@pytest.mark.usefixtures("applied")
@pytest.mark.parametrize("overlay", sorted(manifests.rendered()))
def test_the_api_server_takes_every_overlay(overlay: str) -> None:
    """Each built-in object, in a dry run with strict validation; a namespace that is not there yet is made first."""
    items = [item for item in manifests.rendered()[overlay] if item["apiVersion"] not in NOT_BUILT_IN]
    for item in items:
        if item["kind"] == "Deployment" and item["metadata"]["name"] == "backend":
            item["metadata"]["name"] = "dry-run-backend"  # the strategy of the one that runs may be another
    given = json.dumps({"apiVersion": "v1", "kind": "List", "items": items})
    kubectl("apply", "--dry-run=server", "--validate=strict", "-f", "-", given=given)


@pytest.mark.usefixtures("applied")
def test_kafka_s_own_commands_are_at_hand(tmp_path: Path) -> None:
    """`kafka-topics` and `kafka-console-consumer` in the broker's pod."""
    told = kubectl("exec", "kafka-0", "--", "kafka-topics", "--bootstrap-server", "localhost:9092", "--list")
    assert "FEDERATED_MODEL_CONTROL_TOPIC" in told.split()
    told = kubectl(
        "exec", "kafka-0", "--", "kafka-console-consumer", "--bootstrap-server", "localhost:9092", "--topic",
        "FEDERATED_MODEL_CONTROL_TOPIC", "--from-beginning", "--timeout-ms", "8000",
    )  # fmt: skip
    assert '"federation"' in told
