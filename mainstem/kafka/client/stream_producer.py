"""Writing a site's data stream: pipelined records, and the exact offsets that they got.

Kafka-ML's sinks compare a topic's end offsets before and after, so another producer's records
become part of the stream. Here each record's delivery report counts: the announced ranges hold
exactly the records sent, also when someone else writes into the same partition.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Mapping
from typing import Any

from confluent_kafka import KafkaError, KafkaException, Message, Producer
from confluent_kafka.cimpl import NewTopic

from mainstem.errors import LogError
from mainstem.kafka.client.access import SILENT, ErrorReport, barred, refusal, unreachable
from mainstem.kafka.client.acknowledgement import acknowledged
from mainstem.kafka.client.admin import Administrator
from mainstem.kafka.client.door import closed, explanation
from mainstem.kafka.client.identity import ABSENT
from mainstem.kafka.client.leaders import await_leaders
from mainstem.protocol.topics import MESSAGE_LIMIT, TopicSpec
from mainstem.streams.announcement import StreamRange


class StreamProducer:
    """Sends records without waiting for each, with acks=all and idempotence. Not thread-safe.

    `config` is `client_config(...)`; `timeout` is how many seconds without progress are an error.
    Every method may raise LogError; after one, the outcome of records not yet acknowledged is unknown.
    """

    def __init__(self, config: Mapping[str, str | int | float | bool], *, timeout: float = 30.0) -> None:
        self._config = dict(config)
        self._servers = str(config["bootstrap.servers"])
        self._timeout = timeout
        self._heard: deque[ErrorReport] = deque(maxlen=8)
        self._problem: KafkaError | None = None
        self._topic = ""
        self._ranges: dict[str, dict[int, list[list[int]]]] = {}
        self._delivered = 0
        # Connection errors reach the caller as one LogError; librdkafka need not print them as well.
        common: dict[str, Any] = {**config, "error_cb": self._troubled, "log_level": 2}
        self._producer = Producer(
            {
                **common,
                "acks": "all",
                "enable.idempotence": True,
                "linger.ms": 10,
                "message.max.bytes": MESSAGE_LIMIT,
                "message.timeout.ms": int(timeout * 1000),
                "queue.buffering.max.kbytes": 64 << 10,
                # Kafka-ML's client and Kafka's own choose a key's partition this way.
                "partitioner": "murmur2_random",
            }
        )
        self._admin = Administrator(common)

    def ensure_topic(self, spec: TopicSpec) -> int:
        """Create the topic where it is missing; its number of partitions."""
        found = self._partitions(spec.name)
        if found:
            return found
        new = NewTopic(spec.name, spec.partitions, -1, config=dict(spec.settings))
        try:
            with self._admin.lend() as admin:
                admin.create_topics([new], operation_timeout=self._timeout)[spec.name].result(self._timeout)
        except KafkaException as error:
            if error.args[0].code() in SILENT:
                raise self._unreachable() from error
            if error.args[0].code() != KafkaError.TOPIC_ALREADY_EXISTS:
                why = explanation(self._config, error.args[0], "Create", spec.name)
                raise LogError(f"topic {spec.name} cannot be created: {why}") from error
        deadline = time.monotonic() + self._timeout
        while not (found := self._partitions(spec.name)):
            if time.monotonic() > deadline:
                raise LogError(f"topic {spec.name} was created, but no leader appeared in {self._timeout:g} s")
            time.sleep(0.05)
        try:
            await_leaders(self._admin, {spec.name: found}, self._timeout)
        except KafkaException as error:
            why = explanation(self._config, error.args[0], "Describe", spec.name)
            raise LogError(f"topic {spec.name} was created, but has no leader: {why}") from error
        return found

    def send(self, topic: str, value: bytes, key: bytes | None = None, partition: int = -1) -> None:
        """Queue a record; partition -1 lets the key choose. Raises the failure of any earlier one."""
        self._hearing(self._producer.poll, 0)
        self._raise_problem()
        deadline = time.monotonic() + self._timeout
        while True:
            try:
                self._topic = topic
                self._producer.produce(topic, value, key, partition, on_delivery=self._delivery)
                return
            except BufferError:
                before = self._delivered
                self._hearing(self._producer.poll, 0.1)
                self._raise_problem()
                if self._delivered > before:
                    deadline = time.monotonic() + self._timeout
                elif time.monotonic() > deadline:
                    raise self._unreachable() from None
            except KafkaException as error:
                raise LogError(f"{topic}: {explanation(self._config, error.args[0], 'Write', topic)}") from error

    def flush(self) -> None:
        """Wait until every record is acknowledged."""
        deadline = time.monotonic() + self._timeout
        before = self._delivered
        while self._hearing(self._producer.flush, 0.2):
            self._raise_problem()
            if self._delivered > before:
                before, deadline = self._delivered, time.monotonic() + self._timeout
            elif time.monotonic() > deadline + 1:
                raise self._unreachable()
        self._raise_problem()

    def sent(self, topic: str) -> tuple[StreamRange, ...]:
        """Where this producer's records of `topic` are, once all are acknowledged: by partition and offset."""
        self.flush()
        partitions = self._ranges.get(topic, {})
        return tuple(StreamRange(topic, p, start, end) for p in sorted(partitions) for start, end in partitions[p])

    def forget(self, topic: str) -> None:
        """Begin a new stream: `sent` then counts from here on."""
        self.flush()
        self._ranges.pop(topic, None)

    def append(self, topic: str, value: bytes, key: bytes | None = None) -> tuple[int, int]:
        """Send one record and wait: its (partition, offset)."""
        self.flush()
        before = self._ranges.pop(topic, {})
        self.send(topic, value, key)
        (only,) = self.sent(topic)
        self._ranges[topic] = before
        assert only.partition is not None and only.start is not None
        return only.partition, only.start

    def close(self, *, wait: bool = True) -> None:
        """Free the connections; without `wait` records that are still queued are dropped."""
        try:
            if wait:
                self.flush()
        finally:
            self._producer.purge()
            self._producer.flush(0)

    # ------------------------------------------------------------ inside
    def _hearing(self, call: Callable[[float], int], seconds: float) -> int:
        """What `poll` or `flush` returns; 1 where it raises a fatal error, which the records' reports do not name."""
        try:
            return call(seconds)
        except KafkaException as error:
            self._problem = self._problem or error.args[0]
            return 1

    def _delivery(self, error: KafkaError | None, message: Message) -> None:
        error, offset = acknowledged(error, message)
        if error is not None:
            # A purge is our own doing, and later failures follow from the first.
            if self._problem is None and error.code() not in (KafkaError._PURGE_QUEUE, KafkaError._PURGE_INFLIGHT):
                self._problem, self._topic = error, message.topic() or ""
            return
        self._delivered += 1
        topic, partition = message.topic(), message.partition()
        assert topic is not None and partition is not None
        ranges = self._ranges.setdefault(topic, {}).setdefault(partition, [])
        # An idempotent producer's records keep their order inside a partition.
        if ranges and ranges[-1][1] == offset:
            ranges[-1][1] = offset + 1
        else:
            ranges.append([offset, offset + 1])

    def _partitions(self, topic: str) -> int:
        deadline = time.monotonic() + self._timeout
        while True:
            try:
                # In short calls, since Ctrl-C waits for each.
                found = self._producer.list_topics(topic, timeout=0.5).topics.get(topic)
                break
            except KafkaException as error:
                self._hearing(self._producer.poll, 0)
                if time.monotonic() > deadline or barred(self._config, self._heard):
                    raise self._unreachable() from error
        if found is None or (found.error is not None and found.error.code() in ABSENT):
            return 0
        if found.error is not None:
            raise LogError(f"topic {topic}: {explanation(self._config, found.error, 'Describe', topic)}")
        return len(found.partitions)

    def _troubled(self, error: KafkaError) -> None:
        self._heard.append(ErrorReport(error.code(), error.str()))

    def _raise_problem(self) -> None:
        if self._problem is None:
            return
        if self._problem.code() in SILENT:
            raise self._unreachable()
        why = explanation(self._config, self._problem, "Write", self._topic)
        raise LogError(f"Kafka refused a record of {self._topic}: {why}")

    def _unreachable(self) -> LogError:
        said = "" if refusal(self._config, self._heard) else unreachable(self._heard)
        why = None if said else closed(self._config)
        said = f": {said}" if said else ""
        return LogError(why or f"no Kafka broker answered at {self._servers} within {self._timeout:g} s{said}")
