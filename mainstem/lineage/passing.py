"""A topic's partitions read once, front to back: what passes by and may be named later is set aside."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from mainstem.aggregation.aside import Aside
from mainstem.aggregation.spill import Spill
from mainstem.errors import UnreadableError
from mainstem.lineage.course import Window
from mainstem.protocol.log import Record, Source
from mainstem.protocol.packing import lean


class FixedEnds:
    """A source as it was when each partition's bounds were first asked for, which is once. Implements `log.Source`.

    Whatever a control topic names that was read before lies within them.
    """

    def __init__(self, source: Source) -> None:
        self._source, self.partitions = source, source.partitions
        self._bounds: dict[tuple[str, int], tuple[int, int]] = {}
        self.readers: Counter[tuple[str, int]] = Counter()
        """How many ranges were asked for, by topic and partition."""

    def read(self, topic: str, partition: int, start: int, end: int) -> Iterator[Record]:
        """See `log.Source`. What is known to be gone costs no reader."""
        if start < self.bounds(topic, partition)[0]:
            raise UnreadableError(f"{topic} no longer holds offset {start}")
        self.readers[topic, partition] += 1
        return self._source.read(topic, partition, start, end)

    def bounds(self, topic: str, partition: int) -> tuple[int, int]:
        """See `log.Source`."""
        if (topic, partition) not in self._bounds:
            self._bounds[topic, partition] = self._source.bounds(topic, partition)
        return self._bounds[topic, partition]

    def forget(self, topic: str, partition: int) -> None:
        """Ask anew the next time."""
        self._bounds.pop((topic, partition), None)


class Forward:
    """One partition from `start` on, through one reader. What lies from `first` to `position` has passed by."""

    def __init__(self, source: FixedEnds, topic: str, partition: int, start: int) -> None:
        self._source, self._place = source, (topic, partition)
        self._records: Iterator[Record] | None = None
        self._ahead: Record | None = None
        self._end = 0
        self.first = self.position = start

    def upto(self, end: int) -> Iterator[Record]:
        """The records before `end` that have not passed by yet; raises LogError.

        Records that go while this reads end it early: whoever asks for them one by one is told.
        """
        try:
            records = self._records = self._records or self._opened()
            end = min(end, self._end)
            while self.position < end:
                record, self._ahead = self._ahead or next(records, None), None
                if record is None or record.offset >= end:
                    self._ahead, self.position = record, end
                else:
                    self.position = record.offset + 1
                    yield record
        except UnreadableError:
            self._records = None
            self._source.forget(*self._place)

    def _opened(self) -> Iterator[Record]:
        first, self._end = self._source.bounds(*self._place)
        self.first = self.position = max(self.position, first)
        return self._source.read(*self._place, self.position, self._end) if self.position < self._end else iter(())


@dataclass(frozen=True, slots=True)
class Passed:
    """Which offsets of a partition passed by, and the records of those that a round names, without their payloads."""

    offsets: range
    named: Mapping[int, Record]


class Passage:
    """All partitions of a topic, each read forward once."""

    def __init__(self, source: FixedEnds, topic: str, spill: Spill) -> None:
        self._source, self._topic = source, topic
        self._forward: dict[int, Forward] = {}
        self.aside = Aside(spill)

    def read(self, partition: int, start: int, end: int, window: Window) -> Passed:
        """Go on to `end`, at first from `start` on, and set aside the payloads that concern the window."""
        if partition not in self._forward:
            self._forward[partition] = Forward(self._source, self._topic, partition, start)
        forward = self._forward[partition]
        found: dict[int, Record] = {}
        began = forward.position
        for record in forward.upto(end):
            if partition == 0 and record.offset in window.offsets:
                found[record.offset] = lean(record)
            if window.concerns(record):
                self.aside.put(record, window.turn)
        return Passed(range(max(began, forward.first), forward.position), found)

    def close(self) -> None:
        """Free the readers, and what was set aside."""
        self._forward.clear()
        self.aside.clear()
