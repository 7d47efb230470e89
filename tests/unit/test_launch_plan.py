"""The launcher's decisions, without a process, a database or a clock."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from backend.launchers.jobs.plan import Action, Candidate, Decision, FederationStanding, Patience, View, admit, decide
from mainstem.jobs.launcher import JobStatus

PATIENCE = Patience(limit=3, first=1, longest=60, healthy=600)
NOW = 1000.0
ABSENT = JobStatus("j", "absent")
ALIVE = JobStatus("j", "running")
DONE = JobStatus("j", "succeeded", 0)
KILLED = JobStatus("j", "failed", -9, "killed by SIGKILL")
ASKED = JobStatus("j", "interrupted", 143, "was asked to end (SIGTERM)")


def step(job: View, standing: FederationStanding, status: JobStatus, now: float = NOW) -> Decision:
    return decide(job, standing, status, now, PATIENCE)


def test_a_pending_job_of_an_open_federation_starts_when_due() -> None:
    """Not before its pause has passed."""
    assert step(View("pending"), FederationStanding.OPEN, ABSENT).action is Action.START
    assert step(View("pending", due=NOW + 1), FederationStanding.OPEN, ABSENT).action is Action.NOTHING
    assert step(View("pending", due=NOW - 1), FederationStanding.OPEN, ABSENT).action is Action.START


def test_a_live_job_is_adopted() -> None:
    """Whatever runs under a Job's name is that Job, also for a launcher that did not start it."""
    assert step(View("pending"), FederationStanding.OPEN, ALIVE) == Decision(Action.NOTHING, "running")


def test_a_job_that_its_cluster_has_not_started_says_why() -> None:
    """It is starting, with the cluster's words; then it runs, and nothing is left to say."""
    waits = JobStatus("j", "pending", detail="no node takes its pod")
    assert step(View("starting"), FederationStanding.OPEN, waits) == Decision(
        Action.NOTHING, "starting", "no node takes its pod"
    )
    assert step(View("running"), FederationStanding.OPEN, waits).state == "starting"
    assert step(View("starting"), FederationStanding.OPEN, ALIVE) == Decision(Action.NOTHING, "running")
    assert step(View("starting"), FederationStanding.PAUSED, waits).action is Action.END
    assert step(View("starting"), FederationStanding.OPEN, ABSENT).state == "pending"
    assert step(View("starting"), FederationStanding.OPEN, KILLED).failures == 1


def test_a_launcher_that_retries_by_itself_has_the_last_word() -> None:
    """With a limit of 0 a failed Job is not started again, and a person's retry is."""
    ended = decide(View("running"), FederationStanding.OPEN, KILLED, NOW, Patience(limit=0))
    assert (ended.state, ended.detail) == ("failed", "failed with: killed by SIGKILL")
    assert step(View("pending"), FederationStanding.OPEN, KILLED).action is Action.START


def test_without_a_limit_every_job_starts() -> None:
    """The cluster's scheduler decides."""
    waiting = [Candidate(f"j{n}", "f", 1, n, False) for n in range(50)]
    assert admit([*waiting, Candidate("k", "f", 1, 50, True)], {"f": 3}, None) == ([c.name for c in waiting], [])


def test_a_killed_job_starts_again_until_its_limit() -> None:
    """Each failure waits longer; after the limit the Job has failed, and says with what."""
    waits = []
    job = View("running", started=NOW)
    for failures in range(1, 4):
        decision = step(job, FederationStanding.OPEN, KILLED)
        assert (decision.action, decision.state, decision.failures) == (Action.FORGET, "pending", failures)
        waits.append(decision.wait)
        job = View("running", failures=failures, started=NOW)
    assert waits == [1, 2, 4]
    last = step(job, FederationStanding.OPEN, KILLED)
    assert last.state == "failed" and "SIGKILL" in last.detail and last.exit_code == -9


