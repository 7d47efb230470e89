"""What a person is told of a Kubernetes Job, from objects as an API server gives them."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from backend.launchers.jobs.verdict import LONGEST, failure, judge, needs_events
from mainstem.jobs.launcher import JobStatus


def job(condition: str | None = None, reason: str = "", **spec: Any) -> dict[str, Any]:
    conditions = [{"type": "SuccessCriteriaMet", "status": "True"}, {"type": "Suspended", "status": "False"}]
    if condition:
        conditions.append({"type": condition, "status": "True", "reason": reason, "message": "the controller's words"})
    return {"metadata": {"name": "j", "uid": "1"}, "spec": spec, "status": {"conditions": conditions}}


def pod(phase: str, at: int = 0, /, conditions: Any = (), **state: Any) -> dict[str, Any]:
    """A pod of that age; `waiting` and `terminated` are its container's states."""
    limits = {"memory": "2Gi"}
    return {
        "metadata": {"name": f"p{at}", "uid": f"u{at}", "creationTimestamp": f"2026-01-01T00:00:{at:02d}Z"},
        "spec": {"containers": [{"image": "training:1", "resources": {"limits": limits}}]},
        "status": {"phase": phase, "conditions": list(conditions), "containerStatuses": [{"state": state}]},
    }


def died(code: int, at: int = 0, /, reason: str = "Error", message: str = "") -> dict[str, Any]:
    return pod("Failed", at, terminated={"exitCode": code, "reason": reason, "message": message})


UNSCHEDULED = {"type": "PodScheduled", "status": "False", "reason": "Unschedulable", "message": "0/3 nodes fit"}


@pytest.mark.parametrize(
    ("status", "of", "pods", "warnings"),
    [
        (JobStatus("j", "absent"), None, [], []),
        (JobStatus("j", "pending", None, "its pod is being created"), job(), [], []),
        (JobStatus("j", "pending", None, "its pod is refused: quota"), job(), [], ["older", "quota"]),
        (
            JobStatus("j", "pending", None, "no node takes its pod (Unschedulable): 0/3 nodes fit"),
            job(),
            [pod("Pending", conditions=[UNSCHEDULED])],
            [],
        ),
        (
            JobStatus("j", "pending", None, "its image training:1 cannot be pulled (ImagePullBackOff): back-off"),
            job(),
            [pod("Pending", waiting={"reason": "ImagePullBackOff", "message": "back-off"})],
            [],
        ),
        (
            JobStatus("j", "pending", None, "its container cannot be started (CreateContainerConfigError): root"),
            job(),
            [pod("Pending", waiting={"reason": "CreateContainerConfigError", "message": "root"})],
            [],
        ),
        (
            JobStatus("j", "pending", None, "its container is not created yet: secret not found"),
            job(),
            [pod("Pending", waiting={"reason": "ContainerCreating"})],
            ["secret not found"],
        ),
        (JobStatus("j", "running"), job(), [pod("Running", running={})], []),
        (
            JobStatus("j", "running", None, "attempt 2; the one before: exit code 1: boom"),
            job(),
            [pod("Running", 2, running={}), died(1, 1, message="a\nboom\n")],
            [],
        ),
        (
            JobStatus("j", "pending", None, "the next attempt waits; the one before: exit code 1"),
            job(),
            [died(1)],
            [],
        ),
        (JobStatus("j", "succeeded", 0), job("Complete"), [pod("Succeeded", terminated={"exitCode": 0})], []),
        (
            JobStatus("j", "failed", 1, "exit code 1"),
            job("Failed", "BackoffLimitExceeded"),
            [died(2, 1), died(1, 2)],
            [],
        ),
        (
            JobStatus("j", "failed", None, "deadline exceeded: it ran longer than the 9 s of job.deadline_seconds"),
            job("Failed", "DeadlineExceeded", activeDeadlineSeconds=9),
            [],
            [],
        ),
        (JobStatus("j", "failed", None, "Odd: the controller's words"), job("Failed", "Odd"), [], []),
        (
            JobStatus("j", "pending", None, "is suspended: whoever manages the queue has not let it start yet"),
            job(suspend=True),
            [],
            [],
        ),
    ],
)
def test_each_situation_has_its_sentence(
    status: JobStatus, of: dict[str, Any] | None, pods: list[dict[str, Any]], warnings: list[str]
) -> None:
    """From a Job that is not there to one that a queue holds back."""
    assert judge("j", of, pods, warnings) == status


