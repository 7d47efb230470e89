"""One idempotent producer for all threads of a process: whole appends, with a bounded number of bytes in flight."""

from __future__ import annotations

import threading
import time
import weakref
from collections.abc import Callable, Iterable, Mapping

from confluent_kafka import KafkaError, KafkaException, Message, Producer

from mainstem.errors import LogError
from mainstem.ports import Outgoing
from mainstem.topics import MESSAGE_LIMIT

IN_FLIGHT = 24 << 20
"""Bytes that wait for acknowledgement at one time: enough to keep a broker busy, little beside a model."""

SERVE = 0.2
"""Seconds of one wait for acknowledgements: so soon an unused producer's thread ends."""


class Appender:
    """Appends and waits for every acknowledgement. Appends to one topic stand together, whoever else appends.

    `timeout` is how many seconds a record may wait for its acknowledgement.
    """

    def __init__(self, config: Mapping[str, str | int | float | bool], timeout: float) -> None:
        self._config, self._timeout = dict(config), timeout
        self._lock = threading.Lock()
        self._session: _Session | None = None
        self._turns: dict[str, threading.Lock] = {}

    def append(self, topic: str, records: Iterable[Outgoing]) -> list[int]:
        """See `ports.MessageLog`."""
        session = self._current()
        batch = _Batch(session, topic, 2 * self._timeout)
        try:
            with self._turn(topic):
                for record in records:
                    batch.send(record)
            return batch.finish()
        except LogError:
            self._renew(session)
            raise

    def close(self) -> None:
        """Wait for what is under way, and free the connection."""
        with self._lock:
            session, self._session = self._session, None
        if session is not None:
            session.producer.flush(self._timeout)
            session.stop.set()

    def _current(self) -> _Session:
        with self._lock:
            if self._session is None:
                self._session = _Session(self._config, self._timeout)
                # an appender that nobody closes ends its thread too
                weakref.finalize(self, self._session.stop.set)
            return self._session

    def _turn(self, topic: str) -> threading.Lock:
        with self._lock:
            return self._turns.setdefault(topic, threading.Lock())

    def _renew(self, broken: _Session) -> None:
        """A producer that failed once has a gap in its sequence: the next append starts a new session."""
        broken.producer.purge()
        with self._lock:
            if self._session is broken:
                self._session = None
        broken.stop.set()


class _Session:
    """A producer, the thread that takes its acknowledgements, and what is in flight."""

    def __init__(self, config: Mapping[str, str | int | float | bool], timeout: float) -> None:
        self.producer = Producer(
            {
                **config,
                "enable.idempotence": True,
                "acks": "all",
                "linger.ms": 2,
                "message.max.bytes": MESSAGE_LIMIT,
                "batch.size": MESSAGE_LIMIT,
                "queue.buffering.max.kbytes": 4 * IN_FLIGHT >> 10,
                "message.timeout.ms": int(timeout * 1000),
                "topic.metadata.propagation.max.ms": 5000,
            }
        )
        self.stop = threading.Event()
        self.lock = threading.Lock()
        self.room = threading.Condition(self.lock)
        self.nbytes = 0
        threading.Thread(target=_serve, args=(self.producer, self.stop), name="acknowledgements", daemon=True).start()


def _serve(producer: Producer, stop: threading.Event) -> None:
    while not stop.is_set():
        producer.poll(SERVE)


class _Batch:
    """One append's records on their way."""

    def __init__(self, session: _Session, topic: str, patience: float) -> None:
        self._session, self._topic, self._patience = session, topic, patience
        self._offsets: list[int] = []
        self._waiting = 0
        self._problem: KafkaError | None = None
        self._settled = threading.Condition(session.lock)

    def send(self, record: Outgoing) -> None:
        """Hand one record over, once there is room for it."""
        session = self._session
        size = len(record.value) if record.value is not None else 0
        with session.lock:
            self._wait(session.room, lambda: session.nbytes + size <= IN_FLIGHT or not session.nbytes)
            session.nbytes += size
            self._waiting += 1
            place = len(self._offsets)
            self._offsets.append(-1)

        def delivered(error: KafkaError | None, message: Message) -> None:
            with session.lock:
                if error is not None:
                    self._problem = error
                else:
                    self._offsets[place] = message.offset() or 0
                self._settle(size)

        value = bytes(record.value) if isinstance(record.value, memoryview) else record.value
        headers: list[tuple[str, str | bytes | None]] | None = [*record.headers] or None
        try:
            session.producer.produce(
                self._topic, value, record.key, record.partition, headers=headers, on_delivery=delivered
            )
        except (KafkaException, BufferError) as error:
            with session.lock:
                self._settle(size)
            raise LogError(f"{self._topic}: {error}") from error

    def finish(self) -> list[int]:
        """Wait until every record is acknowledged; their offsets."""
        with self._session.lock:
            self._wait(self._settled, lambda: not self._waiting)
        return self._offsets

    def _settle(self, size: int) -> None:
        self._session.nbytes -= size
        self._session.room.notify_all()
        self._waiting -= 1
        if not self._waiting or self._problem is not None:
            self._settled.notify_all()

    def _wait(self, condition: threading.Condition, enough: Callable[[], bool]) -> None:
        deadline = time.monotonic() + self._patience
        while self._problem is None and not enough():
            condition.wait(0.5)
            if time.monotonic() > deadline:
                raise LogError(f"{self._topic}: no acknowledgement within {self._patience:g} s")
        if self._problem is not None:
            raise LogError(f"{self._topic}: {self._problem.str()}")
