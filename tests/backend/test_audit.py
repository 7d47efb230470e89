"""Who did what: each change leaves a record in its own transaction, the topic gets it once, and nothing secret."""

from __future__ import annotations

import csv
import json
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from django.core.files.uploadedfile import SimpleUploadedFile
from django.core.management import call_command
from django.db import connection as database
from django.test import Client
from django.utils import timezone
from rest_framework.test import APIClient

from backend.accounts.models import ApiToken, User
from backend.audit import middleware, outbox
from backend.audit.actions import ACTIONS
from backend.audit.models import LENGTHS, AuditEntry, Means, Result
from backend.audit.outbox import Publisher, forget, publish
from backend.audit.recording import note, outside, recorded
from backend.catalog.models import Configuration
from backend.deployments.examinations import examinations
from backend.deployments.log import kafka
from backend.deployments.log.outbox import publish_pending
from backend.deployments.models import Deployment, OutboxEntry, State
from backend.launchers.models import Job, JobState
from backend.streams import script, topics
from backend.streams.models import DataSource, Upload
from mainstem.errors import DecodeError, LogError, MainstemError
from mainstem.protocol.log import Outgoing
from mainstem.protocol.messages import Audited, decode_audited, encode
from mainstem.protocol.topics import AUDIT, is_of_the_cloud, reserved
from mainstem.testing.memory_log import MemoryLog
from tests.backend.support import logged_in, text
from tests.backend.test_roles import MATRIX

pytestmark = [pytest.mark.backend, pytest.mark.django_db]

Clients = Callable[[str | None], APIClient]

ASKED = "it answers a question and changes nothing"
LOGGED = "it is the log's own words, which the log keeps"
WRITES: dict[tuple[str, str], str] = {
    ("post", "auth/token/"): "token.create",
    ("delete", "auth/token/"): "token.end",
    ("post", "auth/tokens/"): "token.create",
    ("delete", "auth/tokens/{pk}/"): "token.end",
    ("delete", "tokens/{pk}/"): "token.end",
    ("delete", "auth/sessions/{pk}/"): "session.close",
    ("delete", "sessions/{pk}/"): "session.close",
    ("post", "sessions/end/"): "session.close",
    ("post", "users/"): "user.create",
    ("put", "users/{pk}/"): "user.change",
    ("patch", "users/{pk}/"): "user.change",
    ("delete", "users/{pk}/"): "user.delete",
    ("post", "models/"): "model.create",
    ("patch", "models/{pk}/"): "model.change",
    ("delete", "models/{pk}/"): "model.delete",
    ("post", "configurations/"): "configuration.create",
    ("put", "configurations/{pk}/"): "configuration.change",
    ("patch", "configurations/{pk}/"): "configuration.change",
    ("delete", "configurations/{pk}/"): "configuration.delete",
    ("post", "configurations/{pk}/duplicate/"): "configuration.create",
    ("post", "deployments/"): "deployment.create",
    ("delete", "deployments/{id}/"): "deployment.delete",
    ("post", "deployments/{id}/stop/"): "deployment.stop",
    ("post", "deployments/{id}/resume/"): "deployment.resume",
    ("post", "deployments/{id}/rollback/"): "deployment.rollback",
    ("post", "deployments/{id}/remove/"): "deployment.remove",
    ("post", "deployments/{id}/admission/"): "deployment.admission",
    ("post", "deployments/{id}/witness/"): "deployment.witness",
    ("post", "deployments/{id}/witness/accept/"): "deployment.accept",
    ("post", "deployments/{id}/restart/"): "deployment.create",
    ("post", "deployments/{id}/deadline/"): "deployment.deadline",
    ("post", "results/{federation}/versions/{number}/predict/"): ASKED,
    ("post", "sites/enrol/"): "site.enrol",
    ("post", "sites/tokens/"): "enrolment.create",
    ("delete", "sites/tokens/{pk}/"): "enrolment.end",
    ("patch", "sites/{pk}/"): "site.change",
    ("post", "sites/{pk}/revoke/"): "site.revoke",
    ("post", "datasources/"): "stream.announce",
    ("post", "injections/"): "injection.create",
    ("post", "uploads/"): "upload.create",
    ("delete", "uploads/{pk}/"): "upload.delete",
    ("post", "uploads/{pk}/look/"): ASKED,
    ("post", "uploads/{pk}/inject/"): "injection.create",
    ("delete", "topics/{name}/"): "topic.delete",
    ("post", "jobs/{name}/stop/"): "job.stop",
    ("post", "jobs/{name}/retry/"): "job.retry",
    ("post", "inferences/"): "inference.create",
    ("patch", "inferences/{name}/"): "inference.scale",
    ("delete", "inferences/{name}/"): "inference.end",
    ("post", "ingest/control/"): LOGGED,
    ("post", "ingest/data/"): LOGGED,
}
"""What is recorded of each address of REST that is not only read."""


