"""A message log in memory: the same promises as Kafka's, for tests and simulation."""

from __future__ import annotations

import secrets
import threading
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass

from mainstem.errors import OLDER, LogError, UnknownTopicError, UnreadableError
from mainstem.protocol.log import Holding, Holdings, Outgoing, Record, TopicIdentity
from mainstem.protocol.topics import TopicSpec
from mainstem.runtime.clock import Clock


@dataclass(frozen=True, slots=True)
class Copy:
    """A log as it was once."""

    topics: Mapping[str, list[list[Record]]]
    ids: Mapping[str, TopicIdentity]
    first: Mapping[tuple[str, int], int]


class MemoryLog:
    """Implements `log.MessageLog`. Thread-safe; the clock stamps records, also where it runs backwards."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._topics: dict[str, list[list[Record]]] = {}
        self._ids: dict[str, TopicIdentity] = {}
        self._first: dict[tuple[str, int], int] = {}
        self._changed = threading.Condition()

    def append(self, topic: str, records: Iterable[Outgoing]) -> list[int]:
        """See `log.MessageLog`."""
        offsets = []
        with self._changed:
            partitions = self._partitions(topic)
            for out in records:
                log = partitions[out.partition]
                stamp = self._clock.now_ms()
                value = None if out.value is None else bytes(out.value)
                log.append(Record(topic, out.partition, len(log), stamp, out.key, value, dict(out.headers)))
                offsets.append(len(log) - 1)
            self._changed.notify_all()
        return offsets

    def read(self, topic: str, partition: int, start: int, end: int) -> Iterator[Record]:
        """See `log.MessageLog`."""
        first, last = self.bounds(topic, partition)
        if start < first:
            raise UnreadableError(f"{topic} partition {partition} begins at offset {first}; {start} is gone")
        if end > last:
            raise LogError(f"{topic} partition {partition} ends at offset {last}, before {end}")
        return iter(self._topics[topic][partition][start:end])

    def cursor(self, topic: str, partition: int, start: int) -> MemoryCursor:
        """See `log.MessageLog`."""
        self._partitions(topic)
        return MemoryCursor(self, topic, partition, start)

    def bounds(self, topic: str, partition: int) -> tuple[int, int]:
        """See `log.MessageLog`."""
        return self._first.get((topic, partition), 0), len(self._partitions(topic)[partition])

    def partitions(self, topic: str, least: int = 1) -> int:
        """See `log.MessageLog`."""
        return len(self._partitions(topic))

    def identify(self, topic: str) -> TopicIdentity | None:
        """See `log.Streams`."""
        return self._ids.get(topic)

    def existing(self, topics: Collection[str]) -> set[str]:
        """Which of these topics there are."""
        return self._topics.keys() & set(topics)

    def holdings(self, topics: Collection[str]) -> Holdings:
        """What there is under these names."""
        there = {name: self._ids[name].id for name in topics if name in self._ids}
        found = {name: Holding(id_, *self.bounds(name, 0)) for name, id_ in there.items()}
        return Holdings("memory", {name: found.get(name) for name in topics})

    def copy(self) -> Copy:
        """All records and topics as they are now, for `restore`."""
        with self._changed:
            topics = {name: [list(log) for log in partitions] for name, partitions in self._topics.items()}
            return Copy(topics, dict(self._ids), dict(self._first))

    def restore(self, copy: Copy) -> None:
        """Go back to an older copy, as a Kafka does whose disks are replaced by a backup of them."""
        with self._changed:
            self._topics = {name: [list(log) for log in partitions] for name, partitions in copy.topics.items()}
            self._ids, self._first = dict(copy.ids), dict(copy.first)
            self._changed.notify_all()

    def create_topics(self, topics: Iterable[TopicSpec]) -> None:
        """See `log.MessageLog`."""
        with self._changed:
            for spec in topics:
                if spec.name not in self._topics:
                    self._topics[spec.name] = [[] for _ in range(spec.partitions)]
                    compacted = "compact" in dict(spec.settings).get("cleanup.policy", "")
                    self._ids[spec.name] = TopicIdentity(secrets.token_hex(8), compacted)

    def delete_topics(self, names: Iterable[str]) -> None:
        """See `log.MessageLog`."""
        with self._changed:
            for name in names:
                self._topics.pop(name, None)
                self._ids.pop(name, None)

    def delete_records(self, topic: str, partition: int, before: int) -> None:
        """See `log.MessageLog`."""
        self._first[topic, partition] = before

    def close(self) -> None:
        """Nothing to free."""

    def _partitions(self, topic: str) -> list[list[Record]]:
        if topic not in self._topics:
            raise UnknownTopicError(f"topic {topic} does not exist")
        return self._topics[topic]

    def wait(self, topic: str, partition: int, position: int, timeout: float, limit: int) -> list[Record]:
        """Records from `position` on, as a cursor asks for them."""
        with self._changed:
            log = self._partitions(topic)[partition]
            if position > len(log):
                raise UnreadableError(f"{topic} ends at offset {len(log)}, before {position}: {OLDER}")
            if timeout > 0:
                self._changed.wait_for(lambda: len(log) > position, timeout)
            return log[position : position + limit]


class MemoryCursor:
    """Implements `log.Cursor`."""

    def __init__(self, log: MemoryLog, topic: str, partition: int, start: int) -> None:
        self._log, self._topic, self._partition, self._position = log, topic, partition, start

    @property
    def position(self) -> int:
        """See `log.Cursor`."""
        return self._position

    def poll(self, timeout: float, limit: int = 500) -> list[Record]:
        """See `log.Cursor`."""
        records = self._log.wait(self._topic, self._partition, self._position, timeout, limit)
        self._position += len(records)
        return records

    def close(self) -> None:
        """Nothing to free."""
