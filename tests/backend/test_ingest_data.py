"""The data logger's endpoint: each announcement once, refused ones kept with their reason."""

from __future__ import annotations

import base64
import json
from collections.abc import Callable
from typing import Any

import pytest
from django.utils import timezone
from hypothesis import given, settings
from hypothesis import strategies as st
from rest_framework.test import APIClient

from backend.deployments.models import Deployment
from backend.launchers.jobs import matching
from backend.launchers.models import Job
from backend.streams import intake
from backend.streams.models import DataSource
from mainstem.errors import DecodeError
from mainstem.protocol.log import Record
from mainstem.protocol.topics import DATA_CONTROL

pytestmark = [pytest.mark.backend, pytest.mark.django_db]

URL = "/api/ingest/data/"
GOOD: dict[str, Any] = {
    "topic": "automl:0:0:250",
    "input_format": "RAW",
    "input_config": {"data_type": "float32", "data_reshape": "28 28", "label_type": "float32", "label_reshape": "10"},
    "description": "digits",
    "dataset_restrictions": "{}",
    "validation_rate": 0.1,
    "test_rate": 0.05,
    "total_msg": 250,
}


Clients = Callable[[str | None], APIClient]
"""The fixture `client_of`: a REST client of a role."""


@pytest.fixture
def logger(client_of: Clients) -> APIClient:
    return client_of("logger")


def entry(offset: int, value: Any, key: bytes | None = None, **more: Any) -> dict[str, Any]:
    raw = value if isinstance(value, bytes) else json.dumps(value).encode()
    return {
        "topic": DATA_CONTROL,
        "topic_id": "tid",
        "partition": 0,
        "offset": offset,
        "timestamp_ms": 5,
        "key_b64": None if key is None else base64.b64encode(key).decode(),
        "value_b64": base64.b64encode(raw).decode(),
        **more,
    }


def body(*entries: dict[str, Any]) -> dict[str, Any]:
    return {"cluster_id": "cid", "records": list(entries)}


def test_a_stream_is_stored_once(logger: APIClient) -> None:
    """However often it comes; with every field that its announcement has."""
    for accepted, duplicates in ((1, 0), (0, 1)):
        answer = logger.post(URL, body(entry(7, GOOD)), format="json")
        assert answer.status_code == 200, answer.content
        assert answer.json() == {"accepted": accepted, "duplicates": duplicates, "refused": []}
    source = DataSource.objects.get()
    assert (source.topic, source.input_format, source.total_msg, source.test_rate) == (
        "automl:0:0:250",
        "RAW",
        250,
        0.05,
    )
    assert source.input_config == GOOD["input_config"] and source.restrictions is None


def test_the_same_offset_elsewhere_is_another_record(logger: APIClient) -> None:
    """Cluster, topic and partition count too: a topic made anew begins at offset 0 again."""
    logger.post(URL, body(entry(0, GOOD)), format="json")
    logger.post(URL, body(entry(0, GOOD, topic_id="another")), format="json")
    logger.post(URL, {"cluster_id": "another", "records": [entry(0, GOOD)]}, format="json")
    assert DataSource.objects.count() == 3


def test_refused_announcements_are_kept_with_their_reason(logger: APIClient) -> None:
    """They stand in nobody's way: what comes after them counts."""
    answer = logger.post(
        URL,
        body(
            entry(0, b"not json"),
            entry(1, {**GOOD, "input_format": "XML"}),
            entry(2, {**GOOD, "description": "a\x00b"}),
            entry(3, b'{"topic":"t","input_format":"RAW","input_config":{"x":1e999}}'),
            entry(4, GOOD, topic="another_topic"),
            entry(5, GOOD),
            {**entry(6, GOOD), "value_b64": None},
        ),
        format="json",
    ).json()
    assert answer["accepted"] == 1
    reasons = {refused["offset"]: refused["reason"] for refused in answer["refused"]}
    assert set(reasons) == {0, 1, 2, 3, 4, 6}
    assert "input_format" in reasons[1] and "description" in reasons[2] and "input_config" in reasons[3]
    assert set(DataSource.objects.exclude(problem="").values_list("offset", flat=True)) == {0, 1, 2, 3, 6}


@pytest.mark.parametrize(
    "bad",
    [
        {},
        {"cluster_id": "c"},
        {"cluster_id": "c", "records": [{}]},
        {"cluster_id": "c", "records": [entry(0, GOOD, value_b64="*")]},
        {"cluster_id": "c", "records": [entry(-1, GOOD)]},
        {"cluster_id": "c", "records": [entry(0, GOOD, partition="x")]},
        {"cluster_id": "c" * 65, "records": []},
        [],
        "text",
    ],
)
def test_a_body_that_is_none_is_refused(logger: APIClient, bad: Any) -> None:
    """With a problem that names the field."""
    answer = logger.post(URL, bad, format="json")
    assert answer.status_code == 400 and answer["Content-Type"] == "application/problem+json"


