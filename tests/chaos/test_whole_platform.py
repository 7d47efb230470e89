"""The whole platform with real training Jobs: kill -9 in mid-round of each part, and the same bytes at the end."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.chaos.machine import Machine, finished
from tests.chaos.trainers import Trainers

pytestmark = [pytest.mark.chaos, pytest.mark.training]


@pytest.fixture
def machine(tmp_path: Path) -> Iterator[Machine]:
    """A platform that is up."""
    machine = Machine(tmp_path)
    yield machine
    machine.close()


def test_kills_change_no_bit(machine: Machine) -> None:
    """Trainer, aggregator and broker are killed in three rounds; the final sha256 is the undisturbed run's."""
    undisturbed = finished(machine.demo())
    assert undisturbed["accuracy"] >= 0.9

    demo = machine.demo()
    machine.until(lambda: machine.newest() != undisturbed["federation"], 60)
    federation = machine.newest()
    machine.until(lambda: machine.rounds(federation) >= 1, 120)
    os.kill(machine.pids(machine.jobs(federation)[0]["name"])[0], signal.SIGKILL)
    machine.until(lambda: machine.rounds(federation) >= 2, 120)
    machine.kill("aggregator")
    machine.until(lambda: machine.rounds(federation) >= 3, 120)
    machine.kill("kafka")  # the last: what the API tells of a run may come late after it
    disturbed = finished(demo)

    assert disturbed["final_sha256"] == undisturbed["final_sha256"]
    assert (disturbed["rounds"], disturbed["versions"]) == (undisturbed["rounds"], undisturbed["versions"])
    machine.until(lambda: all(job["state"] == "succeeded" for job in machine.jobs(federation)), 60)
    assert max(job["attempts"] for job in machine.jobs(federation)) >= 2


@pytest.mark.slow
def test_trainers_at_random_instants(machine: Machine) -> None:
    """Seeded kills and freezes of training Jobs, loggers and backend leave the run's bytes as they are."""
    trainers = Trainers(machine, 7, lambda entry: None)
    assert trainers.run(0) >= 1
