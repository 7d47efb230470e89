"""The launcher process' two loops: the outbox to Kafka, and the Jobs. Neither waits for the other."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable

from django.db import close_old_connections

from backend.deployments.kafka import message_log
from backend.deployments.outbox import publish_pending
from backend.launchers.meters import LOOP_FAILURES, OUTBOX_SECONDS
from backend.launchers.options import Options, local_launcher
from backend.launchers.reconciler import Reconciler
from mainstem.metrics.health import Health

log = logging.getLogger(__name__)


def run(stop: threading.Event, every: float, end_seconds: float, health: Health) -> None:
    """Run both loops until `stop`, then end the Jobs. `every` is the seconds between two rounds of a loop."""
    launcher = local_launcher()
    reconciler = Reconciler(launcher, Options.from_environ())
    outbox = threading.Thread(
        target=repeat,
        args=("outbox", lambda: publish_pending(message_log()), stop, every),
        kwargs={"turn": lambda: health.turn("outbox", OUTBOX_SECONDS)},
        daemon=True,
    )
    outbox.start()
    health.ready = True
    repeat("Jobs", reconciler.tick, stop, every, turn=health.turn)
    reconciler.shut_down(lambda names: launcher.end(names, end_seconds))
    outbox.join(end_seconds)


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
