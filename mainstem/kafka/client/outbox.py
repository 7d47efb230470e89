"""A producer that is given no more than it can send, a lane a partition, and the thread that hears of arrivals.

librdkafka's idempotent producer lets five messages of a partition be under way; while others wait behind them, its
thread polls without a pause, a whole core of it (`rd_kafka_toppar_producer_serve`, 2.16). So what must wait waits here,
uncopied.
"""

from __future__ import annotations

import contextlib
import threading
import time
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from confluent_kafka import KafkaError, KafkaException, Message, Producer

from mainstem.errors import LogError
from mainstem.kafka.client.acknowledgement import acknowledged
from mainstem.protocol.log import Outgoing
from mainstem.protocol.topics import MESSAGE_LIMIT

UNDER_WAY = 5
"""Messages of one partition that librdkafka has under way at one time (`RD_KAFKA_IDEMP_MAX_INFLIGHT`)."""

REQUEST = 1 << 20
"""Bytes from which a request is long enough; smaller records go together."""

IN_FLIGHT = 24 << 20
"""Bytes under way at one time, over all partitions."""

SERVE = 0.2
"""Seconds of one wait for acknowledgements: so soon an unused producer's thread ends."""

_PURGED = (KafkaError._PURGE_QUEUE, KafkaError._PURGE_INFLIGHT)

Delivered = Callable[[KafkaError | None, int], None]
"""(error, offset), called once a record with the outbox's lock held."""


@dataclass(frozen=True, eq=False, slots=True)
class _Waiting:
    topic: str
    record: Outgoing
    size: int
    delivered: Delivered


class _Lane:
    """What goes to one partition: records under way, those that decide, and long appends behind them."""

    def __init__(self) -> None:
        self.under_way = 0
        self.answered = False
        """Whether the partition's leader knows this producer."""
        self.urgent: deque[_Waiting] = deque()
        self.others: deque[_Waiting] = deque()


class Outbox:
    """All records of one producer. Whoever calls `put` or reads `heard` holds `lock`."""

    def __init__(self, config: Mapping[str, str | int | float | bool], timeout: float) -> None:
        self._producer = Producer(
            {
                **config,
                "enable.idempotence": True,
                "acks": "all",
                "linger.ms": 1,
                "message.max.bytes": MESSAGE_LIMIT,
                "batch.size": REQUEST,
                "queue.buffering.max.kbytes": 4 * IN_FLIGHT >> 10,
                "message.timeout.ms": int(timeout * 1000),
                "topic.metadata.propagation.max.ms": 5000,
            }
        )
        self.stop = threading.Event()
        self.lock = threading.Lock()
        self.heard = time.monotonic()
        """When the last acknowledgement came."""
        self._lanes: dict[tuple[str, int], _Lane] = {}
        self._under_way: set[_Waiting] = set()
        self._nbytes = 0
        self._fatal: list[KafkaError] = []
        serving = (self._producer, self.stop, self._fatal)
        threading.Thread(target=_serve, args=serving, name="acknowledgements", daemon=True).start()

    def put(self, topic: str, record: Outgoing, delivered: Delivered, urgent: bool) -> None:
        """Send a record as soon as its partition has room; `urgent` ones first. Raises LogError."""
        if self.stop.is_set():  # nobody would hear of its arrival
            raise LogError(f"{topic}: the producer was given up after another append had failed, or was closed")
        lane = self._lanes.setdefault((topic, record.partition), _Lane())
        size = 1 + len(record.value or b"")
        (lane.urgent if urgent else lane.others).append(_Waiting(topic, record, size, delivered))
        self._send(lane)

    def drop(self) -> None:
        """Send nothing more and tell whoever waits, at once; records under way may or may not arrive."""
        with self.lock:
            self.stop.set()
            for lane in self._lanes.values():
                while waiting := lane.urgent or lane.others:
                    waiting.popleft().delivered(KafkaError(KafkaError._PURGE_QUEUE), -1)
            while self._under_way:
                self._under_way.pop().delivered(KafkaError(KafkaError._PURGE_INFLIGHT), -1)
        self._producer.purge()

    def close(self, timeout: float) -> None:
        """Wait for what is under way."""
        self._producer.flush(timeout)
        self.stop.set()

    def _send(self, lane: _Lane) -> None:
        """Fill the lane: a request's worth of records at a time, while fewer than UNDER_WAY are on their way.

        The first record goes alone: a leader that does not know the producer takes any sequence number (KIP-360), so
        that a second record could arrive where the first was refused, and stand for it (see `acknowledged`).
        """
        if not lane.answered:
            if not lane.under_way and (waiting := lane.urgent or lane.others):
                self._produce(lane, waiting.popleft())
            return
        while lane.under_way < UNDER_WAY:
            request = 0
            while waiting := lane.urgent or lane.others:
                size = waiting[0].size
                if (request and request + size > REQUEST) or (self._nbytes and self._nbytes + size > IN_FLIGHT):
                    break
                request += size
                self._produce(lane, waiting.popleft())
            if not request:
                return

    def _produce(self, lane: _Lane, item: _Waiting) -> None:
        record = item.record

        def delivery(error: KafkaError | None, message: Message) -> None:
            with self.lock:
                if item not in self._under_way:
                    return  # dropped
                self._arrived(lane, item)
                self.heard = time.monotonic()
                error, offset = acknowledged(error, message)
                if error is not None and error.code() in _PURGED and self._fatal:
                    error = self._fatal[0]
                lane.answered = lane.answered or error is None
                item.delivered(error, offset)
                try:
                    for waiting in (lane, *self._lanes.values()):
                        self._send(waiting)
                except LogError:
                    pass  # _produce has told whose record it was

        self._nbytes += item.size
        lane.under_way += 1
        self._under_way.add(item)
        value = bytes(record.value) if isinstance(record.value, memoryview) else record.value
        headers: list[tuple[str, str | bytes | None]] | None = [*record.headers] or None
        try:
            self._producer.produce(
                item.topic, value, record.key, record.partition, headers=headers, on_delivery=delivery
            )
        except (KafkaException, BufferError) as error:
            self._arrived(lane, item)
            item.delivered(KafkaError(KafkaError._FAIL, str(error)), -1)
            raise LogError(f"{item.topic}: {error}") from error

    def _arrived(self, lane: _Lane, item: _Waiting) -> None:
        """It is under way no longer, whatever became of it."""
        self._under_way.discard(item)
        self._nbytes -= item.size
        lane.under_way -= 1


def _serve(producer: Producer, stop: threading.Event, fatal: list[KafkaError]) -> None:
    while not stop.is_set():
        try:
            producer.poll(SERVE)
        except KafkaException as error:  # each record's own delivery report follows, and only says that it was dropped
            fatal.append(error.args[0])
    with contextlib.suppress(KafkaException):
        producer.flush(SERVE)
