"""What people do with Jobs. Each changes the row; the launcher sees it at its next look."""

from __future__ import annotations

from rest_framework import status

from backend.audit.recording import recorded
from backend.launchers.jobs import matching
from backend.launchers.models import Job, JobState
from backend.rest.problems import Problem


def stop(job: Job) -> None:
    """End the Job; it stays ended until somebody retries it. Raises Problem where it has ended."""
    if job.state in (JobState.SUCCEEDED, JobState.FAILED):
        raise Problem(status.HTTP_409_CONFLICT, f"The Job has ended already: it is {job.state}.")
    with recorded("job.stop", _named(job)):
        Job.objects.filter(pk=job.pk).update(wanted=False)


def retry(job: Job) -> None:
    """Start a failed or stopped Job once more, with its failures forgotten; raises Problem."""
    if job.deployment is None or job.deployment.state not in matching.OPEN:
        raise Problem(status.HTTP_409_CONFLICT, "The Job's federation is not open: resume it first.")
    if job.wanted and job.state not in (JobState.FAILED, JobState.STOPPED):
        raise Problem(status.HTTP_409_CONFLICT, f"The Job is {job.state}; only a failed or stopped one is retried.")
    with recorded("job.retry", _named(job)):
        if not matching.take_slot(job):
            taken = "All places of the federation (max_clients) are taken by other Jobs."
            raise Problem(status.HTTP_409_CONFLICT, taken)
        Job.objects.filter(pk=job.pk, state__in=[JobState.FAILED, JobState.STOPPED]).update(
            state=JobState.PENDING, detail="", due_at=None
        )
        Job.objects.filter(pk=job.pk).update(wanted=True, failures=0)


def _named(job: Job) -> tuple[str, str]:
    return job.name, f"{job.client_id} of {job.federation}"
