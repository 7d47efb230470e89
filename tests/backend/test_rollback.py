"""A rollback from REST to the aggregator and back into the tables, and Jobs that come back for it."""

from __future__ import annotations

from typing import Any

import pytest
from rest_framework.test import APIClient

from backend.catalog.models import Configuration
from backend.deployments.log.outbox import publish_pending
from backend.deployments.models import Deployment, State
from backend.launchers.jobs.plan import FederationStanding, Patience, View, decide
from backend.launchers.models import Job
from mainstem.aggregator.federation import Federation
from mainstem.jobs.launcher import JobStatus
from mainstem.protocol.messages import decode_announcement
from mainstem.protocol.topics import MODEL_CONTROL
from mainstem.testing.memory_log import MemoryLog
from tests.backend.support import project
from tests.backend.test_launch_jobs import FakeLauncher, federation, reconciler, stream
from tests.support.federations import LightClient
from tests.support.runs import Ticking, drive, train

pytestmark = [pytest.mark.backend, pytest.mark.django_db]


def deploy(admin: APIClient, configuration: Configuration, log: MemoryLog, **asked: Any) -> str:
    """An open federation of two clients."""
    body = {"configuration": configuration.pk, "rounds": 3, "min_clients": 2, **asked}
    made = admin.post("/api/deployments/", body, format="json").json()["federation"]
    publish_all(log)
    return str(made)


def publish_all(log: MemoryLog) -> None:
    """The outbox, until it is empty."""
    while publish_pending(log):
        pass


def aggregate(log: MemoryLog, federation: str, incarnation: str) -> None:
    """The aggregator and its clients, until the run has ended; then the control logger."""
    clients = [LightClient(log, federation, f"c{n}", train(n), 10 + n, incarnation) for n in range(2)]
    aggregator = Federation(log, federation, clock=Ticking(), writer="w")
    drive(aggregator, clients)
    aggregator.close()
    project(log, federation)


def test_a_finished_run_goes_back_and_on(admin: APIClient, configuration: Configuration, log: MemoryLog) -> None:
    """The command is written and announced anew; the run makes its rounds again, and the tables tell both."""
    federation = deploy(admin, configuration, log)
    aggregate(log, federation, "1")
    path = f"/api/deployments/{federation}"
    assert admin.get(f"{path}/").json()["state"] == "finished"
    answer = admin.post(f"{path}/rollback/", {"version": 1}, format="json")
    assert answer.status_code == 202 and answer.json()["pending"] == ["command"]
    publish_all(log)
    announced = [
        decode_announcement(record.value).revision
        for partition in range(log.partitions(MODEL_CONTROL))
        for record in log.read(MODEL_CONTROL, partition, *log.bounds(MODEL_CONTROL, partition))
    ]
    assert announced == [1, 2]
    clients = [LightClient(log, federation, f"c{n}", train(n), 10 + n, "2") for n in range(2)]
    aggregator = Federation(log, federation, clock=Ticking(), writer="w")
    aggregator.step(0.0)
    project(log, federation)
    shown = admin.get(f"{path}/").json()
    assert (shown["state"], shown["round"], shown["version"]) == ("running", 1, 1)
    assert shown["detail"] == "It was rolled back to version 1."
    drive(aggregator, clients)
    aggregator.close()
    project(log, federation)
    result = admin.get(f"/api/results/{federation}/").json()
    assert (result["state"], result["round"], result["version"]) == ("finished", 3, 5)
    assert {v["number"]: v["current"] for v in result["versions"]} == {
        0: True,
        1: True,
        2: False,
        3: False,
        4: True,
        5: True,
    }
    assert [(r["number"], r["current"]) for r in result["rounds"]] == [
        (1, True), (2, False), (3, False), (2, True), (3, True)
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("version", "status", "sentence"),
    [(9, 400, "newest is 3"), (3, 409, "model already"), (-1, 400, "greater than"), ("x", 400, "integer")],
)
def test_a_rollback_to_nowhere_is_refused_at_once(
    admin: APIClient, configuration: Configuration, log: MemoryLog, version: Any, status: int, sentence: str
) -> None:
    """What the tables know already needs no aggregator to be refused."""
    federation = deploy(admin, configuration, log)
    aggregate(log, federation, "1")
    answer = admin.post(f"/api/deployments/{federation}/rollback/", {"version": version}, format="json")
    assert answer.status_code == status and sentence in str(answer.json())


def test_a_rejected_rollback_is_shown(admin: APIClient, configuration: Configuration, log: MemoryLog) -> None:
    """Where the tables were behind, the aggregator's sentence comes back; a new command clears it."""
    federation = deploy(admin, configuration, log)
    aggregate(log, federation, "1")
    Deployment.objects.update(version=2)  # behind
    admin.post(f"/api/deployments/{federation}/rollback/", {"version": 3}, format="json")
    publish_all(log)
    aggregator = Federation(log, federation, clock=Ticking(), writer="w")
    assert not aggregator.step(0.0)
    project(log, federation)
    detail = Deployment.objects.get().detail
    assert detail == "The last command was rejected: version 3 is the run's model already"
    Deployment.objects.update(version=3)
    admin.post(f"/api/deployments/{federation}/rollback/", {"version": 2}, format="json")
    assert Deployment.objects.get().detail == ""


def test_viewers_roll_nothing_back(
    client_of: Any, admin: APIClient, configuration: Configuration, log: MemoryLog
) -> None:
    """It is an operator's action."""
    federation = deploy(admin, configuration, log)
    assert client_of("viewer").post(f"/api/deployments/{federation}/rollback/", {"version": 0}).status_code == 403


def test_a_deployment_says_how_long_updates_stay(
    admin: APIClient, configuration: Configuration, log: MemoryLog
) -> None:
    """`keep_updates` stands in the rules of `opened`; none is for ever."""
    federation = deploy(admin, configuration, log, keep_updates=2)
    assert admin.get(f"/api/deployments/{federation}/").json()["rules"]["keep_updates"] == 2
    body = {"configuration": configuration.pk, "keep_updates": 0}
    assert admin.post("/api/deployments/", body, format="json").status_code == 400


# ---------------------------------------------------------------- Jobs
def test_jobs_come_back_for_a_rollback() -> None:
    """A Job that left at the end starts again when rounds are left, but not before the projection can be behind."""
    launcher = FakeLauncher()
    deployment = federation(rules={"rounds": 3})
    stream("a")
    loop = reconciler(launcher)
    loop.tick()
    (name,) = launcher.running
    launcher.finish(name, 0)
    Deployment.objects.filter(pk=deployment.pk).update(state=State.RUNNING, round=2)  # the third is not projected yet
    loop.tick()
    launcher.now += 2
    loop.tick()
    assert Job.objects.get().state == "succeeded" and not launcher.running
    ended = int(launcher.now * 1000)
    Deployment.objects.filter(pk=deployment.pk).update(state=State.FINISHED, round=3, ended_ms=ended)
    launcher.now += 60
    loop.tick()
    assert not launcher.running
    Deployment.objects.filter(pk=deployment.pk).update(state=State.RUNNING, round=1, ended_ms=None)
    loop.tick()
    loop.tick()
    assert launcher.running == {name} and Job.objects.get().attempts == 2


def test_a_job_that_a_person_stopped_stays_so() -> None:
    """A rollback does not overrule a person."""
    rests = View("succeeded", wanted=False, needed=True)
    decision = decide(rests, FederationStanding.OPEN, JobStatus("j", "absent"), 0.0, Patience())
    assert decision.state in ("succeeded", "stopped")
