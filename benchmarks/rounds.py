"""`python -m benchmarks.rounds`: seconds of a round, from its opening to its commit, with clients that train nothing.

A real broker, one aggregator worker process, and every client with its own connections. The floor in the same run is
the broker's: the time to append the round's bytes and read them back with one connection each way.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
import threading
import time

import numpy as np

from benchmarks.stats import emit, summary, table
from mainstem.control import ControlTopic
from mainstem.kafka.config import client_config
from mainstem.kafka.embedded import EmbeddedKafka
from mainstem.kafka.log import KafkaLog
from mainstem.messages import Round, Rules
from mainstem.ports import Outgoing
from mainstem.topics import MESSAGE_LIMIT, TopicSpec
from tests.support.federations import LightClient, open_federation


def main() -> int:
    """Run `--repeat` federations and print each figure's minimum, median and maximum."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--clients", type=int, default=10)
    parser.add_argument("--kilobytes", type=int, default=250, help="size of the model")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--repeat", type=int, default=5, help="federations, one after the other")
    options = parser.parse_args()
    with EmbeddedKafka() as kafka, tempfile.TemporaryDirectory() as home:
        worker = subprocess.Popen(
            [sys.executable, "-m", "backend.aggregator", "--bootstrap", kafka.bootstrap_servers],
            env={**os.environ, "MAINSTEM_HOME": home},
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        try:
            rows = measure(kafka.bootstrap_servers, options)
        finally:
            worker.terminate()
            worker.wait()
    table(rows, "s")
    emit({"benchmark": "rounds", **vars(options), **rows})
    return 0


def measure(bootstrap: str, options: argparse.Namespace) -> dict[str, dict[str, float]]:
    """Seconds: every round, the first ones (clients start in it), the later ones, and the broker's floor."""
    first: list[float] = []
    later: list[float] = []
    floors: list[float] = []
    log = KafkaLog(client_config(bootstrap))
    for _ in range(options.repeat):
        tensors = [np.zeros(options.kilobytes * 256 // 4, np.float32) for _ in range(4)]
        rules = Rules(rounds=options.rounds, min_clients=options.clients, final_wait_ms=10_000)
        id_ = open_federation(log, tensors, rules)
        run_clients(bootstrap, id_, options.clients)
        seconds = durations(log, id_)
        first.append(seconds[0])
        later += seconds[1:]
        floors.append(floor(log, options.clients, options.kilobytes << 10))
    return {"first round": summary(first), "later rounds": summary(later), "broker floor": summary(floors)}


def run_clients(bootstrap: str, federation: str, count: int) -> None:
    """`count` clients, each a thread with its own connections, until the run ends."""
    leave = threading.Event()

    def take_part(number: int) -> None:
        log = KafkaLog(client_config(bootstrap))
        LightClient(log, federation, f"client-{number}", lambda tensors, _: list(tensors)).run(leave)
        log.close()

    threads = [threading.Thread(target=take_part, args=(number,)) for number in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


def durations(log: KafkaLog, federation: str) -> list[float]:
    """Each round's seconds in log time: from its opening to its commit record."""
    control = ControlTopic(log, federation)
    entries = control.sync()
    control.close()
    rounds = [(e.timestamp_ms, e.record) for e in entries if e.link is not None and isinstance(e.record, Round)]
    return [(committed - r.opened_ms) / 1000 for committed, r in rounds]


def floor(log: KafkaLog, clients: int, nbytes: int) -> float:
    """Seconds to append one model a client and read them all back, through one connection each way."""
    topic = f"floor-{time.monotonic_ns()}"
    log.create_topics([TopicSpec(topic, 1, {"max.message.bytes": str(MESSAGE_LIMIT)})])
    log.append(topic, [Outgoing(b"warm")])
    begin = time.perf_counter()
    offsets = log.append(topic, [Outgoing(bytes(nbytes)) for _ in range(clients)])
    for _ in log.read(topic, 0, offsets[0], offsets[-1] + 1):
        pass
    return time.perf_counter() - begin


if __name__ == "__main__":
    sys.exit(main())
