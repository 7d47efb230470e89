"""A stage for faults: a broker of its own, aggregators and clients as processes that a test may kill."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np

from mainstem.chain import Head
from mainstem.control import ControlTopic
from mainstem.errors import LogError
from mainstem.kafka.config import client_config
from mainstem.kafka.embedded import EmbeddedKafka
from mainstem.kafka.log import KafkaLog
from mainstem.messages import Rules, decode_client
from mainstem.processes import free_port
from mainstem.topics import aggregator_topic
from mainstem.weights import is_chunk
from tests.support.federations import open_federation

ROOT = Path(__file__).parents[2]


class Stage:
    """One broker and what runs against it; everything dies with the test."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.broker = EmbeddedKafka(directory / "kafka", port=free_port())
        self.broker.start()
        self.log = KafkaLog(client_config(self.broker.bootstrap_servers), timeout=20)
        self._processes: list[subprocess.Popen[bytes]] = []

    def start(self, module: str, *arguments: str) -> subprocess.Popen[bytes]:
        """A Python module as a process of its own."""
        number = len(self._processes)
        with open(self.directory / f"{number}-{module}.log", "wb") as out:
            process = subprocess.Popen(
                [sys.executable, "-m", module, *arguments],
                cwd=ROOT,
                stdout=out,
                stderr=out,
                env={**os.environ, "MAINSTEM_HOME": str(self.directory / "home")},
            )
        self._processes.append(process)
        return process

    def aggregator(self) -> subprocess.Popen[bytes]:
        """One aggregator worker."""
        return self.start("backend.aggregator", "--bootstrap", self.broker.bootstrap_servers)

    def client(self, federation: str, number: int, seconds: float = 0.3) -> subprocess.Popen[bytes]:
        """One light client."""
        bootstrap = self.broker.bootstrap_servers
        return self.start(
            "tests.support.client_process",
            *("--bootstrap", bootstrap, "--federation", federation, "--number", str(number), "--seconds", str(seconds)),
        )

    def federation(self, rounds: int = 5, clients: int = 3) -> str:
        """A federation of a fixed start, in which every client is required."""
        random = np.random.default_rng(0)
        tensors = [random.normal(size=s).astype(np.float32) for s in ((300, 100), (100,), ())]
        rules = Rules(rounds=rounds, min_clients=clients, deadline_ms=120_000, final_wait_ms=20_000)
        return open_federation(self.log, tensors, rules)

    def head(self, federation: str) -> Head | None:
        """The run's head as a new reader sees it; None while the broker is away."""
        control = ControlTopic(self.log, federation)
        try:
            control.sync()
        except LogError:
            return None
        finally:
            control.close()
        return control.head

    def wait(self, federation: str, until: Callable[[Head], bool], seconds: float = 120) -> Head:
        """Poll the head until it is so."""
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            head = self.head(federation)
            if head is not None and until(head):
                return head
            time.sleep(0.05)
        raise AssertionError(f"not within {seconds} s; logs:\n{self.logs()}")

    def mid_round(self, federation: str, number: int) -> None:
        """Wait until round `number` is open and the first update of it is in the log."""
        head = self.wait(federation, lambda h: h.round >= number - 1)
        topic = aggregator_topic(federation)
        deadline = time.monotonic() + 60
        position = head.snapshot.position
        while time.monotonic() < deadline:
            _, end = self.log.bounds(topic, 0)
            for record in self.log.read(topic, 0, position, end):
                if not is_chunk(record.headers) and type(decode_client(record.value)).__name__ == "Update":
                    return
            position = end
            time.sleep(0.02)
        raise AssertionError(f"no update in round {number}")

    def logs(self) -> str:
        """The ends of all processes' logs."""
        return "\n".join(f"--- {p.name}\n{p.read_text()[-1500:]}" for p in sorted(self.directory.glob("*.log")))

    def close(self) -> None:
        """Kill everything."""
        for process in self._processes:
            if process.poll() is None:
                process.send_signal(signal.SIGKILL)
            process.wait()
        self.log.close()
        self.broker.stop()
