"""A consumer group's member as the source of a control logger: batches, ids, commits."""

from __future__ import annotations

import contextlib
import json
import logging
import re
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any, TypeVar

from confluent_kafka import (
    OFFSET_BEGINNING,
    Consumer,
    KafkaError,
    KafkaException,
    Message,
    TopicPartition,
)
from confluent_kafka.cimpl import NewTopic

from mainstem.errors import OLDER, LogError
from mainstem.kafka.client.access import ErrorReport, reason, refusal
from mainstem.kafka.client.admin import Administrator
from mainstem.kafka.client.cursor import record_of
from mainstem.kafka.client.door import explanation
from mainstem.kafka.client.identity import GONE, ids_of
from mainstem.kafka.client.log import LOOK_SECONDS, QUIET_SECONDS
from mainstem.kafka.client.overview import ends
from mainstem.kafka.client.reach import EndOffsets
from mainstem.kafka.client.renewed import FAILURES
from mainstem.protocol.batch import Batch
from mainstem.protocol.topics import TopicSpec
from mainstem.runtime.metrics import names
from mainstem.runtime.metrics.objects import counter

log = logging.getLogger(__name__)

MAX_RECORDS = 500
MAX_BYTES = 900_000
"""Keys and values of one batch; a single larger record travels alone."""

REWINDS = counter(names.RELAY_REWINDS)

_TIMEOUT = 10.0
_GONE = GONE | {KafkaError._UNKNOWN_PARTITION}
"""What a topic that does not exist yet, or no longer, looks like: not our problem."""

_PASSING = _GONE | {
    KafkaError._PARTITION_EOF,
    KafkaError._MAX_POLL_EXCEEDED,  # the backend was away for long: the client joins again and reads it all again
    KafkaError._TRANSPORT,
    KafkaError._ALL_BROKERS_DOWN,
    KafkaError._TIMED_OUT,
}
_T = TypeVar("_T")


