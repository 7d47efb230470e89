"""`python -m benchmarks.strangers`: a run of three rounds, alone and beside announcements of federations that are none.

Every announcement is written at once, in the middle of them that of the run. What the aggregator needs for it is looked
at ten times a second until the run has ended: its threads (with librdkafka's), and its processor's time.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import threading
import time
from typing import Any

from benchmarks.federation import PATIENCE, Case, aggregator, client_processes
from benchmarks.machine import cpu_seconds, description, peak_memory
from benchmarks.stats import emit, in_turns, show
from mainstem.kafka.broker.embedded import EmbeddedKafka
from mainstem.kafka.client.config import client_config
from mainstem.kafka.client.log import KafkaLog
from mainstem.protocol import topics
from mainstem.protocol.messages import Rules
from mainstem.swarm import announcement_of, open_federation


def main() -> int:
    """Runs with and without strangers, in turns."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--strangers", type=int, default=10_000)
    parser.add_argument("--clients", type=int, default=10)
    parser.add_argument("--kilobytes", type=int, default=250)
    parser.add_argument("--repeat", type=int, default=3)
    options = parser.parse_args()
    case = Case(options.clients, options.kilobytes, rounds=3)
    runs = in_turns(
        {"alone": lambda: run(case, 0), "beside": lambda: run(case, options.strangers)}, options.repeat, "seconds"
    )
    labels = {
        "seconds of the run": "seconds", "seconds of writing": "written",
        "threads at most": "threads", "aggregator's CPU seconds": "cpu", "its memory, MB": "memory",
    }  # fmt: skip
    show(runs, {label: (figure, 1) for label, figure in labels.items()})
    emit({"benchmark": "strangers", **description(), **vars(options), "runs": runs})
    return 0


def run(case: Case, strangers: int) -> dict[str, Any]:
    """One broker, one aggregator, one federation; seconds from its opening to its clients' end."""
    with EmbeddedKafka() as kafka, aggregator(kafka.bootstrap_servers) as worker:
        log = KafkaLog(client_config(kafka.bootstrap_servers))
        log.create_topics(topics.shared_topics())
        rules = Rules(rounds=case.rounds, min_clients=case.clients, max_clients=case.clients)
        others = [announcement_of(topics.new_federation_id(), Rules()) for _ in range(strangers)]
        begin = time.monotonic()
        log.append(topics.MODEL_CONTROL, others[: strangers // 2])
        opened = time.monotonic()
        id_ = open_federation(log, case.model(), rules, name="strangers")
        log.append(topics.MODEL_CONTROL, others[strangers // 2 :])
        written = time.monotonic() - begin
        watch = Watch(worker)
        for child in client_processes(kafka.bootstrap_servers, id_, case):
            child.told(PATIENCE)
        seconds = time.monotonic() - opened
        figures = {"cpu": cpu_seconds(worker.pid), "memory": peak_memory(worker.pid) / 1e6, "threads": watch.end()}
        log.close()
    return {"seconds": seconds, "written": written, **figures}


class Watch(threading.Thread):
    """Counts a process' threads."""

    def __init__(self, process: subprocess.Popen[bytes]) -> None:
        super().__init__(daemon=True)
        self._process, self._most, self._over = process, 0, threading.Event()
        self.start()

    def run(self) -> None:
        """See `threading.Thread`."""
        while not self._over.wait(0.1):
            self._most = max(self._most, len(os.listdir(f"/proc/{self._process.pid}/task")))

    def end(self) -> int:
        """The most that there were."""
        self._over.set()
        self.join()
        return self._most


if __name__ == "__main__":
    sys.exit(main())
