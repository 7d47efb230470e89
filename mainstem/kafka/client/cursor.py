"""One partition, read forward, as a `log.Cursor`."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping

from confluent_kafka import (
    TIMESTAMP_LOG_APPEND_TIME,
    Consumer,
    KafkaError,
    KafkaException,
    Message,
    TopicPartition,
)

from mainstem.errors import OLDER, LogError, UnreadableError
from mainstem.kafka.client.door import explanation
from mainstem.protocol.log import Record

PASSING = frozenset(
    (
        KafkaError._TRANSPORT,
        KafkaError._ALL_BROKERS_DOWN,
        KafkaError._RESOLVE,
        KafkaError._TIMED_OUT,
        KafkaError._PARTITION_EOF,
        KafkaError.LEADER_NOT_AVAILABLE,
        KafkaError.FENCED_LEADER_EPOCH,  # it heard of a leader before the last election
        KafkaError.UNKNOWN_LEADER_EPOCH,
        KafkaError.NOT_LEADER_FOR_PARTITION,
        KafkaError.REQUEST_TIMED_OUT,
    )
)
"""What librdkafka goes on retrying by itself."""

STILL_LOOKS = 6
"""A reader that found so often that there is more than it gets is stuck: a new one may get it."""


def consumer_config(
    config: Mapping[str, str | int | float | bool], committed: bool = False
) -> dict[str, str | int | float | bool]:
    """Settings of a consumer that is assigned by hand: it commits nothing and belongs to no group."""
    return {
        **config,
        "group.id": "mainstem-reader",
        "enable.auto.commit": False,
        "enable.auto.offset.store": False,
        "auto.offset.reset": "error",
        "isolation.level": "read_committed" if committed else "read_uncommitted",
        "enable.partition.eof": True,
        # waiting readers cost their broker nothing; past markers of transactions only an empty answer leads on
        "fetch.wait.max.ms": 200 if committed else 2000,
        "fetch.message.max.bytes": 4 << 20,
        "fetch.error.backoff.ms": 50,
        "queued.min.messages": 1000,
        "queued.max.messages.kbytes": 4 << 10,
        "fetch.queue.backoff.ms": 5,
        "check.crcs": True,
    }


def record_of(message: Message) -> Record:
    """A consumed message (without error) as a record."""
    topic, partition, offset = message.topic(), message.partition(), message.offset()
    assert topic is not None and partition is not None and offset is not None
    headers = {h[0]: h[1] if isinstance(h[1], bytes) else b"" for h in message.headers() or []}
    key, value = message.key(), message.value()
    kind, stamp = message.timestamp()
    return Record(
        topic,
        partition,
        offset,
        stamp,
        key.encode() if isinstance(key, str) else key,
        value.encode() if isinstance(value, str) else value,
        headers,
        kind == TIMESTAMP_LOG_APPEND_TIME,
    )


class KafkaCursor:
    """Implements `log.Cursor` with a consumer of its own, assigned once.

    After `quiet` seconds without a record it asks `end_of` where the partition ends now (None: not known). librdkafka
    alone says nothing, for good, where a broker came back with an older copy of its data: it takes the metadata with
    the smaller leader epoch for outdated. A deleted topic it reports late or never. `end_of` may raise LogError.
    """

    def __init__(
        self,
        config: Mapping[str, str | int | float | bool],
        topic: str,
        partition: int,
        start: int,
        *,
        committed: bool = False,
        quiet: float,
        end_of: Callable[[], int | None],
    ) -> None:
        self._topic, self._partition, self._position = topic, partition, start
        self._quiet, self._end_of = quiet, end_of
        self._looked, self._looked_at, self._behind = time.monotonic(), start, 0
        self._config = consumer_config(config, committed)
        self._consumer: Consumer | None = Consumer(self._config)
        self._consumer.assign([TopicPartition(topic, partition, start)])

    @property
    def position(self) -> int:
        """See `log.Cursor`."""
        return self._position

    def poll(self, timeout: float, limit: int = 500) -> list[Record]:
        """See `log.Cursor`. Raises UnreadableError where the position is no longer kept."""
        before, deadline = self._position, time.monotonic() + timeout
        while True:
            messages = self._consume(max(0.0, deadline - time.monotonic()), limit)
            records = [record for message in messages if (record := self._taken(message)) is not None]
            if records or self._position > before or not messages:
                self._look()
                return records

    def _look(self) -> None:
        """Whether the partition still is what was read, where nothing has come for a while."""
        now = time.monotonic()
        if self._position != self._looked_at:
            self._looked, self._looked_at, self._behind = now, self._position, 0
        if now < self._looked + self._quiet:
            return
        end = self._reached()
        self._looked = time.monotonic()
        self._behind += end is not None and end > self._position
        if self._behind >= STILL_LOOKS:
            raise LogError(f"the reader of {self._topic} stands still at offset {self._position} of {end}")

    def _reached(self) -> int | None:
        """The partition's end, where it is known; raises UnreadableError where it lies before our position."""
        end = self._end_of()
        if end is not None and end < self._position:
            raise UnreadableError(f"{self._topic} ends at offset {end}, before {self._position}: {OLDER}")
        return end

    def _consume(self, timeout: float, limit: int) -> list[Message]:
        if self._consumer is None:
            raise LogError(f"the reader of {self._topic} is closed")
        try:
            # waiting for one, then taking what has come: consume() would wait for `limit` of them
            messages = self._consumer.consume(1, timeout)
            if messages and limit > 1:
                messages += self._consumer.consume(limit - 1, 0)
            return messages
        except KafkaException as error:
            raise LogError(f"{self._topic}: {explanation(self._config, error.args[0], 'Read', self._topic)}") from error

    def _taken(self, message: Message) -> Record | None:
        error = message.error()
        if error is not None:
            if error.code() == KafkaError._PARTITION_EOF:
                # offsets without records (transaction markers) lie behind: the end is where they end
                self._position = max(self._position, message.offset() or 0)
            elif error.code() in (KafkaError._AUTO_OFFSET_RESET, KafkaError.OFFSET_OUT_OF_RANGE):
                self._reached()
                raise UnreadableError(f"{self._topic} no longer holds offset {self._position}")
            elif error.code() not in PASSING and not error.retriable():
                raise LogError(f"{self._topic}: {explanation(self._config, error, 'Read', self._topic)}")
            return None
        record = record_of(message)
        self._position = record.offset + 1
        return record

    def close(self) -> None:
        """See `log.Cursor`."""
        if self._consumer is not None:
            self._consumer.close()
            self._consumer = None
