"""Matching and the reconciler over a real database and a launcher that does as it is told."""

from __future__ import annotations

import itertools
import os
import signal
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from datetime import timedelta
from pathlib import Path
from typing import Any
from unittest import mock

import pytest
from django.utils import timezone
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from rest_framework.test import APIClient

from backend.deployments.models import Deployment
from backend.launchers.jobs import matching
from backend.launchers.jobs.plan import Patience
from backend.launchers.jobs.reconciler import REFUSED_SECONDS, Reconciler
from backend.launchers.local.launcher import LocalLauncher
from backend.launchers.models import Job
from backend.launchers.options import Options
from backend.streams.models import DataSource
from mainstem.errors import LaunchRefused, LogError
from mainstem.jobs.launcher import JobStatus
from mainstem.jobs.spec import JobSpec
from tests.support.patience import PATIENCE

pytestmark = [pytest.mark.backend, pytest.mark.django_db]
OPTIONS = Options("cloud:1", "data:1", None, None, 10, Patience())
Clients = Callable[[str | None], APIClient]


class FakeLauncher:
    """Jobs as entries of a dictionary; `now` is the reconciler's clock."""

    def __init__(self) -> None:
        self.jobs: dict[str, JobStatus] = {}
        self.launched: list[str] = []
        self.specs: dict[str, JobSpec] = {}
        self.settings: dict[str, dict[str, Any]] = {}
        self.looks = 0
        self.now = 1e9

    def refresh(self) -> None:
        self.looks += 1

    def launch(self, name: str, spec: JobSpec, job: Mapping[str, Any] | None = None) -> None:
        assert self.status(name).state != "running"
        self.launched.append(name)
        self.specs[name] = spec
        self.settings[name] = dict(job or {})
        self.jobs[name] = JobStatus(name, "running")

    def status(self, name: str) -> JobStatus:
        return self.jobs.get(name, JobStatus(name, "absent"))

    def stop(self, name: str) -> None:
        self.jobs.pop(name, None)

    def log(self, name: str, tail: int = 65536) -> str:
        return ""

    def finish(self, name: str, code: int) -> None:
        state = "succeeded" if code == 0 else "failed"
        self.jobs[name] = JobStatus(name, state, code, f"exit code {code}")

    @property
    def running(self) -> set[str]:
        return {name for name, status in self.jobs.items() if status.state == "running"}


@pytest.fixture
def launcher() -> FakeLauncher:
    return FakeLauncher()


def reconciler(launcher: FakeLauncher, max_jobs: int | None = 10) -> Reconciler:
    options = Options("cloud:1", "data:1", None, None, max_jobs, Patience())
    return Reconciler(launcher, options, lambda: launcher.now)


def federation(name: str = "ddy6heod", **more: Any) -> Deployment:
    rules = {"min_clients": 1, "max_clients": 5, **more.pop("rules", {})}
    return Deployment.objects.create(
        federation=name, name=name, **{"state": "waiting", "input": {"shape": [4]}, "rules": rules, **more}
    )


_offsets = itertools.count()
LATER = timedelta(hours=1)
"""Streams of these tests are looked at after any federation has opened."""


def stream(topic: str = "site", **more: Any) -> DataSource:
    fields = {
        "topic": f"{topic}:0:0:10", "total_msg": 10, "input_config": {"data_reshape": "4"}, "input_format": "RAW",
        "standing": "ready", "readable": 10, "stream_ids": {topic: "id"}, "surveyed_at": timezone.now() + LATER,
    }  # fmt: skip
    return DataSource.objects.create(
        cluster_id="c", topic_id="t", partition=0, offset=next(_offsets), timestamp_ms=1, **{**fields, **more}
    )


