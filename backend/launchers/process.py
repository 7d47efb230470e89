"""The launcher process' loops: outbox to Kafka, log, sample data, streams, replicas, Jobs. None waits for another.

They turn while this process has the lease of the database: before that it stands by, and without it it ends.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from functools import partial
from typing import Any

from django.db import DatabaseError, close_old_connections, connection
from django.utils import timezone

from backend.audit.outbox import Publisher
from backend.deployments.log.kafka import cloud_config, message_log, stream_log
from backend.deployments.log.outbox import publish_pending
from backend.deployments.projection.auditor import Auditor
from backend.launchers import extensions, lease
from backend.launchers.jobs.plan import LAUNCHED
from backend.launchers.jobs.reconciler import Reconciler
from backend.launchers.jobs.surveyor import Surveyor
from backend.launchers.lease import Tenure
from backend.launchers.local.fleet import LocalFleet
from backend.launchers.local.launcher import LocalLauncher
from backend.launchers.meters import LOOP_FAILURES, OUTBOX_SECONDS
from backend.launchers.models import Job, Report
from backend.launchers.options import Options, cluster_fleet, cluster_launcher, local_fleet, local_launcher
from backend.streams.injections import InjectionRunner
from mainstem.errors import ConfigError, LogError
from mainstem.kafka.client.overview import answers
from mainstem.runtime.metrics.health import Health

log = logging.getLogger(__name__)

REPORT_SECONDS = 10.0
PART = "launcher"

CLUSTER_SECONDS = 2.0
"""Between two looks at a cluster's Jobs: each costs the API server two lists."""


def stand_by(tenure: Tenure, stop: threading.Event, every: float, health: Health) -> bool:
    """Wait for the lease; False where `stop` comes first. Who waits is ready: a rolling update ends the other then."""
    told = False
    while not stop.is_set():
        health.turn()
        held = tenure.held()
        close_old_connections()
        if held:
            log.info("this launcher has the lease of the database")
            return True
        if tenure.other is not None:
            health.ready = True
            if not told:
                told = True
                log.warning("%s; this launcher stands by until that one ends", lease.sentence(tenure.other))
        stop.wait(every)
    return False


def run(stop: threading.Event, every: float, end_seconds: float, health: Health, tenure: Tenure) -> None:
    """Run the loops until `stop`, then end what runs on this machine; what runs on a cluster goes on without us.

    `every` is the seconds between two rounds of a loop. Raises ConfigError where another has taken the lease.
    """
    options = Options.from_environ()
    launcher = local_launcher() if options.cluster is None else cluster_launcher(options.cluster)
    reconciler = Reconciler(launcher, options)
    fleet = local_fleet() if options.cluster is None else cluster_fleet(options.cluster)
    pause = every if options.cluster is None else max(every, CLUSTER_SECONDS)

    def begin(name: str, step: Callable[[], object], every: float, **more: Any) -> threading.Thread:
        """The loop in a thread of its own; each step only while the lease is ours."""
        more |= {"stop": stop, "health": health}
        arguments = (name, _guarded(step, tenure, stop), every)
        thread = threading.Thread(target=repeat, args=arguments, kwargs=more, name=name, daemon=True)
        thread.start()
        return thread

    outbox = begin(
        "outbox", lambda: publish_pending(message_log()), every, turn=lambda: health.turn("outbox", OUTBOX_SECONDS)
    )
    begin("audit", Publisher(message_log, options.audit_days).step, every)
    begin("samples", InjectionRunner().step, every)
    begin("streams", Surveyor(stream_log).step, every)
    begin("log", Auditor(message_log).step, every)
    others = [
        begin(name, make(fleet, options, stream_log), pause, turn=partial(health.turn, name))
        for name, make in extensions.LOOPS.items()
    ]
    begin("reports", lambda: report(health), REPORT_SECONDS)
    health.ready = True
    repeat("Jobs", _guarded(reconciler.tick, tenure, stop), pause, stop=stop, health=health, turn=health.turn)
    for other in others:
        other.join(end_seconds)
    if isinstance(fleet, LocalFleet) and (left := fleet.shut_down(end_seconds)):
        log.warning("these replicas did not end: %s", ", ".join(left))
    if isinstance(launcher, LocalLauncher):
        end = partial(launcher.end, seconds=end_seconds)
        if tenure.lost:  # their rows are another's now, which has started them anew
            end(list(Job.objects.filter(state__in=LAUNCHED).values_list("name", flat=True)))
        else:
            reconciler.shut_down(end)
    outbox.join(end_seconds)  # the daemon that injects dies with us, and its child with it
    if tenure.lost and tenure.other is not None:
        raise ConfigError(f"{lease.sentence(tenure.other)}: it took the lease while this launcher could not renew it")


def _guarded(step: Callable[[], object], tenure: Tenure, stop: threading.Event) -> Callable[[], None]:
    """The step while the lease is ours; the end of all loops where another has it."""

    def guarded() -> None:
        if tenure.held():
            step()
        elif tenure.lost:
            stop.set()

    return guarded


def repeat(
    name: str,
    step: Callable[[], object],
    every: float,
    *,
    stop: threading.Event,
    health: Health,
    turn: Callable[[], None] = lambda: None,
) -> None:
    """Take the step again and again, after a word to `turn`; `health` hears whether it went well.

    A fault (the database is away, ...) is told once and does not end the loop.
    """
    told = ""
    while not stop.is_set():
        turn()
        try:
            step()
            told = ""
            health.worked(f"the loop of {name}")
        except Exception as error:  # the loop must go on: everything else depends on it
            LOOP_FAILURES.labels(name.lower()).inc()
            health.failed(f"the loop of {name}", repr(error), served)
            if repr(error) != told:
                told = repr(error)
                log.exception("%s: this round failed, going on", name)
        finally:
            close_old_connections()
        stop.wait(every)


def report(health: Health) -> None:
    """Tell the database how the loops are."""
    trouble = "; ".join([*(f"the loop of {loop} hangs" for loop in health.stuck()), *health.failing()])
    Report.objects.update_or_create(part=PART, defaults={"at": timezone.now(), "trouble": trouble})


def served() -> bool:
    """Whether the database and Kafka answer others: where they do not, a new launcher would do no better."""
    try:
        connection.close()
        connection.ensure_connection()
        return answers(cloud_config())
    except (DatabaseError, LogError):
        return False
