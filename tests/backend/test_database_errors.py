"""What a database refuses is told as what it is, on SQLite and on PostgreSQL."""

from __future__ import annotations

import math
import sqlite3
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from django.db import DatabaseError, IntegrityError, OperationalError, connection, transaction
from rest_framework.test import APIClient
from rest_framework.validators import UniqueValidator

from backend.catalog import pages
from backend.catalog.api import ConfigurationViewSet
from backend.catalog.models import Configuration, Model
from backend.deployments.models import Deployment
from backend.inference.models import Inference
from backend.launchers.jobs import matching
from backend.launchers.models import Job
from backend.project import database
from backend.streams.models import DataSource
from tests.backend.support import FakeWorkshop, logged_in, text

pytestmark = [pytest.mark.backend, pytest.mark.django_db]

TEMPLATE = {"template": {"name": "mlp"}}
SQLITE = connection.vendor == "sqlite"


@pytest.mark.parametrize("rate", [math.inf, -math.inf, math.nan, "a\0b"])
def test_settings_that_json_cannot_hold_are_no_taken_name(
    admin: APIClient, fake_workshop: FakeWorkshop, rate: Any
) -> None:
    """An optimizer with an infinite rate is told so, whatever the model is called."""
    fake_workshop.compile = {"optimizer": {"class_name": "SGD", "config": {"learning_rate": rate}}}
    answer = admin.post("/api/models/", {"name": "anything", **TEMPLATE})
    (error,) = answer.json()["errors"]
    assert answer.status_code == 400 and error["field"] == "compile.optimizer.config.learning_rate"
    assert "compiled with cannot be kept, at compile.optimizer.config.learning_rate" in error["message"]
    assert "called" not in error["message"] and not Model.objects.exists()