def actions(**narrowed: Any) -> list[str]:
    """What was recorded, in order."""
    return list(AuditEntry.objects.filter(**narrowed).order_by("id").values_list("action", flat=True))


def newest() -> AuditEntry:
    """The last record."""
    return AuditEntry.objects.order_by("-id")[0]


def in_topic(log: MemoryLog) -> list[Audited]:
    """The topic's records."""
    return [decode_audited(record.value) for record in log.read(AUDIT, 0, *log.bounds(AUDIT, 0))]


def test_every_address_that_changes_something_is_known() -> None:
    """A new one fails here until it is said what is recorded of it; no action is without a place."""
    unsafe = {(method, address) for address, methods in MATRIX.items() for method in methods if method != "get"}
    assert unsafe == set(WRITES)
    elsewhere = {
        "session.begin", "session.fail", "session.end", "session.confirm", "enrolment.fail",
        "model.download", "deployment.open", "version.download",
        "version.examine", "audit.download", "call.refused",
    }  # fmt: skip
    assert set(WRITES.values()) - {ASKED, LOGGED} | elsewhere == set(ACTIONS)


def test_models_and_configurations(admin: APIClient, fake_workshop: Any) -> None:
    """Made, changed, copied, downloaded, deleted: who, by which token, what, from where."""
    body = {"name": "tiny", "kind": "template", "template": {"name": "mlp"}}
    model = admin.post("/api/models/", body).json()["id"]
    admin.patch(f"/api/models/{model}/", {"description": "small"})
    assert admin.get(f"/api/models/{model}/model.keras").status_code == 200
    made = admin.post("/api/configurations/", {"name": "study", "models": [model]}).json()["id"]
    admin.patch(f"/api/configurations/{made}/", {"name": "other"})
    copy = admin.post(f"/api/configurations/{made}/duplicate/").json()["id"]
    for one in (made, copy):
        assert admin.delete(f"/api/configurations/{one}/").status_code == 204
    assert admin.delete(f"/api/models/{model}/").status_code == 204
    assert actions() == [
        "model.create", "model.change", "model.download", "configuration.create", "configuration.change",
        "configuration.create", "configuration.delete", "configuration.delete", "model.delete",
    ]  # fmt: skip
    token = ApiToken.objects.get(user__username="the-admin")
    for row in AuditEntry.objects.all():
        assert (row.who, row.by, row.token, row.address, row.result) == (
            "the-admin", "token", f"#{token.pk}", "127.0.0.1", "done",
        )  # fmt: skip
    last = newest()
    assert (last.object, last.name) == (str(model), "tiny")
    assert AuditEntry.objects.get(action="model.change").detail == "description"


