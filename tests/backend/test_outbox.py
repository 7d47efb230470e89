"""Deployments reach Kafka whole, once, whatever crashes in between."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np
import pytest
from django.utils import timezone
from rest_framework.test import APIClient

from backend.catalog.models import Configuration, Model
from backend.deployments.log import opening
from backend.deployments.log.outbox import publish_pending
from backend.deployments.models import Deployment, FederationId, OutboxEntry, State
from mainstem.errors import ConfigError, LogError
from mainstem.protocol import topics, updates
from mainstem.protocol.control import ControlTopic
from mainstem.protocol.log import Outgoing
from mainstem.protocol.messages import Command, decode_announcement
from mainstem.protocol.topics import TopicSpec
from mainstem.testing.memory_log import MemoryLog
from tests.backend.support import WEIGHTS, Ticking

pytestmark = [pytest.mark.backend, pytest.mark.django_db]


class CrashingLog(MemoryLog):
    """Fails its n-th change: before it is made, or after, so that the writer cannot know."""

    def __init__(self, at: int, after: bool) -> None:
        super().__init__(Ticking())
        self._countdown, self._after = at, after

    @property
    def healthy(self) -> bool:
        """Whether the crash is over."""
        return self._countdown < 0

    def append(self, topic: str, records: Iterable[Outgoing]) -> list[int]:
        """Crash or append."""
        with _Crash(self):
            return super().append(topic, records)

    def create_topics(self, topics: Iterable[TopicSpec]) -> None:
        """Crash or create."""
        with _Crash(self):
            super().create_topics(topics)

    def delete_topics(self, names: Iterable[str]) -> None:
        """Crash or delete."""
        with _Crash(self):
            super().delete_topics(names)


class _Crash:
    def __init__(self, log: CrashingLog) -> None:
        self._log = log

    def __enter__(self) -> None:
        self._log._countdown -= 1
        if self._log._countdown == -1 and not self._log._after:
            raise LogError("the broker went away before")

    def __exit__(self, *_: object) -> None:
        if self._log._countdown == -1 and self._log._after:
            raise LogError("the broker went away after")


def deploy(admin: APIClient, configuration: Configuration, **fields: Any) -> Deployment:
    """A deployment made over REST."""
    answer = admin.post("/api/deployments/", {"configuration": configuration.pk, **fields})
    assert answer.status_code == 201, answer.content
    return Deployment.objects.get(federation=answer.json()["federation"])


def make_due() -> None:
    """Let the pauses between attempts pass."""
    OutboxEntry.objects.update(due_at=timezone.now())


def check_open(log: MemoryLog, deployment: Deployment) -> None:
    """The federation is in the log exactly as the deployment says."""
    control = ControlTopic(log, deployment.federation)
    control.sync()
    head = control.head
    assert head is not None and head.link.record.seq == 0
    assert head.opened.weights.update == deployment.nonce
    read = updates.read(log, topics.data_topic(deployment.federation), head.weights, head.opened.tensors)
    assert all(np.array_equal(a, b) and a.dtype == b.dtype for a, b in zip(read, WEIGHTS, strict=True))
    assert announcements(log, deployment.federation)[-1] is not None
    deployment.refresh_from_db()
    assert deployment.state == State.WAITING and deployment.error == ""


def announcements(log: MemoryLog, federation: str) -> list[bytes | None]:
    """The values announced under a federation's key, in order."""
    partition = opening.partition_of(federation, log.partitions(topics.MODEL_CONTROL))
    _, end = log.bounds(topics.MODEL_CONTROL, partition)
    records = log.read(topics.MODEL_CONTROL, partition, 0, end)
    return [record.value for record in records if record.key == federation.encode()]


def test_opens(admin: APIClient, configuration: Configuration, log: MemoryLog) -> None:
    """The outbox writes topics, version 0, `opened` and the announcement, with every parameter in its place."""
    deployment = deploy(
        admin,
        configuration,
        rounds=3,
        min_clients=2,
        round_deadline=1.5,
        strategy={"name": "FedAvg", "params": {"weigh": "equal"}},
        data_restriction='{"country": "ES"}',
        min_data=100,
        batch_size=16,
        learning_rate=0.1,
        seed=7,
    )
    assert deployment.state == State.OPENING
    assert publish_pending(log) == 1 and publish_pending(log) == 0
    check_open(log, deployment)
    announced = announcements(log, deployment.federation)[-1]
    assert decode_announcement(announced) == deployment.announcement
    control = ControlTopic(log, deployment.federation)
    control.sync()
    assert control.head is not None
    opened = control.head.opened
    assert (opened.rules.rounds, opened.rules.min_clients, opened.rules.deadline_ms) == (3, 2, 1500)
    assert opened.strategy.params == {"weigh": "equal"} and opened.data.restriction == {"country": "ES"}
    assert (opened.training.batch_size, opened.training.learning_rate, opened.training.seed) == (16, 0.1, 7)
    assert opened.training.optimizer == "sgd"  # the model's own
    assert opened.input.shape == (4,) and opened.input.label_shape == (2,)


