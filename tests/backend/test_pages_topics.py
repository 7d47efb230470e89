"""The topics' pages and their REST resource, on a real broker and without one."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from django.test import Client
from rest_framework.test import APIClient

from backend.accounts.models import User
from backend.catalog.models import Configuration
from backend.deployments.log import kafka as connection
from backend.deployments.log.opening import partition_of
from backend.deployments.log.outbox import publish_pending
from backend.deployments.models import Deployment, FederationId, State
from backend.streams import injections, topics
from backend.streams.models import DataSource, Injection, InjectionState
from mainstem.kafka.broker.embedded import EmbeddedKafka
from mainstem.protocol.log import MessageLog, Outgoing
from mainstem.protocol.topics import DATA_CONTROL, MODEL_CONTROL, aggregator_topic, control_topic, stream_spec
from tests.backend.support import logged_in, text

pytestmark = [pytest.mark.backend, pytest.mark.kafka, pytest.mark.django_db]


@pytest.fixture
def real_log(settings: Any, monkeypatch: pytest.MonkeyPatch, kafka: EmbeddedKafka) -> Iterator[MessageLog]:
    """The backend's own connections to the test's broker."""
    settings.KAFKA_BOOTSTRAP = settings.DATA_BOOTSTRAP = kafka.bootstrap_servers
    settings.KAFKA_CLIENT_CONFIG = settings.DATA_CLIENT_CONFIG = ""
    monkeypatch.setattr(connection, "_log", None)
    monkeypatch.setattr(connection, "_streams", None)
    log = connection.message_log()
    yield log
    log.close()
    connection.stream_log().close()


@pytest.fixture
def federation(admin: APIClient, configuration: Configuration, real_log: MessageLog) -> str:
    """An open federation."""
    made: str = admin.post("/api/deployments/", {"configuration": configuration.pk}).json()["federation"]
    assert publish_pending(real_log) == 1
    return made


def test_list_and_messages(user: Callable[[str], Any], federation: str, real_log: MessageLog) -> None:
    """The list names what each topic is; messages are decoded, chunks told as such, and paged."""
    browser = logged_in(user("viewer"))
    listed = text(browser.get(f"/topics/?q={federation}"))
    assert "the run itself" in listed and "global weights" in listed and MODEL_CONTROL not in listed
    control = text(browser.get(f"/topics/{control_topic(federation)}/"))
    assert "opened" in control and '"architecture"' in control and "Delete" not in control
    assert "chunk of weights" in text(browser.get(f"/topics/FED-{federation}-model_data_topic/"))
    partition = partition_of(federation, real_log.partitions(MODEL_CONTROL))
    announced = text(browser.get(f"/topics/{MODEL_CONTROL}/?partition={partition}"))
    assert f"federation {federation}" in announced
    topic = aggregator_topic(federation)
    real_log.append(topic, [Outgoing(json.dumps({"n": n}).encode()) for n in range(50)])
    newest = text(browser.get(f"/topics/{topic}/"))
    assert "Offsets 30 to 50" in newest and "not understood" in newest and "Older" in newest
    assert "from=50" not in newest and "Offsets 10 to 30" in text(browser.get(f"/topics/{topic}/?from=10"))
    assert browser.get(f"/topics/{topic}/?from=999999999999&partition=77").status_code == 200
    assert browser.get("/topics/no-such-topic/").status_code == 404


def test_guarded_deletion(user: Callable[[str], Any], federation: str, real_log: MessageLog) -> None:
    """Only what is over is deleted, only by an admin who types its name; all else says why it is kept."""
    topic = control_topic(federation)
    real_log.create_topics([stream_spec("of-a-site"), stream_spec("FEDERATED_AGGREGATOR_TOPIC-zzzzzzzz")])
    browser = logged_in(User.objects.get(username="the-admin"))
    for name, reason in (
        (topic, "is opening: stop it first"),
        (MODEL_CONTROL, "every federation needs it"),
        (DATA_CONTROL, "every federation needs it"),
        ("of-a-site", "the site's own to delete"),
        ("FEDERATED_AGGREGATOR_TOPIC-zzzzzzzz", "is not known here"),
    ):
        Deployment.objects.update(state=State.OPENING)
        assert reason in text(browser.post(f"/topics/{name}/delete/", {"confirm": name}, follow=True)), name
    Deployment.objects.update(state=State.FINISHED)
    assert "needs to be resumed" in text(browser.get(f"/topics/{topic}/"))
    assert "repeat its name" in text(browser.post(f"/topics/{topic}/delete/", {"confirm": "x"}, follow=True))
    for role in ("viewer", "operator"):
        assert logged_in(user(role)).post(f"/topics/{topic}/delete/", {"confirm": topic}).status_code == 403
    assert "is deleted" in text(browser.post(f"/topics/{topic}/delete/", {"confirm": topic}, follow=True))
    FederationId.objects.create(id="zzzzzzzz", deleted_at="2026-01-01T00:00:00Z")
    left = "FEDERATED_AGGREGATOR_TOPIC-zzzzzzzz"
    assert "is deleted" in text(browser.post(f"/topics/{left}/delete/", {"confirm": left}, follow=True))


def test_rest(admin: APIClient, federation: str) -> None:
    """REST shows what the pages show, and refuses with the same sentences."""
    topic = control_topic(federation)
    (listed,) = [one for one in admin.get("/api/topics/").json() if one["name"] == topic]
    assert (listed["partitions"], listed["records"], listed["federation"]) == (1, 1, federation)
    assert admin.get(f"/api/topics/{topic}/").json()["partitions"] == [{"number": 0, "first": 0, "end": 1}]
    (message,) = admin.get(f"/api/topics/{topic}/messages/?partition=0&from=0").json()
    assert message["kind"] == "opened" and json.loads(message["body"][:1] + "}") == {}
    assert admin.get(f"/api/topics/{topic}/messages/?from=x").json()["errors"][0]["field"] == "from"
    assert admin.get(f"/api/topics/{topic}/messages/?partition=5").status_code == 404
    assert "stop it first" in admin.delete(f"/api/topics/{topic}/?confirm={topic}").json()["detail"]


def test_injecting_real_digits(user: Callable[[str], Any], real_log: MessageLog) -> None:
    """The launcher's step announces a stream for each client, whose samples the page draws."""
    asked = Injection.objects.create(clients=2, train_samples=20, test_samples=5, topic="injected-by-page")
    assert injections.InjectionRunner().step()
    asked.refresh_from_db()
    assert (asked.state, asked.detail) == (InjectionState.SUCCEEDED, "2 streams of 50 records announced")
    end = real_log.bounds(DATA_CONTROL, 0)[1]
    announced = list(real_log.read(DATA_CONTROL, 0, end - 2, end))
    browser = logged_in(user("viewer"))
    assert "stream, RAW" in text(browser.get(f"/topics/{DATA_CONTROL}/"))
    said = json.loads(announced[1].value or b"")
    stream = DataSource.objects.create(
        cluster_id="c", topic_id="t", partition=0, offset=1, timestamp_ms=1, topic=said["topic"],
        input_format="RAW", input_config=said["input_config"], total_msg=25,
    )  # fmt: skip
    shown = text(browser.get(f"/datasources/{stream.pk}/samples/?at=12"))
    assert shown.count("data:image/png") == 12 and "13 to 24 of 25" in shown


def test_kafka_away(
    user: Callable[[str], Any], admin: APIClient, settings: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each page says so in a sentence and stays a page; REST says 503."""
    settings.KAFKA_BOOTSTRAP = settings.DATA_BOOTSTRAP = "127.0.0.1:1"
    monkeypatch.setattr(topics, "PATIENCE", 0.5)
    browser: Client = logged_in(user("viewer"))
    for path in ("/topics/", f"/topics/{MODEL_CONTROL}/"):
        answer = browser.get(path)
        assert answer.status_code == 200 and "Kafka at 127.0.0.1:1 does not answer" in text(answer)
    assert admin.get("/api/topics/").status_code == 503
    settings.KAFKA_BOOTSTRAP = ""
    assert "KML_CLOUD_BOOTSTRAP_SERVERS is not set" in text(browser.get("/topics/"))