@pytest.mark.parametrize("role", ["admin", "operator", "viewer"])
def test_only_loggers_may_deliver(client_of: Clients, role: str) -> None:
    """Not even an admin writes what only the log may say; nobody without a token does."""
    assert client_of(role).post(URL, body(entry(0, GOOD)), format="json").status_code == 403
    assert APIClient().post(URL, body(entry(0, GOOD)), format="json").status_code == 401


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(st.characters(codec=None)),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=8,
)


@settings(max_examples=150)
@given(
    st.binary(max_size=40)
    | st.dictionaries(st.sampled_from(sorted(GOOD)), json_values).map(lambda d: json.dumps({**GOOD, **d}).encode()),
    st.none() | st.binary(max_size=80),
)
def test_no_record_breaks_the_endpoint(db: None, value: bytes, key: bytes | None) -> None:
    """Whatever bytes come, the record is stored, as a stream or with its problem."""
    DataSource.objects.all().delete()
    source, new = intake.take("c", "t", Record(DATA_CONTROL, 0, 0, 1, key, value))
    source.refresh_from_db()
    assert new and bool(source.problem) != bool(source.topic)
    try:
        _ = source.problem or source.announcement.ranges
    except DecodeError:
        pytest.fail("a stored stream must be readable")


@pytest.mark.parametrize(("key", "meant"), [(None, ""), (b"\1", ""), (b"1", ""), (b"ddy6heod", "ddy6heod")])
def test_whom_an_announcement_is_addressed_to(logger: APIClient, key: bytes | None, meant: str) -> None:
    """A federation's id as text is its address; a number is none."""
    logger.post(URL, body(entry(0, GOOD, key)), format="json")
    assert DataSource.objects.get().addressed_to == meant


def surveyed() -> None:
    """The launcher has looked at all streams, and found them whole."""
    DataSource.objects.update(standing="ready", readable=250, surveyed_at=timezone.now())
    matching.match()


def test_an_announcement_starts_the_job_of_an_open_federation(logger: APIClient) -> None:
    """As soon as Kafka was asked, and not again when the logger repeats itself."""
    Deployment.objects.create(
        federation="ddy6heod", name="d", state="waiting", input={"shape": [28, 28]}, rules={"max_clients": 3}
    )
    for _ in range(2):
        logger.post(URL, body(entry(0, GOOD)), format="json")
        surveyed()
    job = Job.objects.get()
    assert job.federation == "ddy6heod" and job.state == "pending"
    assert job.client_id == f"automl-{job.source.digest}"


def test_data_sources_can_be_read_and_explained(client_of: Clients) -> None:
    """A viewer sees the streams, and for each federation whether one fits and why not."""
    logger, viewer = client_of("logger"), client_of("viewer")
    Deployment.objects.create(federation="fits0000", name="d", state="running", input={"shape": [28, 28]})
    Deployment.objects.create(federation="shape000", name="d", state="running", input={"shape": [32, 32, 3]})
    Deployment.objects.create(federation="ended000", name="d", state="finished", input={"shape": [28, 28]})
    Deployment.objects.create(
        federation="full0000", name="d", state="running", input={"shape": [28, 28]}, rules={"max_clients": 1}
    )
    other = {**GOOD, "topic": "other:0:0:250"}
    logger.post(URL, body(entry(0, GOOD), entry(1, other)), format="json")
    surveyed()
    listed = viewer.get("/api/datasources/").json()
    assert [source["topic"] for source in listed["results"]] == ["other:0:0:250", "automl:0:0:250"]
    detail = viewer.get(f"/api/datasources/{listed['results'][0]['id']}/").json()
    assert json.loads(detail["raw"]) == other
    fits = {fit["federation"]: fit for fit in viewer.get(f"/api/datasources/{detail['id']}/fits/").json()}
    assert set(fits) == {"fits0000", "shape000", "full0000"}
    assert fits["fits0000"]["fits"] and fits["fits0000"]["job"]
    assert not fits["shape000"]["fits"] and "shape" in fits["shape000"]["reason"]
    assert fits["full0000"]["fits"] and fits["full0000"]["job"] is None and "places" in fits["full0000"]["reason"]
    assert viewer.get("/api/datasources/?incremental=true").json()["count"] == 0
    assert APIClient().get("/api/datasources/").status_code == 401
