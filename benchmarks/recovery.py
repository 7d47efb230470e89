"""`python -m benchmarks.recovery`: the aggregator is killed in mid-round; seconds from `kill -9` to the round's commit.

Two workers stand ready. Half of the clients train for a second, the others not at all; when the latter's updates of the
second round are in the log, the worker that holds the federation is killed by SIGKILL, so always in mid-round. The
other takes over after the group's session timeout and finishes the round from the log; clients send nothing again.
Beside it, in turns, the same federation without a kill.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Callable
from contextlib import ExitStack
from typing import Any

from benchmarks.federation import PATIENCE, Case, aggregator, client_processes
from benchmarks.machine import description
from benchmarks.stats import emit, in_turns, show
from mainstem.errors import DecodeError
from mainstem.kafka.broker.embedded import EmbeddedKafka
from mainstem.kafka.client.config import client_config
from mainstem.kafka.client.log import KafkaLog
from mainstem.protocol import topics
from mainstem.protocol.chunks import is_chunk
from mainstem.protocol.control import ControlTopic
from mainstem.protocol.messages import Round, Rules, Update
from mainstem.protocol.packing import decode
from mainstem.swarm import open_federation

KILLED = 2
"""The round in which the worker dies."""

SLOW = 1.0
"""Seconds that the second half of the clients trains."""


def main() -> int:
    """Run disturbed and undisturbed federations in turns."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--clients", type=int, default=100)
    parser.add_argument("--kilobytes", type=int, default=250)
    parser.add_argument("--session-timeout-ms", type=int, default=6000)
    parser.add_argument("--repeat", type=int, default=5)
    options = parser.parse_args()
    case = Case(options.clients, options.kilobytes, 3)
    with EmbeddedKafka() as kafka:
        sides: dict[str, Callable[[], dict[str, Any]]] = {
            "undisturbed": lambda: run(kafka, case, options.session_timeout_ms, kill=False),
            "killed": lambda: run(kafka, case, options.session_timeout_ms, kill=True),
        }
        runs = in_turns(sides, options.repeat, "seconds")
    labels = {
        "seconds from kill to commit": "after_kill",
        "seconds of the round": "seconds",
        "sent again": "sent_again",
    }
    show(runs, {label: (figure, 1) for label, figure in labels.items()})
    hashes = {told["sha256"] for kept in runs.values() for told in kept}
    print(f"final hashes: {len(hashes)}", file=sys.stderr)
    emit({"benchmark": "recovery", **description(), **vars(options), "runs": runs})
    return 0


def run(kafka: EmbeddedKafka, case: Case, session_timeout_ms: int, *, kill: bool) -> dict[str, Any]:
    """One federation; the first worker dies in mid-round where `kill`."""
    log = KafkaLog(client_config(kafka.bootstrap_servers))
    timeout = ("--session-timeout-ms", str(session_timeout_ms))
    killed_at = 0.0
    with ExitStack() as stack:
        workers = [stack.enter_context(aggregator(kafka.bootstrap_servers, *timeout)) for _ in range(2)]
        rules = Rules(rounds=case.rounds, min_clients=case.clients, max_clients=case.clients)
        id_ = open_federation(log, case.model(), rules, name="recovery")
        clients = client_processes(kafka.bootstrap_servers, id_, case, (0.0, SLOW))
        control = ControlTopic(log, id_)
        while control.head is None or control.head.round < KILLED - 1:
            control.poll(0.05)
        if kill:
            wait_for_updates(log, id_, case.clients // 2, control.head.base.seq)
            record = control.head.link.record
            assert isinstance(record, Round)
            next(worker for worker in workers if f"-{worker.pid}-" in record.writer).kill()
            killed_at = time.time()
        answers = [client.told(PATIENCE) for client in clients]
    control.close()
    control = ControlTopic(log, id_)
    entries = [(e.timestamp_ms / 1000, e.record) for e in control.sync() if isinstance(e.record, Round) and e.link]
    control.close()
    at, record = next((at, r) for at, r in entries if r.round == KILLED)
    assert at > killed_at, "the round was over before the kill"
    log.delete_topics(spec.name for spec in topics.federation_topics(id_))
    log.close()
    return {
        **({"after_kill": at - killed_at} if kill else {}),
        "seconds": at - record.opened_ms / 1000,
        "sha256": entries[-1][1].weights.sha256,
        "sent_again": sum(answer["updates"] for answer in answers) - case.clients * case.rounds,
    }


def wait_for_updates(log: KafkaLog, federation: str, count: int, base: int) -> None:
    """Until so many manifests from `base` stand in the log."""
    cursor, seen = log.cursor(topics.aggregator_topic(federation), 0, 0), 0
    while seen < count:
        for record in cursor.poll(0.05):
            if is_chunk(record.headers):
                continue
            try:
                update = decode(record)
            except DecodeError:
                continue
            seen += isinstance(update, Update) and update.base.seq == base
    cursor.close()


if __name__ == "__main__":
    sys.exit(main())