class GroupSource:
    """Reads topics, named by regular expressions that begin with `^`, as a member of the group `group`.

    `announced_by` is a topic whose records say that there are new topics to look for; without it they are
    found within a second. `create` is a topic to create where it is missing. `committed` leaves out records of
    transactions that are open or aborted. Nothing is asked of Kafka before the first `batch`, so Kafka may come later.
    Every `quiet` seconds it looks where the topics end: one that has lost its end, since Kafka was restored from an
    older copy, is read again from its beginning, which no reset policy of the client would do. Not for several threads.
    """

    def __init__(
        self,
        config: Mapping[str, str | int | float | bool],
        *,
        group: str,
        topics: Sequence[str],
        announced_by: str | None = None,
        create: TopicSpec | None = None,
        committed: bool = False,
        max_poll_ms: int = 300_000,
        quiet: float = QUIET_SECONDS,
    ) -> None:
        self._settings: dict[str, Any] = {
            "fetch.wait.max.ms": 100,  # a topic found meanwhile waits for the fetch in flight
            "fetch.error.backoff.ms": 100,
            "session.timeout.ms": 6_000,  # so long a killed logger's successor waits
            "heartbeat.interval.ms": 1_500,
            "topic.metadata.refresh.interval.ms": 1_000,
            **config,
            "group.id": group,
            "enable.auto.commit": False,
            "isolation.level": "read_committed" if committed else "read_uncommitted",
            "log_level": 2,  # `_client_error` tells each trouble once, the client's own log at every attempt
            "auto.offset.reset": "earliest",
            "partition.assignment.strategy": "cooperative-sticky",
            "max.poll.interval.ms": max_poll_ms,
            "error_cb": self._client_error,
            "statistics.interval.ms": 10_000,
            "stats_cb": self._client_statistics,
        }
        self._consumer = self._connect()
        self._admin = Administrator({**config, "log_level": 2})
        self._patterns = list(topics)
        self._announced_by = announced_by
        self._create = create
        self._cluster = ""
        self._ids: dict[str, str] = {}
        self._read: list[Message] = []
        self._overflow: Message | None = None
        self._troubles: set[int] = set()
        self._failures = 0
        self._quiet, self._looked = quiet, time.monotonic()
        self._reach = EndOffsets()
        self._again: set[str] = set()
        self.lag = 0

    def _connect(self) -> Consumer:
        try:
            return Consumer(self._settings)
        except (KafkaException, ValueError, TypeError) as error:
            raise LogError(f"the Kafka client cannot be set up: {error}") from error

    def batch(self, timeout: float) -> Batch | None:
        """Up to 500 records or about 0.9 MB, in order; None if none came in time. Raises LogError.

        What was read before an error is not lost: the next call begins with it.
        """
        with self._renewed():
            return self._batch(timeout)

    def commit(self, batch: Batch) -> None:
        """Commit the offsets after the batch's records. A member that lost its partitions commits nothing."""
        with self._renewed():
            self._commit(batch)

    def drained(self) -> bool:
        """Whether this member has every matching topic and has read each to its present end. Raises LogError."""
        return self._guard("the ends of the topics are not known", self._is_drained)

    def close(self) -> None:
        """Leave the group, so that another member takes over at once."""
        self._consumer.close()

    # ------------------------------------------------------------ inside
    @contextlib.contextmanager
    def _renewed(self) -> Iterator[None]:
        """After a few failures in a row another member takes over: see `renewed`. It reads on where was committed."""
        try:
            yield
        except LogError:
            self._failures += 1
            if self._failures >= FAILURES:
                log.warning("Kafka has failed %d times in a row: going on with a new connection", self._failures)
                self._leave()
            raise

    def _batch(self, timeout: float) -> Batch | None:
        if not self._cluster:
            self._prepare()
        if time.monotonic() > self._looked + self._quiet:
            self._look()
        self._fill(timeout)
        if not self._read:
            self._failures = 0
            return None
        topics = {_topic(message) for message in self._read}
        if self._announced_by in topics:
            self._look_for_topics()
        ids = self._identify(topics)
        records = [record_of(message) for message in self._read if _topic(message) in ids]
        self._read = []
        return Batch(self._cluster, ids, records) if records else None

    def _commit(self, batch: Batch) -> None:
        after = {(r.topic, r.partition): r.offset + 1 for r in batch.records}
        offsets = [TopicPartition(topic, partition, offset) for (topic, partition), offset in after.items()]
        try:
            results = self._consumer.commit(offsets=offsets, asynchronous=False)
        except KafkaException as error:
            raise LogError(f"the positions were not committed: {self._text(error)}") from error
        for result in results or ():
            if result.error is not None and result.error.code() not in _GONE:
                why = explanation(self._settings, result.error, "Read", result.topic)
                raise LogError(f"the position in {result.topic} was not committed: {why}")
        self._failures = 0

    def _prepare(self) -> None:
        metadata = self._guard("asking which Kafka it is", lambda: self._consumer.list_topics(timeout=_TIMEOUT))
        if self._create is not None and self._create.name not in metadata.topics:
            self._create_topic(self._create)
        if not metadata.cluster_id:
            raise LogError("Kafka does not tell its cluster id")
        self._guard("cannot subscribe", lambda: self._consumer.subscribe(self._patterns, on_assign=self._assigned))
        self._cluster = metadata.cluster_id

    def _assigned(self, consumer: Consumer, partitions: list[TopicPartition]) -> None:
        again = [partition for partition in partitions if partition.topic in self._again]
        for partition in again:
            partition.offset = OFFSET_BEGINNING
            self._again.discard(partition.topic)
        if again:
            consumer.incremental_assign(partitions)

    # ------------------------------------------------------------ does the log still reach so far?
    def _look(self) -> None:
        """Begin anew where a topic is shorter than it was, or where this client gets no more of it."""
        try:
            mine = self._consumer.position(self._consumer.assignment())
            with self._admin.lend() as admin:
                found = ends(admin, mine, LOOK_SECONDS)
            heard = {(p.topic, p.partition): self._consumer.get_watermark_offsets(p, cached=True)[1] for p in mine}
        except (KafkaException, RuntimeError) as error:
            log.debug("the ends of the topics are not known now: %s", error)
            return
        finally:
            self._looked = time.monotonic()
        read = {(p.topic, p.partition): p.offset for p in mine}
        shorter = self._reach.shorter(found, read, heard)
        for (topic, partition), (end, before) in shorter.items():
            log.error("%s:%d ends at offset %d, and reached %d before: %s", topic, partition, end, before, OLDER)
            REWINDS.inc()
        self._again |= {topic for topic, _ in shorter}
        if shorter or self._reach.deaf(found, heard) or KafkaError._ALL_BROKERS_DOWN in self._troubles:
            self._begin_anew()

    def _begin_anew(self) -> None:
        """With another client: who comes back after an outage may hold another log, of which this one may hear nothing.

        What was read and not given out is of the log before, and comes again from what the group has committed.
        """
        log.info("reading on with a new client")
        self._leave()
        self._prepare()

    def _leave(self) -> None:
        """Let another client take this one's place, which `_prepare` subscribes; closing may last as long as Kafka."""
        leaving = threading.Thread(target=self._consumer.close, name="leaving a client", daemon=True)
        self._consumer = self._connect()
        leaving.start()
        self._cluster, self._read, self._overflow, self._failures = "", [], None, 0
        self._troubles.clear()
        self._reach = EndOffsets()

    def _fill(self, timeout: float) -> None:
        """Read into `_read` what is there; wait at most `timeout` seconds for the first record."""
        size = sum(_size(message) for message in self._read)
        while len(self._read) < MAX_RECORDS:
            kept, self._overflow = self._overflow, None
            message = kept if kept is not None else self._poll(0.0 if self._read else timeout)
            if message is None:
                return
            size += _size(message)
            if self._read and size > MAX_BYTES:
                self._overflow = message
                return
            self._read.append(message)

    def _poll(self, timeout: float) -> Message | None:
        message = self._guard("reading failed", lambda: self._consumer.poll(timeout))
        if message is None:
            return None
        error = message.error()
        if error is None:
            self._reach.read(*_place(message))
            self._troubles &= {KafkaError._ALL_BROKERS_DOWN}  # until a new client reads
            return message
        if error.code() not in _PASSING:
            raise LogError(f"reading failed: {explanation(self._settings, error, 'Read', message.topic() or '')}")
        log.debug("passing: %s", error.str())
        return None

    def _look_for_topics(self) -> None:
        """A list of all topics makes the client compare it with its subscription."""
        try:
            self._consumer.list_topics(timeout=_TIMEOUT)
        except KafkaException as error:
            log.debug("cannot list the topics now, they will be found later: %s", error)

    def _identify(self, topics: Iterable[str]) -> dict[str, str]:
        """Topic ids, asked for after the records were read. Raises LogError.

        A topic whose id has changed meanwhile was deleted and created again: its records may be of either one,
        so they are left out and it is read from its beginning.
        """
        ids: dict[str, str] = {}
        names = sorted(topics)
        described = self._guard("the topics cannot be described", lambda: self._describe(names), names[0])
        for name, found in described.items():
            known = self._ids.get(name)
            if found is None and known is None:
                log.warning("topic %s was deleted before it could be identified; its records are left out", name)
            elif known is None or found is None or found == known:
                self._ids[name] = ids[name] = found or known or ""
            else:
                log.warning("topic %s was created anew; reading it from its beginning", name)
                self._ids[name] = found
                self._rewind(name)
        return ids

    def _describe(self, names: list[str]) -> dict[str, str | None]:
        with self._admin.lend() as admin:
            return ids_of(admin, names, _TIMEOUT)

    def _create_topic(self, spec: TopicSpec) -> None:
        """Create the topic, or say why not and go on: someone else may do it."""
        topic = NewTopic(spec.name, num_partitions=spec.partitions, config=dict(spec.settings))
        try:
            with self._admin.lend() as admin:
                admin.create_topics([topic], request_timeout=_TIMEOUT)[spec.name].result(timeout=_TIMEOUT + 1)
        except KafkaException as error:
            if error.args[0].code() != KafkaError.TOPIC_ALREADY_EXISTS:
                why = explanation(self._settings, error.args[0], "Create", spec.name)
                log.warning("topic %s does not exist and cannot be created (%s); waiting for it", spec.name, why)

    def _rewind(self, topic: str) -> None:
        if self._overflow is not None and _topic(self._overflow) == topic:
            self._overflow = None
        for assigned in self._guard("no assignment", self._consumer.assignment):
            if assigned.topic == topic:
                start = TopicPartition(topic, assigned.partition, OFFSET_BEGINNING)
                self._guard(f"cannot go back in {topic}", lambda start=start: self._consumer.seek(start), topic)  # type: ignore[misc]

    def _is_drained(self) -> bool:
        if self._read or self._overflow is not None:
            return False
        names = self._consumer.list_topics(timeout=_TIMEOUT).topics
        wanted = {name for name in names if any(re.search(pattern, name) for pattern in self._patterns)}
        assigned = self._consumer.assignment()
        if wanted - {partition.topic for partition in assigned}:
            return False
        committed = {(p.topic, p.partition): p.offset for p in self._consumer.committed(assigned, timeout=_TIMEOUT)}
        for partition in self._consumer.position(assigned):
            low, high = self._consumer.get_watermark_offsets(partition, timeout=_TIMEOUT)
            at = max(partition.offset, committed[partition.topic, partition.partition], low)
            if at < high:
                return False
        return True

    def _client_statistics(self, text: str) -> None:
        """Every 10 s: how many records of the partitions that are ours were not committed; -1 is not known."""
        topics = json.loads(text)["topics"].values()
        ours = [p for topic in topics for p in topic["partitions"].values() if p["fetch_state"] == "active"]
        self.lag = sum(max(0, partition["consumer_lag"]) for partition in ours)

    def _client_error(self, error: KafkaError) -> None:
        """Tell each kind of trouble with the connection once, until records come again."""
        if error.code() not in self._troubles:
            self._troubles.add(error.code())
            heard = ErrorReport(error.code(), error.str())
            log.warning("Kafka: %s", refusal(self._settings, [heard]) or reason(heard.text))

    def _guard(self, what: str, call: Callable[[], _T], topic: str = "") -> _T:
        try:
            return call()
        except (KafkaException, RuntimeError) as error:
            raise LogError(f"{what}: {self._text(error, topic)}") from error

    def _text(self, error: Exception, topic: str = "") -> str:
        first = error.args[0] if error.args else None
        return explanation(self._settings, first, "Read", topic) if isinstance(first, KafkaError) else str(error)


def _topic(message: Message) -> str:
    topic = message.topic()
    assert topic is not None, "a record has a topic"
    return topic


def _size(message: Message) -> int:
    return len(message.value() or b"") + len(message.key() or b"")


def _place(message: Message) -> tuple[str, int, int]:
    partition, offset = message.partition(), message.offset()
    assert partition is not None and offset is not None, "a record has a place"
    return _topic(message), partition, offset
