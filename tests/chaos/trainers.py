"""Faults at real training Jobs: the demo on a whole platform, whose trainers and parts are killed and frozen."""

from __future__ import annotations

import contextlib
import os
import random
import signal
import time
from collections.abc import Callable
from dataclasses import dataclass

from mainstem.cli.demo import CLIENTS, ROUNDS
from mainstem.rest import ApiError
from tests.chaos import account
from tests.chaos.machine import Machine, finished

PARTS = ("web", "control_logger", "data_control_logger", "launchers", "aggregator")
DEPLOYED_SECONDS = 600.0
MOST_KILLS = 2
"""Kills of one Job in a run: with a third in a row its launcher rightly gives it up."""


@dataclass
class Trainers:
    """One platform; `tell` is told each fault."""

    machine: Machine
    seed: int
    tell: Callable[[dict[str, object]], None]

    def __post_init__(self) -> None:
        self.expected = finished(self.machine.demo())["final_sha256"]

    def run(self, number: int) -> int:
        """One disturbed run of real trainers; how many faults it met. AssertionError where anything differs."""
        machine, chance = self.machine, random.Random(f"{self.seed}/{number}/trainer")
        before = machine.newest()
        demo = machine.demo()
        machine.until(
            lambda: machine.newest() != before and len(machine.jobs(machine.newest())) == CLIENTS, DEPLOYED_SECONDS
        )
        federation = machine.newest()
        names = sorted(job["name"] for job in machine.jobs(federation))
        kills = dict.fromkeys(range(CLIENTS), 0)
        faults = 0
        while demo.poll() is None:
            time.sleep(chance.uniform(0.5, 4.0))
            trainer, part = chance.randrange(CLIENTS), chance.choice(PARTS)
            at_trainer, kill, seconds = chance.random() < 0.7, chance.random() < 0.5, chance.uniform(0.5, 3.0)
            if at_trainer and kills[trainer] == MOST_KILLS:
                kill = False
            if self._ends(federation) or not (pids := machine.pids(names[trainer] if at_trainer else part)):
                continue
            kills[trainer] += at_trainer and kill
            faults += 1
            self.tell(
                {
                    "time": round(time.time(), 3), "seed": self.seed, "run": number, "federation": federation,
                    "kind": "trainer", "target": f"trainer-{trainer}" if at_trainer else part,
                    "how": "kill" if kill else "freeze", "seconds": 0.0 if kill else round(seconds, 3),
                }
            )  # fmt: skip
            _strike(pids, kill, seconds)
        result = finished(demo)
        assert result["final_sha256"] == self.expected, f"{result['final_sha256']} is not {self.expected}"
        check(machine, federation)
        return faults

    def _ends(self, federation: str) -> bool:
        """Whether the run's rounds are all committed, as far as the backend answers."""
        try:
            return self.machine.rounds(federation) >= ROUNDS
        except (ApiError, KeyError):
            return False


def _strike(pids: list[int], kill: bool, seconds: float) -> None:
    if kill:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pids[0], signal.SIGKILL)
        return
    for number in (signal.SIGSTOP, signal.SIGCONT):
        for pid in pids:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, number)
        if number == signal.SIGSTOP:
            time.sleep(seconds)


def check(machine: Machine, federation: str) -> None:
    """All that must hold after a federation but its final sha256."""
    account.updates_count_once(machine.log, federation, ROUNDS, CLIENTS)
    account.nobody_waits(machine.bootstrap_servers, federation)
    account.projection_is_the_log(machine, federation)
