"""Both loggers against a real broker and a backend that fails, hangs up and restarts."""

from __future__ import annotations

import base64
import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from confluent_kafka import Producer

from control_logger.__main__ import control_source
from data_control_logger.__main__ import data_source
from mainstem.kafka.broker.embedded import EmbeddedKafka
from mainstem.kafka.client.config import client_config
from mainstem.kafka.client.group_source import GroupSource
from mainstem.kafka.client.log import KafkaLog
from mainstem.protocol.log import Outgoing
from mainstem.protocol.topics import (
    DATA_CONTROL,
    MODEL_CONTROL,
    TopicSpec,
    control_topic,
    data_control_spec,
    federation_topics,
    new_federation_id,
    shared_topics,
)
from mainstem.relay.http import Ingest
from mainstem.relay.loop import Relay
from mainstem.relay.settings import LoggerSettings
from mainstem.runtime.backoff import Backoff
from mainstem.runtime.processes import free_port
from tests.support.patience import PATIENCE, until

pytestmark = pytest.mark.kafka
Place = tuple[str, str, int, int]
"""Topic, topic id, partition, offset."""


class Backend:
    """Ingest endpoints that remember what they took. `fail` says, for each request, how to misbehave (or None)."""

    def __init__(self) -> None:
        self.port = free_port()
        self.fail: Callable[[list[dict[str, Any]]], int | str | None] = lambda records: None
        self.taken: list[dict[str, Any]] = []
        self.seen: dict[Place, float] = {}
        self.requests = 0
        self.pause = 0.0
        self.sizes: list[int] = []
        self.tokens: set[str | None] = set()
        self._server: ThreadingHTTPServer | None = None

    @property
    def api(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def start(self) -> None:
        backend = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"
            disable_nagle_algorithm = True

            def do_POST(self) -> None:
                body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                backend.requests += 1
                backend.sizes.append(sum(len(r["value_b64"] or "") for r in body["records"]))
                time.sleep(backend.pause)
                backend.tokens.add(self.headers["Authorization"])
                fault = backend.fail(body["records"])
                if fault == "hang up":
                    self.close_connection = True
                    self.connection.close()
                    return
                answer = backend.take(body) if fault in (None, "lose answer") else {"detail": "not now"}
                if fault == "lose answer":
                    self.close_connection = True
                    self.connection.close()
                    return
                content = json.dumps(answer).encode()
                self.send_response(fault if isinstance(fault, int) else 200)
                self.send_header("Content-Length", str(len(content)))
                self.end_headers()
                self.wfile.write(content)

            def log_message(self, *_: object) -> None: ...

        self._server = ThreadingHTTPServer(("127.0.0.1", self.port), Handler)
        self._server.daemon_threads = True
        threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True).start()

    def stop(self) -> None:
        if self._server is not None:
            self._server.shutdown()
            self._server.server_close()
            self._server = None

    def take(self, body: dict[str, Any]) -> dict[str, Any]:
        new, known, refused = 0, 0, []
        for record in body["records"]:
            place = (record["topic"], record["topic_id"], record["partition"], record["offset"])
            if place in self.seen:
                known += 1
                continue
            self.seen[place] = time.monotonic()
            self.taken.append(record)
            new += 1
            if value(record) == b"refuse me":
                refused.append({"offset": record["offset"], "reason": "as asked"})
        return {"accepted": new - len(refused), "duplicates": known, "refused": refused}

    def values(self, topic: str) -> list[bytes | None]:
        """What arrived of the topic, in the order of arrival."""
        return [value(r) for r in self.taken if r["topic"] == topic]


def value(record: dict[str, Any]) -> bytes | None:
    text = record["value_b64"]
    return None if text is None else base64.b64decode(text)


@pytest.fixture
def backend() -> Iterator[Backend]:
    server = Backend()
    server.start()
    yield server
    server.stop()


@pytest.fixture
def log(kafka: EmbeddedKafka) -> Iterator[KafkaLog]:
    log = KafkaLog(client_config(kafka.bootstrap_servers))
    log.create_topics([*shared_topics(), data_control_spec()])
    yield log
    log.close()


def open_federation(log: KafkaLog) -> str:
    federation = new_federation_id()
    log.create_topics(federation_topics(federation)[:1])
    return federation