def test_a_forgotten_job_is_absent_and_a_deleted_one_is_still_there() -> None:
    """Forgetting counts only after the end."""
    old = job("Complete")
    old["metadata"]["annotations"] = {"mainstem/forgotten": "true"}
    assert judge("j", old, []).state == "absent"
    going = job()
    going["metadata"] |= {"deletionTimestamp": "now", "annotations": {"mainstem/forgotten": "true"}}
    assert judge("j", going, []) == JobStatus("j", "running", None, "is being deleted")


def test_ways_to_fail() -> None:
    """Out of memory with the limit and the fix; evicted and disrupted with Kubernetes' own words."""
    assert "more than 2Gi" in failure(died(137, reason="OOMKilled")) and "job.memory" in failure(
        died(137, reason="OOMKilled")
    )
    evicted = died(137)
    evicted["status"] |= {"reason": "Evicted", "message": "the node was low on memory"}
    assert failure(evicted) == "evicted: the node was low on memory"
    drained = died(143)
    drained["status"]["conditions"] = [
        {"type": "DisruptionTarget", "status": "True", "reason": "EvictionByEvictionAPI", "message": "drained"}
    ]
    assert failure(drained) == "disrupted (EvictionByEvictionAPI): drained"
    assert failure(died(143)) == "was asked to end (SIGTERM)", "as the launcher of one machine says it"
    gone = pod("Failed")
    assert failure(gone) == "its pod is gone"


def test_events_are_asked_only_where_the_status_is_silent() -> None:
    """Of the Job while it has no pod, of a pod whose container is being created."""
    assert needs_events(job(), []) == "1"
    assert needs_events(job("Complete"), []) is None and needs_events(job(suspend=True), []) is None
    assert needs_events(job(), [pod("Pending", 3, waiting={"reason": "ContainerCreating"})]) == "u3"
    assert needs_events(job(), [pod("Pending", waiting={"reason": "ErrImagePull"})]) is None
    assert needs_events(job(), [pod("Pending", conditions=[UNSCHEDULED])]) is None
    assert needs_events(job(), [pod("Running", running={})]) is None


phases = st.sampled_from(["Pending", "Running", "Succeeded", "Failed", "Unknown"])
states = st.dictionaries(
    st.sampled_from(["waiting", "terminated", "running"]),
    st.fixed_dictionaries(
        {}, optional={"reason": st.text(max_size=9), "message": st.text(max_size=900), "exitCode": st.integers(0, 255)}
    ),
    max_size=1,
)


@given(
    st.none() | st.sampled_from(["Complete", "Failed"]),
    st.lists(
        st.builds(lambda phase, at, state: pod(phase, at, **state), phases, st.integers(0, 59), states), max_size=4
    ),
    st.lists(st.text(max_size=900), max_size=3),
)
def test_any_objects_get_a_short_verdict(
    condition: str | None, pods: list[dict[str, Any]], warnings: list[str]
) -> None:
    """Whatever the API server says: a known state, one line, and an end only where the Job has ended."""
    status = judge("j", job(condition), pods, warnings)
    assert status.state in {None: ("pending", "running"), "Complete": ("succeeded",), "Failed": ("failed",)}[condition]
    assert len(status.detail) <= LONGEST and "\n" not in status.detail
    assert status.state != "pending" or status.detail
