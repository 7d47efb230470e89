"""Several backends at once on one real PostgreSQL: each record counts once, each id and place is given away once."""

from __future__ import annotations

import base64
import json
import os
import random
import signal
import subprocess
import sys
import threading
import urllib.error
import urllib.request
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import pytest

from mainstem.protocol.topics import control_topic
from mainstem.runtime.processes import free_port
from tests.backend.test_projection import CLUSTER, TOPIC_ID, VALUES
from tests.support.patience import PATIENCE, until
from tests.support.postgres import Postgres
from tests.vectors.examples import FEDERATION

TOKEN = "a-token-of-the-loggers-0123456789abcdef"
PASSWORD = "correct horse battery"
TABLES = {
    "deployments_deployment": "federation, name, state, round, version, sha256, folded, superseded, undecodable,"
    " detail, evaluation::text, head::text, rules::text, opened_ms, ended_ms",
    "deployments_version": "number, seq, parent, sha256, nbytes, evaluation::text",
    "deployments_round": "seq, number, version, accepted, refused, writer",
    "deployments_clientround": 'client, examples, coefficient, "offset", training::text',
    "deployments_refusal": 'client, "offset", round, reason',
    "deployments_member": "client, state, examples, detail",
    "deployments_controlrecord": 'partition, "offset", kind, problem',
}

MODEL = """
WITH blob AS (INSERT INTO catalog_blob (sha256, size, created_at) VALUES ('0', 0, now()) RETURNING id)
INSERT INTO catalog_model (name, description, framework, kind, origin, seed, architecture, weights_id, tensors,
    input_shape, input_dtype, output_shape, output_dtype, layers, parameters, created_at)
SELECT 'tiny', '', 'tf', 'template', '{}', 0, '{}', id,
    '[{"name": "kernel", "dtype": "float32", "shape": [4, 2]}]', '[4]', 'float32', '[2]', 'float32', '[]', 10, now()
FROM blob RETURNING id
"""
"""A model as a row: none is built here."""


@dataclass
class Backends:
    """Two replicas of two workers each, and their database."""

    server: Postgres
    addresses: list[str]

    def rows(self) -> dict[str, list[str]]:
        """What was projected."""
        return {
            table: sorted(self.server.psql(f"SELECT {columns} FROM {table}", "replicas").splitlines())
            for table, columns in TABLES.items()
        }

    def clear(self) -> None:
        """Forget what was projected, as an empty database."""
        self.server.psql(f"TRUNCATE {', '.join(TABLES)}, deployments_federationid CASCADE", "replicas")

    def ask(self, number: int, method: str, path: str, body: Any = None, token: str = TOKEN) -> tuple[int, Any]:
        """An answer of one replica."""
        request = urllib.request.Request(
            self.addresses[number % len(self.addresses)] + path,
            method=method,
            data=None if body is None else json.dumps(body).encode(),
            headers={"Content-Type": "application/json", "Authorization": f"Token {token}"},
        )
        try:
            with urllib.request.urlopen(request, timeout=PATIENCE) as response:
                return response.status, json.load(response)
        except urllib.error.HTTPError as error:
            return error.code, json.loads(error.read() or b"null")

    def ingest(self, number: int, offsets: Sequence[int]) -> Counter[str]:
        """Deliver records of the example run as a logger does."""
        records = [
            {
                "topic": control_topic(FEDERATION),
                "topic_id": TOPIC_ID,
                "partition": 0,
                "offset": offset,
                "timestamp_ms": 1000 + offset,
                "key_b64": None,
                "value_b64": base64.b64encode(VALUES[offset]).decode(),
            }
            for offset in offsets
        ]
        status, answer = self.ask(number, "POST", "/api/ingest/control/", {"cluster_id": CLUSTER, "records": records})
        assert status == 200, answer
        return Counter(accepted=answer["accepted"], duplicates=answer["duplicates"], refused=len(answer["refused"]))


