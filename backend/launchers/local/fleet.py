"""Replicas as processes of this machine: each under a supervisor that outlives the launcher, as Jobs are."""

from __future__ import annotations

import dataclasses
import shutil
import sys
import time
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from backend.launchers.jobs.plan import Patience
from backend.launchers.local.launcher import LocalLauncher
from backend.launchers.replicas import FleetStanding
from backend.launchers.words import TAIL, last_error
from mainstem.errors import MainstemError
from mainstem.jobs.launcher import JobStatus
from mainstem.serving.spec import READY_FILE, READY_SECONDS, ServingSpec

COMMAND = (sys.executable, "-m", "federated_training.serving")
PATIENCE = Patience()


@dataclass(slots=True)
class _Tries:
    """How a replica's attempts went; forgotten with the launcher. `due` and `started` are seconds of its clock."""

    failures: int = 0
    due: float = 0.0
    started: float = 0.0
    judged: bool = False
    """Whether the end of the last attempt was counted."""
    problem: str = ""


class LocalFleet:
    """`fleet.Fleet` over `<directory>/<name>.<slot>/`. A replica that ends is started again, ever later.

    All that must last is in files, so a new launcher finds the replicas of the one before it. Not for several threads.
    """

    def __init__(
        self,
        directory: Path,
        *,
        command: Sequence[str] = COMMAND,
        patience: Patience = PATIENCE,
        now: Callable[[], float] = time.time,
    ) -> None:
        self._directory, self._patience, self._now = directory, patience, now
        self._launcher = LocalLauncher(directory, command=command)
        self._tries: dict[str, _Tries] = {}

    def refresh(self) -> None:
        """See `Fleet`: the files are looked at anew each time."""

    def bring(self, spec: ServingSpec, replicas: int, job: Mapping[str, Any] | None = None) -> FleetStanding:
        """See `Fleet`."""
        for slot in self._slots(spec.name):
            if slot >= replicas:
                self._drop(f"{spec.name}.{slot}")
        standings = [self._keep(f"{spec.name}.{slot}", spec, str(slot)) for slot in range(replicas)]
        problems = [standing.problem for standing in standings if standing.problem]
        return FleetStanding(sum(standing.ready for standing in standings), problems[0] if problems else "")

    def end(self, name: str) -> bool:
        """See `Fleet`. The logs go too."""
        gone = [self._drop(f"{name}.{slot}") for slot in self._slots(name)]
        return all(gone)

    def sweep(self, names: Collection[str]) -> None:
        """See `Fleet`."""
        for replica in self._replicas():
            if replica.rpartition(".")[0] not in names:
                self._drop(replica)

    def log(self, name: str, tail: int = 65536) -> str:
        """See `Fleet`."""
        slots = self._slots(name)
        each = tail // max(1, len(slots))
        return "".join(f"--- replica {slot}\n{self._launcher.log(f'{name}.{slot}', each)}" for slot in slots)

    def shut_down(self, seconds: float) -> list[str]:
        """End all replicas of this machine; those that still run after `seconds`. The next start runs them again."""
        return self._launcher.end(self._replicas(), seconds)

    # ------------------------------------------------------------ one replica
    def _keep(self, replica: str, spec: ServingSpec, member: str) -> FleetStanding:
        tries = self._tries.setdefault(replica, _Tries())
        status = self._launcher.status(replica)
        if status.state == "running":
            if not self._answers(replica):
                return FleetStanding(0, tries.problem)
            tries.problem = ""
            return FleetStanding(1)
        now = self._now()
        if status.state != "absent" and not tries.judged:
            self._judge(replica, tries, status, now)
        if now >= tries.due:
            tries.started, tries.judged = now, False
            try:
                self._launcher.launch(replica, dataclasses.replace(spec, member=member))
            except MainstemError as error:
                tries.problem, tries.due = str(error), now + self._patience.longest
        return FleetStanding(0, tries.problem)

    def _judge(self, replica: str, tries: _Tries, status: JobStatus, now: float) -> None:
        healthy = tries.started and now - tries.started >= self._patience.healthy
        tries.failures = 1 if healthy else tries.failures + 1
        tries.due = now + self._patience.wait(tries.failures)
        tries.judged = True
        ended_itself = status.exit_code is not None and status.exit_code > 0
        told = last_error(self._launcher.log(replica, TAIL)) if ended_itself else ""
        why = told or status.detail or "it ended"
        tries.problem = f"replica {replica.rpartition('.')[2]}: {why}; it is started again"

    def _answers(self, replica: str) -> bool:
        try:
            touched = (self._directory / replica / READY_FILE).stat().st_mtime
        except OSError:
            return False
        return time.time() - touched <= READY_SECONDS

    def _drop(self, replica: str) -> bool:
        """Ask it to end; once it has, forget it. Whether it is gone."""
        self._launcher.stop(replica)
        if self._launcher.status(replica).state == "running":
            return False
        self._tries.pop(replica, None)
        shutil.rmtree(self._directory / replica, ignore_errors=True)
        return True

    def _replicas(self) -> list[str]:
        try:
            return sorted(path.name for path in self._directory.iterdir() if path.is_dir())
        except FileNotFoundError:
            return []

    def _slots(self, name: str) -> list[int]:
        named = (replica.rpartition(".") for replica in self._replicas())
        return sorted(int(slot) for owner, _, slot in named if owner == name and slot.isdigit())
