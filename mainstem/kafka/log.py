"""Kafka as a `ports.MessageLog`."""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

from confluent_kafka import Consumer, KafkaError, KafkaException, Message, Producer, TopicPartition
from confluent_kafka.admin import AdminClient
from confluent_kafka.cimpl import NewTopic

from mainstem.errors import LogError
from mainstem.kafka.cursor import PASSING, KafkaCursor, consumer_config
from mainstem.ports import Outgoing, Record
from mainstem.topics import MESSAGE_LIMIT, TopicSpec

IN_FLIGHT = 64 << 20
"""Bytes that wait for acknowledgement at one time: enough to keep a broker busy, little beside a model."""

READ_OVER = 2048
"""A kept reader goes on over at most this many records of others; beyond, a fresh one starts at the place."""

KEPT_READERS = 8
"""Readers that are kept open, one a partition."""


class KafkaLog:
    """Synchronous appends and reads over librdkafka; safe to share between threads.

    Producers are idempotent with acks=all. `timeout` is how many seconds an append or a read may take without
    progress before it raises LogError. `committed` leaves out records of transactions that are open or aborted: right
    for streams of others. The protocol needs no transactions, and one left open would stall every such reader.
    """

    def __init__(
        self, config: Mapping[str, str | int | float | bool], *, timeout: float = 30.0, committed: bool = False
    ) -> None:
        self._config: dict[str, str | int | float | bool] = dict(config)
        self._timeout = timeout
        self._limits = {"operation_timeout": timeout, "request_timeout": timeout}
        self._committed = committed
        self._lock = threading.Lock()
        self._producer: Producer | None = None
        self._admin: AdminClient | None = None
        self._readers: dict[tuple[str, int], KafkaCursor] = {}
        self._asker: Consumer | None = None
        self._partitions: dict[str, int] = {}

    # ------------------------------------------------------------ writing
    def append(self, topic: str, records: Iterable[Outgoing]) -> list[int]:
        """See `ports.MessageLog`."""
        self.partitions(topic)  # an unknown topic is refused now rather than after the acknowledgement's time-out
        producer = self._producing()
        batch = _Batch(producer, topic, self._timeout)
        try:
            for record in records:
                batch.send(record)
            return batch.finish()
        except LogError:
            self._renew(producer)
            raise

    def _producing(self) -> Producer:
        with self._lock:
            if self._producer is None:
                self._producer = Producer(
                    self._config
                    | {
                        "enable.idempotence": True,
                        "acks": "all",
                        "linger.ms": 0,
                        "message.max.bytes": MESSAGE_LIMIT,
                        "batch.size": MESSAGE_LIMIT,
                        "queue.buffering.max.kbytes": 2 * IN_FLIGHT >> 10,
                        "message.timeout.ms": int(self._timeout * 1000),
                        "topic.metadata.propagation.max.ms": 5000,
                    }
                )
            return self._producer

    def _renew(self, broken: Producer) -> None:
        """A producer that failed once has a gap in its sequence: the next append starts a new session."""
        broken.purge()
        with self._lock:
            if self._producer is broken:
                self._producer = None

    # ------------------------------------------------------------ reading
    def read(self, topic: str, partition: int, start: int, end: int) -> Iterator[Record]:
        """See `ports.MessageLog`. Offsets that hold no record (transaction markers) are passed over."""
        reader = self._reader(topic, partition, start)
        kept = False
        try:
            while reader.position < end:
                before = reader.position
                records = reader.poll(self._timeout, limit=max(1, min(500, end - before)))
                if reader.position == before:
                    raise LogError(f"{topic} partition {partition}: nothing came for {self._timeout:g} s")
                for record in records:
                    if start <= record.offset < end:
                        yield record
            kept = reader.position == end
        finally:
            if kept:
                self._keep(topic, partition, reader)
            else:
                reader.close()

    def _reader(self, topic: str, partition: int, start: int) -> KafkaCursor:
        with self._lock:
            reader = self._readers.pop((topic, partition), None)
        if reader is not None and 0 <= start - reader.position <= READ_OVER:
            return reader
        if reader is not None:
            reader.close()
        return self.cursor(topic, partition, start)

    def _keep(self, topic: str, partition: int, reader: KafkaCursor) -> None:
        """Keep a reader that stands where the next read will likely begin: it goes on fetching meanwhile."""
        with self._lock:
            if replaced := self._readers.pop((topic, partition), None):
                replaced.close()
            self._readers[topic, partition] = reader
            while len(self._readers) > KEPT_READERS:
                self._readers.pop(next(iter(self._readers))).close()

    def cursor(self, topic: str, partition: int, start: int) -> KafkaCursor:
        """See `ports.MessageLog`."""
        count = self.partitions(topic)
        if partition >= count:
            raise LogError(f"{topic} has {count} partitions; there is no partition {partition}")
        return KafkaCursor(self._config, topic, partition, start, committed=self._committed)

    def bounds(self, topic: str, partition: int) -> tuple[int, int]:
        """See `ports.MessageLog`."""
        deadline = time.monotonic() + self._timeout
        while True:
            try:
                with self._lock:
                    first, end = self._asking().get_watermark_offsets(
                        TopicPartition(topic, partition), timeout=self._timeout, cached=False
                    )
                return int(first), int(end)
            except KafkaException as error:
                # a partition that was just created, or whose broker just came back, has no leader for a moment
                if error.args[0].code() not in PASSING or time.monotonic() > deadline:
                    raise LogError(f"asking for the offsets of {topic}: {error.args[0].str()}") from error
                time.sleep(0.05)

    def partitions(self, topic: str) -> int:
        """See `ports.MessageLog`."""
        if topic not in self._partitions:
            with self._translated(f"asking for topic {topic}"):
                found = self._administering().list_topics(topic, timeout=self._timeout).topics.get(topic)
            if found is None or found.error is not None or not found.partitions:
                raise LogError(f"topic {topic} does not exist")
            self._partitions[topic] = len(found.partitions)
        return self._partitions[topic]

    # ------------------------------------------------------------ topics
    def create_topics(self, topics: Iterable[TopicSpec]) -> None:
        """See `ports.MessageLog`."""
        new = [NewTopic(s.name, s.partitions, -1, config=dict(s.settings)) for s in topics]
        if not new:
            return
        futures = self._administering().create_topics(new, **self._limits)
        for name, future in futures.items():
            self._settle(f"creating topic {name}", future.result, KafkaError.TOPIC_ALREADY_EXISTS)
        self._await(futures)

    def _await(self, names: Iterable[str]) -> None:
        """The controller has created them: wait until the broker that we ask knows of them too."""
        deadline = time.monotonic() + self._timeout
        for name in names:
            while not self._known(name):
                if time.monotonic() > deadline:
                    raise LogError(f"topic {name} was created but is not there after {self._timeout:g} s")
                time.sleep(0.02)

    def _known(self, topic: str) -> bool:
        with contextlib.suppress(LogError):
            return self.partitions(topic) > 0
        return False

    def delete_topics(self, names: Iterable[str]) -> None:
        """See `ports.MessageLog`."""
        doomed = list(names)
        if not doomed:
            return
        for name, future in self._administering().delete_topics(doomed, **self._limits).items():
            self._settle(f"deleting topic {name}", future.result, KafkaError.UNKNOWN_TOPIC_OR_PART)
            self._partitions.pop(name, None)

    def delete_records(self, topic: str, partition: int, before: int) -> None:
        """See `ports.MessageLog`."""
        target = TopicPartition(topic, partition, before)
        futures = self._administering().delete_records([target], **self._limits)
        with self._translated(f"pruning {topic}"):
            for future in futures.values():
                future.result()

    def _settle(self, doing: str, result: Callable[[], Any], fine: int) -> None:
        with self._translated(doing):
            try:
                result()
            except KafkaException as error:
                if error.args[0].code() != fine:
                    raise

    def close(self) -> None:
        """See `ports.MessageLog`."""
        with self._lock:
            for reader in self._readers.values():
                reader.close()
            self._readers.clear()
            if self._asker is not None:
                self._asker.close()
                self._asker = None
            producer, self._producer, self._admin = self._producer, None, None
        if producer is not None:
            producer.flush(self._timeout)

    # ------------------------------------------------------------ inside
    def _asking(self) -> Consumer:
        if self._asker is None:
            self._asker = Consumer(consumer_config(self._config, self._committed))
        return self._asker

    def _administering(self) -> AdminClient:
        with self._lock:
            if self._admin is None:
                self._admin = AdminClient(self._config)
            return self._admin

    @contextlib.contextmanager
    def _translated(self, doing: str) -> Iterator[None]:
        try:
            yield
        except KafkaException as error:
            raise LogError(f"{doing}: {error.args[0].str() or error.args[0].name()}") from error