def settings(kafka: EmbeddedKafka, backend: Backend) -> LoggerSettings:
    return LoggerSettings(kafka.bootstrap_servers, None, backend.api, lambda: "s3cret")


def group() -> str:
    return f"test-{new_federation_id()}"


@contextmanager
def running(source: GroupSource, backend: Backend, path: str = "/api/ingest/control/") -> Iterator[None]:
    """A logger in a thread, stopped at the end."""
    stop = threading.Event()
    ingest = Ingest(backend.api, path, lambda: "s3cret", timeout=5)
    backoff = Backoff(first=0.02, longest=0.2)
    thread = threading.Thread(target=Relay(source, ingest, stop, backoff, poll_seconds=0.05).run, daemon=True)
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join(PATIENCE)
        assert not thread.is_alive(), "the logger did not stop"
        ingest.close()
        source.close()


def send(log: KafkaLog, topic: str, values: Sequence[bytes | None], partition: int = 0) -> None:
    log.append(topic, [Outgoing(v, key=b"k", partition=partition) for v in values])


def numbered(count: int, start: int = 0) -> list[bytes | None]:
    return [b"%d" % n for n in range(start, start + count)]


def test_nothing_is_lost_or_reordered_while_the_backend_fails(
    kafka: EmbeddedKafka, log: KafkaLog, backend: Backend
) -> None:
    """Errors, hang-ups, lost answers and a restart of the backend: each record arrives once, in order."""
    faults: Iterator[int | str] = iter([503, "hang up", "lose answer", 500, 401, 502, "lose answer", "hang up"] * 3)
    backend.fail = lambda records: next(faults, None)
    topic = control_topic(open_federation(log))
    with running(control_source(settings(kafka, backend), group()), backend):
        send(log, topic, numbered(700))
        until(lambda: len(backend.values(topic)) >= 500)
        backend.stop()
        send(log, topic, numbered(700, 700))
        time.sleep(0.3)
        backend.start()
        until(lambda: len(backend.values(topic)) >= 1400)
    assert backend.values(topic) == numbered(1400)
    assert backend.tokens == {"Token s3cret"}


def test_a_killed_logger_goes_on_where_the_backend_stands(
    kafka: EmbeddedKafka, log: KafkaLog, backend: Backend
) -> None:
    """SIGKILL at any point costs repeats, never records; SIGTERM ends with exit code 0."""
    topic = control_topic(open_federation(log))
    name = group()
    send(log, topic, numbered(300))
    backend.pause = 0.02
    first = start_command(kafka, backend, "control_logger", name)
    until(lambda: len(backend.values(topic)) > 0)
    first.kill()
    first.wait()
    send(log, topic, numbered(300, 300))
    second = start_command(kafka, backend, "control_logger", name)
    try:
        until(lambda: len(backend.values(topic)) >= 600)
    finally:
        second.send_signal(signal.SIGTERM)
        assert second.wait(PATIENCE) == 0
    assert backend.values(topic) == numbered(600)


def start_command(
    kafka: EmbeddedKafka, backend: Backend, module: str, name: str, *more: str
) -> subprocess.Popen[bytes]:
    environ = {
        "PATH": os.environ["PATH"],
        "KML_CLOUD_BOOTSTRAP_SERVERS": kafka.bootstrap_servers,
        "MAINSTEM_API": backend.api,
        "MAINSTEM_TOKEN": "s3cret",
    }
    return subprocess.Popen([sys.executable, "-m", module, "--group", name, *more], env=environ)


def test_once_delivers_what_is_there_and_ends(kafka: EmbeddedKafka, log: KafkaLog, backend: Backend) -> None:
    """`--once` drains the topics and exits with 0, here with the data logger."""
    marker = new_federation_id().encode()
    send(log, DATA_CONTROL, [marker + b"%d" % n for n in range(20)])
    assert start_command(kafka, backend, "data_control_logger", group(), "--once").wait(PATIENCE) == 0
    mine = [v for v in backend.values(DATA_CONTROL) if v and v.startswith(marker)]
    assert mine == [marker + b"%d" % n for n in range(20)]


