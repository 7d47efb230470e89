"""Control records become rows: once, in order, whatever is delivered how often."""

from __future__ import annotations

import base64
import json
from collections import OrderedDict
from collections.abc import Callable, Sequence
from typing import Any

import msgspec
import pytest
from django.db import transaction
from django.utils import timezone
from hypothesis import given, settings
from hypothesis import strategies as st
from rest_framework.test import APIClient

from backend.accounts.models import User
from backend.catalog.models import Configuration
from backend.deployments.live.events import events
from backend.deployments.log.outbox import publish_pending
from backend.deployments.models import (
    ClientRound,
    ControlRecord,
    Deployment,
    FederationId,
    Member,
    Refusal,
    Round,
    State,
    Version,
)
from backend.deployments.projection import projection
from mainstem.protocol import announcing
from mainstem.protocol.chain import Head, Link, begin, follow
from mainstem.protocol.control import ControlTopic
from mainstem.protocol.log import Outgoing, Record
from mainstem.protocol.messages import (
    Announcement,
    Changed,
    Command,
    Finished,
    Metrics,
    Opened,
    Page,
    Paged,
    PageRef,
    Progress,
    Rejected,
    Resumed,
    Stopped,
    encode,
    sha256,
)
from mainstem.protocol.messages import Round as RoundRecord
from mainstem.protocol.signing import SigningKey, signed_by
from mainstem.protocol.topics import MODEL_CONTROL, control_topic, federation_topics
from mainstem.rounds import successor
from mainstem.runtime.clock import SystemClock
from mainstem.testing.memory_log import MemoryLog
from tests.backend import support
from tests.support import chains
from tests.support.signers import FORGER, PLATFORM
from tests.vectors.examples import FEDERATION, sequence

pytestmark = [pytest.mark.backend, pytest.mark.django_db]

CLUSTER, TOPIC_ID = "cluster-1", "topic-1"


def example(kind: type[Any]) -> Any:
    """The example record of that type."""
    return next(record for record in sequence() if isinstance(record, kind))


def run() -> list[bytes]:
    """A run with everything in it: progress, a zombie's round, rubbish, commands, a paged end, words after the end."""
    values: list[bytes] = []
    head: Head | None = None

    def put(record: msgspec.Struct | bytes) -> int:
        values.append(record if isinstance(record, bytes) else encode(record))
        return len(values) - 1

    def chain(kind: type[Any], **fields: Any) -> None:
        nonlocal head
        assert head is not None
        record = successor(head, kind, fields)
        offset = put(record)
        head = follow(head, Link(offset, 1000 + offset, sha256(values[offset]), record))

    opened = example(Opened)
    put(b"\xff not JSON")
    at = put(opened)
    head = begin(Link(at, 1000 + at, sha256(values[at]), opened))
    put(opened)  # written twice: the first one counts
    progress = example(Progress)
    put(progress)
    fields = {name: getattr(example(RoundRecord), name) for name in RoundRecord.__struct_fields__}
    fields = {name: value for name, value in fields.items() if name not in ("schema", "federation", "seq", "prev")}
    before = head
    assert before is not None
    chain(RoundRecord, **fields)
    put(successor(before, RoundRecord, fields | {"writer": "zombie"}))
    stop = put(Command(federation=FEDERATION, action="stop", id="1"))
    chain(Stopped, command=stop)
    put(Rejected(federation=FEDERATION, command=stop, detail="the run is stopped already"))
    put(msgspec.structs.replace(progress, phase="waiting"))  # a late word: the run is stopped
    chain(Resumed, command=9)
    chain(Changed, command=10, rules=msgspec.structs.replace(opened.rules, rounds=1))
    put(encode(progress).replace(b'"schema":1', b'"schema":99'))
    assert head is not None
    measured = Metrics(examples=50, values={"accuracy": 0.92})
    finished = successor(
        head,
        Finished,
        {"version": 1, "sha256": "c" * 64, "evaluation": measured, "evaluations": {"site-a": measured}},
    )
    page = Page(data=encode(finished).decode())
    ref = PageRef(offset=put(page), sha256=sha256(encode(page)))
    put(
        Paged(
            federation=FEDERATION,
            seq=finished.seq,
            prev=finished.prev,
            kind="finished",
            pages=(ref,),
            sha256=sha256(encode(finished)),
        )
    )
    put(progress)
    return values