@pytest.mark.parametrize("after", [False, True])
@pytest.mark.parametrize("at", range(5))
def test_crash_points(admin: APIClient, configuration: Configuration, at: int, after: bool) -> None:
    """A crash before or after any step of the opening is repaired by the retry, and nothing counts twice."""
    log = CrashingLog(at, after)
    deployment = deploy(admin, configuration)
    attempts = 0
    while not OutboxEntry.objects.get(deployment=deployment).done_at:
        publish_pending(log)
        attempts += 1
        deployment.refresh_from_db()
        if not OutboxEntry.objects.get(deployment=deployment).done_at:
            assert deployment.state == State.OPENING and "went away" in deployment.error
        make_due()
        assert attempts < 4
    check_open(log, deployment)


def test_waits_between_attempts(admin: APIClient, configuration: Configuration) -> None:
    """After a failure the entry is not due at once, and what it waits for is shown."""
    log = CrashingLog(0, after=False)
    deployment = deploy(admin, configuration)
    assert publish_pending(log) == 0 and log.healthy
    assert publish_pending(log) == 0  # healthy again, but not due yet
    shown = admin.get(f"/api/deployments/{deployment.federation}/").json()
    assert shown["state"] == "opening" and "went away" in shown["error"] and shown["pending"] == ["open"]
    make_due()
    assert publish_pending(log) == 1


def test_two_publishers(admin: APIClient, configuration: Configuration, log: MemoryLog) -> None:
    """An entry that another publisher holds is left alone."""
    deploy(admin, configuration)

    class Nosy(MemoryLog):
        def create_topics(self, topics: Iterable[TopicSpec]) -> None:
            assert publish_pending(log) == 0
            super().create_topics(topics)

    assert publish_pending(Nosy(Ticking())) == 1


def test_taken_id(admin: APIClient, configuration: Configuration, log: MemoryLog) -> None:
    """An id that another backend used at the same Kafka fails the deployment, and deleting it leaves theirs alone."""
    theirs = deploy(admin, configuration, federation="ddy6heod")
    publish_pending(log)
    theirs.delete()
    FederationId.objects.all().delete()  # as another backend's database would be
    ours = deploy(admin, configuration, federation="ddy6heod")
    assert publish_pending(log) == 1
    ours.refresh_from_db()
    assert ours.state == State.FAILED and "taken" in ours.detail
    admin.delete("/api/deployments/ddy6heod/?confirm=ddy6heod")
    assert publish_pending(log) == 1
    assert not Deployment.objects.exists()
    assert log.partitions("FED-ddy6heod-model_control_topic") == 1
    assert announcements(log, "ddy6heod")[-1] is not None


def test_commands(admin: APIClient, configuration: Configuration, log: MemoryLog) -> None:
    """Stop, deadline and resume become commands in order, once each; a resume announces anew."""
    deployment = deploy(admin, configuration)
    path = f"/api/deployments/{deployment.federation}"
    assert admin.post(f"{path}/deadline/", {"round_deadline": 30}).status_code == 202
    assert admin.post(f"{path}/stop/").status_code == 202
    while publish_pending(log):
        pass
    Deployment.objects.update(state=State.STOPPED)  # as the projection will
    assert admin.post(f"{path}/stop/").status_code == 409
    assert admin.post(f"{path}/deadline/", {"round_deadline": 30}).status_code == 409
    assert admin.post(f"{path}/resume/").status_code == 202
    publish_pending(log)
    control = ControlTopic(log, deployment.federation)
    orders = [entry.record for entry in control.sync() if isinstance(entry.record, Command)]
    assert [order.action for order in orders] == ["deadline", "stop", "resume"]
    assert orders[0].deadline_ms == 30_000 and orders[0].by == "the-admin"
    revisions = [decode_announcement(value).revision for value in announcements(log, deployment.federation)]
    assert revisions == [1, 2]
    OutboxEntry.objects.update(done_at=None, due_at=timezone.now())  # a crash that lost our notes
    while publish_pending(log):
        pass
    orders = [entry.record for entry in ControlTopic(log, deployment.federation).sync()]  # type: ignore[misc]
    assert sum(isinstance(order, Command) for order in orders) == 3


def test_resume_needs_an_end(admin: APIClient, configuration: Configuration, log: MemoryLog) -> None:
    """A running federation cannot be resumed, and the sentence says how it stands."""
    deployment = deploy(admin, configuration)
    publish_pending(log)
    answer = admin.post(f"/api/deployments/{deployment.pk}/resume/")
    assert answer.status_code == 409 and "waiting" in answer.json()["detail"]


