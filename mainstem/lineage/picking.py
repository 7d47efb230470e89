"""The records of the clients' topic that a run's versions name, picked out of partition 0 while it passes by."""

from __future__ import annotations

from array import array
from bisect import bisect_left
from collections import deque
from collections.abc import Iterator
from dataclasses import replace

from mainstem.aggregation.aside import PassingRecord
from mainstem.aggregation.spill import Spill
from mainstem.errors import DecodeError, RefusedError, UnreadableError
from mainstem.lineage.course import Course, Window
from mainstem.lineage.history import History
from mainstem.lineage.passing import FixedEnds, Forward
from mainstem.protocol.chunks import Limits
from mainstem.protocol.exchange import check_update, exchange, manifests
from mainstem.protocol.log import Record
from mainstem.protocol.manifests import manifest_in, manifest_of
from mainstem.protocol.messages import Accepted, Round, Update
from mainstem.protocol.packing import lean

Range = tuple[int, int]


class Picker:
    """Goes through partition 0 once. Then `ranges` are the offsets that are named, by partition; `incomplete` the
    versions with an update that is no longer there; `missed` says that something was named after it had gone by,
    which no honest client does: then the ranges are to be read anew."""

    def __init__(self, source: FixedEnds, history: History, spill: Spill) -> None:
        self.ranges: dict[int, list[Range]] = {}
        self.incomplete: set[int] = set()
        self.missed = False
        self._source, self._history, self._spill = source, history, spill
        self._topic, self._exchange = history.opened.topics.aggregator, exchange(history.opened)
        self._waiting: deque[PassingRecord] = deque()
        self._places: set[int] = set()
        self._nbytes = 0
        self._named: set[int] = set()
        self._given = array("q")

    def records(self) -> Iterator[Record]:
        """The records that versions name, in order, as far as none is missed; raises LogError."""
        course = Course(self._history, lambda record: True)
        forward: Forward | None = None
        for head, record in self._history.steps():
            if not isinstance(record, Round) or not record.accepted:
                continue
            window = course.window(head, record)
            forward = forward or Forward(self._source, self._topic, 0, window.start)
            manifests = self._pass_by(forward, window)
            there = [self._name(item, manifests.get(item.offset)) for item in record.accepted]
            if not all(there):
                self.incomplete.add(record.version)
            yield from self._decided(window.turn - window.reach, window.most)
        yield from self._decided(len(self._history.links), 0)

    def _pass_by(self, forward: Forward, window: Window) -> dict[int, Record]:
        manifests: dict[int, Record] = {}
        for record in forward.upto(window.end):
            if record.offset in window.offsets:
                manifests[record.offset] = lean(record)
            if record.offset in window.offsets or window.concerns(record):
                self._waiting.append(
                    PassingRecord(replace(record, value=None), self._spill.keep(record.value or b""), window.turn)
                )
                self._places.add(record.offset)
                self._nbytes += self._waiting[-1].piece.nbytes
        return manifests

    def _name(self, item: Accepted, record: Record | None) -> bool:
        """Whether the update is there; what it is made of is named."""
        self._add(0, item.offset, 1)
        try:
            passed = record is not None or item.offset in self._places
            update = manifest_in(record, item) if passed else manifest_of(self._source, self._topic, item)
        except (UnreadableError, RefusedError, DecodeError):
            return False
        self._chunks(update)
        return True

    def _chunks(self, update: Update) -> None:
        try:
            check_update(update, self._exchange, Limits().nbytes)
        except RefusedError:
            self.missed = True  # too many to look at one by one
        for weights in manifests(update):
            for run in weights.chunks:
                self._add(run.partition, run.first, run.count)

    def _add(self, partition: int, first: int, count: int) -> None:
        self.ranges.setdefault(partition, []).append((first, first + count))
        if partition == 0 and not self.missed:
            begin, end = self._source.bounds(self._topic, 0)
            offsets = range(max(first, begin), min(first + count, end))
            self._named.update(offset for offset in offsets if offset in self._places)
            self.missed = any(offset not in self._places and not self._was_given(offset) for offset in offsets)

    def _was_given(self, offset: int) -> bool:
        at = bisect_left(self._given, offset)
        return at < len(self._given) and self._given[at] == offset

    def _decided(self, turn: int, most: int) -> Iterator[Record]:
        """Give what is named and comes before all that may still be named."""
        while self._waiting:
            first = self._waiting[0]
            named = first.offset in self._named
            if not named and first.turn > turn and self._nbytes <= most:
                return
            self._waiting.popleft()
            self._places.discard(first.offset)
            self._nbytes -= first.piece.nbytes
            if named and not self.missed:
                self._named.discard(first.offset)
                self._given.append(first.offset)
                yield first.whole()
