"""Clients that are put out: by a person over REST and on the page, and by the launcher whose Job is over."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from django.test import Client
from rest_framework.test import APIClient

from backend.catalog.models import Configuration
from backend.deployments import services
from backend.deployments.models import Deployment, Member, OutboxEntry, State
from backend.deployments.projection import projection
from backend.launchers.models import Job
from mainstem.aggregator.federation import Federation
from mainstem.protocol.log import Outgoing
from mainstem.protocol.messages import ClientFailed, Joined, Left, Reason, encode
from mainstem.protocol.topics import aggregator_topic
from mainstem.testing.memory_log import MemoryLog
from tests.backend.support import Ticking, project
from tests.backend.test_launch_jobs import FakeLauncher, federation, reconciler, stream
from tests.backend.test_rollback import deploy, publish_all
from tests.support.federations import LightClient, rounds_of
from tests.support.runs import drive, train

pytestmark = [pytest.mark.backend, pytest.mark.django_db]


def say(log: MemoryLog, federation: str, *records: Any) -> None:
    """Records of clients."""
    log.append(aggregator_topic(federation), [Outgoing(encode(record)) for record in records])


def clock_of(log: MemoryLog) -> Ticking:
    """The log's own clock, by which its records are stamped."""
    clock = log._clock
    assert isinstance(clock, Ticking)
    return clock


@pytest.fixture
def browser_of(user: Callable[[str], Any]) -> Callable[[str], Client]:
    """A browser session of that role."""

    def opened(role: str) -> Client:
        browser = Client()
        browser.force_login(user(role))
        return browser

    return opened


@pytest.fixture
def waiting(
    admin: APIClient, configuration: Configuration, log: MemoryLog
) -> tuple[str, Federation, list[LightClient]]:
    """A run of two rounds that waits for a client which joined and says nothing."""
    id_ = deploy(admin, configuration, log, rounds=2, min_clients=2)
    clients = [LightClient(log, id_, f"c{n}", train(n), 10 + n, "1") for n in range(2)]
    clock = clock_of(log)
    aggregator = Federation(log, id_, clock=clock, writer="w")
    say(log, id_, Joined(federation=id_, client="mute", incarnation="1", examples=5))
    for _ in range(20):
        aggregator.step(0.0)
        for client in clients:
            client.step(0.0)
    clock.now += 1000  # progress is told once a second
    aggregator.step(0.0)
    project(log, id_)
    return id_, aggregator, clients


def test_a_removed_client_lets_the_round_close(
    admin: APIClient, log: MemoryLog, waiting: tuple[str, Federation, list[LightClient]]
) -> None:
    """The order goes to the log; the rounds close on the others, and its process is refused with a reason."""
    id_, aggregator, clients = waiting
    path = f"/api/deployments/{id_}/"
    assert admin.get(path).json()["waits_for"] == ["mute"] and not rounds_of(log, id_)
    answer = admin.post(f"{path}remove/", {"client": "mute"}, format="json")
    assert answer.status_code == 202 and answer.json()["pending"] == ["command"]
    publish_all(log)
    for _ in range(20):
        clock_of(log).now += 100
        aggregator.step(0.0)
    assert rounds_of(log, id_)[0].closed.by == "all"
    say(log, id_, Joined(federation=id_, client="mute", incarnation="1", examples=5))
    drive(aggregator, clients)
    project(log, id_)
    shown = admin.get(path).json()
    assert shown["state"] == "finished"
    assert {m["client"]: m["state"] for m in shown["members"]}["mute"] == "removed"
    refusals = admin.get(f"/api/results/{id_}/refusals/").json()["results"]
    assert any(r["client"] == "mute" and r["reason"] == Reason.REMOVED for r in refusals)
    aggregator.close()


@pytest.mark.parametrize(
    ("client", "status", "sentence"),
    [("nobody", 404, "No client 'nobody' has joined"), ("gone", 409, "gone is left"), ("", 400, "blank")],
)
def test_a_removal_of_nobody_is_refused_at_once(
    admin: APIClient, configuration: Configuration, log: MemoryLog, client: str, status: int, sentence: str
) -> None:
    """What the tables know already needs no aggregator to be refused."""
    id_ = deploy(admin, configuration, log)
    Member.objects.create(deployment=Deployment.objects.get(), client="gone", state="left")
    answer = admin.post(f"/api/deployments/{id_}/remove/", {"client": client}, format="json")
    assert answer.status_code == status and sentence in str(answer.json())
    Deployment.objects.update(state=State.FINISHED)
    assert admin.post(f"/api/deployments/{id_}/remove/", {"client": "gone"}, format="json").status_code == 409