class _Batch:
    """One append's records on their way, with a bounded number of bytes in flight."""

    def __init__(self, producer: Producer, topic: str, timeout: float) -> None:
        self._producer, self._topic, self._timeout = producer, topic, timeout
        self._offsets: list[int] = []
        self._waiting = 0
        self._bytes = 0
        self._problem: KafkaError | None = None
        self._counting = threading.Lock()  # whichever thread polls the shared producer runs our callbacks

    def send(self, record: Outgoing) -> None:
        size = len(record.value) if record.value is not None else 0
        self._drain(lambda: self._bytes + size <= IN_FLIGHT or not self._waiting)
        place = len(self._offsets)
        self._offsets.append(-1)

        def delivered(error: KafkaError | None, message: Message) -> None:
            self._count(-1, -size)
            if error is not None:
                self._problem = error
            else:
                self._offsets[place] = message.offset() or 0

        self._count(1, size)
        value = bytes(record.value) if isinstance(record.value, memoryview) else record.value
        try:
            self._producer.produce(
                self._topic,
                value,
                record.key,
                record.partition,
                headers=list(record.headers) or None,
                on_delivery=delivered,
            )
        except KafkaException as error:
            raise LogError(f"{self._topic}: {error.args[0].str()}") from error

    def _count(self, records: int, nbytes: int) -> None:
        with self._counting:
            self._waiting += records
            self._bytes += nbytes

    def finish(self) -> list[int]:
        self._drain(lambda: not self._waiting)
        return self._offsets

    def _drain(self, enough: Callable[[], bool]) -> None:
        deadline = time.monotonic() + 2 * self._timeout
        while not enough():
            self._producer.poll(0.1)
            if self._problem is None and time.monotonic() > deadline:
                raise LogError(f"{self._topic}: no acknowledgement within {2 * self._timeout:g} s")
            if self._problem is not None:
                break
        if self._problem is not None:
            raise LogError(f"{self._topic}: {self._problem.str()}")
