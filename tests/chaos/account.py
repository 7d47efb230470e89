"""What must hold after a federation, whatever happened to it."""

from __future__ import annotations

import sqlite3
import time
from contextlib import closing
from pathlib import Path
from typing import Any, Protocol

from mainstem.kafka.client.config import client_config
from mainstem.kafka.client.log import KafkaLog
from mainstem.lineage import verify
from mainstem.platform.home import Home
from mainstem.protocol import topics
from mainstem.protocol.control import ControlTopic
from mainstem.protocol.log import MessageLog
from mainstem.protocol.messages import Round
from tests.support.sent import is_update

CAUGHT_UP_SECONDS = 180.0
READ_SECONDS = 60.0

_MINE = "SELECT id FROM deployments_deployment WHERE federation = :federation"
_TABLES = {
    "deployments_deployment": "federation = :federation",
    "deployments_controlrecord": "federation = :federation",
    "deployments_version": f"deployment_id IN ({_MINE})",
    "deployments_round": f"deployment_id IN ({_MINE})",
    "deployments_clientround": f"round_id IN (SELECT id FROM deployments_round WHERE deployment_id IN ({_MINE}))",
    "deployments_refusal": f"deployment_id IN ({_MINE})",
    "deployments_member": f"deployment_id IN ({_MINE})",
    "streams_datasource": "problem = problem",
}
_OF_THE_DATABASE = {
    *("id", "deployment_id", "round_id", "created_at", "updated_at", "received_at", "refolds"),
    *("stream_ids", "readable", "standing", "notice", "surveyed_at"),
}
"""Columns that tell of the database's own life rather than of the log: also what the launcher saw of a stream at the
site's Kafka. Of which round an update is, its offset says."""

_PROJECTED = {
    *("state", "detail", "cluster_id", "topic_id", "folded", "architecture", "round", "version", "head", "phase"),
    *("needed", "deadline_ms", "opened_ms", "ended_ms", "sha256", "evaluation", "superseded", "undecodable"),
    *("failures", "trouble"),
}
"""A deployment's columns that are the log's; the others are the catalog's, where the federation was made there."""

Rows = dict[str, list[dict[str, Any]]]


class Platform(Protocol):
    """A platform whose database can be compared with its log."""

    log: KafkaLog
    home: Home
    directory: Path

    def rebuilt(self, database: Path) -> None:
        """Make a database there from the log."""

    def tend(self) -> list[str]:
        """Start again what ended."""

    def logs(self) -> str:
        """What its parts told last."""


def updates_count_once(log: MessageLog, federation: str, rounds: int, clients: int) -> None:
    """Every version is proved; every update in the log counts once or is refused once; none is lost."""
    states = [proof.state for proof in verify(log, federation)]
    assert states == ["proved"] * (rounds + 1), states
    committed = rounds_of(log, federation)
    accepted = [a.offset for r in committed for a in r.accepted]
    refused = [x.offset for r in committed for x in r.refused]
    assert len(accepted) == len(set(accepted)) == rounds * clients, "an update counts twice or is missing"
    assert all(len({a.client for a in r.accepted}) == clients for r in committed)
    written = {
        record.offset
        for record in log.read(topics.aggregator_topic(federation), 0, 0, committed[-1].snapshot.position)
        if is_update(record)
    }
    assert written == set(accepted) | set(refused), "an update was dropped silently"


def rounds_of(log: MessageLog, federation: str) -> list[Round]:
    """The rounds that count."""
    control = ControlTopic(log, federation)
    try:
        return [e.record for e in control.sync() if e.link is not None and isinstance(e.record, Round)]
    finally:
        control.close()


def nobody_waits(servers: str, federation: str) -> None:
    """A new reader gets from the start of each topic to its end, soon."""
    names = [spec.name for spec in topics.federation_topics(federation)]
    with closing(KafkaLog(client_config(servers), timeout=READ_SECONDS)) as log:
        for name in [*names, topics.MODEL_CONTROL, topics.DATA_CONTROL]:
            for partition in range(log.partitions(name)):
                _reach_the_end(log, name, partition)


def _reach_the_end(log: MessageLog, topic: str, partition: int) -> None:
    first, end = log.bounds(topic, partition)
    deadline = time.monotonic() + READ_SECONDS
    with closing(log.cursor(topic, partition, first)) as cursor:
        while cursor.position < end:
            assert time.monotonic() < deadline, f"a reader of {topic}:{partition} hangs at {cursor.position} of {end}"
            cursor.poll(0.5)


def projection_is_the_log(stage: Platform, federation: str) -> None:
    """What the database holds of the run is what an empty one would be filled with, record by record."""
    control = topics.control_topic(federation)
    deadline = time.monotonic() + CAUGHT_UP_SECONDS
    while (behind := _behind(stage, control)) and time.monotonic() < deadline:
        stage.tend()
        time.sleep(0.1)
    assert not behind, f"the projection is behind: {behind}; logs:\n{stage.logs()}"
    fresh = stage.directory / "rebuilt.sqlite3"
    fresh.unlink(missing_ok=True)
    stage.rebuilt(fresh)
    live, expected = rows(stage.home.database, federation), rows(fresh, federation)
    for table, those in expected.items():
        differing = [row for row in live[table] + those if (row in live[table]) != (row in those)]
        assert live[table] == those, (
            f"{table}: {len(live[table])} rows, {len(those)} rebuilt; differing: {differing[:4]}"
        )
    committed = [(r.seq, r.round, len(r.accepted)) for r in rounds_of(stage.log, federation)]
    assert [(r["seq"], r["number"], r["accepted"]) for r in live["deployments_round"]] == committed


def _behind(stage: Platform, control: str) -> str:
    """What the loggers have not brought yet."""
    for topic, table, where in (
        (control, "deployments_controlrecord", f"topic = '{control}'"),
        (topics.DATA_CONTROL, "streams_datasource", "1"),
    ):
        end = stage.log.bounds(topic, 0)[1]
        with closing(sqlite3.connect(stage.home.database, timeout=20)) as database:
            count = database.execute(f"SELECT COUNT(*) FROM {table} WHERE {where}").fetchone()[0]
        if count != end:
            return f"{count} of {end} records of {topic}"
    return ""


def rows(path: Path, federation: str) -> Rows:
    """The run's rows by table, without what is the database's own, in an order of their own."""
    found: Rows = {}
    with closing(sqlite3.connect(path, timeout=20)) as database:
        database.row_factory = sqlite3.Row
        for table, where in _TABLES.items():
            taken = database.execute(f"SELECT * FROM {table} WHERE {where}", {"federation": federation})
            names = {column[0] for column in taken.description} - _OF_THE_DATABASE
            if table == "deployments_deployment":
                names &= _PROJECTED
            found[table] = sorted(
                ({name: row[name] for name in sorted(names)} for row in taken),
                key=lambda row: (row.get("seq", 0), row.get("offset", 0), repr(row)),
            )
    return found