def test_runs(client_of: Clients, admin: APIClient, federation: str, log: MemoryLog) -> None:
    """Each command with what it says; what the platform does by itself is the platform's."""
    operator, at = client_of("operator"), f"/api/deployments/{federation}/"
    assert operator.post(f"{at}deadline/", {"round_deadline": 30}).status_code == 202
    assert operator.post(f"{at}stop/").status_code == 202
    Deployment.objects.update(state=State.STOPPED)
    assert operator.post(f"{at}resume/").status_code == 202
    Deployment.objects.update(state=State.RUNNING, version=1)
    assert operator.post(f"{at}rollback/", {"version": 0}).status_code == 202
    assert operator.post(f"{at}restart/").status_code == 201
    assert operator.post(f"{at}rollback/", {"version": 7}).status_code == 400
    assert admin.delete(f"{at}?confirm={federation}").status_code == 202
    told = list(AuditEntry.objects.filter(by="token").order_by("id").values_list("action", "object", "detail"))
    (again,) = Deployment.objects.exclude(federation=federation)
    assert told[1:] == [
        ("deployment.deadline", federation, "deadline_ms 30000"),
        ("deployment.stop", federation, ""),
        ("deployment.resume", federation, ""),
        ("deployment.rollback", federation, "version 0"),
        ("deployment.create", again.federation, f"restarts {federation}"),
        ("deployment.delete", federation, ""),
    ]


def test_a_client_that_is_put_out(admin: APIClient, federation: str) -> None:
    """By a person, and by the platform where its Job is over."""
    deployment = Deployment.objects.get(federation=federation)
    deployment.members.create(client="site-b", state="waiting")
    assert admin.post(f"/api/deployments/{federation}/remove/", {"client": "site-b"}).status_code == 202
    assert (newest().who, newest().detail) == ("the-admin", "client site-b")


def test_what_kafka_refuses_for_good_is_recorded(federation: str, log: MemoryLog) -> None:
    """The outbox says that an order failed, and why."""
    deployment = Deployment.objects.get(federation=federation)
    OutboxEntry.objects.create(deployment=deployment, kind="open")
    Deployment.objects.update(model=None)
    publish_pending(log)
    last = newest()
    assert (last.who, last.by, last.action, last.result) == ("platform", "platform", "deployment.open", "failed")
    assert "deleted from the catalog" in last.detail


