"""Brings what runs in line with what should run. Everything it knows is in the database and at the launcher."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterable
from datetime import UTC, datetime, timedelta

from django.db.models import Q

from backend.deployments import services
from backend.deployments.models import Deployment, State
from backend.launchers.jobs import matching
from backend.launchers.jobs.plan import LAUNCHED, Action, Candidate, Decision, FederationStanding, View, admit, decide
from backend.launchers.jobs.specs import spec_of
from backend.launchers.meters import FAILURES, LAUNCHES
from backend.launchers.models import Job, JobState
from backend.launchers.options import Options
from mainstem.errors import LaunchRefused, MainstemError
from mainstem.jobs.launcher import JobStatus, Launcher
from mainstem.runtime import logs

log = logging.getLogger(__name__)

SETTLE_SECONDS = 60.0
"""Beside the federation's own `final_wait_ms`: how long after the end a Job may still evaluate the final model."""

RETURN_SECONDS = 5.0
"""After a Job's peaceful end: until then the last round's commit, which it has read, may not be projected yet."""

REFUSED_SECONDS = 30.0
"""Until a Job whose start the launcher refused is tried again: a quota may have room by then."""

WAITS = "waits: {running} training processes run, and MAINSTEM_MAX_JOBS allows no more"


class Reconciler:
    """One step of the launcher process at a time. `now` is seconds since the epoch. Not for several threads."""

    def __init__(self, launcher: Launcher, options: Options, now: Callable[[], float] = time.time) -> None:
        self._launcher = launcher
        self._options = options
        self._now = now
        self._memory = matching.Memory()

    def tick(self) -> None:
        """Match streams with federations, then look at every Job that is not at rest and take its next step."""
        matching.match(memory=self._memory)
        self._launcher.refresh()
        candidates: list[Candidate] = []
        due: dict[str, Job] = {}
        least: dict[str, int] = {}
        for job in self._restless():
            with logs.bind(federation=job.federation, client=job.client_id):
                try:
                    decision = self._step(job)
                except (MainstemError, OSError) as error:  # of this Job: the others go on
                    log.warning("Job %s: %s", job.name, error)
                    self._note(job, f"its launcher cannot look after it: {error}")
                    continue
            if decision is None or job.deployment is None:
                continue
            running = decision.state in LAUNCHED
            if running or decision.action is Action.START:
                age = int(job.deployment.created_at.timestamp() * 1000)
                candidates.append(Candidate(job.name, job.federation, age, job.slot or 0, running))
                least[job.federation] = matching.rules_of(job.deployment).min_clients
                due[job.name] = job
        start, wait = admit(candidates, least, self._options.max_jobs)
        for name in start:
            self._start(due[name])
        running_now = sum(c.running for c in candidates) + len(start)
        for name in wait:
            self._note(due[name], WAITS.format(running=running_now))

    def shut_down(self, end: Callable[[list[str]], Iterable[str]]) -> None:
        """End every Job of this launcher; the rows say that the next start runs them again.

        `end` is given the names, ends the Jobs and returns those that would not end.
        """
        jobs = list(Job.objects.filter(state__in=LAUNCHED))
        left = set(end([job.name for job in jobs]))
        for job in jobs:
            if job.name in left:
                log.warning("Job %s did not end", job.name)
            else:
                self._update(job, state=JobState.PENDING, detail="was ended with the platform; starts again with it")

    def _restless(self) -> list[Job]:
        """Jobs that may need something: all but those at rest in a federation that leaves them so."""
        at_rest = Q(state__in=[JobState.FAILED, JobState.SUCCEEDED]) | Q(state=JobState.STOPPED)
        stirred = (
            Q(deployment=None)
            | Q(state=JobState.STOPPED, wanted=True, deployment__state__in=matching.OPEN)
            | Q(state=JobState.SUCCEEDED, deployment__state__in=[State.STOPPED, State.FAILED])
            | Q(state=JobState.SUCCEEDED, wanted=True, deployment__state__in=matching.OPEN)
        )
        return list(Job.objects.filter(~at_rest | stirred).select_related("deployment", "source").order_by("id"))

    def _step(self, job: Job) -> Decision | None:
        """Decide about one Job and do it, except for starting it. None where its row is gone."""
        standing = self._standing(job.deployment)
        view = View(
            state=job.state,
            wanted=job.wanted,
            failures=job.failures,
            due=job.due_at.timestamp() if job.due_at else None,
            started=job.started_at.timestamp() if job.started_at else None,
            needed=self._needed(job),
        )
        status = self._launcher.status(job.name)
        decision = decide(view, standing, status, self._now(), self._options.patience)
        self._record(job, decision)
        if decision.action in (Action.END, Action.FORGET):
            self._launcher.stop(job.name)
        if decision.drop:
            log.info("Job %s goes with its deleted federation", job.name)
            job.delete()
            return None
        return decision

    def _record(self, job: Job, decision: Decision) -> None:
        """Write what changed; an empty detail keeps the old one while the state stays."""
        changed = decision.state != job.state
        if not changed and decision.detail in ("", job.detail) and decision.failures == job.failures:
            return
        fields: dict[str, object] = {"state": decision.state, "failures": decision.failures}
        if changed or decision.detail:
            fields["detail"] = decision.detail
        if decision.failures > job.failures:
            FAILURES.inc()
        if decision.exit_code is not None:
            fields["exit_code"] = decision.exit_code
        if job.state in LAUNCHED and decision.state not in LAUNCHED:
            fields["ended_at"] = self._time()
        if decision.state == JobState.PENDING:
            fields["due_at"] = None if decision.wait is None else self._time(decision.wait)
        if decision.state == JobState.FAILED or (decision.state == JobState.STOPPED and not job.wanted):
            fields["slot"] = None  # another stream may take its place
            if changed and job.deployment is not None:
                services.give_up(job.deployment, job.client_id)
        if changed:
            log.info("Job %s: %s -> %s %s", job.name, job.state, decision.state, decision.detail)
        self._update(job, **fields)

    def _start(self, job: Job) -> None:
        """Start an admitted Job. The row says `running` first: a crash between the two shows as an interruption."""
        with logs.bind(federation=job.federation, client=job.client_id):
            if reason := matching.changed(job):
                self._record(job, Decision(Action.NOTHING, JobState.FAILED, f"not started: {reason}", job.failures))
                return
            self._update(
                job,
                state=JobState.RUNNING,
                detail="",
                attempts=job.attempts + 1,
                started_at=self._time(),
                ended_at=None,
                due_at=None,
            )
            log.info("Job %s starts, attempt %d", job.name, job.attempts)
            try:
                self._launcher.launch(
                    job.name, spec_of(job, self._options), job.deployment.job if job.deployment else None
                )
                LAUNCHES.labels("started").inc()
            except LaunchRefused as error:
                LAUNCHES.labels("refused").inc()
                log.warning("Job %s cannot be started yet: %s", job.name, error)
                again = f"cannot be started yet, tried again in {REFUSED_SECONDS:.0f} s: {error}"
                self._update(job, state=JobState.PENDING, detail=again, due_at=self._time(REFUSED_SECONDS))
            except (MainstemError, OSError) as error:
                LAUNCHES.labels("failed").inc()
                log.error("Job %s cannot be started: %s", job.name, error)
                standing, now = self._standing(job.deployment), self._now()
                status = JobStatus(job.name, "failed", None, str(error))
                view = View(JobState.RUNNING, job.wanted, job.failures, started=now)
                self._record(job, decide(view, standing, status, now, self._options.patience))

    def _note(self, job: Job, detail: str) -> None:
        if job.detail != detail:
            self._update(job, detail=detail)

    def _update(self, job: Job, **fields: object) -> None:
        """Write these columns only: a person may change `wanted` meanwhile."""
        for name, value in fields.items():
            setattr(job, name, value)
        job.save(update_fields=list(fields))

    def _time(self, ahead: float = 0.0) -> datetime:
        return datetime.fromtimestamp(self._now(), UTC) + timedelta(seconds=ahead)

    def _standing(self, deployment: Deployment | None) -> FederationStanding:
        if deployment is None or deployment.state == State.DELETING:
            return FederationStanding.GONE
        if deployment.state in (State.STOPPED, State.FAILED, State.LOST):
            return FederationStanding.PAUSED
        if deployment.state != State.FINISHED:
            return FederationStanding.OPEN
        patience = SETTLE_SECONDS + matching.rules_of(deployment).final_wait_ms / 1000
        ended = (deployment.ended_ms or 0) / 1000
        return FederationStanding.OVERDUE if self._now() > ended + patience else FederationStanding.FINISHED

    def _needed(self, job: Job) -> bool:
        deployment = job.deployment
        if deployment is None or deployment.state not in matching.OPEN or job.ended_at is None:
            return False
        rests = self._now() - job.ended_at.timestamp()
        return rests >= RETURN_SECONDS and deployment.round < matching.rules_of(deployment).rounds
