"""Pages of the Jobs: found by filters, told in full, stopped and retried by those who may."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest
from django.test import Client

from backend.launchers.jobs import matching
from backend.launchers.models import Job, JobState
from tests.backend.test_launch_jobs import federation, stream

pytestmark = [pytest.mark.backend, pytest.mark.django_db]


@pytest.fixture
def job(monkeypatch: pytest.MonkeyPatch) -> Job:
    """A Job that waits for a launcher."""
    monkeypatch.setenv("KML_CLOUD_BOOTSTRAP_SERVERS", "cloud:9092")
    federation()
    matching.match([stream()])
    return Job.objects.get()


def browser(user: Callable[[str], Any], role: str) -> Client:
    """A session of that role."""
    client = Client()
    client.force_login(user(role))
    return client


def test_a_job_is_told_in_full(job: Job, user: Callable[[str], Any]) -> None:
    """State, log, environment and a manifest that kubectl can read; a fragment for htmx has no page around it."""
    viewer = browser(user, "viewer")
    page = viewer.get(f"/jobs/{job.name}/")
    text = page.content.decode()
    assert job.client_id in text and "FEDERATED_CLIENT_ID" in text and "said nothing yet" in text
    assert page.context["manifest"] and json.loads(page.context["manifest"])["kind"] == "Job"
    assert "<html" not in viewer.get(f"/jobs/{job.name}/", headers={"HX-Request": "true"}).content.decode()
    assert viewer.get("/jobs/nothing/").status_code == 404


def test_nobody_asks_for_the_log_of_an_ended_job_again(job: Job, user: Callable[[str], Any]) -> None:
    """While it runs its page asks every two seconds; the last answer ends that, and a page opened later never asks."""
    viewer = browser(user, "viewer")
    fragment = {"HX-Request": "true"}
    assert "every 2s" in viewer.get(f"/jobs/{job.name}/").content.decode()
    assert viewer.get(f"/jobs/{job.name}/", headers=fragment).status_code == 200
    Job.objects.update(state=JobState.SUCCEEDED)
    assert viewer.get(f"/jobs/{job.name}/", headers=fragment).status_code == 286
    assert "every 2s" not in viewer.get(f"/jobs/{job.name}/").content.decode()


def test_the_manifest_is_this_installations(
    job: Job, user: Callable[[str], Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The image that the launcher would start is the one that the page shows."""
    monkeypatch.setenv("MAINSTEM_JOB_IMAGE", "own/training:7")
    manifest = json.loads(browser(user, "viewer").get(f"/jobs/{job.name}/").context["manifest"])
    assert manifest["spec"]["template"]["spec"]["containers"][0]["image"] == "own/training:7"


def test_jobs_are_found(job: Job, user: Callable[[str], Any]) -> None:
    """By state and federation; where none is like that, the page says so."""
    viewer = browser(user, "viewer")
    for query, found in (
        ("", True),
        ("?state=pending", True),
        ("?state=failed", False),
        ("?federation=zzzzzzzz", False),
    ):
        page = viewer.get(f"/jobs/{query}").content.decode()
        assert (job.name in page) is found
        assert ("No Job is like that" in page) is not found


def test_only_operators_act_on_jobs(job: Job, user: Callable[[str], Any]) -> None:
    """A viewer is refused; an operator stops a Job, retries it, and reads why it cannot be retried twice."""
    assert browser(user, "viewer").post(f"/jobs/{job.name}/act/stop/").status_code == 403
    operator = browser(user, "operator")
    assert "asked to end" in operator.post(f"/jobs/{job.name}/act/stop/", follow=True).content.decode()
    job.refresh_from_db()
    assert not job.wanted
    assert "starts again" in operator.post(f"/jobs/{job.name}/act/retry/", follow=True).content.decode()
    again = operator.post(f"/jobs/{job.name}/act/retry/", follow=True).content.decode()
    assert "only a failed or stopped one is retried" in again
    assert operator.post(f"/jobs/{job.name}/act/dance/").status_code == 404
