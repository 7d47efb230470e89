"""Reads a Job's data stream from Kafka into arrays, a batch of records at a time."""

from __future__ import annotations

import heapq
import logging
import time
from collections.abc import Iterable, Iterator
from itertools import islice
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from federated_training.decoders import Decoder, must_have_samples
from federated_training.left_out import LeftOut
from mainstem.errors import ConfigError, LogError
from mainstem.jobs import JobSpec
from mainstem.ports import MessageLog, Record
from mainstem.streams import StreamRange

log = logging.getLogger(__name__)

_BATCH: Final = 2048
_LOOK_SECONDS: Final = 0.5

Array = NDArray[Any]


class Stream:
    """The samples of one data stream, in its order.

    `t:p:start:end` is read exactly; a bare topic's first TOTAL_MSG records, or up to its end offsets at the
    start; only an incremental stream grows after that (`refresh`). Records that cannot be decoded are counted,
    logged and left out.
    """

    def __init__(self, source: MessageLog, spec: JobSpec, decoder: Decoder) -> None:
        self._source, self._spec, self._decoder = source, spec, decoder
        self._next: dict[tuple[str, int], int] = {}
        self._x: list[Array] = []
        self._y: list[Array] = []
        self.records = 0
        """Records read, those left out included."""
        self.left_out = LeftOut()
        """Which of them are left out, and why."""

    def open(self, *, at_least: int = 1, patience: float = 600.0) -> tuple[Array, Array]:
        """Read the stream; (x, y) as `Decoder.decode` gives them, joined.

        Waits at most `patience` seconds for the records of a stream that is still being written: TOTAL_MSG of
        them, or `at_least` of an incremental one. Raises DecodeError when no record can be used, ConfigError
        when the stream ends before that or a whole class would be left out, LogError.
        """
        ranges = self._spec.ranges
        if any(part.end is not None for part in ranges):
            self._take(self._exact(ranges))
        elif self._spec.incremental:
            self._wait(ranges, at_least, patience)
            self._take(self._new())
        elif self._spec.total_msg is not None:
            ends = self._wait(ranges, self._spec.total_msg, patience)
            merged = heapq.merge(*self._parts(ends), key=lambda r: (r.timestamp_ms, r.partition, r.offset))
            self._take(islice(merged, self._spec.total_msg))
            if self.records < self._spec.total_msg:
                raise ConfigError(f"DATA_TOPIC has {self.records} records; TOTAL_MSG asks for {self._spec.total_msg}")
        else:
            self._ends(ranges)
            self._take(self._new())
        return self._joined()

    def refresh(self) -> tuple[Array, Array] | None:
        """The whole stream again when an incremental one has grown, else None; raises LogError."""
        if not self._spec.incremental:
            return None
        before = self.records
        self._ends(self._spec.ranges)
        self._take(self._new())
        return self._joined() if self.records > before else None

    # ------------------------------------------------------------ which records
    def _exact(self, ranges: Iterable[StreamRange]) -> Iterator[Record]:
        for part in ranges:
            if part.partition is None or part.start is None or part.end is None:
                raise ConfigError(f"DATA_TOPIC mixes exact ranges with {part}, which has no end")
            first, end = self._source.bounds(part.topic, part.partition)
            if part.start < first or part.end > end:
                raise ConfigError(f"DATA_TOPIC {part}: the partition holds offsets {first} to {end} only")
            yield from self._source.read(part.topic, part.partition, part.start, part.end)

    def _ends(self, ranges: Iterable[StreamRange]) -> dict[tuple[str, int], tuple[int, int]]:
        """(start, present end) of every partition of the open ranges."""
        found: dict[tuple[str, int], tuple[int, int]] = {}
        for part in ranges:
            numbers = range(self._source.partitions(part.topic)) if part.partition is None else (part.partition,)
            for number in numbers:
                first, end = self._source.bounds(part.topic, number)
                start = first if part.start is None else max(first, part.start)
                self._next.setdefault((part.topic, number), start)
                found[part.topic, number] = (start, max(start, end))
        return found

    def _wait(
        self, ranges: Iterable[StreamRange], count: int, patience: float
    ) -> dict[tuple[str, int], tuple[int, int]]:
        """Bounds once the ranges span `count` offsets; raises ConfigError when they do not in time."""
        deadline, told = time.monotonic() + patience, False
        while True:
            ends = self._ends(ranges)
            there = sum(end - start for start, end in ends.values())
            if there >= count:
                return ends
            if not told:
                log.info("%s has %d records so far; waiting for %d", self._spec.data_topic, there, count)
                told = True
            if time.monotonic() > deadline:
                raise ConfigError(f"DATA_TOPIC {self._spec.data_topic} has {there} records; {count} are needed")
            time.sleep(_LOOK_SECONDS)

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


def await_topics(source: MessageLog, spec: JobSpec, patience: float) -> None:
    """Wait until the stream's topics exist; raises ConfigError naming the one that does not in `patience` seconds."""
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
                    raise ConfigError(f"DATA_TOPIC cannot be read: {error}") from error
                time.sleep(_LOOK_SECONDS)
