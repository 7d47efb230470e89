"""What to do about a Job, and which Jobs may start now: pure decisions over what is wanted and what runs."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from enum import StrEnum

from mainstem.jobs.launcher import JobStatus
from mainstem.jobs.spec import FOR_GOOD
from mainstem.runtime.backoff import pause

PENDING, STARTING, RUNNING, SUCCEEDED, FAILED, STOPPED = (
    "pending", "starting", "running", "succeeded", "failed", "stopped",
)  # fmt: skip
"""States of a Job."""

LAUNCHED = (STARTING, RUNNING)
"""The states in which a launcher has the Job."""


class FederationStanding(StrEnum):
    """What a federation means for its Jobs."""

    OPEN = "open"
    FINISHED = "finished"
    """Jobs evaluate the final model and exit by themselves."""
    OVERDUE = "overdue"
    """Finished so long ago that a Job that still runs hangs."""
    PAUSED = "paused"
    """Stopped or failed: a resume starts the Jobs again."""
    GONE = "gone"
    """Deleted, or being deleted."""


class Action(StrEnum):
    """What to ask of the launcher."""

    NOTHING = "nothing"
    START = "start"
    END = "end"
    FORGET = "forget"
    """It has ended and its verdict is known: nothing of it but the log is needed."""


@dataclass(frozen=True, slots=True)
class View:
    """A Job as its row says. `due` and `started` are seconds on the clock that `decide` is given."""

    state: str
    wanted: bool = True
    failures: int = 0
    due: float | None = None
    started: float | None = None
    needed: bool = False
    """It has left in peace, but rounds are left: the run was rolled back, or stopped and resumed."""


@dataclass(frozen=True, slots=True)
class Decision:
    """The row's new values and what to ask of the launcher. `drop` removes the row."""

    action: Action
    state: str
    detail: str = ""
    failures: int = 0
    exit_code: int | None = None
    wait: float | None = None
    """Seconds until the next start, where there is one."""
    drop: bool = False


@dataclass(frozen=True, slots=True)
class Patience:
    """How often and how soon a failed Job starts again. Seconds."""

    limit: int = 3
    first: float = 1.0
    longest: float = 60.0
    healthy: float = 600.0
    """An attempt that ran this long starts the count of failures anew."""

    def wait(self, failures: int) -> float:
        """The pause after the `failures`th failure in a row."""
        return pause(failures, self.first, self.longest)


_WHY_ENDED = {
    FederationStanding.OVERDUE: "it did not exit after the federation had finished",
    FederationStanding.PAUSED: "the federation is stopped",
    FederationStanding.GONE: "the federation is deleted",
}


def decide(job: View, standing: FederationStanding, status: JobStatus, now: float, patience: Patience) -> Decision:
    """The next step of one Job. Repeating a step that was taken changes nothing."""
    if status.state in ("pending", "running"):
        return _alive(job, standing, status)
    if job.state in LAUNCHED:  # it ran, and the launcher knows how it ended, or lost it
        return _ended(job, standing, status, now, patience)
    drop = standing is FederationStanding.GONE
    if drop or not job.wanted or standing is not FederationStanding.OPEN:
        return _at_rest(job, standing, drop)
    if job.state == STOPPED:  # the federation was resumed
        return Decision(Action.NOTHING, PENDING)
    if job.state == SUCCEEDED and job.needed:
        return Decision(Action.NOTHING, PENDING, "the run goes on, so it starts again")
    if job.state == PENDING and (job.due is None or job.due <= now):
        return Decision(Action.START, PENDING, failures=job.failures)
    return _keep(job)


def _keep(job: View) -> Decision:
    return Decision(Action.NOTHING, job.state, failures=job.failures)


def _alive(job: View, standing: FederationStanding, status: JobStatus) -> Decision:
    state = STARTING if status.state == "pending" else RUNNING
    if standing in _WHY_ENDED:
        return Decision(Action.END, state, f"is being ended: {_WHY_ENDED[standing]}", job.failures)
    if not job.wanted:
        return Decision(Action.END, state, "is being ended: a person stopped it", job.failures)
    return Decision(Action.NOTHING, state, status.detail, job.failures)


