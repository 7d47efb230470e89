"""`mainstem up` for real: every process, signals, kills, and the start after them."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from mainstem.kafka.broker.embedded import EmbeddedKafka
from mainstem.kafka.broker.prepare import exchange_message
from mainstem.platform.home import Home, Running
from mainstem.runtime.processes import free_port, identity
from tests.support.patience import PATIENCE

pytestmark = pytest.mark.kafka


class Up:
    """A running `mainstem up` in a home of its own, at ports of its own."""

    def __init__(self, root: Path, port: int, kafka_port: int) -> None:
        self.home = Home(root)
        ours = ("MAINSTEM_", "KML_", "DATA_", "DATABASE_")
        inherited = {name: value for name, value in os.environ.items() if not name.startswith(ours)}
        self.environment = inherited | {"MAINSTEM_CACHE": os.environ.get("MAINSTEM_CACHE", "")}
        self.command = [sys.executable, "-m", "mainstem.cli", "up", "--home", str(root)]
        self.ports = ["--port", str(port), "--kafka-port", str(kafka_port)]
        self.errors = root.parent / "up.err"
        self.process: subprocess.Popen[bytes] | None = None

    def start(self, *options: str) -> Running:
        """Start it and wait until it is ready."""
        with open(self.errors, "wb") as errors:
            self.process = subprocess.Popen([*self.command, *options], env=self.environment, stderr=errors)
        return self.until(lambda running: running.ready and running.pid == self.pid, 90)

    @property
    def pid(self) -> int:
        assert self.process is not None
        return self.process.pid

    def until(self, condition: Callable[[Running], bool], seconds: float) -> Running:
        """Poll what the platform tells until `condition` holds."""
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            running = self.home.running()
            if running is not None and condition(running):
                return running
            assert self.process is not None
            assert self.process.poll() is None, self.errors.read_text()
            time.sleep(0.05)
        raise AssertionError(f"it never came to that: {self.home.running()}\n{self.errors.read_text()}")

    def end(self, sig: signal.Signals) -> int:
        """Send a signal and wait for the end."""
        assert self.process is not None
        self.process.send_signal(sig)
        return self.process.wait(PATIENCE)

    def other(self, *words: str) -> subprocess.CompletedProcess[str]:
        """Run another command on the same home."""
        command = [sys.executable, "-m", "mainstem.cli", *words, "--home", str(self.home.root)]
        return subprocess.run(
            command, env=self.environment, check=False, capture_output=True, text=True, timeout=PATIENCE
        )


@pytest.fixture
def up(tmp_path: Path) -> Iterator[Up]:
    """One that is ended with the test, whatever happens."""
    kafka_port = free_port()
    platform = Up(tmp_path / "home", free_port(avoid={kafka_port}), kafka_port)
    yield platform
    if platform.process is not None and platform.process.poll() is None:
        platform.end(signal.SIGTERM)


def fetch(address: str) -> Any:
    """GET JSON."""
    with urllib.request.urlopen(address, timeout=PATIENCE) as response:
        return json.load(response)


def gone(processes: dict[str, tuple[int, int | None]], seconds: float = PATIENCE) -> bool:
    """Whether all of them end within `seconds`."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if not any(start is not None and identity(pid) == start for pid, start in processes.values()):
            return True
        time.sleep(0.05)
    return False