def test_restart_names_its_parent(admin: APIClient, configuration: Configuration, log: MemoryLog) -> None:
    """A restart is a new federation with the same parameters, and says whose it is."""
    first = deploy(admin, configuration, rounds=9, seed=3)
    answer = admin.post(f"/api/deployments/{first.federation}/restart/")
    assert answer.status_code == 201
    assert answer.json()["parent"] == first.federation and answer.json()["federation"] != first.federation
    assert answer.json()["rules"] == first.rules and answer.json()["training"] == first.training
    while publish_pending(log):
        pass
    control = ControlTopic(log, answer.json()["federation"])
    control.sync()
    assert control.head is not None and control.head.opened.parent == first.federation


@pytest.mark.parametrize("after", [False, True])
@pytest.mark.parametrize("at", range(4))
def test_delete(admin: APIClient, configuration: Configuration, at: int, after: bool) -> None:
    """Deleting asks for the id, says what goes, survives a crash at any step, and keeps the id reserved."""
    log = MemoryLog(Ticking())
    deployment = deploy(admin, configuration)
    federation = deployment.federation
    publish_pending(log)
    path = f"/api/deployments/{federation}/"
    doomed = admin.get(f"{path}destroys/").json()
    assert doomed["topics"] == opening.topics_of(federation)
    refused = admin.delete(path)
    assert refused.status_code == 400 and refused.json()["errors"][0]["field"] == "confirm"
    answer = admin.delete(f"{path}?confirm={federation}")
    assert answer.status_code == 202 and answer.json()["state"] == "deleting"
    crashing = CrashingLog(at, after)
    crashing._topics = log._topics
    for _ in range(3):
        publish_pending(crashing)
        make_due()
    assert not Deployment.objects.exists()
    assert announcements(crashing, federation)[-1] is None
    for name in opening.topics_of(federation):
        with pytest.raises(LogError):
            crashing.partitions(name)
    again = admin.post("/api/deployments/", {"configuration": configuration.pk, "federation": federation})
    assert again.status_code == 409 and again.json()["errors"][0]["field"] == "federation"


def test_delete_before_opening(admin: APIClient, configuration: Configuration, log: MemoryLog) -> None:
    """A deployment that never reached Kafka is deleted without being opened first."""
    deployment = deploy(admin, configuration)
    admin.delete(f"/api/deployments/{deployment.federation}/?confirm={deployment.federation}")
    while publish_pending(log):
        pass
    assert not Deployment.objects.exists() and announcements(log, deployment.federation) in ([], [None])


def test_several_models(admin: APIClient, configuration: Configuration, model: Model, log: MemoryLog) -> None:
    """A configuration of several models opens a federation for each, or for the one that is named."""
    second = Model.objects.create(
        name="second", kind="json", architecture="{}", weights=model.weights, tensors=model.tensors, input_shape=[4],
        output_shape=[2],
    )  # fmt: skip
    configuration.models.add(second)
    answer = admin.post("/api/deployments/", {"configuration": configuration.pk})
    assert answer.status_code == 201 and [made["name"] for made in answer.json()] == ["study: tiny", "study: second"]
    one = admin.post("/api/deployments/", {"configuration": configuration.pk, "model": second.pk})
    assert one.status_code == 201 and one.json()["model"] == second.pk
    fixed = admin.post("/api/deployments/", {"configuration": configuration.pk, "federation": "ddy6heod"})
    assert fixed.status_code == 400 and fixed.json()["errors"][0]["field"] == "federation"
    while publish_pending(log):
        pass
    assert Deployment.objects.filter(state=State.WAITING).count() == 3


def test_what_no_retry_mends_is_told_and_stops_nothing_else(
    admin: APIClient, configuration: Configuration, log: MemoryLog, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A defect with one deployment's entry stands in its `error`; a command that cannot be, in its `detail`."""
    bad = admin.post("/api/deployments/", {"configuration": configuration.pk}, format="json").json()
    good = admin.post("/api/deployments/", {"configuration": configuration.pk}, format="json").json()
    right = opening.open_federation

    def wrong(message_log: MemoryLog, plan: opening.Opening) -> None:
        if plan.announcement.federation == bad["federation"]:
            raise TypeError("no such thing")
        right(message_log, plan)

    monkeypatch.setattr(opening, "open_federation", wrong)
    assert publish_pending(log) == 1
    assert admin.get(f"/api/deployments/{good['federation']}/").json()["state"] == "waiting"
    told = admin.get(f"/api/deployments/{bad['federation']}/").json()
    assert (told["state"], told["error"]) == ("opening", "unexpected TypeError: no such thing")

    def refused(*_: object) -> None:
        raise ConfigError("the order is unknown")

    monkeypatch.setattr(opening, "command", refused)
    assert admin.post(f"/api/deployments/{good['federation']}/stop/").status_code == 202
    assert publish_pending(log) == 1
    told = admin.get(f"/api/deployments/{good['federation']}/").json()
    assert told["detail"] == "The last command could not be carried out: the order is unknown"
