"""One federation of light clients on a running broker: a fresh aggregator process, client processes, and figures."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import msgspec
import numpy as np

from benchmarks.machine import ROOT, Child, cpu_seconds, forget_peak, peak_memory, shares
from mainstem.kafka.broker.embedded import EmbeddedKafka
from mainstem.kafka.client.config import client_config
from mainstem.kafka.client.log import KafkaLog
from mainstem.protocol import topics
from mainstem.protocol.changes import read_version
from mainstem.protocol.control import ControlTopic
from mainstem.protocol.exchange import exchange
from mainstem.protocol.log import MessageLog
from mainstem.protocol.messages import Admission, Round, Rules, SiteKey
from mainstem.protocol.signing import PLATFORM_KEY_FILE, SITE_KEY_FILE, SigningKey
from mainstem.protocol.weights import Tensor
from mainstem.runtime.processes import die_with_parent
from mainstem.swarm import open_federation

PATIENCE = 600.0
"""Seconds after which a federation that has not ended is a failure; a long one has a second for each round."""


@dataclass(frozen=True)
class Case:
    """What is run: `kilobytes` (1024 bytes) of float32 over `tensors` equal tensors."""

    clients: int
    kilobytes: int
    rounds: int = 5
    tensors: int = 4
    processes: int = 2
    readers: str = "own"
    train: str = "noop"
    partitions: int = 1
    rules: dict[str, Any] = field(default_factory=dict)
    signed: bool = False
    """One site's clients sign, and the platform: every signature is judged."""

    @property
    def name(self) -> str:
        """As tables call it."""
        size = f"{self.kilobytes} KB" if self.kilobytes < 1024 else f"{self.kilobytes / 1024:g} MB"
        return f"{self.clients} x {size}"

    def model(self) -> list[Tensor]:
        """Version 0."""
        return [np.zeros(self.kilobytes * 256 // self.tensors, np.float32) for _ in range(self.tensors)]


CASES = {"250KB": Case(100, 250), "5MB": Case(100, 5 << 10), "50MB": Case(10, 50 << 10)}
"""Those that are measured beside Flower and beside Kafka alone."""


@contextmanager
def aggregator(bootstrap: str, *options: str, key: Path | None = None) -> Iterator[subprocess.Popen[bytes]]:
    """A running aggregator worker; with the file of a key, the platform's."""
    signing = {} if key is None else {PLATFORM_KEY_FILE: str(key)}
    with tempfile.TemporaryDirectory() as home:
        process = subprocess.Popen(
            [sys.executable, "-m", "mainstem.aggregator", "--bootstrap", bootstrap, *options],
            cwd=ROOT,
            env={**os.environ, **signing, "MAINSTEM_HOME": home},
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            preexec_fn=die_with_parent(),  # noqa: PLW1509 (it only calls prctl)
        )
        try:
            yield process
        finally:
            process.terminate()
            process.wait()


def client_processes(
    bootstrap: str, federation: str, case: Case, seconds: Sequence[float] | None = None, key: Path | None = None
) -> list[Child]:
    """`mainstem clients`, several times, perhaps with a site's key; `seconds` are how long those of each train."""
    signing = {} if key is None else {SITE_KEY_FILE: str(key)}
    common = ["--json", "--federation", federation, "--train", case.train, "--readers", case.readers]
    seconds = seconds or [0.0] * case.processes
    base = [sys.executable, "-m", "mainstem.cli", "clients", *common]
    return [
        Child(
            [*base, "--first", str(first), "--count", str(count), "--seconds", str(training)],
            {"KML_CLOUD_BOOTSTRAP_SERVERS": bootstrap, **signing},
        )
        for (first, count), training in zip(shares(case.clients, case.processes), seconds, strict=True)
        if count
    ]


def measure(
    kafka: EmbeddedKafka,
    case: Case,
    model: Sequence[Tensor] | None = None,
    start: Callable[..., list[Child]] = client_processes,
    after: Callable[[KafkaLog, str], dict[str, Any]] = lambda log, federation: {},
) -> dict[str, Any]:
    """Run one federation from its opening to its end; `after` finds more figures in its topics before they go."""
    log = KafkaLog(client_config(kafka.bootstrap_servers))
    assert kafka.process is not None
    broker = kafka.process.pid
    forget_peak(broker)
    broker_cpu = cpu_seconds(broker)
    rules = Rules(**{"rounds": case.rounds, "min_clients": case.clients, "max_clients": case.clients, **case.rules})
    key, file = (SigningKey.generate(), Path(tempfile.mkdtemp()) / "key.pem") if case.signed else (None, None)
    if key is not None and file is not None:
        file.write_bytes(key.pem())
        site = Admission(mode="enrolled", sites=(SiteKey(name="site", key=key.public),))
        rules, start = msgspec.structs.replace(rules, admission=site), partial(start, key=file)
    try:
        with aggregator(kafka.bootstrap_servers, key=file) as worker:
            id_ = open_federation(
                log, model or case.model(), rules, aggregator_partitions=case.partitions, name="benchmark", key=key
            )
            clients = [child.told(max(PATIENCE, case.rounds)) for child in start(kafka.bootstrap_servers, id_, case)]
            figures = {
                "aggregator_cpu": cpu_seconds(worker.pid),
                "aggregator_memory": peak_memory(worker.pid),
                "broker_cpu": cpu_seconds(broker) - broker_cpu,
                "broker_memory": peak_memory(broker),
                "clients_cpu": sum(client["cpu_seconds"] for client in clients),
                "clients_memory": sum(client["peak_memory"] for client in clients),
            }
        figures |= outcome(log, id_, clients) | after(log, id_)
        log.delete_topics(spec.name for spec in topics.federation_topics(id_))
    finally:
        log.close()
        if file is not None:
            shutil.rmtree(file.parent)
    return figures


def last_model(log: MessageLog, federation: str) -> list[Tensor]:
    """The tensors of the run's last version."""
    control = ControlTopic(log, federation)
    control.sync()
    control.close()
    assert control.head is not None
    way = control.head.way(control.head.base.version)
    assert way is not None
    return read_version(log, topics.data_topic(federation), way, exchange(control.head.opened))


def outcome(log: KafkaLog, federation: str, clients: list[dict[str, Any]]) -> dict[str, Any]:
    """Seconds of the rounds and of each version's way to all clients, and the messages, from the log itself."""
    control = ControlTopic(log, federation)
    entries = control.sync()
    control.close()
    rounds = [(e.timestamp_ms / 1000, e.record) for e in entries if e.link is not None and isinstance(e.record, Round)]
    arrived: dict[int, float] = {}
    for client in clients:
        for version, at in client["seen"].items():
            arrived[int(version)] = max(at, arrived.get(int(version), 0.0))
    spreading = []
    for _, record in rounds:
        run = (record.weights.change or record.weights).chunks[0]
        first = next(log.read(topics.data_topic(federation), run.partition, run.first, run.first + 1))
        spreading.append(arrived[record.version] - first.timestamp_ms / 1000)
    aggregator_topic = topics.aggregator_topic(federation)
    ends = [log.bounds(aggregator_topic, p)[1] for p in range(log.partitions(aggregator_topic))]
    data = log.bounds(topics.data_topic(federation), 0)[1]
    count = sum(client["clients"] for client in clients)
    return {
        "rounds": [at - record.opened_ms / 1000 for at, record in rounds],
        "spreading": spreading,
        "updates": [len(record.accepted) for _, record in rounds],
        "published": sum(ends) + data + entries[-1].offset + 1,
        "delivered": sum(ends) + count * (data + entries[-1].offset + 1),
        "total": rounds[-1][0] - (rounds[0][1].opened_ms / 1000),
    }
