"""Compares what was folded with what the log holds, and reads again what differs. A loop of the launcher process.

Loggers bring what comes; that something is no longer there nobody brings. So Kafka is asked: is each run's control
topic still the one that was folded, does it reach as far, is the head's record the known one? Are all topics there?
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Mapping, Sequence

from django.db import transaction

from backend.deployments.models import ControlRecord, Deployment, State
from backend.deployments.projection import projection
from backend.deployments.projection.rereading import Held, reread
from mainstem.errors import OLDER, UnreadableError
from mainstem.protocol.log import Holding
from mainstem.protocol.topics import control_topic, federation_topics
from mainstem.runtime.metrics import names
from mainstem.runtime.metrics.objects import counter

log = logging.getLogger(__name__)
DROPPED = counter(names.HISTORIES_DROPPED)

LOOK_SECONDS = 10.0
"""Between two looks at all runs: three requests to Kafka, whatever their number."""

SAMPLES = 4
"""Runs of a look whose head is compared with the log byte for byte, in turn: each costs a reader."""

UNASKED = (State.OPENING, State.DELETING)
"""Whose topics come and go by the outbox."""


class Auditor:
    """`now` is seconds since any beginning. Not for several threads."""

    def __init__(self, source: Callable[[], Held], now: Callable[[], float] = time.monotonic) -> None:
        self._source, self._now = source, now
        self._next = float("-inf")
        self._turn = 0
        self._missed: set[int] = set()

    def step(self) -> None:
        """Read again what is in doubt, and from time to time look whether anything is. Raises LogError."""
        if self._now() >= self._next:
            self._next = self._now() + LOOK_SECONDS
            self.look()
        settle(self._source())

    def look(self, samples: int = SAMPLES) -> None:
        """Compare every run with the log; raises LogError."""
        rows = (
            Deployment.objects.exclude(state__in=UNASKED)
            .exclude(topic_id="")
            .defer("architecture", "tensors")
            .order_by("pk")
        )
        runs = list(rows)
        wanted = [spec.name for run in runs for spec in federation_topics(run.federation)]
        held = self._source().holdings(wanted).topics
        sound = [run for run in runs if self._is_there(run, held) and self._reaches(run, held)]
        for at in range(min(samples, len(sound))):
            self._compare(sound[(self._turn + at) % len(sound)])
        self._turn += samples

    def _is_there(self, run: Deployment, held: Mapping[str, Holding | None]) -> bool:
        """Say which topics are gone, after two looks: a cluster that just starts may not know all of them yet."""
        missing = [name for spec in federation_topics(run.federation) if held[name := spec.name] is None]
        twice = run.pk in self._missed
        (self._missed.add if missing else self._missed.discard)(run.pk)
        if not missing:
            if run.lost:
                log.info("federation %s has all its topics again", run.federation)
                _found(run.pk)
            return True
        if twice:
            _lost(run, missing)
        return held[control_topic(run.federation)] is not None

    @staticmethod
    def _reaches(run: Deployment, held: Mapping[str, Holding | None]) -> bool:
        topic = control_topic(run.federation)
        holding = held[topic]
        assert holding is not None
        reason = ""
        if holding.id != run.topic_id:
            reason = f"{topic} was deleted and made again: other records are there now than were read"
        elif holding.end < run.folded:
            reason = f"{topic} ends at offset {holding.end}, and was read up to {run.folded}: {OLDER}"
        if reason:
            projection.doubt(run, reason)
        return not reason

    def _compare(self, run: Deployment) -> None:
        """The newest record that was folded, and the head's."""
        topic = control_topic(run.federation)
        for offset in sorted({run.folded - 1, run.head.get("offset", run.folded - 1)}):
            row = ControlRecord.of(run).filter(offset=offset).first()
            if row is None:
                continue
            try:
                found = next(self._source().read(topic, 0, offset, offset + 1), None)
            except UnreadableError:
                found = None
            if found is None or not row.equals(found):
                projection.doubt(run, projection.contradiction(topic, offset))
                return


def settle(source: Held) -> int:
    """Read again all runs that are in doubt; how many told what their log does not hold. Raises LogError."""
    doubted = Deployment.objects.exclude(doubt="").exclude(state__in=UNASKED)
    dropped = sum(reread(pk, source) for pk in list(doubted.values_list("pk", flat=True)))
    DROPPED.inc(dropped)
    return dropped


def audit(source: Held) -> int:
    """Look at every run at once, its head's record included, and settle; how many were amended. Raises LogError."""
    Auditor(lambda: source).look(samples=Deployment.objects.count())
    return settle(source)


def _lost(run: Deployment, missing: Sequence[str]) -> None:
    names_ = ", ".join(missing)
    several = len(missing) > 1
    sentence = (
        f"Kafka has no {'topics' if several else 'topic'} {names_}: {'they were' if several else 'it was'} deleted. "
    )
    if run.ended and run.state != State.LOST:
        sentence += "What is shown here can no longer be proved from the log."
    else:
        sentence += "No round can be committed without; restart it as a new deployment, or restore Kafka from a copy."
        Deployment.objects.filter(pk=run.pk, state=run.state).update(state=State.LOST)
    if sentence != run.lost:
        log.error("federation %s: %s", run.federation, sentence)
        Deployment.objects.filter(pk=run.pk).update(lost=sentence)


@transaction.atomic
def _found(pk: int) -> None:
    run = Deployment.objects.select_for_update().get(pk=pk)
    run.lost = ""
    if run.state == State.LOST:
        run.state = State.WAITING
        projection.fold_again(run)  # where it stands, by its records
    run.save(update_fields=["lost"])
