"""Replicas as real processes of this machine: kept, started again after a kill, scaled, ended, adopted."""

from __future__ import annotations

import os
import signal
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from backend.launchers.jobs.plan import Patience
from backend.launchers.local.fleet import LocalFleet
from backend.launchers.replicas import FleetStanding
from mainstem.serving.spec import ServingSpec
from tests.support.patience import PATIENCE, until

SPEC = ServingSpec(
    name="digits",
    cloud_bootstrap="cloud:9092",
    data_bootstrap="data:9092",
    federation="ddy6heod",
    version=5,
    input_topic="ask",
    output_topic="told",
    input_format="RAW",
    input_config="{}",
)
SERVES = """
import os, pathlib, time
pathlib.Path("child").write_text(str(os.getpid()))
pathlib.Path("member").write_text(os.environ["SERVING_MEMBER"])
while True:
    pathlib.Path.home().joinpath("ready").touch()
    time.sleep(0.05)
"""
FAILS = "print('12:00 ERROR    serving [federation=x] MODEL_VERSION is 9'); raise SystemExit(2)"
SOON = Patience(first=0.05, longest=0.2)

Made = Callable[..., LocalFleet]


@pytest.fixture
def fleet(tmp_path: Path) -> Iterator[Made]:
    """Makes a fleet whose replicas run the given program; nothing survives the test."""

    def make(program: str = SERVES, patience: Patience = SOON) -> LocalFleet:
        return LocalFleet(tmp_path, command=[sys.executable, "-c", program], patience=patience)

    yield make
    assert make().shut_down(PATIENCE) == []


def child(directory: Path, slot: int) -> int:
    file = directory / f"digits.{slot}" / "child"
    until(lambda: file.exists() and file.read_text() != "")
    return int(file.read_text())


def test_replicas_are_kept_and_start_again_after_a_kill(fleet: Made, tmp_path: Path) -> None:
    """As many answer as are wanted, each under its own name; a killed one is told of, then another takes its place."""
    made = fleet()
    until(lambda: made.bring(SPEC, 2) == FleetStanding(2))
    assert [(tmp_path / f"digits.{slot}" / "member").read_text() for slot in (0, 1)] == ["0", "1"]
    killed = child(tmp_path, 1)
    os.kill(killed, signal.SIGKILL)
    until(lambda: "killed by SIGKILL" in made.bring(SPEC, 2).problem)
    until(lambda: made.bring(SPEC, 2) == FleetStanding(2))
    assert child(tmp_path, 1) != killed


def test_another_launcher_finds_what_runs(fleet: Made, tmp_path: Path) -> None:
    """A new fleet adopts the replicas of the one before it, and starts no second one."""
    until(lambda: fleet().bring(SPEC, 1) == FleetStanding(1))
    before = child(tmp_path, 0)
    another = fleet()
    until(lambda: another.bring(SPEC, 1) == FleetStanding(1))
    assert child(tmp_path, 0) == before


def test_scaling_ending_and_sweeping(fleet: Made, tmp_path: Path) -> None:
    """Fewer wanted: the last end; ended or unknown: all end, and their directories go."""
    made = fleet()
    until(lambda: made.bring(SPEC, 3) == FleetStanding(3))
    until(
        lambda: made.bring(SPEC, 1) == FleetStanding(1) and [path.name for path in tmp_path.iterdir()] == ["digits.0"]
    )
    assert "replica 0" in made.log("digits")
    until(lambda: made.end("digits"))
    assert list(tmp_path.iterdir()) == [] and made.end("digits")
    until(lambda: made.bring(SPEC, 1) == FleetStanding(1))

    def swept() -> bool:
        made.sweep({"another"})
        return list(tmp_path.iterdir()) == []

    until(swept)


def test_a_replica_that_cannot_start_says_why_and_is_tried_ever_later(fleet: Made, tmp_path: Path) -> None:
    """The sentence of its log is the problem; the pause between two tries grows."""
    made = fleet(FAILS, Patience(first=0.2, longest=60))
    until(lambda: "MODEL_VERSION is 9" in made.bring(SPEC, 1).problem)
    began = time.monotonic()
    while time.monotonic() - began < 3:
        assert made.bring(SPEC, 1).ready == 0
        time.sleep(0.05)
    starts = made.log("digits").count("--- started")
    assert 2 <= starts <= 6


def test_a_replica_that_hangs_is_not_ready(fleet: Made, tmp_path: Path) -> None:
    """It runs, but its loop does not turn: it does not count."""
    made = fleet()
    until(lambda: made.bring(SPEC, 1) == FleetStanding(1))
    os.kill(child(tmp_path, 0), signal.SIGSTOP)
    time.sleep(0.2)
    old = time.time() - 3600
    os.utime(tmp_path / "digits.0" / "ready", (old, old))
    assert made.bring(SPEC, 1) == FleetStanding(0)
    os.kill(child(tmp_path, 0), signal.SIGCONT)
    until(lambda: made.bring(SPEC, 1) == FleetStanding(1))
