"""A pool of clients, and a producer that many threads share, on a real broker."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

from mainstem.aggregator.federation import Federation
from mainstem.kafka.broker.embedded import EmbeddedKafka
from mainstem.kafka.client.config import client_config
from mainstem.kafka.client.log import KafkaLog
from mainstem.protocol.log import Outgoing
from mainstem.protocol.messages import Rules
from mainstem.protocol.topics import TopicSpec, aggregator_topic
from mainstem.runtime.clock import SystemClock
from mainstem.swarm import Pool, make, open_federation
from tests.support.federations import rounds_of
from tests.support.patience import PATIENCE


@pytest.mark.parametrize("own", [True, False])
def test_rounds_of_a_pool(log: KafkaLog, own: bool) -> None:
    """Twelve clients, with readers of their own or shared ones, are in every round and leave at the end."""
    federation = open_federation(log, [np.zeros((300, 1000), np.float32)], Rules(rounds=3, min_clients=12))
    driver = Federation(log, federation, clock=SystemClock(), writer="w")

    def drive() -> None:
        while driver.step(0.1):
            pass

    thread = threading.Thread(target=drive)
    thread.start()
    pool = Pool(log, federation, [make("noise", n) for n in range(12)], apart=log.own_reader if own else None)
    pool.run(threading.Event())
    thread.join(PATIENCE)
    driver.close()
    assert [len(record.accepted) for record in rounds_of(log, federation)] == [12, 12, 12]


def test_appends_of_threads_stand_together(log: KafkaLog) -> None:
    """Ten threads append more than may be in flight through one producer: each append is one run of offsets."""
    log.create_topics([TopicSpec("together", 1, {"max.message.bytes": str(8 << 20)})])

    def append(number: int) -> list[int]:
        return log.append("together", (Outgoing(bytes([number]) * (1 << 20)) for _ in range(6)))

    with ThreadPoolExecutor(10) as executor:
        offsets = list(executor.map(append, range(10)))
    for number, mine in enumerate(offsets):
        assert mine == list(range(mine[0], mine[0] + 6))
        values = [record.value for record in log.read("together", 0, mine[0], mine[-1] + 1)]
        assert values == [bytes([number]) * (1 << 20)] * 6


def test_ctrl_c_ends_clients_while_kafka_is_away(tmp_path: Path) -> None:
    """The first Ctrl-C says what it waits for; the second one ends them, though no broker answers."""
    with EmbeddedKafka(tmp_path / "kafka") as broker:
        mine = KafkaLog(client_config(broker.bootstrap_servers))
        federation = open_federation(mine, [np.zeros(1000, np.float32)], Rules(rounds=9, min_clients=50))
        words = ["clients", "--federation", federation, "--count", "6"]
        clients = subprocess.Popen(
            [sys.executable, "-m", "mainstem.cli", *words],
            env={**os.environ, "KML_CLOUD_BOOTSTRAP_SERVERS": broker.bootstrap_servers},
            stderr=subprocess.PIPE,
            text=True,
        )
        try:
            deadline = time.monotonic() + PATIENCE
            while mine.bounds(aggregator_topic(federation), 0)[1] < 6:
                assert time.monotonic() < deadline, "they have not joined"
                time.sleep(0.1)
            broker.kill()
            time.sleep(2)
            clients.send_signal(signal.SIGINT)
            assert clients.stderr is not None
            for line in clients.stderr:
                if "Ctrl-C again ends at once" in line:
                    break
            if clients.poll() is None:
                clients.send_signal(signal.SIGINT)
            assert clients.wait(PATIENCE) in (0, -signal.SIGINT)
        finally:
            clients.kill()
            clients.wait()
            mine.close()
