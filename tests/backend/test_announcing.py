"""Announcing a stream over REST and on its page: a topic that is missing is made, and said."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest
from rest_framework.test import APIClient

from backend.deployments.log import kafka as connection
from mainstem.protocol.log import Outgoing
from mainstem.protocol.topics import DATA_CONTROL, MODEL_CONTROL, stream_spec
from mainstem.streams.announcement import DataAnnouncement
from mainstem.testing.memory_log import MemoryLog
from tests.backend.support import Ticking, logged_in, text

pytestmark = [pytest.mark.backend, pytest.mark.django_db]

CONFIG = {"data_type": "float32", "data_reshape": "784", "label_type": "float32", "label_reshape": "10"}


@pytest.fixture
def site(monkeypatch: pytest.MonkeyPatch) -> MemoryLog:
    """The Kafka of the data streams, with a topic of two records."""
    log = MemoryLog(Ticking())
    log.create_topics([stream_spec("there")])
    log.append("there", [Outgoing(b"x"), Outgoing(b"y")])
    monkeypatch.setattr(connection, "stream_log", lambda: log)
    return log


def announced(site: MemoryLog) -> list[tuple[bytes | None, DataAnnouncement]]:
    """What the control topic holds."""
    if DATA_CONTROL not in site.existing([DATA_CONTROL]):
        return []
    records = site.read(DATA_CONTROL, 0, *site.bounds(DATA_CONTROL, 0))
    return [(record.key, DataAnnouncement.decode(record.key, record.value)) for record in records]


def test_a_name_makes_its_topic(admin: APIClient, site: MemoryLog) -> None:
    """With one partition, as a stream that grows; one that is there is left as it is."""
    answer = admin.post("/api/datasources/", {"topic": "ward-7", "input_config": CONFIG})
    assert (answer.status_code, answer.json()) == (201, {"topic": "ward-7", "made": ["ward-7"], "offset": 0})
    assert site.partitions("ward-7") == 1
    more = {"federation": "ddy6heod", "total_msg": 2, "test_rate": 0.5, "dataset_restrictions": {"ward": 7}}
    again = admin.post("/api/datasources/", {"topic": "there:0:0:2", "input_config": json.dumps(CONFIG), **more})
    assert again.json() == {"topic": "there:0:0:2", "made": [], "offset": 1}
    (key, grows), (addressed, exact) = announced(site)
    assert (key, grows.topic, grows.incremental, grows.input_config) == (None, "ward-7", True, CONFIG)
    assert (addressed, exact.incremental, exact.total_msg) == (b"ddy6heod", False, 2)
    assert (exact.federation, exact.restrictions, exact.test_rate) == ("ddy6heod", {"ward": 7}, 0.5)


@pytest.mark.parametrize(
    ("body", "field", "says"),
    [
        ({"topic": "away:0:0:5"}, "topic", "There is no topic away, so none of these offsets: give its bare name"),
        ({"topic": MODEL_CONTROL}, "topic", f"{MODEL_CONTROL} is no topic for samples: every federation needs it."),
        ({"topic": "FED-ddy6heod-model_data_topic"}, "topic", "it is of federation ddy6heod, whose run is in it"),
        ({"topic": "a b"}, "topic", "does not begin with a Kafka topic name"),
        ({"topic": "x", "input_config": "[1]"}, "input_config", "input_config must be a JSON object"),
        ({"topic": "x", "validation_rate": 0.5, "test_rate": 0.5}, "validation_rate", "together must be below 1"),
        ({"topic": "x", "federation": "nosuch"}, "federation", "A federation's id is 8 characters of a-z and 0-9."),
        ({"topic": "x", "tpoic": "y"}, "tpoic", "did you mean topic?"),
        ({}, "topic", "required"),
    ],
)
def test_what_cannot_be_announced_is_refused_at_its_field(
    admin: APIClient, site: MemoryLog, body: dict[str, Any], field: str, says: str
) -> None:
    """Then no topic is made and nothing is announced."""
    before = site.existing(["away", "x"])
    answer = admin.post("/api/datasources/", {"input_config": CONFIG} | body)
    assert answer.status_code in (400, 409)
    told = {error["field"]: error["message"] for error in answer.json()["errors"]}
    assert says in told[field]
    assert site.existing(["away", "x"]) == before and announced(site) == []


def test_the_page_says_what_it_made(user: Callable[[str], Any], site: MemoryLog) -> None:
    """For operators; what was typed stays beside a refusal."""
    browser = logged_in(user("operator"))
    assert 'href="/datasources/announce/"' in text(browser.get("/datasources/"))
    assert "Announce a stream" in text(browser.get("/datasources/announce/"))
    typed = {"topic": "ward-9", "input_format": "RAW", "input_config": json.dumps(CONFIG), "description": "Ward 9"}
    refused = browser.post("/datasources/announce/", typed | {"topic": "ward-9:0:0:5"})
    assert refused.status_code == 409 and "give its bare name, and it is made" in text(refused)
    assert "Ward 9" in text(refused)
    done = text(browser.post("/datasources/announce/", typed, follow=True))
    assert "ward-9 is announced; it is listed within a second." in done
    assert "The topic ward-9 was missing and is made, with one partition." in done
    assert site.partitions("ward-9") == 1 and announced(site)[0][1].description == "Ward 9"
    assert logged_in(user("viewer")).get("/datasources/announce/").status_code == 403