# ---------------------------------------------------------------- matching
@hypothesis_settings(max_examples=60)
@given(st.permutations(["a", "b", "0", "1", "2", "match", "match"]), st.integers(1, 4))
def test_any_order_and_any_repetition_give_the_same_jobs(db: None, events: list[str], most: int) -> None:
    """Federations and streams in any order, matched any number of times: one Job a pair, never above max_clients."""
    Job.objects.all().delete()
    Deployment.objects.all().delete()
    DataSource.objects.all().delete()
    memory = matching.Memory()
    for event in events:
        if event in "ab":
            federation(event * 8, rules={"max_clients": most})
        elif event == "match":
            matching.match(memory=memory)
        else:
            made = stream(f"site{event}")
            matching.match(sources=[made])
            matching.match(sources=[made])
    matching.match(memory=memory)
    matching.match()
    for name in ("aaaaaaaa", "bbbbbbbb"):
        jobs = Job.objects.filter(federation=name)
        assert jobs.count() == min(3, most)
        assert set(jobs.values_list("slot", flat=True)) == set(range(min(3, most)))
    assert matching.match() == 0


def test_misfits_start_nothing() -> None:
    """Another shape, another restriction, too few records, a refused record, a federation that is not open."""
    federation("shape000", input={"shape": [5]})
    federation("restrict", data={"restriction": {"site": "north"}})
    federation("mindata0", data={"min_data": 11})
    federation("opening0", state="opening")
    federation("stopped0", state="stopped")
    federation("finished", state="finished")
    stream()
    stream(problem="not a stream")
    assert matching.match() == 0
    federation("fits0000")
    assert matching.match() == 1


def test_a_federation_without_a_readable_opening_takes_nothing() -> None:
    """A topic of the right name that holds no `opened` makes a row, but stands in nobody's way."""
    federation("strange0", input={}, rules={})
    federation("fits0000")
    stream()
    assert matching.match() == 1
    assert Job.objects.get().federation == "fits0000"


def test_what_was_only_announced_trains_nobody() -> None:
    """Ten thousand announcements would make as many Jobs of each stream that fits; it waits for the `opened` record."""
    announced = federation("strange0", external=True)
    source = stream()
    assert matching.match() == 0 and matching.explain(source) == []
    Deployment.objects.filter(pk=announced.pk).update(opened_ms=1)
    assert matching.match() == 1


def test_an_address_binds_a_stream_to_its_federation() -> None:
    """To that one and to no other; an id that exists nowhere trains nobody."""
    federation("one00000"), federation("two00000", external=True, opened_ms=1)
    source = stream(addressed_to="two00000")
    assert matching.match() == 1
    assert Job.objects.get().federation == "two00000"
    stream(addressed_to="nowhere0")
    assert matching.match() == 0
    told = {fit["federation"]: fit["reason"] for fit in matching.explain(source)}
    assert told == {"one00000": "its announcement is addressed to federation 'two00000'", "two00000": ""}


def test_a_stream_is_matched_once_kafka_was_asked() -> None:
    """Not before, not while something of it is missing, and not by what was seen before the federation opened."""
    deployment = federation()
    for more in ({"surveyed_at": None}, {"standing": "waits"}, {"surveyed_at": deployment.created_at - LATER}):
        source = stream(**more)
        assert matching.match() == 0 and matching.match([source]) == 0
        assert matching.explain(source)[0]["reason"].startswith("it waits: ")
    DataSource.objects.update(standing="ready", surveyed_at=timezone.now() + LATER)
    assert matching.match() == 3


def test_what_can_be_read_is_what_counts() -> None:
    """500 offsets of which 380 are records do not make 500; those that are there do."""
    federation(data={"min_data": 500})
    stream(total_msg=500, readable=380)
    assert matching.match() == 0
    stream(total_msg=400, readable=500)
    assert matching.match() == 1