def test_a_name_that_is_taken_meanwhile(
    admin: APIClient, model: Model, fake_workshop: FakeWorkshop, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two that ask for one name at once: the second is told which field, at every address, and it is no fault."""
    monkeypatch.setattr(UniqueValidator, "__call__", lambda *_: None)  # neither has seen the other
    Configuration.objects.create(name="study")
    bodies: dict[str, tuple[dict[str, Any], str]] = {
        "models/": ({"name": "tiny", **TEMPLATE}, "name"),
        "configurations/": ({"name": "study", "models": [model.pk]}, "name"),
        "users/": ({"username": "the-admin", "role": "viewer"}, "username"),
    }
    for address, (body, field) in bodies.items():
        with transaction.atomic():
            answer = admin.post(f"/api/{address}", body)
            assert answer.status_code == 409, (address, answer.content)
            (error,) = answer.json()["errors"]
            assert error == {"field": field, "message": f"There is one with this {field} already: choose another."}
            transaction.set_rollback(True)


def test_a_deployed_name_that_is_taken_meanwhile(db: None) -> None:
    """The same for deployed versions: the error itself names the column."""
    row = {"name": "serving", "federation": "abcdefgh", "version": 0}
    Inference.objects.create(**row)
    with pytest.raises(IntegrityError) as raised, transaction.atomic():
        Inference.objects.create(**row)
    assert database.field_in_use(raised.value) == "name" and not database.unavailable(raised.value)


def test_another_refusal_is_no_taken_place(
    configuration: Configuration, model: Model, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Matching looks again where a place was taken, and raises what is something else."""
    deployment = Deployment.objects.create(federation="abcdefgh", model=model)
    place = {"cluster_id": "c", "topic_id": "t", "partition": 0, "timestamp_ms": 0}
    first, second = (DataSource.objects.create(**place, offset=offset) for offset in (0, 1))
    job = {"federation": "abcdefgh", "deployment": deployment, "client_id": "c", "slot": 0}
    Job.objects.create(name="one", source=first, **job)
    with pytest.raises(IntegrityError) as raised, transaction.atomic():
        Job.objects.create(name="two", source=second, **job)
    assert database.field_in_use(raised.value)
    monkeypatch.setattr(matching, "client_id", lambda *_: None)
    with pytest.raises(IntegrityError) as raised:
        matching.assign(second, deployment)
    assert not database.field_in_use(raised.value) and not database.gone(raised.value)


@pytest.mark.django_db(transaction=True)
def test_what_is_gone_is_said(admin: APIClient, model: Model, monkeypatch: pytest.MonkeyPatch) -> None:
    """A model that is deleted while a configuration of it is made: no fault of ours."""
    made = ConfigurationViewSet.perform_create

    def late(self: Any, serializer: Any) -> None:
        with transaction.atomic():
            made(self, serializer)
            Model.objects.filter(pk=model.pk)._raw_delete("default")

    monkeypatch.setattr(ConfigurationViewSet, "perform_create", late)
    answer = admin.post("/api/configurations/", {"name": "late", "models": [model.pk]})
    assert answer.status_code == 409 and "deleted meanwhile" in answer.json()["detail"], answer.content


@pytest.mark.skipif(not SQLITE, reason="SQLite's errors")
def test_sentences_of_sqlite(tmp_path: Path) -> None:
    """Real errors of real files; what is a fault of ours has no sentence."""
    path = tmp_path / "db"
    first = sqlite3.connect(path, isolation_level=None)
    first.execute("CREATE TABLE t (x)")
    other = sqlite3.connect(path, timeout=0, isolation_level=None)
    first.execute("BEGIN EXCLUSIVE")
    assert "Others write" in told(lambda: other.execute("INSERT INTO t VALUES (1)"))
    first.execute("ROLLBACK")
    first.execute("PRAGMA max_page_count = 2")
    assert "disk of the database is full" in told(lambda: first.execute("INSERT INTO t VALUES (zeroblob(100000))"))
    readonly = sqlite3.connect(f"file:{path}?mode=ro", uri=True)
    assert "only be read" in told(lambda: readonly.execute("INSERT INTO t VALUES (1)"))
    assert "cannot be opened" in told(lambda: sqlite3.connect(tmp_path / "no" / "db"))
    (tmp_path / "text").write_text("x" * 5000)
    assert "no SQLite database" in told(lambda: sqlite3.connect(tmp_path / "text").execute("SELECT * FROM t"))
    assert told(lambda: first.execute("SELECT * FROM nothing")) == ""


@pytest.mark.skipif(SQLITE, reason="PostgreSQL's errors")
@pytest.mark.parametrize(
    ("statements", "sentence"),
    [
        (["SET LOCAL statement_timeout = 10", "SELECT pg_sleep(5)"], "took too long"),
        (["SET TRANSACTION READ ONLY", "CREATE TABLE t (x int)"], "only be read"),
        (["SELECT pg_terminate_backend(pg_backend_pid())"], "does not answer now"),
        (["SELECT * FROM nothing"], ""),
    ],
)
@pytest.mark.django_db(transaction=True)
def test_sentences_of_postgresql(statements: list[str], sentence: str) -> None:
    """Real errors of a real server."""
    with pytest.raises(DatabaseError) as raised, transaction.atomic(), connection.cursor() as cursor:
        for statement in statements:
            cursor.execute(statement)
    assert sentence in (said := database.unavailable(raised.value)) and bool(said) == bool(sentence)
    connection.close()


@pytest.mark.skipif(SQLITE, reason="PostgreSQL's errors")
def test_what_postgresql_says_at_the_door() -> None:
    """An unknown database or user is no silence, a server that is not there is."""
    given = connection.get_connection_params()
    connect = connection.Database.connect  # type: ignore[attr-defined]
    for change, sentence in (
        ({"dbname": "nothing"}, "that DATABASE_URL names"),
        ({"user": "nobody"}, "that DATABASE_URL names"),
        ({"host": "/nowhere"}, "does not answer now"),
    ):
        assert sentence in told(lambda change=change: connect(**{**given, **change}))  # type: ignore[misc]


def told(act: Callable[[], object]) -> str:
    """What is told of a driver's error that comes through Django."""
    with pytest.raises(DatabaseError) as raised:
        with connection.wrap_database_errors:
            act()
    return database.unavailable(raised.value)


def test_a_page_tells_it_too(user: Callable[[str], Any], monkeypatch: pytest.MonkeyPatch) -> None:
    """Not only REST: the page says 503 and why, not that Mainstem has a fault."""

    def lost(*_: Any) -> None:
        raise OperationalError("the connection is lost")

    browser = logged_in(user("viewer"))
    browser.raise_request_exception = False
    monkeypatch.setattr(pages, "Paginator", lost)
    answer = browser.get("/models/")
    assert answer.status_code == 503 and "The database does not answer now; try again." in text(answer)
    monkeypatch.setattr(pages, "Paginator", lambda *_: 1 // 0)
    answer = browser.get("/models/")
    assert answer.status_code == 500 and "a fault of its own" in text(answer)


def test_a_nul_in_an_address_is_refused(admin: APIClient, user: Callable[[str], Any]) -> None:
    """PostgreSQL cannot seek it; no page and no address asks it to."""
    browser = logged_in(user("viewer"))
    for path in ("/models/", "/configurations/", "/datasources/", "/deployments/", "/jobs/"):
        assert browser.get(f"{path}?q=%00&federation=%00").status_code == 400
    assert "holds a NUL" in admin.get("/api/models/?name__icontains=%00").json()["detail"]