def test_control_records_arrive_at_once(kafka: EmbeddedKafka, log: KafkaLog, backend: Backend) -> None:
    """Live pages: a record of a known topic arrives within 0.3 s, an announced new federation's soon after."""
    first = open_federation(log)
    with running(control_source(settings(kafka, backend), group()), backend):
        send(log, control_topic(first), numbered(1))
        until(lambda: len(backend.values(control_topic(first))) == 1)
        waits = []
        for n in range(20):
            sent = time.monotonic()
            send(log, control_topic(first), numbered(1, n + 1))
            until(lambda n=n: len(backend.values(control_topic(first))) == n + 2)  # type: ignore[misc]
            waits.append(time.monotonic() - sent)
        fresh = []
        for _ in range(3):
            later = open_federation(log)
            sent = time.monotonic()
            send(log, control_topic(later), numbered(1))
            send(log, MODEL_CONTROL, [b"announcement"])
            until(lambda later=later: backend.values(control_topic(later)) == numbered(1))  # type: ignore[misc]
            fresh.append(time.monotonic() - sent)
    print(f"known topic: median {sorted(waits)[10]:.3f} s, worst {max(waits):.3f} s; new topic: {fresh}")
    assert sorted(waits)[10] < 0.3
    assert max(fresh) < 5


def test_every_reader_sees_the_same_records(kafka: EmbeddedKafka, log: KafkaLog, backend: Backend) -> None:
    """The record of an aborted transaction, and one of a transaction left open: the logger carries both, since the
    aggregator and a proof, which read without regard to transactions, judge them too."""
    topic = control_topic(open_federation(log))
    config = client_config(kafka.bootstrap_servers)
    writers = [Producer({**config, "transactional.id": f"{topic}-{number}"}) for number in range(2)]
    for number, writer in enumerate(writers):
        writer.init_transactions(10)
        writer.begin_transaction()
        writer.produce(topic, b"%d" % number)
        writer.flush(10)
        if number == 0:
            writer.abort_transaction(10)
    log.append(topic, [Outgoing(b"2")])
    cursor = log.cursor(topic, 0, 0)
    seen = [record.value for record in cursor.poll(5.0)]
    with running(control_source(settings(kafka, backend), group()), backend):
        until(lambda: b"2" in backend.values(topic))
    assert backend.values(topic) == seen == [b"0", b"1", b"2"]
    writers[1].abort_transaction(10)


def test_poison_does_not_block(kafka: EmbeddedKafka, log: KafkaLog, backend: Backend) -> None:
    """Records that the backend refuses, or that make it refuse the whole body, are passed over alone."""
    topic = control_topic(open_federation(log))
    backend.fail = lambda records: 400 if any(value(r) == b"poison" for r in records) else None
    with running(control_source(settings(kafka, backend), group()), backend):
        send(log, topic, [b"1", b"refuse me", b"poison", None, b"2", b"poison", b"3"])
        until(lambda: b"3" in backend.values(topic))
    assert backend.values(topic) == [b"1", b"refuse me", None, b"2", b"3"]


def test_batches_stay_small(kafka: EmbeddedKafka, log: KafkaLog, backend: Backend) -> None:
    """No body holds more than about 0.9 MB of records, so that none meets a server's limit."""
    topic = control_topic(open_federation(log))
    send(log, topic, [bytes(200_000)] * 20)
    with running(control_source(settings(kafka, backend), group()), backend):
        until(lambda: len(backend.values(topic)) == 20)
    assert max(backend.sizes) <= 4 * (900_000 + 2) // 3


def test_a_topic_made_anew_is_another_topic(kafka: EmbeddedKafka, log: KafkaLog, backend: Backend) -> None:
    """A federation's id may be used again: the new topic's records carry the new topic id, from offset 0 on."""
    federation = open_federation(log)
    topic = control_topic(federation)
    with running(control_source(settings(kafka, backend), group()), backend):
        send(log, topic, [b"old 0", b"old 1"])
        until(lambda: len(backend.values(topic)) == 2)
        log.delete_topics([topic])
        log.create_topics(federation_topics(federation)[:1])
        send(log, topic, [b"new 0", b"new 1", b"new 2"])
        until(lambda: len(backend.values(topic)) == 5)
    assert backend.values(topic) == [b"old 0", b"old 1", b"new 0", b"new 1", b"new 2"]
    ids = [r["topic_id"] for r in backend.taken if r["topic"] == topic]
    assert len(set(ids[:2])) == len(set(ids[2:])) == 1 and ids[0] != ids[2]