def test_no_job_starts_on_a_stream_that_is_gone(launcher: FakeLauncher) -> None:
    """Neither a first one nor once more; the stream and the run say why."""
    deployment = federation()
    gone = stream("gone", standing="gone", notice="its topic gone was deleted")
    kept, shrunk = stream("kept"), stream("shrunk")
    loop = reconciler(launcher)
    loop.tick()
    assert matching.explain(gone)[0]["reason"] == "its topic gone was deleted"
    assert not Job.objects.filter(source=gone).exists() and Job.objects.count() == len(launcher.running) == 2
    DataSource.objects.filter(pk=kept.pk).update(standing="gone", notice="its topic kept was deleted")
    DataSource.objects.filter(pk=shrunk.pk).update(readable=9, notice="10 announced, 9 readable: it is compacted")
    for job in Job.objects.all():
        launcher.finish(job.name, 1)
    loop.tick()
    launcher.now += 10
    loop.tick()
    details = dict(Job.objects.values_list("source_id", "detail"))
    assert not launcher.running and set(Job.objects.values_list("state", "attempts")) == {("failed", 1)}
    assert details[kept.pk] == "not started: its topic kept was deleted"
    assert details[shrunk.pk].endswith("10 of its records could be read when the Job was made, and 9 now")
    assert [told.split(": ", 1)[1] for told in matching.notices(deployment)] == [
        "10 announced, 9 readable: it is compacted", "its topic kept was deleted", "its topic gone was deleted",
    ]  # fmt: skip


def racing(competitor: Callable[[], object]) -> Any:
    """Lets a competitor act once, between our look at the free places and our taking one."""
    look = matching._first_free_slot
    acted: list[bool] = []

    def late(deployment: Deployment) -> int | None:
        slot = look(deployment)
        if not acted:
            acted.append(True)
            competitor()
        return slot

    return mock.patch.object(matching, "_first_free_slot", late)


def test_a_race_for_the_last_place_has_one_winner() -> None:
    """Two processes see the same free place: the database gives it to one, the other finds none."""
    deployment = federation(rules={"max_clients": 1})
    first, second = stream("a"), stream("b")
    with racing(lambda: matching.assign(first, deployment)):
        assert not matching.assign(second, deployment)
    assert Job.objects.get().source == first


def test_a_race_for_the_same_pair_makes_one_job() -> None:
    """The web process and the launcher match the same stream at the same moment."""
    deployment, source = federation(), stream()
    with racing(lambda: matching.assign(source, deployment)):
        assert matching.assign(source, deployment)
    assert Job.objects.count() == 1


def test_names_are_stable_and_valid() -> None:
    """The same record has the same Job and client for ever; a topic's name may be as long as Kafka allows."""
    source = stream("x" * 249)
    job, client = matching.job_name("ddy6heod", source), matching.client_id(source.announcement, source.digest)
    again = DataSource.objects.get(pk=source.pk)
    assert (job, client) == (
        matching.job_name("ddy6heod", again),
        matching.client_id(again.announcement, again.digest),
    )
    assert len(job) <= 63 and len(client) <= 64


# ---------------------------------------------------------------- the reconciler
def test_a_fitting_stream_runs_once(launcher: FakeLauncher) -> None:
    """With exactly the settings of its announcement; a new launcher process changes nothing."""
    federation()
    stream(validation_rate=0.2, test_rate=0.1)
    for _ in range(3):
        reconciler(launcher).tick()
    job = Job.objects.get()
    assert launcher.launched == [job.name] and job.state == "running" and job.attempts == 1
    spec = launcher.specs[job.name]
    assert (spec.data_topic, spec.validation_rate, spec.test_rate, spec.total_msg) == ("site:0:0:10", 0.2, 0.1, 10)
    assert spec.topic_ids == {"site": "id"}
    assert (spec.cloud_bootstrap, spec.data_bootstrap, spec.client_id) == ("cloud:1", "data:1", job.client_id)
    assert JobSpec.from_environ(spec.to_environ()) == spec


