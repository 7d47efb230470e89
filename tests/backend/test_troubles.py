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

from backend.deployments.models import Deployment
from backend.deployments.projection import projection
from backend.launchers.models import Job
from backend.runs.health import health
from backend.streams.models import DataSource
from mainstem.protocol.chain import Link, begin
from mainstem.protocol.log import Outgoing, Record
from mainstem.protocol.messages import ClientFailed as Failed
from mainstem.protocol.messages import Failure, Joined, MemberState, Opened, Progress, Rules, encode, sha256
from mainstem.protocol.topics import aggregator_topic, control_topic
from mainstem.testing.memory_log import MemoryLog
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


def stream(**fields: Any) -> DataSource:
    """An announced stream whose records Kafka holds; it fits unless `fields` say otherwise."""
    usual = {
        "topic": "t:0:0:900", "total_msg": 900, "restrictions": OPENED.data.restriction, "standing": "ready",
        "input_config": {"data_type": "float32", "data_reshape": OPENED.input.shape}, "input_format": "RAW",
        "surveyed_at": timezone.now() + timedelta(days=1), "cluster_id": "c", "topic_id": "t", "partition": 0,
        "offset": DataSource.objects.count(), "timestamp_ms": 1,
    }  # fmt: skip
    return DataSource.objects.create(**usual | fields)


def job(client: str, **fields: Any) -> Job:
    """A Job of the federation for a stream of its own."""
    deployment = Deployment.objects.get(federation=FEDERATION)
    number, source = Job.objects.count(), stream()
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
    from mainstem.aggregator.federation import Federation

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


def why(viewer: APIClient) -> list[str]:
    """The reasons over REST, as sentences, with what to do next."""
    found = viewer.get(f"/api/deployments/{FEDERATION}/").json()["reasons"]
    return [" ".join(filter(None, [f"{one['about']}: {one['detail']}", one["advice"]])) for one in found]


def test_a_run_whose_jobs_have_all_failed_says_so_itself(viewer: APIClient, user: Callable[[str], Any]) -> None:
    """With their last error, on its page, over REST and in the overview; nobody is told to announce a stream."""
    Log().progress()
    last = "failed for good with: exit code 3: the loss became nan"
    for number in range(6):
        job(f"site-{number}", state="failed", detail=last)
    (troubled,) = [one for one in why(viewer) if last in one]
    assert troubled.startswith(f"site-0, site-1, site-2 and 3 more: {last} Mend what is named")
    assert "clients: 0 of 2 have joined, and no Job is under way" in why(viewer)
    assert shown(viewer)["detail"] == f"site-0, site-1, site-2 and 3 more: {last}"
    browser = logged_in(user("operator"))
    for address in (f"/deployments/{FEDERATION}/", f"/deployments/{FEDERATION}/clients/", "/"):
        page = text(browser.get(address))
        assert last in page and "nnounce one" not in page, address
    sign = health.jobs_sign()
    assert (sign.state, sign.text) == ("failing", f"6 of open runs failed, the newest: site-5: {last}")


def test_jobs_of_runs_that_are_over_trouble_nobody(viewer: APIClient) -> None:
    """The overview's sign is about what is open."""
    Log().progress()
    job("a", state="failed", detail="exit code 3")
    job("b", state="running")
    Deployment.objects.update(state="finished")
    assert (health.jobs_sign().state, health.jobs_sign().text) == ("ok", "1 running")


def test_no_stream_that_fits_says_which_field_differs(viewer: APIClient, user: Callable[[str], Any]) -> None:
    """In the words of what matches them, on the page and over REST; what would fit stands beside it."""
    Log().progress()
    assert why(viewer)[-1].startswith("data streams: no stream was announced yet Announce one whose samples have the")
    stream(input_config={"data_reshape": "8 8"}, topic="small:0:0:900")
    stream(restrictions={"ward": 7}, topic="other:0:0:900")
    stream(topic="", problem="input_format is 'XML'; it must be one of RAW, AVRO, JSON")
    said = why(viewer)[-1]
    assert said.startswith("data streams: no announced stream fits. Stream ")
    for part in (
        f"(small:0:0:900): its data_reshape [8, 8] is not the model's input shape {list(OPENED.input.shape)}",
        '(other:0:0:900): its dataset_restrictions ({"ward": 7}) are not the federation',
        "(no topic): input_format is 'XML'; it must be one of RAW, AVRO, JSON",
        f"Announce one whose samples have the shape {list(OPENED.input.shape)}",
    ):
        assert part in said, part
    browser = logged_in(user("operator"))
    for address in (f"/deployments/{FEDERATION}/part/standing/", "/"):
        assert "no announced stream fits. Stream " in text(browser.get(address)), address


def test_streams_that_fit_wait_for_kafka_or_for_the_launcher(viewer: APIClient) -> None:
    """What is known of them, and that no launcher runs here."""
    Log().progress()
    stream(standing="waits", notice="its topic t does not exist yet")
    stream()
    said = why(viewer)
    assert "the launcher: none has run on this database No Job is made or started until it works again." in said
    assert any(one.endswith("it waits: its topic t does not exist yet") for one in said)
    assert any("it fits, and its Job is about to be made" in one for one in said)
    job("a", state="running")
    job("b", state="starting")
    assert why(viewer)[0].startswith("clients: 0 of 2 have joined, and 2 Jobs are under way")


def test_whom_an_open_round_waits_for(viewer: APIClient, user: Callable[[str], Any]) -> None:
    """By name, with its deadline; the page says the same."""
    log = Log()
    members = tuple(
        MemberState(client=client, state=state, awaited=True, last_ms=1)
        for client, state in (("a", "training"), ("b", "silent"))
    )
    log.put(Progress(federation=FEDERATION, phase="open", round=1, needed=2, deadline_ms=9, members=members))
    (said,) = why(viewer)
    assert said.startswith("round 1: it waits for a, b; silent: b Its deadline of ")
    page = text(logged_in(user("operator")).get(f"/deployments/{FEDERATION}/part/standing/"))
    assert "it waits for a, b; silent: b. Its deadline of" in page


def test_why_costs_a_page_the_same_however_many_there_are(viewer: APIClient, user: Callable[[str], Any]) -> None:
    """Streams are read once for the whole overview, not once for each of its runs."""
    Log().progress()
    stream(restrictions={"ward": 7})
    browser = logged_in(user("operator"))
    with CaptureQueriesContext(connection) as few:
        browser.get("/")
    for _ in range(9):
        stream(restrictions={"ward": 7})
    with CaptureQueriesContext(connection) as many:
        browser.get("/")
    assert len(many) <= len(few)
