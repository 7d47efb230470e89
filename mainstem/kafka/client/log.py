"""Kafka as a `log.MessageLog`."""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from typing import Any

from confluent_kafka import Consumer, KafkaError, KafkaException, TopicPartition
from confluent_kafka.admin import AdminClient
from confluent_kafka.cimpl import NewTopic

from mainstem.errors import LogError, UnknownTopicError
from mainstem.kafka.client.admin import Administrator
from mainstem.kafka.client.appender import Appender
from mainstem.kafka.client.cursor import PASSING, KafkaCursor, consumer_config
from mainstem.kafka.client.door import explanation
from mainstem.kafka.client.holdings import holdings
from mainstem.kafka.client.identity import ABSENT, GONE, identify, ids_of
from mainstem.kafka.client.leaders import await_leaders
from mainstem.kafka.client.ranges import Ranges
from mainstem.kafka.client.renewed import ReplacedClient
from mainstem.protocol.log import Holdings, Outgoing, Record, TopicIdentity
from mainstem.protocol.topics import TopicSpec

ASK_SECONDS = 10.0
"""For which topics there are: who asks asks again."""

LOOK_SECONDS = 1.0
"""How long a quiet reader waits for Kafka to tell where a partition ends."""

QUIET_SECONDS = 5.0
"""After so long without a record a reader asks anew where its partition ends."""

_NO_TOPIC = GONE | {KafkaError._UNKNOWN_PARTITION}


