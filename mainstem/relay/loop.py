"""The loop of a control logger: read a batch, hand it over until it is taken, commit, again. No I/O of its own."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from mainstem.errors import LogError, MainstemError
from mainstem.protocol.batch import Batch
from mainstem.protocol.log import Record
from mainstem.protocol.topics import federation_of
from mainstem.runtime.backoff import Backoff

log = logging.getLogger(__name__)


class HandOverError(MainstemError):
    """The backend did not take a batch for a reason that may pass: it is away, or our token is wrong."""


class FaultError(HandOverError):
    """The backend met a fault of its own over this batch, perhaps over one record of it."""


class UnacceptableError(MainstemError):
    """The backend will never take this body as it is (too large, malformed): passing time does not help."""


@dataclass(frozen=True, slots=True)
class Receipt:
    """What the backend says of a batch it took. `refused` are its sentences, one a record."""

    accepted: int
    duplicates: int
    refused: Sequence[str] = ()


class BatchSource(Protocol):
    """Where records come from. Every method may raise LogError."""

    def batch(self, timeout: float) -> Batch | None:
        """The next records; None if none came within `timeout` seconds."""
        ...

    def commit(self, batch: Batch) -> None:
        """Never deliver these again, as far as that is possible."""
        ...

    def drained(self) -> bool:
        """Whether everything that was there has been delivered."""
        ...


HandOver = Callable[[Batch], Receipt]
"""Gives a batch to the backend; raises HandOverError, FaultError or UnacceptableError."""

FAULTS_TO_SPLIT = 3
"""After so many faults over one batch its halves are tried, so that a record to blame ends up alone."""

FAULTS_TO_PASS = 20
"""After so many faults over one record, some three minutes, a backend that is healthy otherwise goes on without it."""


class Stop(Protocol):
    """A request to stop, as `threading.Event` has it."""

    def is_set(self) -> bool: ...
    def wait(self, timeout: float) -> bool: ...


@dataclass(slots=True)
class Relay:
    """Carries batches from `source` to the backend until `stop`. Nothing is committed that was not taken."""

    source: BatchSource
    hand_over: HandOver
    stop: Stop
    backoff: Backoff = field(default_factory=Backoff)
    healthy: Callable[[], bool] = lambda: True
    """Whether the backend says that it can do its work."""
    passed_over: Callable[[], None] = lambda: None
    """Told of each record that is left out for good."""
    poll_seconds: float = 0.2

    def run(self, *, once: bool = False) -> None:
        """Until stopped, or with `once` until everything that was there is delivered.

        A stop lets the batch in hand be delivered if the backend takes it at once; otherwise it stays
        uncommitted, and the next start begins with it.
        """
        while not self.stop.is_set():
            try:
                batch = self.source.batch(self.poll_seconds)
                if batch is None:
                    if once and self.source.drained():
                        return
                    continue
                if self._deliver(batch):
                    self.source.commit(batch)
                self.backoff.reset()
            except LogError as error:
                self._pause("Kafka", error)

    def _deliver(self, batch: Batch) -> bool:
        """Hand the batch over, again and again; False when stopped before it was taken.

        Nothing is passed over because the backend is away. A record is when it alone is to blame: the backend says
        that it never will take it, or fails over it, and only over it, for minutes. The log keeps it: a rebuild
        brings it back.
        """
        faults = 0
        while True:
            try:
                self._tell(batch, self.hand_over(batch))
                if self.backoff.failing:
                    log.info("going on: the backend takes records again")
                    self.backoff.reset()
                return True
            except FaultError as error:
                faults += 1
                if faults >= FAULTS_TO_SPLIT and len(batch.records) > 1:
                    return self._divide(batch)
                if faults >= FAULTS_TO_PASS and self.healthy():
                    return self._pass_over(batch.records[0], error)
                if self._pause("the backend", error):
                    return False
            except HandOverError as error:
                if self._pause("the backend", error):
                    return False
            except UnacceptableError as error:
                return self._divide(batch) if len(batch.records) > 1 else self._pass_over(batch.records[0], error)

    def _divide(self, batch: Batch) -> bool:
        """One record may be to blame: the others must not suffer."""
        return all(self._deliver(half) for half in batch.halves())

    def _pass_over(self, record: Record, error: Exception) -> bool:
        log.error(
            "passed over %s: the backend will not take it: %s",
            _place(record),
            error,
            extra={"federation": federation_of(record.topic)},
        )
        self.passed_over()
        self.backoff.reset()
        return True

    def _tell(self, batch: Batch, answer: Receipt) -> None:
        for sentence in answer.refused:
            log.warning("the backend refused a record: %s", sentence)
        log.debug(
            "delivered %d records, the last %s (%d new, %d known, %d refused)",
            len(batch.records), _place(batch.records[-1]),
            answer.accepted, answer.duplicates, len(answer.refused),
        )  # fmt: skip

    def _pause(self, who: str, error: Exception) -> bool:
        seconds = self.backoff.next()
        log.warning("%s: %s; trying again in %.1f s", who, error, seconds)
        return self.stop.wait(seconds)


def _place(record: Record) -> str:
    return f"{record.topic}[{record.partition}]@{record.offset}"