VALUES = run()


def records(offsets: Sequence[int]) -> list[tuple[str, Record]]:
    """Records of the run as a logger delivers them."""
    topic = control_topic(FEDERATION)
    return [(TOPIC_ID, Record(topic, 0, offset, 1000 + offset, None, VALUES[offset])) for offset in offsets]


def rows() -> dict[str, list[dict[str, Any]]]:
    """Everything that was projected, without what depends on when and how often."""
    hidden = {"id", "deployment_id", "round_id", "created_at", "updated_at", "refolds"}
    found = {}
    for table in (Deployment, Version, Round, ClientRound, Refusal, Member, ControlRecord):
        shown = [{k: v for k, v in row.items() if k not in hidden} for row in table._default_manager.values()]
        found[table.__name__] = sorted(shown, key=repr)
    return found


def test_a_record_of_an_unknown_type_is_kept_and_tells_nothing() -> None:
    """A later version may write it: it is no damage, and the live page has no event of it."""
    values = [encode(chains.opened()), b'{"schema":1,"type":"praise"}']
    topic = control_topic(FEDERATION)
    taken = projection.take(CLUSTER, [(TOPIC_ID, Record(topic, 0, n, 1000, None, v)) for n, v in enumerate(values)])
    assert (taken.accepted, taken.refused) == (2, [])
    deployment = Deployment.objects.get()
    assert (deployment.superseded, deployment.undecodable) == (0, 0)
    assert [(row.kind, row.problem) for row in ControlRecord.of(deployment)] == [("opened", ""), ("unknown", "")]
    assert [number for number, _ in events(deployment, -1)] == [0]


def test_a_run() -> None:
    """The rows tell the run: its state, versions, rounds, clients, refusals."""
    taken = projection.take(CLUSTER, records(range(len(VALUES))))
    assert taken.accepted == len(VALUES) - 2 and taken.duplicates == 0
    assert [refusal["offset"] for refusal in taken.refused] == [0, 12]
    deployment = Deployment.objects.get()
    assert deployment.external and deployment.federation == FEDERATION and deployment.name == "digits"
    assert (deployment.state, deployment.round, deployment.version) == (State.FINISHED, 1, 1)
    assert deployment.sha256 == "c" * 64 and deployment.evaluation == {"examples": 50, "values": {"accuracy": 0.92}}
    assert deployment.rules["rounds"] == 1 and deployment.rules["quorum"] == 2
    assert (deployment.superseded, deployment.undecodable) == (2, 2)
    assert deployment.opened_ms == 1001 and deployment.ended_ms == 1000 + len(VALUES) - 2
    assert [version.number for version in deployment.versions.all()] == [0, 1]
    assert deployment.versions.get(number=0).evaluation == {"examples": 600, "values": {"accuracy": 0.5}}
    assert deployment.versions.get(number=1).evaluation == {"examples": 50, "values": {"accuracy": 0.92}}
    (round_,) = deployment.rounds.all()
    assert (round_.number, round_.examples, round_.refused, round_.writer) == (1, 600, 4, "worker-1")
    first = round_.clients.get(client="site-a")
    assert (
        first.training == {"examples": 450, "values": {"accuracy": 0.75, "loss": 0.8125}} and first.train_seconds == 1.5
    )
    assert deployment.refusals.get().reason == "duplicate"
    states = {member.client: member.state for member in deployment.members.all()}
    assert states["site-c"] == "left"
    assert FederationId.objects.filter(id=FEDERATION).exists()


