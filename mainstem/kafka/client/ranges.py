"""Ranges of partitions, read one after the other through readers that are kept where they stand."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator

from mainstem.errors import LogError
from mainstem.kafka.client.cursor import KafkaCursor
from mainstem.protocol.log import Record

READ_OVER = 64
"""A kept reader goes on over at most this many records of others; beyond, a fresh one starts at the place."""

KEPT_READERS = 8
"""Readers that are kept open, one a partition."""

AT_ONCE = 16
"""Records taken at one time: what is read is used before more of it takes memory."""


class Ranges:
    """Reads ranges; `open_at` makes a reader. Safe to share between threads: each takes a reader for itself."""

    def __init__(self, open_at: Callable[[str, int, int], KafkaCursor], timeout: float) -> None:
        self._open, self._timeout = open_at, timeout
        self._lock = threading.Lock()
        self._readers: dict[tuple[str, int], KafkaCursor] = {}

    def read(self, topic: str, partition: int, start: int, end: int) -> Iterator[Record]:
        """See `log.MessageLog`. Offsets that hold no record (transaction markers) are passed over."""
        reader = self._take(topic, partition, start)
        kept = False
        try:
            while reader.position < end:
                before = reader.position
                records = reader.poll(self._timeout, limit=max(1, min(AT_ONCE, end - before)))
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

    def expect(self, topic: str, partition: int, start: int) -> None:
        """Connect now for a read from `start` on, and let it fetch meanwhile."""
        self._keep(topic, partition, self._take(topic, partition, start))

    def close(self) -> None:
        """Free the readers that are kept."""
        with self._lock:
            readers, self._readers = self._readers, {}
        for reader in readers.values():
            reader.close()

    def _take(self, topic: str, partition: int, start: int) -> KafkaCursor:
        with self._lock:
            reader = self._readers.pop((topic, partition), None)
        if reader is not None and 0 <= start - reader.position <= READ_OVER:
            return reader
        if reader is not None:
            reader.close()
        return self._open(topic, partition, start)

    def _keep(self, topic: str, partition: int, reader: KafkaCursor) -> None:
        """Keep a reader that stands where the next read will likely begin: it goes on fetching meanwhile."""
        with self._lock:
            replaced = [self._readers.pop((topic, partition), None)]
            self._readers[topic, partition] = reader
            while len(self._readers) > KEPT_READERS:
                replaced.append(self._readers.pop(next(iter(self._readers))))
        for other in replaced:
            if other is not None:
                other.close()
