"""The backend against a real broker: opening, reading back, commands, deleting, and a Kafka that is not there."""

from __future__ import annotations

import io
import time
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
from rest_framework.test import APIClient

from backend.catalog.models import Configuration
from backend.deployments.log import kafka as connection
from backend.deployments.log.outbox import publish_pending
from backend.deployments.models import Deployment, OutboxEntry, State
from backend.deployments.projection import projection
from mainstem.errors import LogError
from mainstem.kafka.broker.embedded import EmbeddedKafka
from mainstem.protocol.control import ControlTopic
from mainstem.protocol.log import MessageLog
from mainstem.protocol.messages import Command
from mainstem.protocol.topics import control_topic
from tests.backend.support import WEIGHTS
from tests.support.patience import PATIENCE

pytestmark = [pytest.mark.backend, pytest.mark.kafka, pytest.mark.django_db]


@pytest.fixture
def real_log(settings: Any, monkeypatch: pytest.MonkeyPatch, kafka: EmbeddedKafka) -> Iterator[MessageLog]:
    """The backend's own connection to the test's broker."""
    settings.KAFKA_BOOTSTRAP = kafka.bootstrap_servers
    monkeypatch.setattr(connection, "_log", None)
    log = connection.message_log()
    yield log
    log.close()


def test_a_federation_on_a_real_broker(admin: APIClient, configuration: Configuration, real_log: MessageLog) -> None:
    """Open, project, download, command, delete: each does on Kafka what it says."""
    federation = admin.post("/api/deployments/", {"configuration": configuration.pk}).json()["federation"]
    publish_all(real_log)
    topic = control_topic(federation)
    records = list(real_log.read(topic, 0, 0, real_log.bounds(topic, 0)[1]))
    assert projection.take("c", [("t", record) for record in records]).accepted == 1
    answer = admin.get(f"/api/results/{federation}/versions/0/weights.npz")
    with np.load(io.BytesIO(b"".join(answer.streaming_content)), allow_pickle=False) as archive:  # type: ignore[attr-defined]
        assert all(np.array_equal(archive[f"t{i:04d}"], tensor) for i, tensor in enumerate(WEIGHTS))
    admin.post(f"/api/deployments/{federation}/stop/")
    publish_all(real_log)
    control = ControlTopic(real_log, federation)
    assert any(isinstance(entry.record, Command) for entry in control.sync())
    control.close()
    admin.delete(f"/api/deployments/{federation}/?confirm={federation}")
    publish_all(real_log)
    deadline = time.monotonic() + PATIENCE
    while time.monotonic() < deadline and _exists(real_log, topic):
        time.sleep(0.05)
    assert not _exists(real_log, topic) and not Deployment.objects.exists()


def publish_all(log: MessageLog) -> None:
    """Until nothing waits: a broker may need a moment for new topics."""
    deadline = time.monotonic() + PATIENCE
    while OutboxEntry.objects.filter(done_at=None).exists():
        assert time.monotonic() < deadline
        publish_pending(log)
        time.sleep(0.05)


def _exists(log: MessageLog, topic: str) -> bool:
    try:
        return log.partitions(topic) > 0
    except LogError:
        return False


@pytest.mark.slow
def test_no_kafka(
    admin: APIClient, configuration: Configuration, settings: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A Kafka that does not answer leaves the deployment opening, with the reason shown, to be tried again."""
    settings.KAFKA_BOOTSTRAP, settings.KAFKA_SECONDS = "127.0.0.1:9", 1
    monkeypatch.setattr(connection, "_log", None)
    log = connection.message_log()
    federation = admin.post("/api/deployments/", {"configuration": configuration.pk}).json()["federation"]
    assert publish_pending(log) == 0
    shown = admin.get(f"/api/deployments/{federation}/").json()
    assert shown["state"] == State.OPENING and "Kafka did not take it" in shown["error"]
    assert OutboxEntry.objects.get().done_at is None
    log.close()