def test_a_version_that_equals_its_parent_is_said_at_once(admin: APIClient) -> None:
    """In the round, in the version, in the deployment; until a round changes a weight."""
    topic, federation = chains.Topic(), FEDERATION

    def put(record: msgspec.Struct) -> dict[str, Any]:
        offset = topic.append(record)
        place = Record(control_topic(federation), 0, offset, 1000 + offset, None, topic.values[offset][0])
        projection.take(CLUSTER, [(TOPIC_ID, place)])
        answer: dict[str, Any] = admin.get(f"/api/deployments/{federation}/").json()
        return answer

    assert put(chains.opened(rounds=9))["detail"] == ""
    start = "Version 1 equals its parent, version 0: round 1 changed no weight."
    assert put(chains.round_after(topic.head(), writer="0"))["detail"].startswith(start)
    again = put(chains.round_after(topic.head(), writer="0"))
    assert again["detail"].startswith("Version 2 equals its parent, version 1: the last 2 rounds changed no weight.")
    assert put(chains.round_after(topic.head(), writer="1"))["detail"] == ""
    put(chains.round_after(topic.head(), writer="1"))
    stopped = put(successor(topic.head(), Stopped, {"command": 5}))
    assert stopped["detail"].startswith("Version 4 equals its parent, version 3: round 4 changed no weight.")
    found = admin.get(f"/api/results/{federation}/").json()
    assert [round_["unchanged"] for round_ in found["rounds"]] == [True, True, False, True]
    assert [version["unchanged"] for version in found["versions"]] == [False, True, True, False, True]
    page = support.logged_in(User.objects.get(username="the-admin"))
    for path in ("", "versions/"):
        assert "unchanged</span>" in support.text(page.get(f"/deployments/{federation}/{path}"))
    assert "this round changed no weight" in support.text(page.get(f"/deployments/{federation}/rounds/1/"))


def test_what_has_no_value_is_marked_and_no_0(admin: APIClient) -> None:
    """The mean over those who have a value, and of how many clients there is none, in the API and on the pages."""
    topic, federation = chains.Topic(), FEDERATION
    topic.append(chains.opened(rounds=9))
    evaluation = Metrics(examples=400, values={"auc": 0.915, "loss": 0.5}, undefined={"auc": 1, "recall": 3})
    round_ = msgspec.structs.replace(chains.round_after(topic.head()), evaluation=evaluation)
    topic.append(round_)
    places = [
        Record(control_topic(federation), 0, i, 1000 + i, None, value) for i, (value, _) in enumerate(topic.values)
    ]
    projection.take(CLUSTER, [(TOPIC_ID, place) for place in places])
    found = admin.get(f"/api/results/{federation}/").json()
    assert found["rounds"][0]["evaluation"] == {
        "examples": 400, "values": {"auc": 0.915, "loss": 0.5}, "undefined": {"auc": 1, "recall": 3}
    }  # fmt: skip
    page = support.text(
        support.logged_in(User.objects.get(username="the-admin")).get(f"/deployments/{federation}/versions/")
    )
    assert "0.9150 (1 undefined)" in page and ">undefined<" in page and "0.5000" in page


@settings(max_examples=40)
@given(
    batches=st.lists(st.lists(st.integers(0, len(VALUES) - 1), max_size=8), max_size=8),
    forget=st.booleans(),
)
def test_any_delivery_gives_the_same_rows(batches: list[list[int]], forget: bool) -> None:
    """However records are duplicated, replayed, reordered and cut into batches, the rows are those of the plain run."""
    with transaction.atomic():
        projection.forget_all()
        projection.take(CLUSTER, records(range(len(VALUES))))
        expected = rows()
        transaction.set_rollback(True)
    with transaction.atomic():
        projection.forget_all()
        seen: set[int] = set()
        for batch in [*batches, list(range(len(VALUES)))]:
            taken = projection.take(CLUSTER, records(batch))
            fresh = set(batch) - seen
            assert taken.accepted + len(taken.refused) == len(fresh)
            assert taken.duplicates == len(batch) - len(fresh)
            seen |= fresh
            if forget:  # as if another web worker took the next batch
                projection.forget_all()
        assert rows() == expected
        transaction.set_rollback(True)


