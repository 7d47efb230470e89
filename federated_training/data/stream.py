"""Reads a Job's data stream from Kafka into arrays, a batch of records at a time."""

from __future__ import annotations

import heapq
import logging
import time
from collections.abc import Iterable, Iterator, Sequence
from itertools import islice
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from federated_training.data.dataset import Place
from federated_training.data.decoders import Decoder, must_have_samples
from federated_training.data.omissions import LeftOut
from mainstem.errors import ConfigError, LogError, SilentError, UnknownTopicError
from mainstem.jobs.spec import JobSpec
from mainstem.protocol.log import Record, Streams
from mainstem.streams.announcement import StreamRange
from mainstem.streams.survey import compaction, identities, replaced, shortfall

log = logging.getLogger(__name__)

_BATCH: Final = 2048
_LOOK_SECONDS: Final = 0.5

Array = NDArray[Any]


class Stream:
    """The samples of one data stream, in its order.

    `t:p:start:end` is read exactly, also where it was announced as incremental; a bare topic's first TOTAL_MSG records,
    or up to its end offsets at the start; only an incremental stream without ends grows after that (`refresh`).
    Records are counted as they can be read, never by offsets: transactions and compaction leave gaps in those.
    Records that cannot be decoded are counted, logged and left out.
    """

    def __init__(self, source: Streams, spec: JobSpec, decoder: Decoder) -> None:
        self._source, self._spec, self._decoder = source, spec, decoder
        self._known = dict(spec.topic_ids)
        self._next: dict[tuple[str, int], int] = {}
        self._x: list[Array] = []
        self._y: list[Array] = []
        self.places: list[Place] = []
        """Where each sample is."""
        self.records = 0
        """Records read, those left out included."""
        self.left_out = LeftOut()
        """Which of them are left out, and why."""

    def open(self, *, at_least: int = 1, patience: float = 600.0) -> tuple[Array, Array]:
        """Read the stream; (x, y) as `Decoder.decode` gives them, joined.

        Waits at most `patience` seconds for the records of a stream that is still being written: TOTAL_MSG of
        them, or `at_least` of a growing one. Raises DecodeError when no record can be used, ConfigError when the
        stream ends before that, is another than was announced, or a whole class would be left out, LogError.
        """
        self._identify()
        ranges, total = self._spec.ranges, self._spec.total_msg
        if any(part.end is not None for part in ranges):
            self._take(self._exact(ranges))
            self._check_count(ranges)
        elif self._spec.incremental:
            return self.grow(at_least, patience)
        elif total is not None:
            ends = self._wait(total, patience)
            merged = heapq.merge(*self._parts(ends), key=lambda r: (r.timestamp_ms, r.partition, r.offset))
            self._take(islice(merged, total))
        else:
            self._look()
            self._take(self._new())
        return self._joined()

    def grow(self, at_least: int, patience: float) -> tuple[Array, Array]:
        """The whole stream once it has `at_least` records; raises ConfigError when it has not in time."""
        deadline, told = time.monotonic() + patience, False
        while True:
            self._look()
            self._take(self._new())
            if self.records >= at_least:
                return self._joined()
            told = self._pause(self.records, at_least, deadline, told)

    def refresh(self) -> tuple[Array, Array] | None:
        """The whole stream again when it has grown, else None.

        Raises LogError, and ConfigError where the topic is another one by now.
        """
        if not self._spec.grows:
            return None
        self._identify()
        before = self.records
        self._look()
        self._take(self._new())
        return self._joined() if self.records > before else None

    # ------------------------------------------------------------ which records
    def _identify(self) -> None:
        """Compare the topics with those that were announced, or that were there at first; raises ConfigError."""
        found = identities(self._source, self._spec.ranges)
        reason = replaced(found, self._known)
        if reason:
            raise ConfigError(f"DATA_TOPIC {self._spec.data_topic[:200]} is gone: {reason}; announce the stream anew")
        self._known.update((name, topic.id) for name, topic in found.items() if topic is not None)

    def _exact(self, ranges: Iterable[StreamRange]) -> Iterator[Record]:
        for part in ranges:
            if part.partition is None or part.start is None or part.end is None:
                raise ConfigError(f"DATA_TOPIC mixes exact ranges with {part}, which has no end")
            first, end = self._source.bounds(part.topic, part.partition)
            if part.start < first or part.end > end:
                raise ConfigError(f"DATA_TOPIC {part}: the partition holds offsets {first} to {end} only")
            yield from self._source.read(part.topic, part.partition, part.start, part.end)

    def _check_count(self, ranges: Sequence[StreamRange]) -> None:
        """Compare what was read of exact ranges with TOTAL_MSG; raises ConfigError where records are missing."""
        span = sum(part.count or 0 for part in ranges)
        announced = min(span, self._spec.total_msg or span)
        if self.records >= announced:
            return
        missing = shortfall(announced, self.records, compaction(identities(self._source, ranges)))
        if self._spec.total_msg is None:
            log.warning("DATA_TOPIC: %s", missing)
        else:
            raise ConfigError(f"DATA_TOPIC: {missing}; to train on them, set TOTAL_MSG to {self.records}")

    def _look(self) -> dict[tuple[str, int], tuple[int, int]]:
        """(start, present end) of every partition of the open ranges."""
        found: dict[tuple[str, int], tuple[int, int]] = {}
        for part in self._spec.ranges:
            numbers = range(self._source.partitions(part.topic)) if part.partition is None else (part.partition,)
            for number in numbers:
                first, end = self._source.bounds(part.topic, number)
                start = first if part.start is None else max(first, part.start)
                position = self._next.setdefault((part.topic, number), start)
                if position < first:
                    log.warning("%s:%d: offsets %d to %d were deleted unread", part.topic, number, position, first)
                    self._next[part.topic, number] = first
                found[part.topic, number] = (start, max(start, end))
        return found

    def _wait(self, count: int, patience: float) -> dict[tuple[str, int], tuple[int, int]]:
        """Bounds once `count` records between them can be read; raises ConfigError when they cannot in time."""
        deadline, told, there = time.monotonic() + patience, False, 0
        while True:
            ends = self._look()
            there += sum(1 for _ in self._new())
            if there >= count:
                return ends
            told = self._pause(there, count, deadline, told)

    def _pause(self, there: int, count: int, deadline: float, told: bool) -> bool:
        """Wait a moment for more records and tell of it once; raises ConfigError past the deadline."""
        if not told:
            log.info("%s has %d records so far; waiting for %d", self._spec.data_topic, there, count)
        if time.monotonic() > deadline:
            raise ConfigError(f"DATA_TOPIC {self._spec.data_topic} has {there} records; {count} are needed")
        time.sleep(_LOOK_SECONDS)
        return True

    def _parts(self, ends: dict[tuple[str, int], tuple[int, int]]) -> list[Iterator[Record]]:
        return [self._source.read(topic, number, start, end) for (topic, number), (start, end) in ends.items()]

    def _new(self) -> Iterator[Record]:
        for (topic, number), position in sorted(self._next.items()):
            _, end = self._source.bounds(topic, number)
            if end > position:
                yield from self._source.read(topic, number, position, end)
                self._next[topic, number] = end

    # ------------------------------------------------------------ what is in them
    def _take(self, records: Iterator[Record]) -> None:
        while batch := list(islice(records, _BATCH)):
            x, y, refused = self._decoder.decode([(record.key, record.value) for record in batch])
            self.records += len(batch)
            left_out = {refusal.position for refusal in refused}
            self.places += [(r.topic, r.partition, r.offset) for n, r in enumerate(batch) if n not in left_out]
            if len(x):
                self._x.append(x)
                self._y.append(y)
            for refusal in refused:
                self.left_out.add(batch[refusal.position], refusal)
        if told := self.left_out.sentence(self.records):
            log.warning("%s", told)

    def _joined(self) -> tuple[Array, Array]:
        self._decoder.check_classes(self.left_out, self._y, self.records)
        must_have_samples(len(self._x), self.left_out)
        if len(self._x) > 1:
            # One array each: the pieces are let go as soon as they are joined.
            self._x[:] = [np.concatenate(self._x)]
            self._y[:] = [np.concatenate(self._y)]
        return self._x[0], self._y[0]


def await_topics(source: Streams, spec: JobSpec, patience: float) -> None:
    """Wait until the stream's topics exist; raises ConfigError naming the one that does not in `patience` seconds,
    SilentError where Kafka has not answered until then."""
    deadline = time.monotonic() + patience
    for part in spec.ranges:
        while True:
            try:
                count = source.partitions(part.topic)
                if part.partition is not None and part.partition >= count:
                    raise ConfigError(f"DATA_TOPIC {part}: the topic has {count} partitions, numbered from 0")
                break
            except LogError as error:
                if time.monotonic() > deadline:
                    kind = ConfigError if isinstance(error, UnknownTopicError) else SilentError
                    raise kind(f"DATA_TOPIC cannot be read: {error}") from error
                time.sleep(_LOOK_SECONDS)