@pytest.mark.parametrize("code", [2, 3])
@pytest.mark.parametrize("standing", [FederationStanding.OPEN, FederationStanding.FINISHED])
def test_what_another_start_would_not_mend_is_not_tried_again(code: int, standing: FederationStanding) -> None:
    """Settings that cannot be used, data that do not fit: the Job has failed at once, with its sentence."""
    unfit = JobStatus("j", "failed", code, f"exit code {code}: DATA_TOPIC has 5 records")
    said = f"failed for good with: exit code {code}: DATA_TOPIC has 5 records"
    assert step(View("running"), standing, unfit) == Decision(Action.FORGET, "failed", said, 1, code)
    assert step(View("running"), FederationStanding.PAUSED, unfit).state == "stopped"
    assert step(View("pending"), FederationStanding.OPEN, ABSENT).action is Action.START, "a person's retry starts it"


def test_a_long_healthy_attempt_forgives_earlier_failures() -> None:
    """A Job that is killed once a day goes on for ever."""
    decision = step(View("running", failures=3, started=NOW - 700), FederationStanding.OPEN, KILLED)
    assert (decision.state, decision.failures) == ("pending", 1)


def test_success_is_kept() -> None:
    """Exit code 0 ends the Job for good, also while the federation's end is not known here yet."""
    assert step(View("running"), FederationStanding.OPEN, DONE).state == "succeeded"
    assert step(View("succeeded"), FederationStanding.FINISHED, ABSENT) == Decision(Action.NOTHING, "succeeded")


def test_finished_federations_let_jobs_exit_by_themselves() -> None:
    """They evaluate the final model; only one that hangs is ended, and none is started again."""
    assert step(View("running"), FederationStanding.FINISHED, ALIVE).action is Action.NOTHING
    assert step(View("running"), FederationStanding.OVERDUE, ALIVE).action is Action.END
    assert step(View("running"), FederationStanding.FINISHED, KILLED).state == "failed"
    assert step(View("pending"), FederationStanding.FINISHED, ABSENT).state == "stopped"


def test_stop_and_resume_of_a_federation() -> None:
    """Its Jobs are ended, also those that had exited, and start again with it."""
    assert step(View("running"), FederationStanding.PAUSED, ALIVE).action is Action.END
    assert step(View("running"), FederationStanding.PAUSED, ABSENT).state == "stopped"
    assert step(View("succeeded"), FederationStanding.PAUSED, ABSENT).state == "stopped"
    assert step(View("stopped"), FederationStanding.OPEN, ABSENT).state == "pending"


def test_a_person_s_stop_outlives_a_resume() -> None:
    """What a person stopped only a person starts again."""
    assert step(View("running", wanted=False), FederationStanding.OPEN, ALIVE).action is Action.END
    assert step(View("pending", wanted=False), FederationStanding.OPEN, ABSENT).state == "stopped"
    assert step(View("stopped", wanted=False), FederationStanding.OPEN, ABSENT) == Decision(Action.NOTHING, "stopped")


def test_an_interrupted_job_starts_again_without_blame() -> None:
    """Ended with the platform or lost with the machine: that is no failure of the Job."""
    decision = step(View("running", failures=1), FederationStanding.OPEN, ABSENT)
    assert (decision.state, decision.failures, decision.wait) == ("pending", 1, None)


def test_a_job_that_was_asked_to_end_starts_again_without_blame() -> None:
    """SIGTERM counts as little as it does on a cluster: whatever the count is, after a pause, and for ever."""
    job = View("running", failures=3, started=NOW)
    for _ in range(5):
        decision = step(job, FederationStanding.OPEN, ASKED)
        told = "was asked to end (SIGTERM) and starts again"
        assert decision == Decision(Action.FORGET, "pending", told, 3, 143, PATIENCE.first)
        job = View("running", failures=decision.failures, started=NOW)
    assert step(job, FederationStanding.FINISHED, ASKED).state == "stopped"
    assert step(job, FederationStanding.PAUSED, ASKED) == Decision(
        Action.FORGET, "stopped", "the federation is stopped", 3, 143
    )
    assert step(View("running", wanted=False), FederationStanding.OPEN, ASKED).detail == "a person stopped it"
    assert step(View("running"), FederationStanding.GONE, ASKED).drop


