"""One idempotent producer for all threads of a process: whole appends, each waiting for its acknowledgements."""

from __future__ import annotations

import threading
import time
import weakref
from collections.abc import Callable, Iterable, Mapping

from confluent_kafka import KafkaError, KafkaException

from mainstem.errors import LogError
from mainstem.kafka.client.door import explanation
from mainstem.kafka.client.outbox import Outbox
from mainstem.protocol.log import Outgoing

AHEAD = 8 << 20
"""Bytes of one append that wait to be sent: so much is made in advance of the network."""


class Appender:
    """Appends and waits for every acknowledgement. Appends to one topic stand together, whoever else appends.

    An append of one record, which is what decides, goes ahead of others' long ones. `timeout` is how many seconds may
    pass without any acknowledgement.
    """

    def __init__(self, config: Mapping[str, str | int | float | bool], timeout: float) -> None:
        self._config, self._timeout = dict(config), timeout
        self._lock = threading.Lock()
        self._outbox: Outbox | None = None
        self._turns: dict[str, threading.Lock] = {}

    def append(self, topic: str, records: Iterable[Outgoing]) -> list[int]:
        """See `log.MessageLog`."""
        outbox = self._current()
        batch = _Batch(outbox, topic, 2 * self._timeout)
        try:
            if isinstance(records, list) and len(records) == 1:
                batch.send(records[0], urgent=True)
            else:
                with self._turn(topic):
                    for record in records:
                        batch.send(record)
            return batch.finish()
        except (KafkaException, LogError) as error:
            # what still waits to be sent must not follow, and a producer that failed once has a gap in its sequence
            self._renew(outbox)
            if isinstance(error, LogError):
                raise
            raise LogError(f"{topic}: {explanation(self._config, error.args[0], 'Write', topic)}") from error

    def close(self) -> None:
        """Wait for what is under way, and free the connection."""
        with self._lock:
            outbox, self._outbox = self._outbox, None
        if outbox is not None:
            outbox.close(self._timeout)

    def _current(self) -> Outbox:
        with self._lock:
            if self._outbox is None:
                self._outbox = Outbox(self._config, self._timeout)
                # an appender that nobody closes ends its thread too
                weakref.finalize(self, self._outbox.stop.set)
            return self._outbox

    def _turn(self, topic: str) -> threading.Lock:
        with self._lock:
            return self._turns.setdefault(topic, threading.Lock())

    def _renew(self, broken: Outbox) -> None:
        with self._lock:
            if self._outbox is broken:
                self._outbox = None
        broken.drop()


class _Batch:
    """One append's records on their way."""

    def __init__(self, outbox: Outbox, topic: str, patience: float) -> None:
        self._outbox, self._topic, self._patience = outbox, topic, patience
        self._offsets: list[int] = []
        self._waiting = self._ahead = 0
        self._wanted: int | None = None
        self._problem: KafkaError | None = None
        self._changed = threading.Condition(outbox.lock)

    def send(self, record: Outgoing, urgent: bool = False) -> None:
        """Hand one record over, once there is room for it."""
        size = len(record.value) if record.value is not None else 0
        with self._outbox.lock:
            self._wait(lambda: not self._ahead or self._ahead + size <= AHEAD)
            place = len(self._offsets)
            self._offsets.append(-1)
            self._waiting += 1
            self._ahead += size

            def delivered(error: KafkaError | None, offset: int) -> None:
                self._problem = self._problem or error
                self._offsets[place] = offset
                self._waiting -= 1
                self._ahead -= size
                self._changed.notify_all()

            self._outbox.put(self._topic, record, delivered, urgent)

    def finish(self) -> list[int]:
        """Wait until every record is acknowledged; their offsets. Raises KafkaException of one that is not."""
        with self._outbox.lock:
            self._wait(lambda: not self._waiting)
        return self._offsets

    def _wait(self, enough: Callable[[], bool]) -> None:
        begin = time.monotonic()
        while self._problem is None and not enough():
            self._changed.wait(self._patience / 10)
            if time.monotonic() > max(begin, self._outbox.heard) + self._patience:
                raise LogError(f"{self._topic}: no acknowledgement within {self._patience:g} s")
        if self._problem is not None:
            raise KafkaException(self._problem)
