"""The launcher process' loops: outbox to Kafka, log, sample data, streams, replicas, Jobs. None waits for another."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from functools import partial

from django.db import close_old_connections

from backend.deployments.auditor import Auditor
from backend.deployments.kafka import message_log, stream_log
from backend.deployments.outbox import publish_pending
from backend.launchers.local import LocalLauncher
from backend.launchers.local_fleet import LocalFleet
from backend.launchers.meters import LOOP_FAILURES, OUTBOX_SECONDS
from backend.launchers.options import Options, cluster_fleet, cluster_launcher, local_fleet, local_launcher
from backend.launchers.reconciler import Reconciler
from backend.launchers.serving import ServingReconciler
from backend.launchers.surveyor import Surveyor
from backend.streams.injections import Injector
from mainstem.metrics.health import Health

log = logging.getLogger(__name__)

CLUSTER_SECONDS = 2.0
"""Between two looks at a cluster's Jobs: each costs the API server two lists."""


def run(stop: threading.Event, every: float, end_seconds: float, health: Health) -> None:
    """Run the loops until `stop`, then end what runs on this machine; what runs on a cluster goes on without us.

    `every` is the seconds between two rounds of a loop.
    """
    options = Options.from_environ()
    launcher = local_launcher() if options.cluster is None else cluster_launcher(options.cluster)
    reconciler = Reconciler(launcher, options)
    fleet = local_fleet() if options.cluster is None else cluster_fleet(options.cluster)
    pause = every if options.cluster is None else max(every, CLUSTER_SECONDS)
    outbox = threading.Thread(
        target=repeat,
        args=("outbox", lambda: publish_pending(message_log()), stop, every),
        kwargs={"turn": lambda: health.turn("outbox", OUTBOX_SECONDS)},
        daemon=True,
    )
    outbox.start()
    samples = threading.Thread(target=repeat, args=("samples", Injector().step, stop, every), daemon=True)
    samples.start()
    surveyor = threading.Thread(target=repeat, args=("streams", Surveyor(stream_log).step, stop, every), daemon=True)
    surveyor.start()
    auditor = threading.Thread(target=repeat, args=("log", Auditor(message_log).step, stop, every), daemon=True)
    auditor.start()
    serving = threading.Thread(
        target=repeat,
        args=("serving", ServingReconciler(fleet, options, stream_log).tick, stop, pause),
        kwargs={"turn": lambda: health.turn("serving")},
        daemon=True,
    )
    serving.start()
    health.ready = True
    repeat("Jobs", reconciler.tick, stop, pause, turn=health.turn)
    serving.join(end_seconds)
    if isinstance(fleet, LocalFleet) and (left := fleet.shut_down(end_seconds)):
        log.warning("these replicas did not end: %s", ", ".join(left))
    if isinstance(launcher, LocalLauncher):
        reconciler.shut_down(partial(launcher.end, seconds=end_seconds))
    outbox.join(end_seconds)  # the daemon that injects dies with us, and its child with it


def repeat(
    name: str,
    step: Callable[[], object],
    stop: threading.Event,
    every: float,
    turn: Callable[[], None] = lambda: None,
) -> None:
    """Take the step again and again, after a word to `turn`.

    A fault (the database is away, ...) is told once and does not end the loop.
    """
    told = ""
    while not stop.is_set():
        turn()
        try:
            step()
            told = ""
        except Exception as error:  # the loop must go on: everything else depends on it
            LOOP_FAILURES.labels(name.lower()).inc()
            if repr(error) != told:
                told = repr(error)
                log.exception("%s: this round failed, going on", name)
        finally:
            close_old_connections()
        stop.wait(every)
