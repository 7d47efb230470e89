"""A few decoded samples of a stream, read from the site's Kafka."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from backend.streams.models import DataSource
from backend.streams.pictures import picture
from mainstem.errors import DecodeError
from mainstem.protocol.log import Record, Source
from mainstem.streams.announcement import StreamRange
from mainstem.streams.codecs import codec_for

AT_ONCE = 12
MOST_VALUES = 16
MOST_BYTES = 8 << 20
"""Of records that are read for one look."""


@dataclass(frozen=True, slots=True)
class Sample:
    """A record: where it is, its label and data for people, or why it cannot be decoded."""

    place: str
    label: str
    values: str
    picture: str | None
    problem: str = ""


@dataclass(frozen=True, slots=True)
class Look:
    """Samples from place `start` on, the next ones from `after` on, of `total` places in the stream.

    A place that holds no record (compaction, transactions) is passed over.
    """

    samples: list[Sample]
    start: int
    after: int
    total: int
    shape: tuple[int, ...]
    dtype: str


def look(log: Source, source: DataSource, start: int) -> Look:
    """The samples from the `start`-th on; raises ConfigError for a config that cannot be, LogError."""
    codec = codec_for(source.input_format, source.input_config)
    parts = list(pieces(log, source.announcement.ranges))
    total = sum(end - first for _, _, first, end in parts)
    start = max(0, min(start, total - 1))
    found = list(_records(log, parts, start))
    after = found[-1][0] + 1 if found else total
    samples = [_sample(codec, record) for _, record in found]
    return Look(samples, start, after, total, codec.x_shape, codec.x_dtype.name)


def pieces(log: Source, ranges: tuple[StreamRange, ...]) -> Iterator[tuple[str, int, int, int]]:
    """(topic, partition, start, end) of what is still readable."""
    for piece in ranges:
        numbers = range(log.partitions(piece.topic)) if piece.partition is None else [piece.partition]
        for number in numbers:
            first, end = log.bounds(piece.topic, number)
            start = max(first, piece.start or 0)
            stop = end if piece.end is None else min(end, piece.end)
            if start < stop:
                yield piece.topic, number, start, stop


def _records(log: Source, parts: list[tuple[str, int, int, int]], skip: int) -> Iterator[tuple[int, Record]]:
    """(place in the stream, record)."""
    left, size, before = AT_ONCE, 0, 0
    for topic, partition, start, end in parts:
        begin, place = start + max(0, skip - before), before - start
        before += end - start
        if begin >= end:
            continue
        for record in log.read(topic, partition, begin, end):
            yield place + record.offset, record
            left, size = left - 1, size + len(record.value or b"")
            if not left or size > MOST_BYTES:
                return


def _sample(codec: Any, record: Record) -> Sample:
    place = f"{record.topic}:{record.partition}:{record.offset}"
    try:
        x, y = codec.decode(record.key, record.value)
    except DecodeError as error:
        return Sample(place, "", "", None, str(error))
    return Sample(place, label_text(y), _values(x), picture(x))


def label_text(y: NDArray[Any] | None) -> str:
    """A label for people: a class' number where the label is one-hot or a single value."""
    if y is None:
        return "no label"
    if y.size == 1:
        return f"{y.reshape(-1)[0]:g}"
    if y.ndim == 1 and np.count_nonzero(y) == 1 and y.max() == 1:
        return str(int(y.argmax()))
    return _values(y)


def _values(array: NDArray[Any]) -> str:
    flat = array.reshape(-1)
    shown = ", ".join(f"{value:g}" for value in flat[:MOST_VALUES])
    return shown + (f", and {flat.size - MOST_VALUES} more" if flat.size > MOST_VALUES else "")