def _ended(job: View, standing: FederationStanding, status: JobStatus, now: float, patience: Patience) -> Decision:
    drop = standing is FederationStanding.GONE
    if status.state in ("absent", "interrupted"):  # ended by us, with the machine, or because somebody asked it to
        there = status.state == "interrupted"
        action = Action.FORGET if there else Action.NOTHING
        if job.wanted and standing is FederationStanding.OPEN:
            detail = f"{status.detail or 'was interrupted'} and starts again"
            wait = patience.first if there else None
            return Decision(action, PENDING, detail, job.failures, status.exit_code, wait)
        detail = _why_stopped(job, standing)
        return Decision(action, STOPPED, detail, job.failures, status.exit_code, drop=drop)
    if status.state == "succeeded":
        return Decision(Action.FORGET, SUCCEEDED, "", 0, status.exit_code, drop=drop)
    if not job.wanted or standing in (FederationStanding.PAUSED, FederationStanding.GONE):
        detail = _why_stopped(job, standing)
        return Decision(Action.FORGET, STOPPED, detail, job.failures, status.exit_code, drop=drop)
    healthy = job.started is not None and now - job.started >= patience.healthy
    failures = 1 if healthy else job.failures + 1
    what = status.detail or f"exit code {status.exit_code}"
    if status.exit_code in FOR_GOOD:
        return Decision(Action.FORGET, FAILED, f"failed for good with: {what}", failures, status.exit_code)
    if standing is FederationStanding.OPEN and failures <= patience.limit:
        wait = patience.wait(failures)
        return Decision(
            Action.FORGET, PENDING, f"failed ({what}); starts again in {wait:.0f} s", failures, status.exit_code, wait
        )
    tried = f" {failures} times, the last time" if failures > 1 else ""
    return Decision(Action.FORGET, FAILED, f"failed{tried} with: {what}", failures, status.exit_code)


def _at_rest(job: View, standing: FederationStanding, drop: bool) -> Decision:
    """A Job that does not run and shall not."""
    over = standing in (FederationStanding.FINISHED, FederationStanding.OVERDUE)
    rests = job.state in (FAILED, STOPPED) or (job.state == SUCCEEDED and standing is not FederationStanding.PAUSED)
    if rests:
        return Decision(Action.NOTHING, job.state, failures=job.failures, drop=drop)
    detail = "the federation finished before this Job started" if over else _why_stopped(job, standing)
    return Decision(Action.NOTHING, STOPPED, detail, job.failures, drop=drop)


def _why_stopped(job: View, standing: FederationStanding) -> str:
    return "a person stopped it" if not job.wanted else _WHY_ENDED.get(standing, "ended")


@dataclass(frozen=True, slots=True)
class Candidate:
    """A Job that runs or is due to start, with its federation's age (small is old) and its place there."""

    name: str
    federation: str
    age: int
    slot: int
    running: bool


def admit(candidates: Iterable[Candidate], least: dict[str, int], limit: int | None) -> tuple[list[str], list[str]]:
    """Names of the Jobs that may start now, and of those that must wait for memory.

    `least` is each federation's min_clients. At most `limit` Jobs run, the oldest federation's first; but the oldest
    federation that has enough Jobs to train always gets its min_clients, since fewer would wait for ever.
    """
    if limit is None:
        return [c.name for c in candidates if not c.running], []
    jobs: dict[str, list[Candidate]] = {}
    for candidate in sorted(candidates, key=lambda c: (c.age, c.federation, not c.running, c.slot)):
        jobs.setdefault(candidate.federation, []).append(candidate)
    # Python's sort is stable: the oldest first among those that can train, then among those that cannot yet
    order = sorted(jobs, key=lambda federation: len(jobs[federation]) < least.get(federation, 1))
    running = sum(c.running for group in jobs.values() for c in group)
    start: list[str] = []
    wait: list[str] = []
    for place, federation in enumerate(order):
        reserved = least.get(federation, 1) if place == 0 else 0
        chosen, waiting = _choose(jobs[federation], limit - running, reserved)
        running += len(chosen)
        start += chosen
        wait += waiting
    return start, wait


def _choose(jobs: Sequence[Candidate], free: int, reserved: int) -> tuple[list[str], list[str]]:
    idle = [c.name for c in jobs if not c.running]
    owed = min(len(idle), reserved - (len(jobs) - len(idle)))
    count = max(0, free, owed)
    return idle[:count], idle[count:]
