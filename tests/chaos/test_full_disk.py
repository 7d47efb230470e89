"""The disk of a whole platform is full in mid-run, while its parts are killed: it stays up, says so, and goes on."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.chaos.faults.disk import filled
from tests.chaos.machine import Machine, can_mount, finished

pytestmark = [
    pytest.mark.chaos,
    pytest.mark.training,
    pytest.mark.slow,
    pytest.mark.skipif(not can_mount(), reason="no small file system: neither root nor user namespaces"),
]

UNDISTURBED = "78a479e624e1896c50ab07ab9108b9bdaaca83d099cc6f04821e299cf06add15"
"""The demo's final sha256 with its own seed, on any machine."""
VOLUME_MB, FLOOR = 512, 32 << 20
PARTS = 6


@pytest.fixture
def machine(tmp_path: Path) -> Iterator[Machine]:
    """A platform on a small disk."""
    machine = Machine(tmp_path, volume_mb=VOLUME_MB, MAINSTEM_DISK_FLOOR_BYTES=str(FLOOR))
    yield machine
    machine.close()


def test_a_full_disk_and_kills_change_no_bit(machine: Machine) -> None:
    """Not a byte is left for 20 s, in which broker, aggregator, launcher and web are killed: `mainstem up` lives and
    names the disk; with room again all its parts run and the run ends with the bytes of one that nothing disturbed."""
    demo = machine.demo()
    machine.until(lambda: machine.api.get("deployments/")["results"], 240)
    machine.until(lambda: machine.rounds(machine.newest()) >= 1, 240)
    with filled(machine.home.root / "ballast"):
        for part in ("aggregator", "kafka", "web", "launchers"):
            machine.kill(part)
        ends = time.monotonic() + 20
        machine.until(lambda: time.monotonic() > ends, 60)
    machine.until(lambda: any(words in machine.output.read_text() for words in ("has room again", "left: below")), 120)
    machine.until(lambda: len(alive(machine)) == PARTS, 120)
    said = machine.output.read_text()
    assert "aggregator was killed by SIGKILL; starting it again" in said
    assert "The disk of MAINSTEM_HOME is full: " in said
    assert "Traceback" not in said
    assert finished(demo)["final_sha256"] == UNDISTURBED


def alive(machine: Machine) -> list[str]:
    """The parts that run, as the platform tells."""
    running = machine.home.running()
    return list(running.processes) if running is not None else []


def test_a_frozen_part_comes_back(machine: Machine) -> None:
    """SIGSTOP of the aggregator and the broker: a minute later both are killed and run again."""
    before = {part: machine.pids(part)[0] for part in ("aggregator", "kafka")}
    for pid in before.values():
        os.kill(pid, signal.SIGSTOP)
    machine.until(lambda: all(machine.pids(part)[:1] not in ([], [pid]) for part, pid in before.items()), 240)
    said = machine.output.read_text()
    assert "aggregator hangs: no sign of life for 60 s. It is killed." in said
    assert "kafka hangs: no sign of life for 60 s. It is killed." in said
