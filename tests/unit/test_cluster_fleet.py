"""Replicas on Kubernetes, over a cluster that only remembers: what is created, patched, deleted, and told."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from backend.launchers.kubernetes.cluster import Cluster, ClusterError
from backend.launchers.kubernetes.fleet import ClusterFleet, trouble
from backend.launchers.kubernetes.launcher import KubernetesLauncher
from backend.launchers.replicas import FleetStanding
from mainstem.errors import ConfigError, LaunchRefused
from mainstem.jobs.kubernetes.settings import JobSettings
from mainstem.jobs.spec import JobSpec
from mainstem.serving.spec import ServingSpec

TOLD = "before\n12:00 ERROR    serving [federation=x] MODEL_VERSION is 9\nafter\n"
SPEC = ServingSpec("digits", "cloud:1", "data:1", "ddy6heod", 5, "in", "out", "RAW", "{}")


JOB = JobSpec("cloud:1", "data:1", "t:0:0:10", "RAW", "{}", "ddy6heod", "a")


class Memory(Cluster):
    """Deployments and pods in dictionaries."""

    def __init__(self) -> None:
        self.namespace = "kafkaml"
        self.objects: dict[str, dict[str, Any]] = {}
        self.found: list[dict[str, Any]] = []
        self.patches: list[dict[str, Any]] = []

    def create_deployment(self, manifest: dict[str, Any]) -> dict[str, Any]:
        name = manifest["metadata"]["name"]
        if name in self.objects:
            raise ClusterError("AlreadyExists", 409)
        self.objects[name] = {**manifest, "metadata": {**manifest["metadata"], "uid": "u1"}, "status": {}}
        return self.objects[name]

    def patch_deployment(self, name: str, uid: str, change: dict[str, Any]) -> None:
        assert self.objects[name]["metadata"]["uid"] == uid
        self.patches.append(change)
        self.objects[name]["spec"] = {**self.objects[name]["spec"], **change.get("spec", {})}
        self.objects[name]["metadata"]["annotations"] |= change.get("metadata", {}).get("annotations", {})

    def delete_deployment(self, name: str, uid: str) -> None:
        self.objects.pop(name, None)

    def deployments(self, labels: str) -> Iterator[dict[str, Any]]:
        return iter(list(self.objects.values()))

    def pods(self, labels: str) -> Iterator[dict[str, Any]]:
        return iter(self.found)


def pod(**status: Any) -> dict[str, Any]:
    return {"metadata": {"name": "p1", "labels": {"mainstem/inference": "digits"}}, "status": status}


@pytest.fixture
def cluster() -> Memory:
    """An empty one."""
    return Memory()


def look(fleet: ClusterFleet, replicas: int, job: Any = None) -> FleetStanding:
    fleet.refresh()
    return fleet.bring(SPEC, replicas, job)


def test_created_scaled_changed_and_ended(cluster: Memory) -> None:
    """Each step once: what is as it should be is left alone, also by a new launcher."""
    fleet = ClusterFleet(cluster, JobSettings())
    assert look(fleet, 2) == FleetStanding()
    assert look(fleet, 2) == FleetStanding() and cluster.patches == []
    cluster.objects["federated-serving-digits"]["status"] = {"readyReplicas": 2}
    assert look(ClusterFleet(cluster, JobSettings()), 2) == FleetStanding(2) and cluster.patches == []
    assert look(fleet, 5) == FleetStanding(2)
    assert cluster.patches == [{"spec": {"replicas": 5}}]
    look(fleet, 5, {"memory": "9Gi"})
    assert "9Gi" in str(cluster.patches[1])
    look(fleet, 5, {"memory": "9Gi"})
    assert len(cluster.patches) == 2
    cluster.found = [pod()]
    fleet.refresh()
    assert not fleet.end("digits")
    fleet.refresh()
    assert cluster.objects == {} and not fleet.end("digits")
    cluster.found = []
    fleet.refresh()
    assert fleet.end("digits")


def test_what_belongs_to_none_is_swept(cluster: Memory) -> None:
    """A Deployment of ours without a row is deleted."""
    fleet = ClusterFleet(cluster, JobSettings())
    look(fleet, 1)
    fleet.refresh()
    fleet.sweep({"digits"})
    assert cluster.objects
    fleet.sweep({"another"})
    assert not cluster.objects


def test_a_stranger_s_deployment_is_left_alone(cluster: Memory) -> None:
    """One of that name that is not ours is refused by its name."""
    cluster.objects["federated-serving-digits"] = {"metadata": {"name": "federated-serving-digits", "labels": {}}}
    with pytest.raises(LaunchRefused, match="did not make"):
        look(ClusterFleet(cluster, JobSettings()), 1)


@pytest.mark.parametrize(
    ("found", "pods", "told"),
    [
        ({}, [], ""),
        ({}, [pod(containerStatuses=[{"state": {"waiting": {"reason": "ContainerCreating"}}}])], ""),
        (
            {},
            [pod(containerStatuses=[{"state": {"waiting": {"reason": "ErrImagePull", "message": "no such image"}}}])],
            "pod p1: no such image",
        ),
        (
            {},
            [
                pod(
                    containerStatuses=[
                        {
                            "state": {"waiting": {"reason": "CrashLoopBackOff"}},
                            "lastState": {
                                "terminated": {
                                    "exitCode": 2,
                                    "message": TOLD,
                                }
                            },
                        }
                    ]
                )
            ],
            "pod p1: MODEL_VERSION is 9; it is started again",
        ),
        (
            {},
            [pod(containerStatuses=[{"state": {}, "lastState": {"terminated": {"exitCode": 137}}}])],
            "pod p1: exit code 137; it is started again",
        ),
        ({}, [pod(conditions=[{"reason": "Unschedulable", "message": "no memory"}])], "pod p1: no memory"),
        (
            {"status": {"conditions": [{"type": "ReplicaFailure", "status": "True", "message": "exceeded quota"}]}},
            [],
            "exceeded quota",
        ),
    ],
)
def test_trouble_is_told_in_a_sentence(found: Any, pods: Any, told: str) -> None:
    """Why replicas do not answer, from what Kubernetes says."""
    assert trouble(found, pods) == told


@pytest.mark.parametrize("job", [{"priority_class": "system-node-critical"}, {"scratch": "999P"}])
def test_what_is_not_allowed_is_not_made_though_a_deployment_has_it(cluster: Memory, job: dict[str, Any]) -> None:
    """It may be older than the administrator's word, or from a backend with another one: the launcher judges last."""
    [field] = job
    with pytest.raises(LaunchRefused, match=rf"^job\.{field} is"):
        KubernetesLauncher(cluster, JobSettings()).launch("federated-training-ddy6heod-a", JOB, job)
    with pytest.raises(ConfigError, match=rf"^job\.{field} is"):
        look(ClusterFleet(cluster, JobSettings()), 1, job)
    assert cluster.objects == {}


def test_a_job_that_fails_between_two_lists_is_told_with_its_exit_code(cluster: Memory) -> None:
    """The pods were listed while it ran, the Jobs when it had failed: no verdict without what the pod said."""
    name, its = "federated-training-ddy6heod-a", {"batch.kubernetes.io/controller-uid": "u7"}
    over = {"state": {"terminated": {"exitCode": 2, "message": ""}}}
    answers = [{"phase": "Running"}, {"phase": "Failed", "containerStatuses": [over]}]
    failed = {"type": "Failed", "status": "True", "reason": "PodFailurePolicy"}
    cluster.pods = lambda labels: iter([{"metadata": {"name": "p", "labels": its}, "status": answers.pop(0)}])  # type: ignore[method-assign]
    cluster.jobs = lambda labels: iter(  # type: ignore[method-assign]
        [{"metadata": {"name": name, "uid": "u7"}, "spec": {}, "status": {"conditions": [failed]}}]
    )
    launcher = KubernetesLauncher(cluster, JobSettings())
    launcher.refresh()
    assert (launcher.status(name).state, launcher.status(name).exit_code) == ("failed", 2) and answers == []
