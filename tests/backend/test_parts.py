"""The overview does not call a part well that has failed for a minute, and says which one it is."""

from __future__ import annotations

import secrets
import threading
from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import pytest
from django.utils import timezone

from backend.deployments.log import kafka as connection
from backend.deployments.models import Deployment, OutboxEntry, OutboxKind, State
from backend.launchers.models import Report
from backend.launchers.process import repeat, report
from backend.runs.health import health, parts
from mainstem.errors import LogError
from mainstem.kafka.broker.embedded import EmbeddedKafka
from mainstem.kafka.client.config import client_config
from mainstem.kafka.client.group import GroupReader
from mainstem.kafka.client.group_source import GroupSource
from mainstem.kafka.client.log import KafkaLog
from mainstem.protocol.log import Outgoing
from mainstem.protocol.topics import TopicSpec, control_topic, federation_topics
from mainstem.runtime.metrics.health import FAILING_SECONDS, Health
from mainstem.testing.memory_log import MemoryLog
from tests.support.patience import until

pytestmark = [pytest.mark.backend, pytest.mark.django_db]


@pytest.fixture
def topic(settings: Any, monkeypatch: pytest.MonkeyPatch, kafka: EmbeddedKafka) -> Iterator[str]:
    """A topic of this test's own in the place of those that loggers read, and a real Kafka."""
    log = KafkaLog(client_config(kafka.bootstrap_servers))
    name = f"parts-{secrets.token_hex(4)}"
    log.create_topics([TopicSpec(name, 2, {})])
    settings.KAFKA_BOOTSTRAP = settings.DATA_BOOTSTRAP = kafka.bootstrap_servers
    settings.KAFKA_CLIENT_CONFIG = settings.DATA_CLIENT_CONFIG = ""
    for made in ("message_log", "stream_log"):
        monkeypatch.setattr(connection, made, lambda: log)
    for constant in ("MODEL_CONTROL", "DATA_CONTROL", "AGGREGATORS"):
        monkeypatch.setattr(parts, constant, name)
    monkeypatch.setattr(parts, "group_of", lambda part, site: f"{part}-{name}")
    yield name
    log.close()


def sign(name: str) -> tuple[str, str]:
    """State and sentence of a part."""
    return next((one.state, one.text) for one in parts.signs() if one.name == name)


@pytest.mark.kafka
def test_a_logger_by_what_it_leaves(topic: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody there; there and up with its topic; there, and a record has waited for long."""
    assert sign("Data logger") == ("away", "no data_control_logger reads from Kafka: start one, or look at its log")
    config, log = connection.data_config(), connection.stream_log()
    source = GroupSource(config, group=f"data_control_logger-{topic}", topics=[f"^{topic}$"])
    log.append(topic, [Outgoing(b"first")])
    batch = until(lambda: source.batch(0.2))
    source.commit(batch)
    assert sign("Data logger") == ("ok", "brings every record")
    log.append(topic, [Outgoing(b"second", partition=1)])
    assert sign("Data logger")[0] == "ok", "it is on its way"
    monkeypatch.setattr(parts, "LATE_SECONDS", 0.0)
    state, text = sign("Data logger")
    assert state == "away" and text.startswith("data_control_logger has left a record waiting for ")
    source.close()


@pytest.mark.kafka
def test_an_aggregator_by_its_place_in_the_group(topic: str) -> None:
    """Runs stand still while there is none."""
    assert sign("Aggregator") == ("away", "none is connected: runs stand still until one is")
    reader = GroupReader(connection.cloud_config(), topic, topic)
    until(lambda: reader.poll(0.1) or reader.joined)
    assert sign("Aggregator") == ("ok", "1 shares the runs")
    reader.close()


def launcher() -> tuple[str, str]:
    """How the launcher is."""
    found = parts.launcher()
    return found.state, found.text


def test_the_launcher_by_what_it_says_and_when() -> None:
    """It says what has failed for a minute; and silence says enough."""
    assert launcher() == ("away", "none has run on this database")
    now = 0.0
    well = Health(lambda: now)
    report(well)
    assert launcher() == ("ok", "all its loops turn")
    stop = threading.Event()
    tries: list[int] = []

    def fails() -> None:
        nonlocal now
        now = FAILING_SECONDS * len(tries)
        tries.append(1)
        if len(tries) == 2:
            stop.set()
        raise LogError("stuck")

    repeat("outbox", fails, 0, stop=stop, health=well)
    report(well)
    assert launcher() == ("away", "the loop of outbox has failed for 60 s: LogError('stuck')")
    well.worked("the loop of outbox")
    report(well)
    assert launcher()[0] == "ok"
    Report.objects.update(at=timezone.now() - timedelta(seconds=75))
    assert launcher() == ("away", "it has said nothing for 75 s: look at its log")


def test_a_record_that_the_projection_lacks_for_a_minute(log: MemoryLog, monkeypatch: pytest.MonkeyPatch) -> None:
    """However few there are: one alone is a run that stands still on every page."""
    monkeypatch.setattr(health, "message_log", lambda: log)
    log.create_topics(federation_topics("abcdefgh"))
    Deployment.objects.create(federation="abcdefgh", name="n", state=State.RUNNING, topic_id="t")
    assert health._projection().state == "ok"
    log.append(control_topic("abcdefgh"), [Outgoing(b"{}")])
    found = health._projection()
    assert found.state == "away" and found.text.startswith("a record of federation abcdefgh has waited for ")


def test_a_command_that_waits_for_a_minute() -> None:
    """One that was just given may be on its way."""
    deployment = Deployment.objects.create(federation="abcdefgh", name="n")
    OutboxEntry.objects.create(deployment=deployment, kind=OutboxKind.OPEN)
    assert health._outbox().state == "waiting"
    OutboxEntry.objects.update(created_at=timezone.now() - timedelta(seconds=75))
    assert (health._outbox().state, health._outbox().text) == (
        "away",
        "1 wait to be written to Kafka, the oldest for 75 s",
    )
