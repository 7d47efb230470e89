"""A damaged database is found: by the health address and by `mainstem doctor`, on SQLite and on PostgreSQL."""

from __future__ import annotations

import json
import os
import signal
import sqlite3
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from django.db import connection, connections
from rest_framework.test import APIClient

from backend.project import environment, soundness
from backend.rest import health
from mainstem.cli.main import main
from tests.support.postgres import Postgres, PostgresError

pytestmark = [pytest.mark.backend, pytest.mark.django_db]

SQLITE = connection.vendor == "sqlite"
PAGE = 4096


def wrapper(url: str) -> Any:
    """Django's connection to that database."""
    settings = {**connection.settings_dict, "OPTIONS": {}, **environment.database({"DATABASE_URL": url})}
    made = type(connections)({"default": settings})["default"]
    made.inc_thread_sharing()
    return made


def damage(path: Path, table: str) -> None:
    """Overwrite the first page of the table."""
    with sqlite3.connect(path) as database:
        database.execute("PRAGMA journal_mode = DELETE")
        (page,) = database.execute("SELECT rootpage FROM sqlite_master WHERE name = ?", [table]).fetchone()
    database.close()
    with path.open("r+b") as file:
        file.seek((page - 1) * PAGE)
        file.write(b"\xa5" * PAGE)


@pytest.fixture
def damaged(tmp_path: Path) -> Path:
    """A copy of the migrated database in which one table is no more."""
    if not SQLITE:
        pytest.skip("SQLite's damage")
    path = tmp_path / "db.sqlite3"
    make(path)
    damage(path, "deployments_controlrecord")
    return path


def make(path: Path) -> None:
    """A database with our tables, in the place of the one that is there."""
    path.unlink(missing_ok=True)
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT sql FROM sqlite_master WHERE sql NOT NULL AND name NOT LIKE 'sqlite_%%' ORDER BY type DESC"
        )
        statements = [row[0] for row in cursor.fetchall()]
    with sqlite3.connect(path) as copy:
        for statement in statements:
            copy.execute(statement)
    copy.close()


def test_health_reads_every_table(damaged: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """One that cannot be read any more is a 503 with the way out; when it is restored, all is well."""
    theirs = wrapper(f"sqlite:///{damaged}")
    monkeypatch.setattr(health, "connection", theirs)
    monkeypatch.setattr(health, "_watch", soundness.TableWatch())
    monkeypatch.setattr(soundness, "RUN_EVERY_SECONDS", 0.0)
    monkeypatch.setattr(soundness, "BUDGET_SECONDS", 60.0)
    answer = APIClient().get("/api/health/")
    assert answer.status_code == 503
    told = answer.json()["detail"]
    assert told.startswith("The database's file is damaged: restore it from a backup. (deployments_controlrecord: "), (
        told
    )
    theirs.close()
    make(damaged)
    assert APIClient().get("/api/health/").status_code == 200
    theirs.close()


def test_a_look_takes_a_moment(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where it has no time it says nothing of a table, and looks there first the next time."""
    looked: list[str] = []

    def look(_: object, table: str, seconds: float) -> str:
        looked.append(table)
        return ""

    monkeypatch.setattr(soundness, "fault", look)
    monkeypatch.setattr(soundness, "BUDGET_SECONDS", 0.0)
    watch = soundness.TableWatch()
    assert watch.faults(connection) == [] and looked == []
    monkeypatch.setattr(soundness, "BUDGET_SECONDS", 60.0)
    watch.faults(connection)
    assert looked == [], "it was asked a moment ago"
    monkeypatch.setattr(soundness, "RUN_EVERY_SECONDS", 0.0)
    watch.faults(connection)
    watch.faults(connection)
    assert looked == soundness.tables()


def test_a_table_that_takes_longer_is_left(db: None) -> None:
    """An answer in time is worth more: the limit ends the look, and that is no damage."""
    for table in soundness.tables():
        assert soundness.fault(connection, table, 0.0) == ""


def test_doctor_finds_it(damaged: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """It names the table and the fix."""
    monkeypatch.setenv("MAINSTEM_HOME", str(damaged.parent))
    monkeypatch.delenv("DATABASE_URL", raising=False)
    assert main(["doctor", "--json"]) == 3
    found = [finding for finding in json.loads(capsys.readouterr().out) if finding["what"] == "database"]
    assert [finding["state"] for finding in found] == ["missing"]
    assert "deployments_controlrecord" in found[0]["detail"] and "mainstem rebuild" in found[0]["fix"]


@pytest.fixture(scope="module")
def server() -> Iterator[Postgres]:
    """A server of its own, since it is damaged."""
    try:
        made = Postgres()
    except PostgresError as error:
        pytest.skip(str(error))
    with made:
        yield made


def test_damage_on_postgresql(server: Postgres) -> None:
    """A page that is none is found wherever it is in the table."""
    server.psql("CREATE TABLE t AS SELECT n, repeat('x', 500) FROM generate_series(1, 1000) AS n")
    server.psql("CHECKPOINT")
    path = server.directory / "data" / server.psql("SELECT pg_relation_filepath('t')")
    found = wrapper(server.url())
    assert soundness.fault(found, "t", 60) == ""
    found.close()
    assert server._process is not None
    server._process.send_signal(signal.SIGINT)
    server._process.wait()
    with path.open("r+b") as file:
        file.seek(20 * 8192)
        file.write(os.urandom(8192))
    server.start()
    told = soundness.fault(found, "t", 60)
    assert told.startswith(
        "The database reports damaged data: restore it from a backup. (t: invalid page in block 20"
    ), told
    found.close()
