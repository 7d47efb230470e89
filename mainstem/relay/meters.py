"""What a logger counts: wrappers around its source and its way to the backend, so that the loop stays as it is."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterator
from typing import Protocol

from mainstem.errors import LogError
from mainstem.protocol.batch import Batch
from mainstem.relay.loop import BatchSource, FaultError, HandOver, HandOverError, Receipt, UnacceptableError
from mainstem.runtime.metrics import names
from mainstem.runtime.metrics.health import Health
from mainstem.runtime.metrics.objects import counter, gauge

RECORDS = counter(names.RELAYED)
BYTES = counter(names.RELAY_BYTES)
FAILURES = counter(names.RELAY_FAILURES)
LAG = gauge(names.RELAY_LAG)
BEHIND = gauge(names.RELAY_BEHIND)

KAFKA, BACKEND = "Kafka", "the backend"

LIMIT_SECONDS = 300.0
"""Until a loop that does not turn is called stuck: one batch may wait for the backend's answer and its health."""


class LaggingSource(BatchSource, Protocol):
    """A source that knows how far behind it is."""

    @property
    def lag(self) -> int:
        """Records in Kafka that were not committed yet, as far as the client knows."""
        ...


class MeteredSource:
    """Implements `loop.BatchSource` over another one."""

    def __init__(
        self,
        source: LaggingSource,
        health: Health,
        now: Callable[[], float] = time.time,
        answers: Callable[[], bool] = lambda: True,
    ) -> None:
        self._source, self._health, self._now, self._answers = source, health, now, answers
        self._oldest: float | None = None
        BEHIND.set_function(lambda: 0.0 if self._oldest is None else max(0.0, self._now() - self._oldest))
        LAG.set_function(lambda: self._source.lag)

    def batch(self, timeout: float) -> Batch | None:
        """See `loop.BatchSource`."""
        self._health.turn(limit=LIMIT_SECONDS)
        with self._judged():
            batch = self._source.batch(timeout)
        if batch is None:
            self._health.worked(KAFKA)
        else:
            self._oldest = min(record.timestamp_ms for record in batch.records) / 1000
        return batch

    def commit(self, batch: Batch) -> None:
        """See `loop.BatchSource`."""
        with self._judged():
            self._source.commit(batch)
        self._health.worked(KAFKA)
        self._oldest = None

    def drained(self) -> bool:
        """See `loop.BatchSource`."""
        return self._source.drained()

    @contextlib.contextmanager
    def _judged(self) -> Iterator[None]:
        try:
            yield
        except LogError as error:
            FAILURES.labels("kafka").inc()
            self._health.ready = False
            self._health.failed(KAFKA, error, self._answers)
            raise
        self._health.ready = True


def metered(hand_over: HandOver, health: Health, answers: Callable[[], bool] = lambda: True) -> HandOver:
    """Counts what the backend says of each batch. `answers`: whether it says that it can do its work."""

    def deliver(batch: Batch) -> Receipt:
        health.turn(limit=LIMIT_SECONDS)
        try:
            answer = hand_over(batch)
        except (HandOverError, UnacceptableError) as error:
            FAILURES.labels(_kind(error)).inc()
            health.ready = False
            if isinstance(error, HandOverError):
                health.failed(BACKEND, error, answers)
            raise
        health.ready = True
        health.worked(BACKEND)
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