def test_the_page_of_clients_removes(
    browser_of: Callable[[str], Client], log: MemoryLog, waiting: tuple[str, Federation, list[LightClient]]
) -> None:
    """A button for operators, a question, and the order; nothing of it for viewers."""
    id_, aggregator, _ = waiting
    aggregator.close()
    page = f"/deployments/{id_}/clients/"
    operator, viewer = browser_of("operator"), browser_of("viewer")
    assert "?remove=mute" in operator.get(page).content.decode()
    assert "remove=" not in viewer.get(page).content.decode()
    assert "Remove mute from the run?" in operator.get(page, {"remove": "mute"}).content.decode()
    assert "Remove mute" not in viewer.get(page, {"remove": "mute"}).content.decode()
    answer = operator.post(f"/deployments/{id_}/act/remove/", {"client": "mute"}, follow=True)
    assert answer.redirect_chain == [(page, 302)] and "mute is being removed" in answer.content.decode()
    (order,) = OutboxEntry.objects.filter(done_at=None)
    assert order.payload["action"] == "remove" and order.payload["by"] == "the-operator"


def test_whoever_comes_and_goes_leaves_a_bounded_table(
    admin: APIClient, monkeypatch: pytest.MonkeyPatch, configuration: Configuration, log: MemoryLog
) -> None:
    """A commit forgets them; the newest of them stay in the table, with what they said."""
    monkeypatch.setattr(projection, "GONE", 3)
    id_ = deploy(admin, configuration, log, rounds=1, min_clients=1)
    clock = clock_of(log)
    aggregator = Federation(log, id_, clock=clock, writer="w")

    def pass_time() -> None:
        """Twenty seconds, since life is told to ten, in steps that round time counts whole."""
        for _ in range(10):
            clock.now += 2_000
            aggregator.step(0.0)

    for number in range(9):
        client = f"visitor-{number}"
        say(log, id_, Joined(federation=id_, client=client, incarnation="1", examples=5))
        pass_time()
        end = ClientFailed(client=client, incarnation="1", detail="no disk")
        say(log, id_, end if number == 8 else Left(client=client, incarnation="1"))
    pass_time()
    drive(aggregator, [LightClient(log, id_, "c0", train(0), 10, "1")])
    aggregator.close()
    project(log, id_)
    rows = {m["client"]: (m["state"], m["detail"]) for m in admin.get(f"/api/deployments/{id_}/").json()["members"]}
    assert set(rows) - {"c0"} == {"visitor-6", "visitor-7", "visitor-8"}
    assert rows["visitor-7"] == ("left", "") and rows["visitor-8"] == ("failed", "no disk")


@pytest.mark.parametrize("how", ["failed for good", "stopped by a person"])
def test_the_client_of_a_job_that_is_over_is_not_awaited(how: str) -> None:
    """The launcher asks for its removal, once, where the run still has it as a member."""
    launcher = FakeLauncher()
    federation()
    stream("dies")
    loop = reconciler(launcher)
    loop.tick()
    job = Job.objects.get()
    deployment = Deployment.objects.get()
    member = Member.objects.create(deployment=deployment, client=job.client_id, state="training", awaited=True)
    Member.objects.create(deployment=deployment, client="other", state="training")
    if how == "failed for good":
        for _ in range(4):
            assert not OutboxEntry.objects.filter(kind="command").exists(), "it may come back"
            launcher.finish(job.name, 1)
            loop.tick()
            launcher.now += 100
            loop.tick()
    else:
        Job.objects.update(wanted=False)
        loop.tick()
        loop.tick()
    loop.tick()
    (order,) = OutboxEntry.objects.filter(kind="command")
    assert (order.payload["action"], order.payload["client"]) == ("remove", member.client)


def test_the_launcher_leaves_enough_for_a_round_to_open() -> None:
    """Whoever is put out does not count for `min_clients`; also where two Jobs end at once."""
    federation(rules={"min_clients": 2})
    deployment = Deployment.objects.get()
    Member.objects.bulk_create(Member(deployment=deployment, client=c, state="training") for c in ("a", "b", "c"))
    for client in ("a", "b", "c", "stranger"):
        services.give_up(deployment, client)
    (order,) = OutboxEntry.objects.filter(kind="command")
    assert order.payload["client"] == "a"
