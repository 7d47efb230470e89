"""One download for all clients of a process: lighter than a real deployment, and to be told with every figure."""

from __future__ import annotations

import threading
from collections.abc import Iterator

from mainstem.protocol.log import Record, Source


class SharedSource:
    """Reads a range once and hands the same records to whoever asks for it next. Implements `log.Source`.

    It holds the range that was read last: a model.
    """

    def __init__(self, source: Source) -> None:
        self._source = source
        self._lock = threading.Lock()
        self._range: tuple[str, int, int, int] | None = None
        self._records: list[Record] = []
        self.bounds, self.partitions = source.bounds, source.partitions

    def read(self, topic: str, partition: int, start: int, end: int) -> Iterator[Record]:
        """See `log.Source`."""
        with self._lock:
            if self._range != (topic, partition, start, end):
                self._records = list(self._source.read(topic, partition, start, end))
                self._range = (topic, partition, start, end)
            return iter(self._records)