def test_a_failing_job_backs_off_and_gives_up(launcher: FakeLauncher) -> None:
    """It is tried again 3 times, ever later; then it has failed and another stream gets its place."""
    federation(rules={"max_clients": 1})
    stream("bad")
    loop = reconciler(launcher)
    loop.tick()
    job = Job.objects.get()
    stream("good")
    for wait in (1, 2, 4):
        launcher.finish(job.name, 1)
        loop.tick()
        job.refresh_from_db()
        assert job.state == "pending" and "exit code 1" in job.detail
        launcher.now += wait - 0.1
        loop.tick()
        assert not launcher.running
        launcher.now += 0.2
        loop.tick()
        assert launcher.running == {job.name}
    launcher.finish(job.name, 1)
    loop.tick()
    job.refresh_from_db()
    assert (job.state, job.exit_code, job.attempts, job.slot) == ("failed", 1, 4, None)
    loop.tick()
    assert Job.objects.get(source__topic="good:0:0:10").state == "running"


def test_stop_resume_finish_and_delete(launcher: FakeLauncher) -> None:
    """Jobs follow their federation; what has ended stays readable until the federation is deleted."""
    deployment = federation()
    stream("a")
    stream("b")
    loop = reconciler(launcher)
    loop.tick()
    assert len(launcher.running) == 2

    def becomes(state: str, **more: Any) -> None:
        Deployment.objects.filter(pk=deployment.pk).update(state=state, **more)
        loop.tick()
        loop.tick()

    becomes("stopped")
    assert not launcher.running and set(Job.objects.values_list("state", flat=True)) == {"stopped"}
    becomes("running")
    assert len(launcher.running) == 2
    becomes("finished", ended_ms=int(launcher.now * 1000))
    assert len(launcher.running) == 2
    launcher.finish(Job.objects.earliest("id").name, 0)
    launcher.now += 130
    loop.tick()
    loop.tick()
    assert list(Job.objects.order_by("id").values_list("state", flat=True)) == ["succeeded", "stopped"]
    assert not launcher.running
    deployment.delete()
    loop.tick()
    assert Job.objects.count() == 0


def test_a_deleted_federation_s_live_jobs_end_first(launcher: FakeLauncher) -> None:
    """Also when the row of the federation is gone already."""
    deployment = federation()
    stream()
    loop = reconciler(launcher)
    loop.tick()
    deployment.delete()
    loop.tick()
    assert not launcher.running and Job.objects.count() == 1
    loop.tick()
    assert Job.objects.count() == 0


def test_too_many_jobs_wait_and_say_so(launcher: FakeLauncher) -> None:
    """The limit holds; what waits starts when there is room."""
    federation()
    for n in range(4):
        stream(f"s{n}")
    loop = reconciler(launcher, max_jobs=3)
    loop.tick()
    assert len(launcher.running) == 3
    waiting = Job.objects.get(state="pending")
    assert "MAINSTEM_MAX_JOBS" in waiting.detail
    launcher.finish(sorted(launcher.running)[0], 0)
    loop.tick()
    loop.tick()
    waiting.refresh_from_db()
    assert waiting.state == "running" and waiting.detail == ""


def test_the_limit_never_keeps_a_federation_from_training(launcher: FakeLauncher) -> None:
    """A federation of 4 clients trains with a limit of 2."""
    federation(rules={"min_clients": 4})
    for n in range(4):
        stream(f"s{n}")
    reconciler(launcher, max_jobs=2).tick()
    assert len(launcher.running) == 4


def test_a_launcher_that_cannot_start_a_job_counts_it_as_failed(launcher: FakeLauncher) -> None:
    """The loop goes on, the row says why."""
    federation()
    stream()
    with mock.patch.object(launcher, "launch", side_effect=OSError("no memory")):
        reconciler(launcher).tick()
    job = Job.objects.get()
    assert job.state == "pending" and "no memory" in job.detail and job.failures == 1


