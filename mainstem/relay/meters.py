"""What a logger counts: wrappers around its source and its way to the backend, so that the loop stays as it is."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Protocol

from mainstem.errors import LogError
from mainstem.metrics import names
from mainstem.metrics.health import Health
from mainstem.metrics.objects import counter, gauge
from mainstem.relay.loop import Answer, Batch, FaultError, HandOver, HandOverError, Source, UnacceptableError

RECORDS = counter(names.RELAYED)
BYTES = counter(names.RELAY_BYTES)
FAILURES = counter(names.RELAY_FAILURES)
LAG = gauge(names.RELAY_LAG)
BEHIND = gauge(names.RELAY_BEHIND)

LIMIT_SECONDS = 300.0
"""Until a loop that does not turn is called stuck: one batch may wait for the backend's answer and its health."""


class LaggingSource(Source, Protocol):
    """A source that knows how far behind it is."""

    @property
    def lag(self) -> int:
        """Records in Kafka that were not committed yet, as far as the client knows."""
        ...


class MeteredSource:
    """Implements `loop.Source` over another one."""

    def __init__(self, source: LaggingSource, health: Health, now: Callable[[], float] = time.time) -> None:
        self._source, self._health, self._now = source, health, now
        self._oldest: float | None = None
        BEHIND.set_function(lambda: 0.0 if self._oldest is None else max(0.0, self._now() - self._oldest))
        LAG.set_function(lambda: self._source.lag)

    def batch(self, timeout: float) -> Batch | None:
        """See `loop.Source`."""
        self._health.turn(limit=LIMIT_SECONDS)
        try:
            batch = self._source.batch(timeout)
        except LogError:
            FAILURES.labels("kafka").inc()
            self._health.ready = False
            raise
        self._health.ready = True
        if batch is not None:
            self._oldest = min(record.timestamp_ms for record in batch.records) / 1000
        return batch

    def commit(self, batch: Batch) -> None:
        """See `loop.Source`."""
        self._source.commit(batch)
        self._oldest = None

    def drained(self) -> bool:
        """See `loop.Source`."""
        return self._source.drained()


def metered(hand_over: HandOver, health: Health) -> HandOver:
    """Counts what the backend says of each batch."""

    def deliver(batch: Batch) -> Answer:
        health.turn(limit=LIMIT_SECONDS)
        try:
            answer = hand_over(batch)
        except (HandOverError, UnacceptableError) as error:
            FAILURES.labels(_kind(error)).inc()
            health.ready = False
            raise
        health.ready = True
        RECORDS.labels("accepted").inc(answer.accepted)
        RECORDS.labels("duplicate").inc(answer.duplicates)
        RECORDS.labels("refused").inc(len(answer.refused))
        BYTES.inc(sum(len(record.key or b"") + len(record.value or b"") for record in batch.records))
        return answer

    return deliver


def _kind(error: Exception) -> str:
    if isinstance(error, FaultError):
        return "fault"
    return "backend" if isinstance(error, HandOverError) else "body"


def passed_over() -> None:
    """A record that the backend never will take."""
    RECORDS.labels("passed_over").inc()