class KafkaLog:
    """Synchronous appends and reads over librdkafka; safe to share between threads.

    Producers are idempotent with acks=all. `timeout` is how many seconds an append or a read may take without
    progress before it raises LogError. `committed` leaves out records of transactions that are open or aborted: right
    for streams of others. The protocol needs no transactions, and one left open would stall every such reader.
    `quiet` is after how many seconds without a record a cursor looks whether its partition still reaches so far.
    """

    reader: type[KafkaCursor] = KafkaCursor

    def __init__(
        self,
        config: Mapping[str, str | int | float | bool],
        *,
        timeout: float = 30.0,
        committed: bool = False,
        quiet: float = QUIET_SECONDS,
    ) -> None:
        self._config: dict[str, str | int | float | bool] = dict(config)
        self._timeout = timeout
        self._limits = {"operation_timeout": timeout, "request_timeout": timeout}
        self._committed, self._quiet = committed, quiet
        self._lock = threading.Lock()
        self._appender = Appender(self._config, timeout)
        self._admin = Administrator(self._config)
        self._ranges = Ranges(self.cursor, timeout)
        self._asker = ReplacedClient(
            lambda: Consumer(consumer_config(self._config, self._committed)), lambda consumer: consumer.close()
        )
        self._asking = threading.Lock()
        self._partitions: dict[str, int] = {}

    def own_reader(self) -> OwnReader:
        """A source with readers of its own over this log; it frees them at its `close`."""
        return OwnReader(self, self._timeout)

    # ------------------------------------------------------------ writing
    def append(self, topic: str, records: Iterable[Outgoing]) -> list[int]:
        """See `log.MessageLog`."""
        self.partitions(topic)  # an unknown topic is refused now rather than after the acknowledgement's time-out
        return self._appender.append(topic, records)

    # ------------------------------------------------------------ reading
    def read(self, topic: str, partition: int, start: int, end: int) -> Iterator[Record]:
        """See `log.MessageLog`. Offsets that hold no record (transaction markers) are passed over."""
        return self._ranges.read(topic, partition, start, end)

    def cursor(self, topic: str, partition: int, start: int) -> KafkaCursor:
        """See `log.MessageLog`."""
        count = self.partitions(topic, partition + 1)
        if partition >= count:
            raise LogError(f"{topic} has {count} partitions; there is no partition {partition}")
        return self.reader(
            self._config,
            topic,
            partition,
            start,
            committed=self._committed,
            quiet=self._quiet,
            end_of=lambda: self._end(topic, partition),
        )

    def bounds(self, topic: str, partition: int) -> tuple[int, int]:
        """See `log.MessageLog`."""
        deadline = time.monotonic() + self._timeout
        while True:
            try:
                with self._lock, self._asker.lend() as asker:
                    first, end = asker.get_watermark_offsets(
                        TopicPartition(topic, partition), timeout=self._timeout, cached=False
                    )
                return int(first), int(end)
            except KafkaException as error:
                # a partition that was just created, or whose broker just came back, has no leader for a moment
                passing = error.args[0].code() in PASSING or self._leaderless(error, topic, partition)
                if not passing or time.monotonic() > deadline:
                    raise LogError(
                        f"asking for the offsets of {topic}: {self._told(error, 'Describe', topic)}"
                    ) from error
                time.sleep(0.05)

    def _end(self, topic: str, partition: int) -> int | None:
        """Where the partition ends; None where Kafka does not tell at once. Raises UnknownTopicError."""
        try:
            with self._lock, self._asker.lend() as asker:
                place = TopicPartition(topic, partition)
                return int(asker.get_watermark_offsets(place, timeout=LOOK_SECONDS, cached=False)[1])
        except KafkaException as error:
            self._leaderless(error, topic, partition)
            return None

    def _leaderless(self, error: KafkaException, topic: str, partition: int) -> bool:
        """Whether a partition that librdkafka calls unknown is there; raises UnknownTopicError where its topic is not.

        What a client heard while there was no leader it keeps for `metadata.max.age.ms`, 15 minutes: the next
        question goes to a new one.
        """
        if error.args[0].code() not in _NO_TOPIC:
            return False
        self._asker.renew()
        try:
            with self._admin.lend() as admin:
                found = admin.list_topics(topic, timeout=self._timeout).topics.get(topic)
        except KafkaException:
            return False
        if found is None or (found.error is not None and found.error.code() in GONE):
            self._partitions.pop(topic, None)
            raise UnknownTopicError(f"topic {topic} does not exist") from error
        time.sleep(0.2)  # clients are not made by the dozen
        return partition in found.partitions

    def partitions(self, topic: str, least: int = 1) -> int:
        """See `log.MessageLog`."""
        if self._partitions.get(topic, 0) >= least:
            return self._partitions[topic]
        alone = self._asking.acquire(timeout=LOOK_SECONDS)  # a hundred clients of one process ask once
        try:
            return self._counted(topic, least)
        finally:
            if alone:
                self._asking.release()

    def _counted(self, topic: str, least: int) -> int:
        if self._partitions.get(topic, 0) < least:
            with self._translated(f"asking for topic {topic}", "Describe", topic) as admin:
                found = admin.list_topics(topic, timeout=self._timeout).topics.get(topic)
                if found is not None and found.error is not None and found.error.code() not in ABSENT:
                    raise KafkaException(found.error)
            if found is None or found.error is not None or not found.partitions:
                raise UnknownTopicError(f"topic {topic} does not exist")
            self._partitions[topic] = len(found.partitions)
        return self._partitions[topic]

    # ------------------------------------------------------------ topics
    def identify(self, topic: str) -> TopicIdentity | None:
        """See `log.Streams`."""
        with self._translated(f"asking which topic {topic} is", "Describe", topic) as admin:
            return identify(admin, topic, self._timeout)

    def existing(self, topics: Collection[str]) -> set[str]:
        """Which of these topics there are, all asked for at once; raises LogError."""
        with self._translated(f"looking for {len(topics)} topics", "Describe", _one(topics)) as admin:
            return {name for name, id_ in ids_of(admin, topics, min(self._timeout, ASK_SECONDS)).items() if id_}

    def holdings(self, topics: Collection[str]) -> Holdings:
        """What there is now under these names, all asked for at once; raises LogError."""
        with self._translated(f"asking what Kafka holds of {len(topics)} topics", "Describe", _one(topics)) as admin:
            return holdings(admin, topics, self._timeout)

    def create_topics(self, topics: Iterable[TopicSpec]) -> None:
        """See `log.MessageLog`."""
        new = [NewTopic(s.name, s.partitions, -1, config=dict(s.settings)) for s in topics]
        if not new:
            return
        names = [spec.topic for spec in new]
        with self._translated(f"creating {', '.join(names)}", "Create", _one(names)) as admin:
            for future in admin.create_topics(new, **self._limits).values():
                _settle(future.result, KafkaError.TOPIC_ALREADY_EXISTS)
        self._await(names)

    def _await(self, names: Sequence[str]) -> None:
        """The controller has created them: wait until the broker that we ask knows of them too."""
        deadline = time.monotonic() + self._timeout
        for name in names:
            while not self._known(name):
                if time.monotonic() > deadline:
                    raise LogError(f"topic {name} was created but is not there after {self._timeout:g} s")
                time.sleep(0.02)
        counts = {name: self.partitions(name) for name in names}
        try:
            await_leaders(self._admin, counts, self._timeout)
        except KafkaException as error:
            raise LogError(f"waiting for new topics' leaders: {self._told(error, 'Describe', _one(names))}") from error

    def _known(self, topic: str) -> bool:
        with contextlib.suppress(LogError):
            return self.partitions(topic) > 0
        return False

    def delete_topics(self, names: Iterable[str]) -> None:
        """See `log.MessageLog`."""
        doomed = list(names)
        if not doomed:
            return
        with self._translated(f"deleting {', '.join(doomed)}", "Delete", _one(doomed)) as admin:
            for name, future in admin.delete_topics(doomed, **self._limits).items():
                _settle(future.result, KafkaError.UNKNOWN_TOPIC_OR_PART)
                self._partitions.pop(name, None)

    def delete_records(self, topic: str, partition: int, before: int) -> None:
        """See `log.MessageLog`."""
        target = TopicPartition(topic, partition, before)
        with self._translated(f"pruning {topic}", "Delete", topic) as admin:
            for future in admin.delete_records([target], **self._limits).values():
                future.result()

    def close(self) -> None:
        """See `log.MessageLog`."""
        with self._lock:
            self._asker.close()
        self._admin.close()
        self._ranges.close()
        self._appender.close()

    # ------------------------------------------------------------ inside
    @contextlib.contextmanager
    def _translated(self, doing: str, operation: str, name: str) -> Iterator[AdminClient]:
        try:
            with self._admin.lend() as admin:
                yield admin
        except KafkaException as error:
            raise LogError(f"{doing}: {self._told(error, operation, name)}") from error

    def _told(self, error: KafkaException, operation: str, name: str) -> str:
        return explanation(self._config, error.args[0], operation, name)


def _one(topics: Collection[str]) -> str:
    """What a right to them is called: the name of the only one, `*` for several."""
    return next(iter(topics)) if len(topics) == 1 else "*"


def _settle(result: Callable[[], Any], fine: int) -> None:
    try:
        result()
    except KafkaException as error:
        if error.args[0].code() != fine:
            raise


class OwnReader:
    """Reads ranges through readers of its own; all else is its log's. Implements `log.Source`."""

    def __init__(self, log: KafkaLog, timeout: float) -> None:
        self._log = log
        self._ranges = Ranges(log.cursor, timeout)
        self.bounds, self.partitions = log.bounds, log.partitions
        self.read, self.expect, self.close = self._ranges.read, self._ranges.expect, self._ranges.close
