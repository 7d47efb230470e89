"""What has become of a Kubernetes Job, in a sentence for a person: pure, over objects as the API server gives them.

Sources: Kubernetes' "Pod Lifecycle", "Jobs" (conditions and their reasons), "Disruptions" (DisruptionTarget).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

from backend.launchers.words import ASKED, last_error
from mainstem.jobs.launcher import JobStatus
from mainstem.runtime.exits import Exit

Object = Mapping[str, Any]

FORGOTTEN: Final = "mainstem/forgotten"
"""The annotation of an ended Job whose verdict is known: only its log is still of use."""

LONGEST = 500
"""Characters of a detail."""

_UNPULLED = frozenset(
    {"ErrImagePull", "ImagePullBackOff", "InvalidImageName", "ErrImageNeverPull", "RegistryUnavailable"}
)
_UNMADE = frozenset({"CreateContainerConfigError", "CreateContainerError", "RunContainerError", "StartError"})


def judge(name: str, job: Object | None, pods: Sequence[Object], warnings: Sequence[str] = ()) -> JobStatus:
    """The status of a Job; one whose node is silent (phase `Unknown`) still counts as running.

    `pods` are this Job's, in any order; `warnings` are messages of events about what waits.
    """
    if job is None:
        return JobStatus(name, "absent")
    verdict = ended(job)
    attempts = sorted(pods, key=lambda pod: (str(pod["metadata"].get("creationTimestamp")), pod["metadata"]["name"]))
    if verdict is not None:
        if FORGOTTEN in job["metadata"].get("annotations", {}):
            return JobStatus(name, "absent")
        return _finished(name, job, verdict, attempts)
    if "deletionTimestamp" in job["metadata"]:
        return JobStatus(name, "running", detail="is being deleted")
    if job["spec"].get("suspend"):
        return JobStatus(name, "pending", detail="is suspended: whoever manages the queue has not let it start yet")
    if not attempts:
        return JobStatus(name, "pending", detail=_brief(_refusal(warnings) or "its pod is being created"))
    newest = attempts[-1]
    phase = newest.get("status", {}).get("phase", "Pending")
    if phase == "Failed":
        return JobStatus(name, "pending", detail=_brief(f"the next attempt waits; the one before: {failure(newest)}"))
    before = next((failure(pod) for pod in reversed(attempts) if _over(pod)), None)
    again = f"attempt {len(attempts)}; the one before: {before}" if before else ""
    if phase == "Pending":
        return JobStatus(name, "pending", detail=_brief(waiting(newest, warnings) + (again and f" ({again})")))
    return JobStatus(name, "running", detail=_brief(again))


def ended(job: Object) -> Object | None:
    """The condition that says that the Job has ended, `Complete` or `Failed`; None while it has not."""
    conditions = job.get("status", {}).get("conditions") or ()
    return next((c for c in conditions if c["type"] in ("Complete", "Failed") and c["status"] == "True"), None)


def untold(job: Object, pods: Sequence[Object]) -> bool:
    """Whether a Job has ended, and its pods, which are of a moment before, do not say so yet."""
    return ended(job) is not None and bool(pods) and not any(map(_over, pods))


def needs_events(job: Object, pods: Sequence[Object]) -> str | None:
    """The uid of the object whose events tell why the Job does not start; None where its own status says it."""
    if ended(job) is not None or job["spec"].get("suspend"):
        return None
    if not pods:
        return str(job["metadata"]["uid"])
    for pod in pods:
        if pod.get("status", {}).get("phase", "Pending") == "Pending" and _reason(pod) in (None, "ContainerCreating"):
            return None if _unscheduled(pod) else str(pod["metadata"]["uid"])
    return None


def waiting(pod: Object, warnings: Sequence[str]) -> str:
    """Why a pending pod does not run yet."""
    unscheduled = _unscheduled(pod)
    if unscheduled:
        return f"no node takes its pod (Unschedulable): {unscheduled}"
    reason, message, image = _reason(pod), _state(pod, "waiting").get("message", ""), _image(pod)
    if reason in _UNPULLED:
        return f"its image {image} cannot be pulled ({reason}): {message}"
    if reason in _UNMADE:
        return f"its container cannot be started ({reason}): {message}"
    if warnings:
        return f"its container is not created yet: {warnings[-1]}"
    return "its container is being created"


def failure(pod: Object) -> str:
    """How a pod's attempt ended."""
    status = pod.get("status", {})
    if status.get("reason") == "Evicted":
        return f"evicted: {status.get('message', '')}"
    for condition in status.get("conditions") or ():
        if condition["type"] == "DisruptionTarget" and condition["status"] == "True":
            return f"disrupted ({condition.get('reason', '')}): {condition.get('message', '')}"
    state = _state(pod, "terminated")
    if state.get("reason") == "OOMKilled":
        limit = pod["spec"]["containers"][0].get("resources", {}).get("limits", {}).get("memory", "its node's")
        return f"out of memory (OOMKilled): it needed more than {limit}; give the deployment a larger job.memory"
    if "exitCode" not in state:
        return status.get("message") or status.get("reason") or "its pod is gone"
    if state["exitCode"] == Exit.TERMINATED:
        return ASKED
    last = last_error(state.get("message", ""))
    return f"exit code {state['exitCode']}" + (f": {last}" if last else "")


def _finished(name: str, job: Object, verdict: Object, attempts: Sequence[Object]) -> JobStatus:
    if verdict["type"] == "Complete":
        return JobStatus(name, "succeeded", 0)
    over = [pod for pod in attempts if _over(pod)]
    code = _state(over[-1], "terminated").get("exitCode") if over else None
    if verdict.get("reason") == "DeadlineExceeded":
        seconds = job["spec"].get("activeDeadlineSeconds")
        detail = f"deadline exceeded: it ran longer than the {seconds} s of job.deadline_seconds"
    elif over:
        detail = failure(over[-1])
    else:
        detail = f"{verdict.get('reason', 'Failed')}: {verdict.get('message', '')}"
    return JobStatus(name, "failed", code, _brief(detail))


def _refusal(warnings: Sequence[str]) -> str:
    return f"its pod is refused: {warnings[-1]}" if warnings else ""


def _over(pod: Object) -> bool:
    return pod.get("status", {}).get("phase") in ("Failed", "Succeeded")


def _unscheduled(pod: Object) -> str:
    for condition in pod.get("status", {}).get("conditions") or ():
        if condition["type"] == "PodScheduled" and condition["status"] == "False":
            return str(condition.get("message") or condition.get("reason") or "no reason is given")
    return ""


def _state(pod: Object, kind: str) -> Object:
    """The container's state of that kind (`waiting`, `running`, `terminated`); empty where it is in another one."""
    for container in pod.get("status", {}).get("containerStatuses") or ():
        state: Object = container.get("state", {}).get(kind) or {}
        return state
    return {}


def _reason(pod: Object) -> str | None:
    return _state(pod, "waiting").get("reason")


def _image(pod: Object) -> str:
    return str(pod["spec"]["containers"][0]["image"])


def _brief(text: str) -> str:
    text = " ".join(text.split()).rstrip(": ")
    return text if len(text) <= LONGEST else text[: LONGEST - 3] + "..."