def test_a_cluster_s_words_reach_the_row(launcher: FakeLauncher) -> None:
    """Why a Job waits, with the deployment's own settings handed on; cleared once it runs. One look a round."""
    federation(job={"memory": "4Gi"})
    stream()
    loop = reconciler(launcher, max_jobs=None)
    loop.tick()
    job = Job.objects.get()
    assert launcher.settings[job.name] == {"memory": "4Gi"} and launcher.looks == 1
    for state, detail, row in (
        ("pending", "no node takes its pod", "starting"),
        ("pending", "its image cannot be pulled", "starting"),
        ("running", "", "running"),
    ):
        launcher.jobs[job.name] = JobStatus(job.name, state, detail=detail)
        loop.tick()
        job.refresh_from_db()
        assert (job.state, job.detail, job.attempts, job.ended_at) == (row, detail, 1, None)


def test_a_refused_start_waits_and_is_no_failure(launcher: FakeLauncher) -> None:
    """A quota may have room later: the row says what refused, and the next try comes after a pause."""
    federation()
    stream()
    loop = reconciler(launcher)
    with mock.patch.object(launcher, "launch", side_effect=LaunchRefused("exceeded quota: few")):
        loop.tick()
    job = Job.objects.get()
    assert (job.state, job.failures) == ("pending", 0) and "exceeded quota: few" in job.detail
    loop.tick()
    assert not launcher.running
    launcher.now += REFUSED_SECONDS + 0.1
    loop.tick()
    assert launcher.running == {job.name}


def test_a_job_that_cannot_be_looked_after_says_so(launcher: FakeLauncher) -> None:
    """Its launcher's error stands in its row, and the next Job has its turn."""
    federation()
    stream("a")
    stream("b")
    right = launcher.status

    def status(name: str) -> JobStatus:
        if name == Job.objects.earliest("id").name:
            raise LogError("the disk is full")
        return right(name)

    with mock.patch.object(launcher, "status", status):
        reconciler(launcher).tick()
    first, second = Job.objects.order_by("id")
    assert (first.state, first.detail) == ("pending", "its launcher cannot look after it: the disk is full")
    assert second.state == "running"


@pytest.mark.parametrize("code", [2, 3])
def test_a_job_that_cannot_succeed_is_not_tried_again(launcher: FakeLauncher, code: int) -> None:
    """It has failed with its sentence at once, and another stream gets its place."""
    federation(rules={"max_clients": 1})
    stream("bad")
    loop = reconciler(launcher)
    loop.tick()
    job = Job.objects.get()
    stream("good")
    launcher.finish(job.name, code)
    loop.tick()
    job.refresh_from_db()
    assert (job.state, job.exit_code, job.attempts, job.slot) == ("failed", code, 1, None)
    assert job.detail == f"failed for good with: exit code {code}"
    loop.tick()
    assert Job.objects.get(source__topic="good:0:0:10").state == "running"


def test_a_cluster_that_is_away_changes_nothing(launcher: FakeLauncher) -> None:
    """A look that fails ends the round before anything is decided on what was seen before."""
    federation()
    stream()
    loop = reconciler(launcher)
    loop.tick()
    job = Job.objects.get()
    launcher.jobs.clear()
    with mock.patch.object(launcher, "refresh", side_effect=LogError("away")), pytest.raises(LogError):
        loop.tick()
    job.refresh_from_db()
    assert (job.state, job.attempts) == ("running", 1)


# ---------------------------------------------------------------- real processes
@pytest.fixture
def real(tmp_path: Path) -> Iterator[LocalLauncher]:
    program = "import time\nwhile True: time.sleep(0.1)"
    local = LocalLauncher(tmp_path / "jobs", command=[sys.executable, "-c", program])
    yield local
    assert local.end(list(Job.objects.values_list("name", flat=True)), PATIENCE) == []


def until(condition: Callable[[], bool], loop: Reconciler) -> None:
    deadline = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < deadline, "it did not happen in time"
        loop.tick()
        time.sleep(0.05)