@pytest.fixture(scope="module")
def backends(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Backends]:
    """A fresh PostgreSQL, prepared by both replicas at once, and the replicas behind their addresses."""
    home = tmp_path_factory.mktemp("replicas")
    processes: list[subprocess.Popen[bytes]] = []
    with Postgres() as server:
        server.psql("CREATE DATABASE replicas")
        environment = {name: value for name, value in os.environ.items() if not name.startswith("MAINSTEM_METRICS")} | {
            "MAINSTEM_HOME": str(home),
            "DATABASE_URL": server.url("replicas"),
            "MAINSTEM_SECRET_KEY": "only-for-tests",
            "MAINSTEM_ADMIN_PASSWORD": PASSWORD,
            "MAINSTEM_TOKEN": TOKEN,
            "MAINSTEM_WEB_WORKERS": "2",
            "MAINSTEM_WEB_THREADS": "4",
        }
        prepare = [sys.executable, "-m", "backend.manage", "prepare"]
        both = [subprocess.Popen(prepare, env=environment) for _ in range(2)]
        assert [one.wait(PATIENCE) for one in both] == [0, 0]
        ports = [free_port()]
        ports.append(free_port(avoid=ports))
        web = ["gunicorn", "-c", "python:backend.project.gunicorn", "backend.project.wsgi:application"]
        for port in ports:
            bind = environment | {"MAINSTEM_BIND": f"127.0.0.1:{port}"}
            processes.append(subprocess.Popen([sys.executable, "-m", *web], env=bind))
        try:
            backends = Backends(server, [f"http://127.0.0.1:{port}" for port in ports])
            for number in range(len(ports)):
                until(lambda number=number: healthy(backends, number))  # type: ignore[misc]
            yield backends
        finally:
            for process in processes:
                process.send_signal(signal.SIGTERM)
            for process in processes:
                process.wait(PATIENCE)


def healthy(backends: Backends, number: int) -> bool:
    """Whether a replica answers."""
    try:
        return backends.ask(number, "GET", "/api/health/")[0] == 200
    except OSError:
        return False


def at_once(calls: Sequence[Callable[[], Any]]) -> list[Any]:
    """The answers of all calls, begun at one moment."""
    start = threading.Barrier(len(calls))

    def call(one: Callable[[], Any]) -> Any:
        start.wait()
        return one()

    with ThreadPoolExecutor(len(calls)) as pool:
        return list(pool.map(call, calls))


def test_replicas_fold_the_same_records_at_once(backends: Backends) -> None:
    """Overlapping batches in any order through both replicas leave the rows of one undisturbed delivery."""
    backends.clear()
    backends.ingest(0, range(len(VALUES)))
    undisturbed = backends.rows()
    assert len(undisturbed["deployments_controlrecord"]) == len(VALUES)
    for seed in range(6):
        backends.clear()
        dice = random.Random(seed)
        batches = [list(range(len(VALUES)))] + [
            sorted(dice.sample(range(len(VALUES)), dice.randint(1, len(VALUES)))) for _ in range(7)
        ]
        dice.shuffle(batches)
        tallies = at_once(
            [lambda n=n, batch=batch: backends.ingest(n, batch) for n, batch in enumerate(batches)]  # type: ignore[misc]
        )
        assert backends.rows() == undisturbed, f"seed {seed}"
        taken = sum(tallies, Counter[str]())
        assert taken["accepted"] + taken["refused"] == len(VALUES), "each record was new once"
        assert taken.total() == sum(map(len, batches))


def test_an_id_is_given_away_once(backends: Backends) -> None:
    """Of many requests at once for one federation id one gets it; the others are told so."""
    backends.clear()
    status, admin = backends.ask(0, "POST", "/api/auth/token/", {"username": "admin", "password": PASSWORD})
    assert status == 201, admin
    token = admin["token"]
    model = backends.server.psql(MODEL, "replicas").splitlines()[0]
    status, made = backends.ask(0, "POST", "/api/configurations/", {"name": "study", "models": [int(model)]}, token)
    assert status == 201, made
    asked = {"configuration": made["id"], "federation": "ddy6heod"}
    answers = at_once(
        [lambda n=n: backends.ask(n, "POST", "/api/deployments/", asked, token)[0] for n in range(8)]  # type: ignore[misc]
    )
    assert sorted(answers) == [201] + [409] * 7
    assert backends.server.psql("SELECT count(*) FROM deployments_outboxentry", "replicas") == "1"


def test_a_database_that_dies_is_503_until_it_is_back(backends: Backends) -> None:
    """A killed server makes both replicas say 503, which loggers wait out; back, it needs no restart of theirs."""
    asked = "/api/ingest/control/", {"cluster_id": CLUSTER, "records": []}
    backends.server.kill()
    try:
        assert [backends.ask(number, "POST", *asked)[0] for number in range(4)] == [503] * 4
        assert backends.ask(0, "GET", "/api/health/")[0] == 503
    finally:
        backends.server.start()
    for number in range(2):
        until(lambda number=number: backends.ask(number, "POST", *asked)[0] == 200)  # type: ignore[misc]