def test_versions_jobs_and_inferences(
    admin: APIClient, federation: str, log: MemoryLog, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Downloads of versions, examinations, Jobs and replicas."""
    version = f"/api/results/{federation}/versions/0/"
    assert admin.get(f"{version}weights.npz").status_code == admin.get(f"{version}model.keras").status_code == 200
    etag = admin.get(f"{version}weights.npz").headers["ETag"]
    assert admin.get(f"{version}weights.npz", HTTP_IF_NONE_MATCH=etag).status_code == 304
    assert actions(action="version.download", object=f"{federation}/0") == ["version.download"] * 3
    deployment = Deployment.objects.get(federation=federation)
    monkeypatch.setattr(examinations, "_run", lambda *of: None)
    round_ = deployment.rounds.create(
        number=1, seq=1, version=0, base_version=0, opened_ms=0, closed_ms=1, committed_ms=1, offset=1
    )
    browser = logged_in(User.objects.get(username="the-admin"))
    assert browser.post(f"/deployments/{federation}/rounds/{round_.seq}/examine/").status_code == 302
    assert (newest().action, newest().by) == ("version.examine", "session")
    source = DataSource.objects.create(topic="s", cluster_id="c", topic_id="t", partition=0, offset=0, timestamp_ms=0)
    Job.objects.create(
        name="j", federation=federation, deployment=deployment, source=source, client_id="c", slot=0,
        state=JobState.RUNNING,
    )  # fmt: skip
    assert admin.post("/api/jobs/j/stop/").status_code == 202
    Job.objects.update(state=JobState.STOPPED)
    assert admin.post("/api/jobs/j/retry/").status_code == 202
    assert admin.post("/api/inferences/", {"federation": federation, "version": 0, "name": "ask"}).status_code == 201
    assert admin.patch("/api/inferences/ask/", {"replicas": 2}).status_code == 200
    assert admin.delete("/api/inferences/ask/").status_code == 202
    assert actions()[-5:] == ["job.stop", "job.retry", "inference.create", "inference.scale", "inference.end"]
    assert AuditEntry.objects.get(action="inference.scale").detail == "replicas 2"


def test_samples(client_of: Clients, admin: APIClient, log: MemoryLog, monkeypatch: pytest.MonkeyPatch) -> None:
    """Files, injections, announcements, topics. What no transaction holds says that it begins and how it ended."""
    monkeypatch.setattr(script, "run", lambda *of, **more: (b"{}", ""))
    monkeypatch.setattr(kafka, "stream_log", lambda: log)
    monkeypatch.setattr(topics, "inspection", lambda where, name: object())
    for _ in range(2):
        upload = {"file": SimpleUploadedFile("a.csv", b"x,y\n1,2\n")}
        assert admin.post("/api/uploads/", upload, format="multipart").status_code == 201
    first, second = Upload.objects.order_by("id")
    assert admin.post(f"/api/uploads/{first.pk}/inject/").status_code == 201
    assert admin.delete(f"/api/uploads/{second.pk}/").status_code == 204
    assert admin.post("/api/injections/", {"topic": "digits"}).status_code == 201
    config = {"data_type": "float32", "data_reshape": "4"}
    assert admin.post("/api/datasources/", {"topic": "ward", "input_config": config}).status_code == 201
    assert actions() == [
        "upload.create", "upload.create", "injection.create", "upload.delete", "injection.create",
        "stream.announce", "stream.announce",
    ]  # fmt: skip
    left = "FEDERATED_AGGREGATOR_TOPIC-zzzzzzzz"
    monkeypatch.setattr(topics, "kept_because", lambda names: dict.fromkeys(names, ""))

    def broken(names: list[str]) -> None:
        raise LogError("Kafka is away")

    monkeypatch.setattr(log, "delete_topics", broken)
    assert admin.delete(f"/api/topics/{left}/?confirm={left}").status_code == 503
    rows = AuditEntry.objects.filter(action="topic.delete").order_by("id")
    assert list(rows.values_list("object", "result", "detail")) == [
        (left, "begun", ""), (left, "failed", "Kafka is away"),
    ]  # fmt: skip


def test_people_tokens_and_nothing_secret(admin: APIClient, user: Callable[[str], User], log: MemoryLog) -> None:
    """Logins, wrong passwords, users and tokens are recorded; no password, key or cookie is, in the table or topic."""
    secrets = ["a long passphrase", "another passphrase", "correct horse", "guessed passphrase"]
    made = admin.post("/api/users/", {"username": "bob", "role": "viewer", "password": secrets[0]}).json()["id"]
    admin.patch(f"/api/users/{made}/", {"password": secrets[1], "role": "operator"})
    assert (newest().action, newest().name, newest().detail) == ("user.change", "bob", "password, role operator")
    anyone = APIClient()
    for name, password in (("bob", secrets[3]), (secrets[3], secrets[3])):
        assert anyone.post("/api/auth/token/", {"username": name, "password": password}).status_code == 400
    failed = AuditEntry.objects.filter(action="session.fail").order_by("id")
    assert list(failed.values_list("who", "by", "object", "name", "result")) == [
        ("", "password", str(made), "bob", "failed"), ("", "password", "", "a name that nobody has", "failed"),
    ]  # fmt: skip
    key = anyone.post("/api/auth/token/", {"username": "bob", "password": secrets[1], "name": "nightly"}).json()[
        "token"
    ]
    secrets.append(key)
    assert (newest().who, newest().by, newest().action) == ("bob", "password", "token.create")
    bob = APIClient()
    bob.credentials(HTTP_AUTHORIZATION=f"Token {key}")
    assert bob.delete("/api/auth/token/").status_code == 204
    assert (newest().who, newest().action, newest().name) == ("bob", "token.end", "nightly of bob")
    assert newest().token == f"#{newest().object} nightly"
    browser = Client()
    browser.post("/login/", {"username": "bob", "password": secrets[1]})
    secrets.append(browser.cookies["sessionid"].value)
    shown = text(browser.post("/account/tokens/", {"name": "mine"}))
    secrets.append(shown.partition('id="new-token">')[2].partition("<")[0])
    assert len(secrets[-1]) > 20
    (token,) = ApiToken.objects.filter(user__username="bob")
    browser.post(f"/account/tokens/{token.pk}/end/")
    browser.post("/account/password/", {"old": secrets[1], "password": "a third passphrase"})
    secrets.append("a third passphrase")
    browser.post("/logout/")
    assert actions(who="bob", by="session") == [
        "session.begin", "token.create", "token.end", "user.change", "session.end",
    ]  # fmt: skip
    assert admin.delete(f"/api/users/{made}/").status_code == 204
    assert (newest().action, newest().object, newest().name) == ("user.delete", str(made), "bob")
    publish(lambda: log)
    table = json.dumps(list(AuditEntry.objects.values()), default=str)
    topic = b"".join(record.value or b"" for record in log.read(AUDIT, 0, *log.bounds(AUDIT, 0))).decode()
    digests = [ApiToken.hash(secret) for secret in secrets]
    for secret in (*secrets, *digests):
        assert secret not in table and secret not in topic


def test_commands_of_the_machine(db: None, monkeypatch: pytest.MonkeyPatch) -> None:
    """`bootstrap` makes logins: it is recorded as a command, without what they are."""
    monkeypatch.setenv("MAINSTEM_ADMIN_PASSWORD", "correct horse battery")
    monkeypatch.setenv("MAINSTEM_TOKEN", "k" * 43)
    call_command("bootstrap", verbosity=0)
    assert set(AuditEntry.objects.values_list("who", "by")) == {("bootstrap", "command")}
    assert actions() == ["user.create", "user.change", "user.create", "token.create"]
    call_command("bootstrap", verbosity=0)
    assert len(actions()) == 4
    assert "battery" not in str(list(AuditEntry.objects.values())) and "kkk" not in str(AuditEntry.objects.values())


def test_refusals(client_of: Clients, user: Callable[[str], User], monkeypatch: pytest.MonkeyPatch) -> None:
    """403 of who is logged in, once a minute; strangers are not recorded, and neither are misspelt forms."""
    viewer = client_of("viewer")
    for _ in range(3):
        assert viewer.post("/api/models/", {}).status_code == 403
        assert client_of(None).post("/api/models/", {}).status_code == 401
    assert viewer.get("/api/users/").status_code == 403
    assert client_of("operator").post("/api/models/", {}).status_code == 400
    browser = logged_in(user("logger"))
    assert browser.get("/models/").status_code == 403
    rows = AuditEntry.objects.filter(action="call.refused").order_by("id")
    assert list(rows.values_list("who", "by", "object", "result")) == [
        ("the-viewer", "token", "POST /api/models/", "refused"),
        ("the-viewer", "token", "GET /api/users/", "refused"),
        ("the-logger", "session", "GET /models/", "refused"),
    ]  # fmt: skip
    monkeypatch.setattr(middleware, "MOST_A_MINUTE", 5)
    for number in range(8):
        viewer.delete(f"/api/models/{number}/")
    assert AuditEntry.objects.filter(who="the-viewer").count() == 5
    AuditEntry.objects.update(at=timezone.now() - timedelta(minutes=2))
    viewer.post("/api/models/", {})
    assert AuditEntry.objects.filter(who="the-viewer").count() == 6


@pytest.mark.django_db(transaction=True)
def test_a_change_and_its_record_are_one_transaction(
    user: Callable[[str], User], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A change that fails leaves no record; a record that cannot be written leaves no change."""
    with pytest.raises(MainstemError), recorded("configuration.create") as act:
        act.of(Configuration.objects.create(name="lost"))
        raise MainstemError("no")
    assert not Configuration.objects.exists() and not AuditEntry.objects.exists()
    browser = logged_in(user("admin"))
    broken = Client(raise_request_exception=False)
    broken.cookies = browser.cookies

    def fails(*of: Any, **more: Any) -> None:
        assert database.in_atomic_block
        raise MainstemError("the record cannot be written")

    monkeypatch.setattr(AuditEntry.objects, "create", fails)
    answer = broken.post("/configurations/new/", {"name": "lost"})
    assert answer.status_code != 302 and not Configuration.objects.exists()


def test_acts_outside_the_database(db: None) -> None:
    """They begin, and end in one of two ways; an unknown action is a fault of ours."""
    with outside("topic.delete", ("t", "")):
        assert newest().result == "begun"
    with pytest.raises(ValueError, match="boom"), outside("topic.delete", ("t", "")):
        raise ValueError("boom")
    results = AuditEntry.objects.order_by("id").values_list("by", "result")
    assert list(results) == [("platform", one) for one in ("begun", "done", "begun", "failed")]
    with pytest.raises(LookupError, match=r"name it in backend\.audit\.actions"):
        note("topic.paint")


def test_any_text_fits(db: None, log: MemoryLog) -> None:
    """What others chose is cut, and is text that a database and a record can hold."""
    note("call.refused", ("GET /" + "x" * 999, "n\0n" + "y" * 999), Result.REFUSED, "\ud800" + "z" * 999, who="w" * 999)
    row = newest()
    assert {name: len(getattr(row, name)) for name in ("who", "object", "name", "detail")} == {
        name: LENGTHS[name] for name in ("who", "object", "name", "detail")
    }
    publish(lambda: log)
    assert in_topic(log) == [row.record]


def test_a_broker_that_is_away_loses_nothing(db: None, log: MemoryLog, monkeypatch: pytest.MonkeyPatch) -> None:
    """Records wait in the table, are written in order once, and again only after a crash: then their ids are equal."""
    now, away = [0.0], [True]

    def connect() -> MemoryLog:
        if away[0]:
            raise LogError("Kafka is away")
        return log

    publisher = Publisher(connect, days=400, clock=lambda: now[0])
    for number in range(3):
        note("job.stop", (f"job-{number}", ""))
    assert publisher.step() == 0 and AuditEntry.objects.filter(sent_at=None).count() == 3
    away[0] = False
    assert publisher.step() == 0  # it waits a little
    now[0] += 60
    assert publisher.step() == 3 and publisher.step() == 0
    assert [record.object for record in in_topic(log)] == ["job-0", "job-1", "job-2"]
    AuditEntry.objects.update(sent_at=None)  # it died before it could note that they are written
    assert publisher.step() == 3
    assert len(in_topic(log)) == 6 and len({record.id for record in in_topic(log)}) == 3
    many = [AuditEntry(uid=f"{n:032x}", at=timezone.now(), by=Means.PLATFORM, action="job.stop") for n in range(501)]
    AuditEntry.objects.bulk_create(many)
    assert (publisher.step(), publisher.step()) == (500, 1)


def test_the_table_is_filled_from_the_topic(db: None, log: MemoryLog) -> None:
    """Every row as it was, however often; what is no record is told with the reason."""
    for number in range(3):
        note("job.stop", (f"job-{number}", "n"), detail="why", who="alice")
    publish(lambda: log)
    before = [row.record for row in AuditEntry.objects.order_by("at", "id")]
    log.append(AUDIT, [Outgoing(b"{}"), Outgoing(None), Outgoing(encode(before[0]))])
    AuditEntry.objects.all().delete()
    records = list(log.read(AUDIT, 0, *log.bounds(AUDIT, 0)))
    new, refused = outbox.take(records)
    assert new == 3 and [record.offset for record, _ in refused] == [3, 4]
    assert [row.record for row in AuditEntry.objects.order_by("at", "id")] == before
    assert outbox.take(records)[0] == 0 and not AuditEntry.objects.filter(sent_at=None).exists()


def test_the_table_is_bounded(db: None, log: MemoryLog) -> None:
    """Old rows go, but never one whose record Kafka does not have."""
    for _ in range(4):
        note("job.stop")
    old = timezone.now() - timedelta(days=31)
    first, second, third, _ = AuditEntry.objects.order_by("id")
    AuditEntry.objects.filter(pk__in=[first.pk, second.pk]).update(at=old)
    AuditEntry.objects.filter(pk__in=[first.pk, third.pk]).update(sent_at=timezone.now())
    assert forget(30) == 1 and not AuditEntry.objects.filter(pk=first.pk).exists()
    publisher = Publisher(lambda: log, days=30)
    assert publisher.step() == 2 and AuditEntry.objects.count() == 3  # looks for old rows now and then


def test_the_topic_is_the_platform_s(admin: APIClient) -> None:
    """It is on the cloud's Kafka, people neither fill nor delete it, and a foreign record is refused."""
    assert reserved(AUDIT) and is_of_the_cloud(AUDIT) and topics.kept_because([AUDIT])[AUDIT]
    assert "who did what" in admin.delete(f"/api/topics/{AUDIT}/?confirm={AUDIT}").json()["detail"]
    for wrong in (b'{"schema":2,"type":"audited"}', b'{"schema":1,"type":"joined"}'):
        with pytest.raises(DecodeError):
            decode_audited(wrong)


def filled() -> None:
    """Some records."""
    note("deployment.delete", ("ddy6heod", "digits"), who="alice")
    note("deployment.stop", ("ddy6heod", "digits"), who="bob")
    note("session.fail", ("7", "bob"), Result.FAILED, who="", by=Means.PASSWORD)
    old = note("model.delete", ("3", "=cmd()"), who="alice")
    AuditEntry.objects.filter(pk=old.pk).update(at="2026-01-05T12:00:00Z")


@pytest.mark.parametrize(
    ("query", "found"),
    [
        ("who=ALICE", ["deployment.delete", "model.delete"]),
        ("action=deployment.stop", ["deployment.stop"]),
        ("object=y6he", ["deployment.stop", "deployment.delete"]),
        ("who=bob&object=digits", ["deployment.stop"]),
        ("result=failed", ["session.fail"]),
        ("by=password", ["session.fail"]),
        ("since=2026-01-05&before=2026-01-06", ["model.delete"]),
        ("before=2026-01-05T12:00:00Z", []),
        ("page_size=1&page=2", ["deployment.stop"]),
    ],
)
def test_filters(admin: APIClient, query: str, found: list[str]) -> None:
    """REST, the page and its file narrow alike."""
    filled()
    answer = admin.get(f"/api/audit/?{query}")
    assert answer.status_code == 200, answer.content
    assert [row["action"] for row in answer.json()["results"]] == found
    browser = logged_in(User.objects.get(username="the-admin"))
    AuditEntry.objects.filter(action="session.begin").delete()
    if "page" in query:
        return
    page = text(browser.get(f"/audit/?{query}"))
    assert page.count('<th scope="row">') == len(found)
    if not found:
        assert "No record is like that" in page
    response = browser.get(f"/audit/audit.csv?{query}")
    lines = list(csv.DictReader(b"".join(response).decode().splitlines()))
    assert [line["action"] for line in lines] == found
    assert all(line["name"] != "=cmd()" for line in lines)
    assert (newest().action, newest().detail) == ("audit.download", query)


def test_wrong_filters_are_refused(admin: APIClient) -> None:
    """A misspelt filter never shows everything."""
    filled()
    browser = logged_in(User.objects.get(username="the-admin"))
    for query in ("action=deployment.paint", "since=yesterday", "result=odd"):
        name = query.partition("=")[0]
        assert admin.get(f"/api/audit/?{query}").json()["errors"][0]["field"] == name
        for path in ("/audit/", "/audit/audit.csv"):
            answer = browser.get(f"{path}?{query}")
            assert answer.status_code == 400 and f"{name}: " in text(answer) and "ddy6heod" not in text(answer)
    assert admin.get("/api/audit/?actor=bob").status_code == 400


def test_the_page_is_for_admins(user: Callable[[str], User]) -> None:
    """In the navigation of those alone; without records it says so, with some that wait for Kafka it says that."""
    for role in ("viewer", "operator"):
        browser = logged_in(user(role))
        assert browser.get("/audit/").status_code == browser.get("/audit/audit.csv").status_code == 403
        assert 'href="/audit/"' not in text(browser.get("/account/"))
    browser = logged_in(user("admin"))
    assert 'href="/audit/"' in text(browser.get("/account/"))
    AuditEntry.objects.all().delete()
    assert "There is no record yet" in text(browser.get("/audit/"))
    filled()
    shown = text(browser.get("/audit/"))
    assert "4 records still wait for Kafka" in shown and "opened a federation" in shown
    AuditEntry.objects.update(sent_at=timezone.now())
    assert "wait for Kafka" not in text(browser.get("/audit/"))
