"""The database is a projection: emptied and filled again from a real broker, it is the same."""

from __future__ import annotations

import io
import json
from typing import Any

import pytest
from django.core.management import CommandError, call_command

from backend.audit.models import AuditEntry
from backend.audit.outbox import publish
from backend.audit.recording import note
from backend.deployments.models import ControlRecord, Deployment, FederationId
from backend.deployments.projection import projection
from backend.ingest.rebuild import rebuild
from backend.streams.models import DataSource
from mainstem.aggregator.federation import Federation
from mainstem.kafka.broker.embedded import EmbeddedKafka
from mainstem.kafka.client.config import client_config
from mainstem.kafka.client.log import KafkaLog
from mainstem.protocol.log import Outgoing
from mainstem.protocol.messages import Rules
from mainstem.protocol.topics import DATA_CONTROL, data_control_spec
from mainstem.runtime.clock import SystemClock
from tests.backend.test_projection import rows
from tests.kafka.test_rounds_on_kafka import run_to_end
from tests.support.federations import LightClient, open_federation
from tests.support.runs import START, command, train

pytestmark = [pytest.mark.backend, pytest.mark.kafka, pytest.mark.django_db]


def runs(log: KafkaLog) -> list[str]:
    """A finished run that was rolled back in between, and one that waits for its clients."""
    finished = open_federation(log, START, Rules(rounds=2, min_clients=1))
    for incarnation in ("1", "2"):
        aggregator = Federation(log, finished, clock=SystemClock(), writer="w")
        assert aggregator.step(0.0)  # before the client comes, who would leave a finished run
        run_to_end(aggregator, [LightClient(log, finished, "c0", train(0), 5, incarnation)])
        if incarnation == "1":
            command(log, finished, "rollback", version=1)
    waiting = open_federation(log, START, Rules(rounds=9))
    return [finished, waiting]


def empty() -> None:
    """What a lost database leaves."""
    for table in (Deployment, ControlRecord, FederationId, DataSource):
        table._default_manager.all().delete()
    projection.forget_all()


def mine(federations: list[str]) -> dict[str, list[dict[str, Any]]]:
    """Rows without what this test's broker holds of other tests."""
    of = {row["federation"]: row["name"] for row in Deployment.objects.values("federation", "name")}
    assert set(federations) <= set(of)
    return rows()


def test_an_emptied_database_is_filled_again(kafka: EmbeddedKafka, settings: Any) -> None:
    """Run tables and streams: every row is as it was, and doing it once more changes nothing."""
    config = client_config(kafka.bootstrap_servers)
    log = KafkaLog(config)
    federations = runs(log)
    log.create_topics([data_control_spec()])
    announced = {"topic": "site:0:0:10", "input_format": "RAW", "input_config": {}, "total_msg": 10}
    log.append(DATA_CONTROL, [Outgoing(json.dumps(announced).encode(), key=(0).to_bytes(8, "big"))])
    told = note("deployment.stop", ("ddy6heod", "digits"), who="alice")
    publish(lambda: log)
    first = rebuild(config, config)
    before = mine(federations)
    sources = DataSource.objects.count()
    assert first.accepted > 0 and first.streams == sources > 0
    done = Deployment.objects.get(federation=federations[0])
    assert (done.state, done.round, done.version) == ("finished", 2, 3) and done.head["lineage"] == [0, 1, 3]
    empty()
    AuditEntry.objects.all().delete()
    assert rows()["Round"] == [] and not DataSource.objects.exists()
    again = rebuild(config, config)
    assert (again.accepted, len(again.refused), again.streams) == (first.accepted, len(first.refused), first.streams)
    assert mine(federations) == before
    assert again.audited >= 1 and AuditEntry.objects.get(uid=told.uid).record == told.record
    settings.KAFKA_BOOTSTRAP = settings.DATA_BOOTSTRAP = kafka.bootstrap_servers
    out = io.StringIO()
    call_command("rebuild", stdout=out, stderr=io.StringIO())
    told = json.loads(out.getvalue())
    assert told["accepted"] == 0 and told["streams"] == 0 and told["duplicates"] >= first.accepted
    assert mine(federations) == before
    log.close()


def test_a_rebuild_without_kafka_says_so(settings: Any) -> None:
    """No servers named; servers that do not answer."""
    settings.KAFKA_BOOTSTRAP = ""
    with pytest.raises(CommandError, match="KML_CLOUD_BOOTSTRAP_SERVERS"):
        call_command("rebuild")