def test_real_jobs_are_adopted_restarted_and_ended(real: LocalLauncher, tmp_path: Path) -> None:
    """A new launcher adopts what runs, a killed process comes back, and the platform's end ends all of it."""
    federation()
    stream("a")
    stream("b")
    first = Reconciler(real, OPTIONS)
    first.tick()
    one, two = Job.objects.order_by("id")
    successor_launcher = LocalLauncher(tmp_path / "jobs", command=[sys.executable, "-c", "raise SystemExit(9)"])
    successor = Reconciler(successor_launcher, OPTIONS)
    successor.tick()
    assert {real.status(job.name).state for job in (one, two)} == {"running"}
    one.refresh_from_db()
    assert one.attempts == 1
    supervisor = tmp_path / "jobs" / one.name / "pid"
    until(supervisor.exists, first)
    kill_children(int(supervisor.read_text()))
    until(lambda: Job.objects.filter(pk=one.pk, attempts=2, state="running").exists(), first)
    first.shut_down(lambda names: real.end(names, PATIENCE))
    assert set(Job.objects.values_list("state", flat=True)) == {"pending"}
    assert {real.status(job.name).state for job in (one, two)} == {"absent"}
    Reconciler(real, OPTIONS).tick()
    assert {real.status(job.name).state for job in (one, two)} == {"running"}


def kill_children(parent: int) -> None:
    """SIGKILL every child of the process."""
    deadline = time.monotonic() + PATIENCE
    children: list[int] = []
    while not children:
        assert time.monotonic() < deadline
        children = [int(pid) for pid in Path(f"/proc/{parent}/task/{parent}/children").read_text().split()]
    for pid in children:
        os.kill(pid, signal.SIGKILL)


# ---------------------------------------------------------------- REST
def test_jobs_are_listed_stopped_and_retried(client_of: Clients, launcher: FakeLauncher, tmp_path: Path) -> None:
    """A viewer reads, an operator stops and retries; what cannot be is a conflict with a sentence."""
    federation()
    stream()
    loop = reconciler(launcher)
    loop.tick()
    viewer, operator = client_of("viewer"), client_of("operator")
    listed = viewer.get("/api/jobs/?federation=ddy6heod").json()
    assert listed["count"] == 1
    assert listed["results"][0]["client"].startswith("site-")
    address = f"/api/jobs/{listed['results'][0]['name']}/"
    assert viewer.get(address).json()["state"] == "running"
    assert viewer.post(f"{address}stop/").status_code == 403
    assert operator.post(f"{address}retry/").status_code == 409
    assert operator.post(f"{address}stop/").status_code == 202
    loop.tick()
    loop.tick()
    assert viewer.get(address).json()["state"] == "stopped" and not launcher.running
    loop.tick()
    assert not launcher.running
    assert operator.post(f"{address}retry/").json()["state"] == "pending"
    loop.tick()
    assert launcher.running
    Deployment.objects.update(state="finished", ended_ms=0)
    assert operator.post(f"{address}retry/").status_code == 409


def test_a_job_s_log_is_its_output(client_of: Clients, settings: Any) -> None:
    """As plain text; the tail is bounded."""
    federation()
    stream()
    matching.match()
    job = Job.objects.get()
    home = settings.HOME / "jobs" / job.name
    home.mkdir(parents=True)
    (home / "log").write_text("epoch 1\n<script>\n")
    viewer = client_of("viewer")
    answer = viewer.get(f"/api/jobs/{job.name}/log/")
    assert answer["Content-Type"].startswith("text/plain") and answer.content == b"epoch 1\n<script>\n"
    assert viewer.get(f"/api/jobs/{job.name}/log/?tail=9").content == b"<script>\n"
    assert viewer.get(f"/api/jobs/{job.name}/log/?tail=-1").status_code == 400
    assert viewer.get("/api/jobs/nothing/log/").status_code == 404
    assert client_of(None).get(f"/api/jobs/{job.name}/log/").status_code == 401
