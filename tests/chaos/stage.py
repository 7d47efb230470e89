"""A stage for faults: a Kafka of its own, and parts of the platform as processes that a test may hit."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from mainstem.errors import LogError
from mainstem.kafka.client.config import client_config
from mainstem.kafka.client.log import KafkaLog
from mainstem.protocol.chain import Head
from mainstem.protocol.control import ControlTopic
from mainstem.protocol.messages import EncodingChoice, Rules, StrategyChoice
from mainstem.protocol.topics import aggregator_topic
from mainstem.runtime.processes import descendants, start_child
from tests.chaos.ground import Ground
from tests.support.federations import open_federation
from tests.support.sent import is_update

ROOT = Path(__file__).parents[2]
SESSION_MS = 2000
"""So soon another aggregator takes over: more happens in the same time than with the 6 s of the platform."""


@dataclass(slots=True)
class Part:
    """A process of the platform, and how it is started."""

    command: list[str]
    environment: dict[str, str]
    process: subprocess.Popen[bytes]


class Parts:
    """What runs against the Kafka at `servers`, and this test's own connection to it; everything dies with the test."""

    def __init__(self, directory: Path, servers: str) -> None:
        self.directory, self.servers = directory, servers
        self.log = self._connect()
        self.parts: dict[str, Part] = {}
        self.newest = ""
        self.of_aggregators: Mapping[str, str] | None = None
        """Their environment, where it is no plain one."""

    def _connect(self) -> KafkaLog:
        return KafkaLog(client_config(self.servers), timeout=20)

    def reconnect(self) -> None:
        """Go on with another connection: the broker does not know this one's producer any more."""
        self.log.close()
        self.log = self._connect()

    # ------------------------------------------------------------ parts
    def run(self, name: str, command: list[str], environment: Mapping[str, str] | None = None) -> Part:
        """Start the part `name`; its output is appended to `<name>.log`."""
        own = dict(environment or {**os.environ, "MAINSTEM_HOME": str(self.directory / "home")})
        own["PYTHONFAULTHANDLER"] = "1"
        with open(self.directory / f"{name}.log", "ab") as out:
            process = start_child(
                [sys.executable, "-m", *command], orphan=signal.SIGKILL, cwd=ROOT, stdout=out, stderr=out, env=own
            )
        self.parts[name] = Part(command, own, process)
        return self.parts[name]

    def again(self, name: str) -> None:
        """Start a part that has ended as it was started before."""
        part = self.parts[name]
        self.run(name, part.command, part.environment)

    def alive(self, name: str) -> bool:
        """Whether the part runs."""
        return self.parts[name].process.poll() is None

    def kill(self, name: str) -> None:
        """kill -9, of its first process alone: what else it started must notice by itself."""
        self.parts[name].process.kill()
        self.parts[name].process.wait()

    def pids(self, name: str) -> list[int]:
        """The part's processes, the first one first."""
        pid = self.parts[name].process.pid
        return [pid, *descendants(pid)]

    def signal(self, name: str, number: signal.Signals) -> None:
        """A signal for all of the part's processes."""
        for pid in self.pids(name):
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, number)

    def bootstrap(self, name: str) -> str:
        """Where the part finds Kafka."""
        return self.servers

    def aggregator(self, number: int = 0) -> str:
        """Start an aggregator worker; its name."""
        name = f"aggregator-{number}"
        command = ["mainstem.aggregator", "--bootstrap", self.bootstrap(name), "--session-timeout-ms", str(SESSION_MS)]
        self.run(name, command, self.of_aggregators)
        return name

    def client(self, federation: str, number: int, seconds: float = 0.3) -> str:
        """Start a light client, which keeps files; its name."""
        name = f"client-{number}"
        what = ["--federation", federation, "--number", str(number), "--seconds", str(seconds)]
        what += ["--state", str(self.directory / "kept")]
        self.run(name, ["tests.support.client_process", "--bootstrap", self.bootstrap(name), *what])
        return name

    def left(self, name: str, seconds: float = 60) -> int:
        """Wait until a part has ended by itself; its exit code."""
        return self.parts[name].process.wait(seconds)

    # ------------------------------------------------------------ federations
    def federation(
        self, rounds: int = 5, clients: int = 3, strategy: StrategyChoice | None = None, encoding: str = "raw"
    ) -> str:
        """A federation of a fixed start, in which every client is required."""
        random = np.random.default_rng(0)
        tensors = [random.normal(size=s).astype(np.float32) for s in ((300, 100), (100,), ())]
        both: dict[str, Any] = dict.fromkeys(("encoding_up", "encoding_down"), EncodingChoice(name=encoding))
        rules = Rules(rounds=rounds, min_clients=clients, deadline_ms=120_000, final_wait_ms=20_000, **both)
        self.newest = open_federation(self.log, tensors, rules, strategy)
        return self.newest

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
                if is_update(record):
                    return
            position = end
            time.sleep(0.02)
        raise AssertionError(f"no update in round {number}")

    # ------------------------------------------------------------ ends
    def logs(self) -> str:
        """The ends of all processes' logs, where each stands at last among them; it is their end."""
        for part in self.parts.values():
            part.process.send_signal(signal.SIGABRT)
        for part in self.parts.values():
            with contextlib.suppress(subprocess.TimeoutExpired):
                part.process.wait(5)
        return "\n".join(f"--- {p.name}\n{p.read_text()[-2500:]}" for p in sorted(self.directory.glob("*.log")))

    def close(self) -> None:
        """Kill everything."""
        for name, part in self.parts.items():
            self.signal(name, signal.SIGKILL)
            part.process.wait()
        self.log.close()


class Stage(Parts):
    """Parts on one broker. `doors` names those that reach Kafka through a door of the network each (see `Ground`)."""

    def __init__(self, directory: Path, doors: tuple[str, ...] = ()) -> None:
        self.ground = Ground(directory, doors)
        self.broker = self.ground.broker
        try:
            self.ground.start()
        except BaseException:
            self.ground.close()
            raise
        super().__init__(directory, self.broker.bootstrap_servers)

    def pids(self, name: str) -> list[int]:
        """See `Parts`; the broker is one too."""
        if name == "kafka":
            return [self.broker.process.pid] if self.broker.process is not None else []
        return super().pids(name)

    def bootstrap(self, name: str) -> str:
        """Where the part finds Kafka: at its door, if it has one."""
        door = self.ground.doors.get(name)
        return super().bootstrap(name) if door is None else f"127.0.0.1:{door.port}"

    def close(self) -> None:
        """Kill everything, and the broker last."""
        super().close()
        self.ground.close()