def test_workers_take_turns(monkeypatch: pytest.MonkeyPatch) -> None:
    """Two web workers with memories of their own fold one run together."""
    memories: list[Any] = [OrderedDict(), OrderedDict()]
    for offset in range(len(VALUES)):
        monkeypatch.setattr(projection, "_readers", memories[offset // 2 % 2])
        projection.take(CLUSTER, records([offset]))
    assert Deployment.objects.get().state == State.FINISHED
    assert Deployment.objects.get().superseded == 2


def test_failed_batch_leaves_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    """A batch that breaks in the middle is as if it had never come, in the database and in memory."""
    projection.take(CLUSTER, records([0, 1]))
    with monkeypatch.context() as patched:
        patched.setattr(projection, "_remember", lambda *_: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            projection.take(CLUSTER, records([2, 3, 4]))
    assert ControlRecord.objects.count() == 2
    taken = projection.take(CLUSTER, records(range(len(VALUES))))
    assert taken.duplicates == 2 and Deployment.objects.get().state == State.FINISHED


def test_foreign_topics() -> None:
    """Records of other topics, of another topic of the same name, or of a deleted federation are refused."""
    projection.take(CLUSTER, records([0, 1]))
    (_, record) = records([1])[0]
    assert "another topic" in projection.take(CLUSTER, [("recreated", record)]).refused[0]["reason"]
    assert "another topic" in projection.take("other-cluster", [(TOPIC_ID, record)]).refused[0]["reason"]
    for topic in ("FED-x-model_control_topic", "anything", f"FED-{FEDERATION}-model_data_topic"):
        strange = Record(topic, 0, 1, 1, None, VALUES[1])
        assert "expected" in projection.take(CLUSTER, [(TOPIC_ID, strange)]).refused[0]["reason"]
    Deployment.objects.all().delete()
    FederationId.objects.update(deleted_at=timezone.now())
    assert "deleted" in projection.take(CLUSTER, records([1])).refused[0]["reason"]
    assert not Deployment.objects.exists()


def announced(offset: int, value: bytes | None, key: bytes = FEDERATION.encode()) -> list[tuple[str, Record]]:
    """A record of FEDERATED_MODEL_CONTROL_TOPIC."""
    return [("announcements", Record(MODEL_CONTROL, 3, offset, 1, key, value))]


def test_announcements() -> None:
    """Another backend's federation is known by its announcement, told more by its topic, and gone by a tombstone."""
    announcement = example(Announcement)
    assert projection.take(CLUSTER, announced(0, encode(announcement))).accepted == 1
    assert projection.take(CLUSTER, announced(0, encode(announcement))).duplicates == 1
    deployment = Deployment.objects.get()
    assert deployment.external and deployment.state == State.WAITING and deployment.input["shape"] == [28, 28]
    projection.take(CLUSTER, records(range(len(VALUES))))
    later = msgspec.structs.replace(announcement, revision=7, name="renamed")
    projection.take(CLUSTER, announced(1, encode(later)))
    deployment.refresh_from_db()
    assert (deployment.revision, deployment.name, deployment.state) == (7, "digits", State.FINISHED)
    assert deployment.rules["rounds"] == 1
    assert projection.take(CLUSTER, announced(2, None)).accepted == 1
    assert not Deployment.objects.exists()
    assert "deleted" in projection.take(CLUSTER, records([1])).refused[0]["reason"]
    projection.take(CLUSTER, announced(3, encode(later)))
    assert not Deployment.objects.exists()


def test_bad_announcements() -> None:
    """Keys that are no ids, values that are no announcements or name another federation are refused."""
    announcement = encode(example(Announcement))
    bad = [announced(0, announcement, b"\xff\0"), announced(1, b"{"), announced(2, announcement, b"abcdefgh")]
    for batch in bad:
        taken = projection.take(CLUSTER, batch)
        assert taken.accepted == 0 and len(taken.refused) == 1
    assert not Deployment.objects.exists()


def test_tombstone_of_our_own(admin: APIClient, configuration: Configuration, log: MemoryLog) -> None:
    """A tombstone does not delete a deployment that was made here."""
    federation = admin.post("/api/deployments/", {"configuration": configuration.pk}).json()["federation"]
    projection.take(CLUSTER, announced(0, None, federation.encode()))
    assert Deployment.objects.filter(federation=federation).exists()


@given(value=st.one_of(st.none(), st.binary(max_size=200)))
@settings(max_examples=50)
def test_any_bytes_are_survived(value: bytes | None) -> None:
    """Whatever a record holds, it is kept and refused with a sentence."""
    with transaction.atomic():
        projection.forget_all()
        taken = projection.take(CLUSTER, [(TOPIC_ID, Record(control_topic(FEDERATION), 0, 0, 1, None, value))])
        assert len(taken.refused) == 1 and taken.refused[0]["reason"]
        transaction.set_rollback(True)


def test_numbers_and_texts_beyond_the_columns() -> None:
    """Records with NUL characters, huge numbers and long texts are cut to what the tables hold."""
    opened = msgspec.structs.replace(example(Opened), name="a\0b" * 200)
    progress = msgspec.structs.replace(
        example(Progress),
        needed=(1 << 53) - 1,
        deadline_ms=(1 << 53) - 1,
        phase="x" * 500,
        members=(
            msgspec.structs.replace(example(Progress).members[0], client="c" * 300, detail="\0", last_ms=(1 << 53) - 1),
        ),
    )
    topic = control_topic(FEDERATION)
    batch = [(TOPIC_ID, Record(topic, 0, i, 1, None, encode(r))) for i, r in enumerate((opened, progress))]
    assert projection.take(CLUSTER, batch).accepted == 2
    deployment = Deployment.objects.get()
    assert len(deployment.name) == 100 and "\0" not in deployment.name
    assert deployment.needed == (1 << 31) - 1 and deployment.members.get().client == "c" * 64


def envelope(batch: Sequence[tuple[str, Record]]) -> dict[str, Any]:
    """A batch as a logger posts it."""
    return {
        "cluster_id": CLUSTER,
        "records": [
            {
                "topic": record.topic,
                "topic_id": topic_id,
                "partition": record.partition,
                "offset": record.offset,
                "timestamp_ms": record.timestamp_ms,
                "key_b64": None,
                "value_b64": None if record.value is None else base64.b64encode(record.value).decode(),
                "signature_b64": base64.b64encode(s).decode() if (s := record.headers.get("signature")) else None,
            }
            for topic_id, record in batch
        ],
    }


def test_ingest_over_rest(client_of: Callable[[str], APIClient]) -> None:
    """The logger's token delivers; the answer counts; nobody else may."""
    body = envelope(records(range(len(VALUES))))
    answer = client_of("logger").post("/api/ingest/control/", body)
    assert answer.status_code == 200, answer.content
    assert answer.json()["accepted"] == len(VALUES) - 2 and len(answer.json()["refused"]) == 2
    again = client_of("logger").post("/api/ingest/control/", body).json()
    assert again["accepted"] == 0 and again["duplicates"] == len(VALUES)
    for role in ("admin", "operator", "viewer"):
        assert client_of(role).post("/api/ingest/control/", body).status_code == 403
    assert client_of("logger").get("/api/results/").status_code == 403


def test_results_over_rest(client_of: Callable[[str], APIClient]) -> None:
    """Rounds with every client's metrics, versions, refusals and the log's records are there to read."""
    projection.take(CLUSTER, records(range(len(VALUES))))
    viewer = client_of("viewer")
    assert viewer.get("/api/results/", {"state": "finished"}).json()["count"] == 1
    shown = viewer.get(f"/api/results/{FEDERATION}/").json()
    clients = {client["client"]: client for client in shown["rounds"][0]["clients"]}
    assert clients["site-a"]["training"]["values"]["accuracy"] == 0.75
    assert [version["number"] for version in shown["versions"]] == [0, 1] and shown["refusals"][0]["offset"] == 11
    assert {name: (part["shown"], part["count"]) for name, part in shown["pages"].items()} == {
        "rounds": (1, 1), "versions": (2, 2), "members": (3, 3), "refusals": (1, 1),
    }  # fmt: skip
    for part, count in (("rounds", 1), ("versions", 2), ("members", 3), ("refusals", 1), ("records", len(VALUES))):
        assert viewer.get(f"/api/results/{FEDERATION}/{part}/").json()["count"] == count
    kinds = [record["kind"] for record in viewer.get(f"/api/results/{FEDERATION}/records/").json()["results"]]
    assert kinds[:4] == ["", "opened", "opened", "progress"]
    assert viewer.get(f"/api/results/{FEDERATION}/versions/1/").json()["weights"]["sha256"] == "c" * 64
    assert viewer.get(f"/api/results/{FEDERATION}/versions/7/").status_code == 404


def test_pages_show_the_run(client_of: Callable[[str], APIClient], user: Callable[[str], Any]) -> None:
    """The pages list the deployment and show its rounds, clients and refusals."""
    projection.take(CLUSTER, records(range(len(VALUES))))
    browser = APIClient()
    browser.force_login(user("viewer"))
    assert FEDERATION.encode() in browser.get("/deployments/").content
    page = browser.get(f"/deployments/{FEDERATION}/").content.decode()
    for text in ("finished", "site-a", "accuracy", "duplicate", "digits"):
        assert text in page
    curves = browser.get(f"/deployments/{FEDERATION}/curves/", {"metric": "accuracy"}).json()
    assert curves["clients"]["site-a"] == [0.75]
    assert "0.7500" in browser.get(f"/deployments/{FEDERATION}/rounds/1/").content.decode()
    assert "versions/1/model.keras" in browser.get(f"/deployments/{FEDERATION}/versions/").content.decode()
    assert "site-a" in browser.get(f"/deployments/{FEDERATION}/clients/").content.decode()
    tape = browser.get(f"/deployments/{FEDERATION}/recorder/tape/").getvalue().decode().splitlines()
    assert {"opened", "round", "finished"} <= {json.loads(line).get("kind") for line in tape}
    assert "site-a" in browser.get(f"/deployments/{FEDERATION}/rounds.csv").getvalue().decode()
    assert b"no model yet" in browser.get("/models/").content


def test_own_deployment_follows_the_log(
    admin: APIClient, configuration: Configuration, log: MemoryLog, client_of: Callable[[str], APIClient]
) -> None:
    """A deployment made here and opened through the outbox is recognised when its records come back."""
    made = admin.post("/api/deployments/", {"configuration": configuration.pk}).json()
    publish_pending(log)
    topic = control_topic(made["federation"])
    batch = [("t", record) for record in log.read(topic, 0, 0, log.bounds(topic, 0)[1])]
    assert client_of("logger").post("/api/ingest/control/", envelope(batch)).json()["accepted"] == 1
    shown = admin.get(f"/api/deployments/{made['federation']}/").json()
    assert shown["state"] == "waiting" and not shown["external"] and shown["model"] == made["model"]
    assert {k: shown[k] for k in ("training", "rules", "strategy", "data", "input")} == {
        k: made[k] for k in ("training", "rules", "strategy", "data", "input")
    }


def test_forged_records_change_nothing(client_of: Callable[[str], APIClient]) -> None:
    """Of a signed run what the platform has not signed is kept, counted and told, and the rows are as without it."""
    log = MemoryLog(SystemClock())
    log.create_topics(federation_topics(FEDERATION))
    control, topic = ControlTopic(log, FEDERATION, key=PLATFORM), control_topic(FEDERATION)
    control.append(msgspec.structs.replace(chains.opened(rounds=9), platform=PLATFORM.public))
    control.sync()
    assert control.head is not None
    forged = chains.round_after(control.head)
    log.append(topic, [Outgoing(encode(forged)), signed_by(FORGER, topic, Outgoing(encode(forged)))])
    control.append(chains.round_after(control.head))
    written = list(log.read(topic, 0, 0, 4))
    batch = [(TOPIC_ID, record) for record in written]
    for start in (0, 2):  # the second time by a reader that begins anew from the stored rows
        answer = client_of("logger").post("/api/ingest/control/", envelope(batch[start : start + 2])).json()
        assert [refused["offset"] for refused in answer["refused"]] == [start + 1 - start // 2]
        assert "this run's records are signed with the key" in answer["refused"][0]["reason"]
        projection.forget_all()
    run = Deployment.objects.get(federation=FEDERATION)
    assert (run.round, run.forged, run.superseded) == (1, 2, 0)
    assert run.rounds.get().offset == 3


@pytest.mark.parametrize("key", [None, FORGER])
def test_a_forged_announcement_makes_no_deployment(settings: Any, key: SigningKey | None) -> None:
    """Who knows the platform takes nobody else's; so no stranger's federation meets a stream here."""
    settings.PLATFORM_KEY = PLATFORM.public
    platform = None if key is None else key.public
    announcement = msgspec.structs.replace(example(Announcement), platform=platform)
    for number, (signer, known) in enumerate(((key, False), (PLATFORM, True))):
        outgoing = announcing.announced(announcement, signer)
        value, headers = bytes(outgoing.value or b""), dict(outgoing.headers)
        record = Record(MODEL_CONTROL, 0, number, 0, outgoing.key, value, headers)
        assert bool(projection.take(CLUSTER, [("m", record)]).refused) is not known
        assert Deployment.objects.filter(federation=announcement.federation).exists() is known
