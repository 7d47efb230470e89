"""The whole platform with real training Jobs: kill -9 in mid-round of each part, and the same bytes at the end."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from mainstem.cli.api import Api, ApiError
from mainstem.platform.home import Home
from mainstem.processes import free_port

pytestmark = [pytest.mark.chaos, pytest.mark.training]
ROOT = Path(__file__).parents[2]


class Machine:
    """A platform in a directory of its own, as `mainstem up` makes it."""

    def __init__(self, directory: Path) -> None:
        self.home = Home(directory / "home")
        self.environment = {**os.environ, "MAINSTEM_HOME": str(self.home.root)}
        self.environment.pop("MAINSTEM_API", None)
        self.output = directory / "up.out"
        with open(self.output, "wb") as out:
            ports = ["--port", str(free_port()), "--kafka-port", str(free_port())]
            self.process = subprocess.Popen(
                [sys.executable, "-m", "mainstem.cli", "up", *ports],
                cwd=ROOT,
                env=self.environment,
                stdout=out,
                stderr=out,
            )
        self.until(lambda: bool(self.home.running() and self.home.running().ready), 120)  # type: ignore[union-attr]
        self.api = Api.connect(self.home)

    def demo(self) -> subprocess.Popen[str]:
        """Three clients, five rounds; its last line is the result."""
        return subprocess.Popen(
            [sys.executable, "-m", "mainstem.cli", "demo", "--json", "--home", str(self.home.root)],
            cwd=ROOT,
            env=self.environment,
            stdout=subprocess.PIPE,
            text=True,
        )

    def until(self, condition: Callable[[], Any], seconds: float) -> None:
        """Poll until it holds; a platform that is being restarted may not answer meanwhile."""
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            if self.process.poll() is not None:
                raise AssertionError(f"the platform ended:\n{self.output.read_text()[-3000:]}")
            try:
                if condition():
                    return
            except (ApiError, KeyError):
                pass
            time.sleep(0.1)
        raise AssertionError(f"not within {seconds} s:\n{self.output.read_text()[-3000:]}")

    def kill(self, name: str) -> None:
        """kill -9 of one of the platform's processes."""
        running = self.home.running()
        assert running is not None
        os.kill(running.processes[name][0], signal.SIGKILL)

    def jobs(self, federation: str) -> list[dict[str, Any]]:
        """The federation's Jobs."""
        found: list[dict[str, Any]] = self.api.get("jobs/", federation=federation)["results"]
        return found

    def rounds(self, federation: str) -> int:
        """Rounds that are committed."""
        return len(self.api.get(f"results/{federation}/")["rounds"])

    def newest(self) -> str:
        """The newest federation."""
        deployments = self.api.get("deployments/")["results"]
        return str(max(deployments, key=lambda d: d["id"])["federation"])

    def close(self) -> None:
        """Ctrl-C."""
        self.process.send_signal(signal.SIGINT)
        self.process.wait(60)


@pytest.fixture
def machine(tmp_path: Path) -> Iterator[Machine]:
    """A platform that is up."""
    machine = Machine(tmp_path)
    yield machine
    machine.close()


def finished(demo: subprocess.Popen[str]) -> dict[str, Any]:
    """The demo's result."""
    out, _ = demo.communicate(timeout=400)
    assert demo.returncode == 0, out
    result: dict[str, Any] = json.loads(out.strip().splitlines()[-1])
    return result


def trainer_pid(machine: Machine, name: str) -> int:
    """The process that trains, by its Job's name."""
    return int((machine.home.jobs / name / "pid").read_text().split()[0])


def test_kills_change_no_bit(machine: Machine) -> None:
    """Aggregator, broker and a trainer are killed in three rounds; the final sha256 is the undisturbed run's."""
    undisturbed = finished(machine.demo())
    assert undisturbed["accuracy"] >= 0.9

    demo = machine.demo()
    machine.until(lambda: machine.newest() != undisturbed["federation"], 60)
    federation = machine.newest()
    machine.until(lambda: machine.rounds(federation) >= 1, 120)
    machine.kill("aggregator")
    machine.until(lambda: machine.rounds(federation) >= 2, 120)
    machine.kill("kafka")
    machine.until(lambda: machine.rounds(federation) >= 3, 120)
    victim = machine.jobs(federation)[0]["name"]
    os.kill(trainer_pid(machine, victim), signal.SIGKILL)
    disturbed = finished(demo)

    assert disturbed["final_sha256"] == undisturbed["final_sha256"]
    assert (disturbed["rounds"], disturbed["versions"]) == (undisturbed["rounds"], undisturbed["versions"])
    machine.until(lambda: all(job["state"] == "succeeded" for job in machine.jobs(federation)), 60)
    assert max(job["attempts"] for job in machine.jobs(federation)) >= 2
