"""What failed is said where the run is: over REST, on its page, in `mainstem status`, whoever knows it."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import numpy as np
import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext
from django.utils import timezone
from rest_framework.test import APIClient

from backend.deployments import projection
from backend.deployments.models import Deployment
from backend.launchers.models import Job
from backend.streams.models import DataSource
from mainstem.chain import Link, begin
from mainstem.memory_log import MemoryLog
from mainstem.messages import ClientFailed as Failed
from mainstem.messages import Failure, Joined, MemberState, Opened, Progress, Rules, encode, sha256
from mainstem.ports import Outgoing, Record
from mainstem.topics import aggregator_topic, control_topic
from tests.backend.support import XSS, Ticking, logged_in, text
from tests.support.federations import open_federation
from tests.vectors.examples import FEDERATION, sequence

pytestmark = [pytest.mark.backend, pytest.mark.django_db]
OPENED = next(record for record in sequence() if isinstance(record, Opened))


@pytest.fixture
def viewer(client_of: Callable[[str], APIClient]) -> APIClient:
    """Who may read."""
    return client_of("viewer")


class Log:
    """The control topic of one federation, as the control logger brings it."""

    def __init__(self) -> None:
        self.offset = itertools.count()
        self.head = begin(Link(0, 1, sha256(encode(OPENED)), OPENED))
        self.put(OPENED)

    def put(self, record: Any) -> None:
        """Write and fold."""
        place = next(self.offset)
        row = Record(control_topic(FEDERATION), 0, place, 1000 + place, None, encode(record))
        taken = projection.take("cluster", [("topic", row)])
        assert taken.refused == []

    def progress(self, *members: tuple[str, str, str], failures: tuple[Failure, ...] = (), detail: str = "") -> None:
        """What the aggregator sees: (client, state, detail) of each member."""
        states = tuple(MemberState(client=c, state=s, detail=d, last_ms=1) for c, s, d in members)
        self.put(
            Progress(
                federation=FEDERATION, phase="waiting", round=1, needed=2, deadline_ms=None,
                members=states, failures=failures, detail=detail,
            )
        )  # fmt: skip


def shown(viewer: APIClient) -> dict[str, Any]:
    """The deployment over REST; the list says the same `detail`."""
    found: dict[str, Any] = viewer.get(f"/api/deployments/{FEDERATION}/").json()
    (listed,) = viewer.get("/api/deployments/").json()["results"]
    assert listed["detail"] == found["detail"]
    return found


def job(client: str, **fields: Any) -> Job:
    """A Job of the federation for a stream of its own."""
    deployment = Deployment.objects.get(federation=FEDERATION)
    number = Job.objects.count()
    source = DataSource.objects.create(
        cluster_id="c", topic_id="t", partition=0, offset=number, timestamp_ms=1, topic="t:0:0:9", total_msg=9,
        input_config={}, input_format="RAW",
    )  # fmt: skip
    return Job.objects.create(
        name=f"job-{number}", federation=FEDERATION, deployment=deployment, source=source, client_id=client,
        slot=number, **fields,
    )  # fmt: skip


def test_a_client_that_could_not_join_is_told(viewer: APIClient, user: Callable[[str], Any]) -> None:
    """Its own sentence, over REST and on the page; gone once it has joined."""
    log = Log()
    why = f"DATA_TOPIC has 5 records; the federation asks for at least 100 {XSS}"
    log.progress(failures=(Failure(client="ward-3", detail=why),))
    found = shown(viewer)
    assert found["detail"] == f"ward-3: {why}" and found["failures"] == [{"client": "ward-3", "detail": why}]
    assert (found["state"], found["members"]) == ("waiting", [])
    browser = logged_in(user("operator"))
    for page in (f"/deployments/{FEDERATION}/", "/deployments/", "/"):
        answer = browser.get(page)
        assert XSS not in answer.content.decode()
        assert "DATA_TOPIC has 5 records; the federation asks for at least 100" in text(answer), page
    log.progress(("ward-3", "waiting", ""))
    assert shown(viewer)["detail"] == ""


def test_a_failed_member_keeps_its_sentence(viewer: APIClient) -> None:
    """Also over a commit, which does not have it, and under an aggregator that has not heard it."""
    log = Log()
    log.progress(("a", "failed", "the loss became nan in epoch 1"), ("b", "training", ""))
    assert shown(viewer)["detail"] == "a: the loss became nan in epoch 1"
    log.progress(("a", "failed", ""), ("b", "training", ""))
    members = {member["client"]: member["detail"] for member in shown(viewer)["members"]}
    assert members == {"a": "the loss became nan in epoch 1", "b": ""}
    log.progress(("a", "waiting", ""), ("b", "training", ""))
    log.progress(("a", "failed", ""), ("b", "training", ""))
    assert shown(viewer)["detail"] == ""


def test_what_its_launcher_saw_of_a_job_that_could_not_speak(viewer: APIClient, user: Callable[[str], Any]) -> None:
    """A Job that failed, one that its cluster cannot start, one that a quota refuses; what a client said goes first."""
    Log().progress(failures=(Failure(client="d", detail="model and data do not fit"),))
    old = timezone.now() - timedelta(seconds=60)
    job("a", state="failed", detail="failed for good with: exit code 2: FEDERATED_MODEL_ID is not set")
    job("b", state="starting", started_at=old, detail="its image x:1 cannot be pulled (ImagePullBackOff): denied")
    job("c", state="pending", detail="cannot be started yet, tried again in 30 s: exceeded quota")
    job("d", state="failed", detail="failed for good with: exit code 3: model and data do not fit")
    job("e", state="starting", started_at=timezone.now(), detail="its pod is being created")
    job("f", state="running")
    assert shown(viewer)["detail"] == (
        "d: model and data do not fit; a: failed for good with: exit code 2: FEDERATED_MODEL_ID is not set; "
        "b: its image x:1 cannot be pulled (ImagePullBackOff): denied; and 1 more"
    )
    page = text(logged_in(user("operator")).get(f"/deployments/{FEDERATION}/part/standing/"))
    assert "exceeded quota" in page and 'href="/jobs/job-0/"' in page and "being created" not in page


def test_what_keeps_the_aggregator_from_going_on(viewer: APIClient) -> None:
    """It says so itself; the next commit clears it."""
    log = Log()
    log.progress(detail="this version of the aggregator cannot run it: mode 'swarm' is not known")
    assert shown(viewer)["detail"].startswith("the aggregator: this version of the aggregator cannot run it")
    log.progress()
    assert shown(viewer)["detail"] == ""


def test_a_run_that_failed_still_says_why_and_a_finished_one_does_not(viewer: APIClient) -> None:
    """Who was missing, then who had given up."""
    Log().progress(failures=(Failure(client="ward-3", detail="no data"),))
    Deployment.objects.update(state="failed", detail="it waited 3600 s with 0 of 1 updates")
    assert shown(viewer)["detail"] == "it waited 3600 s with 0 of 1 updates ward-3: no data"
    Deployment.objects.update(state="finished", detail="")
    assert shown(viewer)["detail"] == ""


def test_a_list_of_many_asks_no_more(viewer: APIClient) -> None:
    """The troubles of a page of deployments come with two queries."""
    Log().progress()
    with CaptureQueriesContext(connection) as one:
        viewer.get("/api/deployments/")
    for number in range(20):
        Deployment.objects.create(federation=f"other{number:03d}", name="x", state="waiting")
    with CaptureQueriesContext(connection) as many:
        assert viewer.get("/api/deployments/").json()["count"] == 21
    assert len(many) <= len(one)


def test_from_the_client_s_word_to_the_run(viewer: APIClient) -> None:
    """A stranger and a member give up in the log; the real aggregator tells it at its next progress."""
    from backend.aggregator.federation import Federation

    clock = Ticking()
    log = MemoryLog(clock)
    federation = open_federation(log, [np.zeros(1, np.float32)], Rules(rounds=1, min_clients=2), federation=FEDERATION)
    topic = aggregator_topic(federation)
    for record in (
        Failed(client="stranger", incarnation="1", detail="DATA_TOPIC has 5 records"),
        Joined(federation=federation, client="member", incarnation="1", examples=5),
        Failed(client="member", incarnation="1", detail="the loss became nan"),
    ):
        log.append(topic, [Outgoing(encode(record))])
    aggregator = Federation(log, federation, clock=clock, writer="w")
    clock.now += 10_000
    aggregator.step(0)
    aggregator.close()
    records = list(log.read(control_topic(federation), 0, *log.bounds(control_topic(federation), 0)))
    projection.take("cluster", [("topic", record) for record in records])
    found = shown(viewer)
    assert found["failures"] == [{"client": "stranger", "detail": "DATA_TOPIC has 5 records"}]
    assert [(m["client"], m["state"], m["detail"]) for m in found["members"]] == [
        ("member", "failed", "the loss became nan")
    ]
    assert found["detail"] == "stranger: DATA_TOPIC has 5 records; member: the loss became nan"