def test_a_long_outage_costs_the_membership_but_no_record(
    kafka: EmbeddedKafka, log: KafkaLog, backend: Backend
) -> None:
    """Longer away than Kafka lets a member be silent: it joins again and repeats what was not committed."""
    topic = control_topic(open_federation(log))
    source = GroupSource(
        client_config(kafka.bootstrap_servers), group=group(), topics=[f"^{topic}$"], max_poll_ms=6_000
    )
    backend.fail = lambda records: 503
    with running(source, backend):
        send(log, topic, numbered(50))
        until(lambda: backend.requests > 0)
        time.sleep(7.5)
        backend.fail = lambda records: None
        until(lambda: len(backend.values(topic)) == 50)
        send(log, topic, numbered(50, 50))
        until(lambda: len(backend.values(topic)) == 100)
    assert backend.values(topic) == numbered(100)


@pytest.mark.slow
def test_kafka_may_come_late_and_go_away(backend: Backend, tmp_path: Path) -> None:
    """A logger started before its Kafka waits for it, makes the data control topic, and survives a restart of it."""
    with EmbeddedKafka(tmp_path) as own:
        port = own.port
        own.stop()
        source = data_source(LoggerSettings(f"127.0.0.1:{port}", None, backend.api, lambda: "s3cret"), group())
        with running(source, backend, "/api/ingest/data/"):
            time.sleep(0.5)
            own.start()
            log = KafkaLog(client_config(own.bootstrap_servers))
            until(lambda: exists(log, DATA_CONTROL))
            send(log, DATA_CONTROL, numbered(10))
            until(lambda: len(backend.values(DATA_CONTROL)) == 10)
            own.restart()
            until(lambda: can_send(log, DATA_CONTROL, numbered(10, 10)))
            until(lambda: backend.values(DATA_CONTROL)[-1] == b"19")
            log.close()
    values = backend.values(DATA_CONTROL)
    assert sorted(set(values), key=values.index) == numbered(20)


def exists(log: KafkaLog, topic: str) -> bool:
    try:
        return log.partitions(topic) == 1
    except Exception:
        return False


def can_send(log: KafkaLog, topic: str, values: Sequence[bytes | None]) -> bool:
    try:
        send(log, topic, values)
    except Exception:
        return False
    return True


def test_two_loggers_share_the_work(kafka: EmbeddedKafka, log: KafkaLog, backend: Backend) -> None:
    """Two members of the group deliver every record of every partition, each partition in order."""
    topic = f"shared-{new_federation_id()}"
    log.create_topics([TopicSpec(topic, 6, {})])
    name = group()
    config = client_config(kafka.bootstrap_servers)
    sources = [GroupSource(config, group=name, topics=[f"^{topic}$"]) for _ in range(2)]
    with running(sources[0], backend):
        for partition in range(6):
            send(log, topic, numbered(40), partition)
        with running(sources[1], backend):
            for partition in range(6):
                send(log, topic, numbered(40, 40), partition)
            until(lambda: len(backend.values(topic)) == 480)
    for partition in range(6):
        offsets = [r["offset"] for r in backend.taken if r["topic"] == topic and r["partition"] == partition]
        assert offsets == list(range(80))


@pytest.mark.parametrize("module", ["mainstem.aggregator", "data_control_logger"])
def test_ctrl_c_ends_a_part_cleanly(kafka: EmbeddedKafka, backend: Backend, module: str) -> None:
    """As soon as it says that it is up: exit code 0, and nothing but its log on the screen."""
    environ = {
        "PATH": os.environ["PATH"],
        "KML_CLOUD_BOOTSTRAP_SERVERS": kafka.bootstrap_servers,
        "MAINSTEM_API": backend.api,
        "MAINSTEM_TOKEN": "s3cret",
    }
    with subprocess.Popen([sys.executable, "-m", module], env=environ, stderr=subprocess.PIPE, text=True) as part:
        assert part.stderr is not None
        first = part.stderr.readline()
        part.send_signal(signal.SIGINT)
        said = part.stderr.read()
        assert part.wait(PATIENCE) == 0, said
    assert " INFO " in first and "Traceback" not in said, first + said
