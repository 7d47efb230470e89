"""What the core asks of the world: a log of messages, read and appended to."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from mainstem.protocol.topics import TopicSpec


@dataclass(frozen=True, slots=True)
class Record:
    """A record as read. `timestamp_ms` is milliseconds since the epoch: of the broker's clock where it is `appended`
    time (LogAppendTime, as our topics have it), otherwise as its writer stamped it (CreateTime)."""

    topic: str
    partition: int
    offset: int
    timestamp_ms: int
    key: bytes | None
    value: bytes | None
    headers: Mapping[str, bytes] = field(default_factory=dict)
    appended: bool = True


@dataclass(frozen=True, slots=True)
class Outgoing:
    """A record to append."""

    value: bytes | memoryview | None
    key: bytes | None = None
    headers: Sequence[tuple[str, bytes]] = ()
    partition: int = 0


class Cursor(Protocol):
    """A reader that moves forward through one partition and sees appends as they come.

    One that stands behind the partition's end, which no log that only grows can have, raises UnreadableError.
    """

    @property
    def position(self) -> int:
        """The next offset to be returned."""
        ...

    def poll(self, timeout: float, limit: int = 500) -> list[Record]:
        """Up to `limit` records from `position` on; waits at most `timeout` seconds for the first.

        Raises LogError.
        """
        ...

    def close(self) -> None:
        """Free the reader."""
        ...


class Source(Protocol):
    """Where ranges of records are read. Synchronous; every method may raise LogError."""

    def read(self, topic: str, partition: int, start: int, end: int) -> Iterator[Record]:
        """The records with offsets in [start, end); raises UnreadableError where one is gone."""
        ...

    def bounds(self, topic: str, partition: int) -> tuple[int, int]:
        """(first offset still readable, next offset to be written)."""
        ...

    def partitions(self, topic: str, least: int = 1) -> int:
        """The number of partitions, asked anew where fewer than `least` are known.

        Raises LogError where the topic does not exist.
        """
        ...


@dataclass(frozen=True, slots=True)
class TopicIdentity:
    """Which topic a name means now: Kafka gives a topic that is deleted and made again another id."""

    id: str
    compacted: bool | None = None
    """Whether Kafka deletes records for the sake of later ones with their key; None where it may not be asked."""


@dataclass(frozen=True, slots=True)
class Holding:
    """A topic that is there: its id, and of partition 0 the first readable and the next offset to be written."""

    id: str
    first: int
    end: int


@dataclass(frozen=True, slots=True)
class Holdings:
    """What a cluster holds of the topics that were asked for, by name; None of one that it does not have."""

    cluster: str
    topics: Mapping[str, Holding | None]


class Streams(Source, Protocol):
    """A site's Kafka: ranges of records, and which topic it is that holds them."""

    def identify(self, topic: str) -> TopicIdentity | None:
        """The topic of that name; None where there is none. Raises LogError."""
        ...

    def close(self) -> None:
        """Free every connection."""
        ...


class MessageLog(Source, Protocol):
    """Ordered, durable partitions of records (Kafka). Synchronous; every method may raise LogError."""

    def append(self, topic: str, records: Iterable[Outgoing]) -> list[int]:
        """Append in order and wait for every acknowledgement; the offsets, in order.

        A LogError leaves the outcome unknown: read back before doing anything else.
        """
        ...

    def cursor(self, topic: str, partition: int, start: int) -> Cursor:
        """A reader from offset `start` on."""
        ...

    def create_topics(self, topics: Iterable[TopicSpec]) -> None:
        """Create what does not exist yet."""
        ...

    def delete_topics(self, names: Iterable[str]) -> None:
        """Delete what exists."""
        ...

    def delete_records(self, topic: str, partition: int, before: int) -> None:
        """Make every offset below `before` unreadable, for good."""
        ...

    def close(self) -> None:
        """Flush and free every connection."""
        ...