@pytest.mark.parametrize("state", ["pending", "running", "succeeded", "failed", "stopped"])
def test_rows_of_deleted_federations_go_once_nothing_runs(state: str) -> None:
    """First the process ends, then the row goes."""
    assert step(View(state), FederationStanding.GONE, ABSENT).drop
    alive = step(View(state), FederationStanding.GONE, ALIVE)
    assert alive.action is Action.END and not alive.drop


views = st.builds(
    View,
    st.sampled_from(["pending", "running", "succeeded", "failed", "stopped"]),
    st.booleans(),
    st.integers(0, 5),
    st.none() | st.floats(0, 2000),
    st.none() | st.floats(0, 1000),
)
statuses = st.sampled_from([ABSENT, ALIVE, DONE, KILLED, ASKED, JobStatus("j", "failed", 3, "exit code 3")])


@given(views, st.sampled_from(FederationStanding), statuses)
def test_only_wanted_jobs_of_open_federations_ever_start(
    job: View, standing: FederationStanding, status: JobStatus
) -> None:
    """Whatever the launcher reports."""
    decision = step(job, standing, status)
    if decision.action is Action.START or decision.wait is not None:
        assert standing is FederationStanding.OPEN and job.wanted
    if decision.action is Action.START:
        assert status.state not in ("running", "pending")
    if decision.drop:
        assert standing is FederationStanding.GONE


@given(views, st.sampled_from(FederationStanding), statuses)
def test_steps_settle(job: View, standing: FederationStanding, status: JobStatus) -> None:
    """In a world that does what it is asked, every Job comes to rest or runs after a few steps."""
    seen = 0
    while seen < 8:
        decision = step(job, standing, status, now=1e9)
        before = (job, status)
        if decision.drop:
            return
        job = View(decision.state, job.wanted, decision.failures, None, job.started)
        if decision.action is Action.START:
            job, status = View("running", job.wanted, job.failures, None, None), ALIVE
        elif decision.action in (Action.END, Action.FORGET):
            status = ABSENT
        if (job, status) == before or (
            job.state == "running" and status is ALIVE and decision.action is Action.NOTHING
        ):
            return
        seen += 1
    raise AssertionError("it goes round in circles")


candidates = st.lists(
    st.builds(
        lambda n, f, r: Candidate(f"job{n}", f"fed{f}", f, n, r), st.integers(0, 1000), st.integers(0, 4), st.booleans()
    ),
    unique_by=lambda c: c.name,
    max_size=40,
)


@given(candidates, st.lists(st.integers(1, 8), min_size=5, max_size=5), st.integers(1, 10))
def test_admission_neither_overloads_nor_deadlocks(jobs: list[Candidate], least: list[int], limit: int) -> None:
    """The limit is exceeded only for the one federation that could not train otherwise; that one always can."""
    needs = {f"fed{n}": k for n, k in enumerate(least)}
    start, wait = admit(jobs, needs, limit)
    idle = [c.name for c in jobs if not c.running]
    assert sorted(start + wait) == sorted(idle)
    running = [c for c in jobs if c.running or c.name in start]
    if start:
        assert len(running) <= max(limit, sum(c.running for c in jobs)) + max(least)
    complete = [f for f in needs if sum(c.federation == f for c in jobs) >= needs[f]]
    if complete:
        oldest = min(complete, key=lambda f: int(f[3:]))
        assert sum(c.federation == oldest for c in running) >= needs[oldest]


def test_admission_takes_the_oldest_federation_first() -> None:
    """Within one federation the places count, and without a limit everything starts."""
    jobs = [Candidate("b1", "b", 2, 0, False), Candidate("a2", "a", 1, 1, False), Candidate("a1", "a", 1, 0, False)]
    assert admit(jobs, {"a": 1, "b": 1}, 2) == (["a1", "a2"], ["b1"])
    assert admit(jobs, {"a": 1, "b": 1}, None)[1] == []