def test_the_platform_lives_through_kills_and_ends_whole(up: Up) -> None:
    """It starts whole, refuses a second one, revives what is killed, ends whole, and comes back as it was."""
    first = up.start(*up.ports)
    assert set(first.processes) == {"kafka", "web", "control_logger", "data_control_logger", "aggregator", "launchers"}
    assert fetch(f"{first.api}/api/health/") == {"status": "ok"}
    exchange_message(first.kafka)
    settings = up.home.settings.read_text()
    assert settings.split("MAINSTEM_ADMIN_PASSWORD=")[1].split()[0] in up.errors.read_text()

    second = up.other("up")
    assert second.returncode == 1
    assert "already runs in" in second.stderr

    theirs = up.environment | {
        "DATABASE_URL": f"sqlite:///{up.home.database}", "KML_CLOUD_BOOTSTRAP_SERVERS": first.kafka,
    }  # fmt: skip
    stranger = [*up.command[:-1], str(up.home.root.parent / "stranger"), "--port", str(free_port())]
    refused = subprocess.run(stranger, env=theirs, check=False, capture_output=True, text=True, timeout=PATIENCE)
    assert refused.returncode == 1
    assert f"`mainstem up` in {up.home.root} ({first.api}), process {first.pid} on " in refused.stderr
    assert "give this one a database of its own with DATABASE_URL" in refused.stderr

    status = json.loads(up.other("status", "--json").stdout)
    assert status["running"]
    assert status["problem"] is None
    topics = json.loads(up.other("topics", "--json").stdout)
    assert {"FEDERATED_MODEL_CONTROL_TOPIC", "FEDERATED_DATA_CONTROL_TOPIC"} <= {topic["name"] for topic in topics}

    for name in ("aggregator", "kafka"):
        victim = up.until(lambda running: len(running.processes) == 6, 60).processes[name]
        os.kill(victim[0], signal.SIGKILL)
        up.until(lambda running, name=name, victim=victim: running.processes.get(name, victim) != victim, 60)  # type: ignore[misc]
    assert "kafka was killed by SIGKILL; starting it again in 0.5 s" in up.errors.read_text()
    exchange_message(first.kafka)

    last = up.until(lambda running: len(running.processes) == 6, 60)
    assert up.end(signal.SIGINT) == 0
    assert gone(last.processes, 1)

    again = up.start()  # no ports named: it is where it was
    assert (again.api, again.kafka) == (first.api, first.kafka)
    assert up.home.settings.read_text() == settings
    assert "shown this once" not in up.errors.read_text()
    assert "database" not in up.errors.read_text()
    assert up.end(signal.SIGTERM) == 0


def test_nothing_outlives_a_killed_supervisor(up: Up) -> None:
    """After SIGKILL of `mainstem up` every process of it ends, and the next start finds the ports free."""
    first = up.start(*up.ports)
    up.end(signal.SIGKILL)
    assert gone(first.processes)
    again = up.start()
    assert (again.api, again.kafka) == (first.api, first.kafka)


def test_a_taken_port_is_refused_with_a_sentence(up: Up) -> None:
    """A port that was asked for and is in use is named, and nothing is started."""
    with socket.socket() as other:
        other.bind(("127.0.0.1", int(up.ports[1])))
        other.listen()
        refused = up.other("up", *up.ports)
        assert refused.returncode == 1
        assert f"--port {up.ports[1]} is already in use" in refused.stderr


def test_it_works_on_a_kafka_that_is_there(up: Up, kafka: EmbeddedKafka) -> None:
    """With KML_CLOUD_BOOTSTRAP_SERVERS no broker is started, and ours gets the shared topics."""
    up.environment["KML_CLOUD_BOOTSTRAP_SERVERS"] = kafka.bootstrap_servers
    running = up.start("--port", up.ports[1])
    assert "kafka" not in running.processes
    assert running.kafka == kafka.bootstrap_servers
    assert "FEDERATED_DATA_CONTROL_TOPIC" in up.other("topics").stdout
    assert up.end(signal.SIGTERM) == 0
    assert kafka.running


def test_a_kafka_that_does_not_answer_is_named(up: Up) -> None:
    """Within a minute there is a sentence with its address, and nothing is left running."""
    up.environment["KML_CLOUD_BOOTSTRAP_SERVERS"] = f"127.0.0.1:{up.ports[3]}"
    refused = up.other("up", "--port", up.ports[1])
    assert refused.returncode == 1
    assert f"Kafka at 127.0.0.1:{up.ports[3]}" in refused.stderr
