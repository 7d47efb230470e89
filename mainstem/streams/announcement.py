"""Announced data streams: Kafka-ML's control message, its offset ranges, and which federation one fits."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any, Final

import numpy as np

from mainstem.errors import ConfigError, DecodeError
from mainstem.protocol.messages import Announcement, InputSpec
from mainstem.protocol.topics import is_topic_name
from mainstem.streams.codecs import FORMATS, Codec, codec_for, parse_shape

_TEXT_FROM: Final = 5
"""Bytes from which a printable key is text: as a number it would be above 2^37."""


@dataclass(frozen=True, slots=True)
class StreamRange:
    """Offsets [start, end) of one partition; a bare topic has neither partition nor offsets."""

    topic: str
    partition: int | None = None
    start: int | None = None
    end: int | None = None

    def __str__(self) -> str:
        return self.topic if self.partition is None else f"{self.topic}:{self.partition}:{self.start}:{self.end}"

    @property
    def count(self) -> int | None:
        """How many offsets the range spans, if it has any."""
        return None if self.end is None or self.start is None else self.end - self.start


def parse_ranges(text: str) -> tuple[StreamRange, ...]:
    """`t:p:start:end,...` (`t:p:start` is open-ended) or bare names; raises ConfigError.

    Empty ranges are passed over: Kafka-ML's sinks announce every partition, also those that they wrote nothing to.
    """
    named = [_parse_range(part.strip()) for part in text.split(",")]
    ranges = tuple(r for r in named if r.count != 0)
    if not ranges:
        raise ConfigError(f"{text[:80]!r} names only empty ranges")
    # in order, only neighbours can overlap; a bare topic comes before its own partitions
    ordered = sorted(ranges, key=lambda r: (r.topic, -1 if r.partition is None else r.partition, r.start or 0))
    for a, b in pairwise(ordered):
        if _overlap(a, b):
            raise ConfigError(f"it names the offsets of {b} twice")
    return ranges


def _parse_range(part: str) -> StreamRange:
    name, *numbers = part.split(":")
    if not is_topic_name(name):
        raise ConfigError(f"{part[:80]!r} does not begin with a Kafka topic name")
    if not numbers:
        return StreamRange(name)
    if len(numbers) not in (2, 3) or not all(n.isascii() and n.isdigit() and len(n) < 20 for n in numbers):
        raise ConfigError(f"{part[:80]!r} must read topic:partition:start:end, with whole numbers")
    partition, start, *rest = (int(n) for n in numbers)
    end = rest[0] if rest else None
    if end is not None and end < start:
        raise ConfigError(f"{part[:80]!r} ends before it starts")
    return StreamRange(name, partition, start, end)


def exact(ranges: Iterable[StreamRange]) -> bool:
    """Whether the ranges have ends: such a stream never grows, whatever its announcement says."""
    return all(part.end is not None for part in ranges)


def _overlap(a: StreamRange, b: StreamRange) -> bool:
    if a.topic != b.topic:
        return False
    if a.partition is None or b.partition is None or a.start is None or b.start is None:
        return True
    return a.partition == b.partition and a.start < (b.end or math.inf) and b.start < (a.end or math.inf)


@dataclass(frozen=True, slots=True)
class DataAnnouncement:
    """Kafka-ML's control message of one data stream, validated."""

    topic: str
    input_format: str
    input_config: Mapping[str, Any]
    description: str = ""
    restrictions: Any = field(default_factory=dict)
    validation_rate: float = 0.0
    test_rate: float = 0.0
    total_msg: int | None = None
    incremental: bool = False
    unsupervised_topic: str | None = None
    federation: str | None = None
    """The only federation that the announcement is addressed to; None: whoever it fits."""
    readable: int | None = None
    """How many records Kafka holds of exact ranges, once it was asked (`mainstem.streams.survey`)."""

    @property
    def ranges(self) -> tuple[StreamRange, ...]:
        """The stream's ranges."""
        return parse_ranges(self.topic)

    @staticmethod
    def decode(key: bytes | None, value: bytes | None) -> DataAnnouncement:
        """From a record of FEDERATED_DATA_CONTROL_TOPIC; raises DecodeError naming the field."""
        if value is None:
            raise DecodeError("the announcement is empty")
        try:
            body = json.loads(value)
        except (ValueError, RecursionError) as error:
            raise DecodeError(f"the announcement is not JSON: {error}") from error
        if not isinstance(body, dict):
            raise DecodeError("the announcement must be a JSON object")
        input_format = body.get("input_format")
        if not isinstance(input_format, str) or input_format.upper() not in FORMATS:
            raise DecodeError(f"input_format is {_short(input_format)}; it must be one of {', '.join(FORMATS)}")
        topic = body.get("topic")
        if not isinstance(topic, str) or not topic:
            raise DecodeError("topic is missing: it names the stream's offset ranges")
        announcement = DataAnnouncement(
            topic=topic,
            input_format=input_format.upper(),
            input_config=_object(body, "input_config"),
            description=str(body.get("description") or "")[:1000],
            restrictions=_maybe_json(body.get("dataset_restrictions")),
            validation_rate=_rate(body, "validation_rate"),
            test_rate=_rate(body, "test_rate"),
            total_msg=_total(body),
            incremental=_flag(body, "incremental"),
            unsupervised_topic=_text(body, "unsupervised_topic"),
            federation=addressee(key),
        )
        if announcement.validation_rate + announcement.test_rate >= 1:
            raise DecodeError("validation_rate and test_rate together must be below 1")
        try:
            ranges = announcement.ranges
        except ConfigError as error:
            raise DecodeError(f"topic: {error}") from error
        if not exact(ranges) and any(part.end is not None for part in ranges):
            raise DecodeError("topic mixes exact ranges with such that have no end; announce two streams")
        return announcement


def addressee(key: bytes | None) -> str | None:
    """The federation that an announcement's key names, and no other is meant then; None where it names none.

    Text names a federation by its id, whether there is one or not. A deployment's number, big-endian in any width,
    means nobody: Kafka-ML ignores the key of federated announcements, and its examples always send 1. Below five
    bytes nothing tells a number from text.
    """
    if key is None or len(key) < _TEXT_FROM or not all(32 <= byte < 127 for byte in key):
        return None
    return key.decode("ascii")


def misfit(stream: DataAnnouncement, federation: Announcement) -> str | None:
    """Why the stream does not fit the federation, in a sentence; None where it fits.

    Kafka-ML's rule: `data_reshape` equals the input shape, the restrictions are equal as JSON, and there are
    `min_data` records unless the stream grows: of exact ranges those that can be read, as soon as that is known, else
    `total_msg`. Ours: INPUT_CONFIG gives samples that the model takes. A configuration that says nothing of types is
    left to the Job.
    """
    if stream.federation not in (None, federation.federation):
        return f"its announcement is addressed to federation {stream.federation[:64]!r}"
    declared = stream.input_config.get("data_reshape")
    if declared is not None or stream.input_format == "RAW":
        try:
            shape = parse_shape(declared, "data_reshape")
        except ConfigError as error:
            return f"its data_reshape cannot be read: {error}"
        if shape != federation.input.shape:
            return f"its data_reshape {list(shape)} is not the model's input shape {list(federation.input.shape)}"
    if {"data_type", "data_scheme"} & stream.input_config.keys():
        try:
            check_samples(codec_for(stream.input_format, stream.input_config), federation.input)
        except ConfigError as error:
            return f"it cannot be read: {error}"
    if not _same_json(stream.restrictions or None, federation.data.restriction or None):
        theirs, ours = (_as_json(value) for value in (stream.restrictions, federation.data.restriction))
        return f"its dataset_restrictions ({theirs}) are not the federation's data restriction ({ours})"
    least, fixed = federation.data.min_data, exact(stream.ranges)
    if fixed and stream.readable is not None and stream.readable < least:
        return f"it has {stream.readable} records that can be read, and the federation asks for at least {least}"
    announced = stream.total_msg if fixed else None if stream.incremental else stream.total_msg or 0
    if (not fixed or stream.readable is None) and announced is not None and announced < least:
        return f"it has {announced} records and the federation asks for at least {least}"
    return None


def check_samples(codec: Codec, model: InputSpec) -> None:
    """Refuse records whose samples the model cannot take; raises ConfigError.

    Shapes must be equal. Numbers of another type are cast where that keeps their kind (float64 to float32,
    uint8 to float32), never from fractions to whole numbers; a whole number that does not survive it is refused
    with its record.
    """
    if codec.x_shape != model.shape:
        raise ConfigError(
            f"INPUT_CONFIG: data_reshape is {list(codec.x_shape)}, but the model's input shape is {list(model.shape)}"
        )
    if not np.can_cast(codec.x_dtype, np.dtype(model.dtype), "same_kind"):
        raise ConfigError(
            f"INPUT_CONFIG: data_type is {codec.x_dtype.name}, but the model's input is {model.dtype}; "
            f"send the data as {model.dtype}"
        )


def _same_json(a: Any, b: Any) -> bool:
    """Equality of JSON values: unlike in Python, `true` is not 1."""
    if isinstance(a, bool) or isinstance(b, bool):
        return a is b
    if isinstance(a, dict) and isinstance(b, dict):
        return a.keys() == b.keys() and all(_same_json(a[name], b[name]) for name in a)
    if isinstance(a, list) and isinstance(b, list):
        return len(a) == len(b) and all(map(_same_json, a, b))
    return bool(a == b)


def _short(value: object) -> str:
    return _cut(repr, value)


def _as_json(value: Any) -> str:
    return _cut(lambda said: json.dumps(said, ensure_ascii=False), value) if value else "none"


def _cut(write: Callable[[Any], str], value: object) -> str:
    try:
        text = write(value)
    except (ValueError, RecursionError):
        text = type(value).__name__
    return text if len(text) <= 60 else text[:57] + "..."


def _maybe_json(value: Any) -> Any:
    if not isinstance(value, str):
        return value if value is not None else {}
    try:
        return json.loads(value) if value.strip() else {}
    except (ValueError, RecursionError) as error:
        raise DecodeError(f"dataset_restrictions is not JSON: {error}") from error


def _object(body: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    value = body.get(name)
    if isinstance(value, str):
        try:
            value = json.loads(value)
        except (ValueError, RecursionError) as error:
            raise DecodeError(f"{name} is not JSON: {error}") from error
    if not isinstance(value, dict):
        raise DecodeError(f"{name} must be a JSON object")
    return value


def _rate(body: Mapping[str, Any], name: str) -> float:
    value = body.get(name) or 0
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value < 1:
        raise DecodeError(f"{name} is {_short(value)}; it must be a number from 0 up to, not including, 1")
    return float(value)


def _total(body: Mapping[str, Any]) -> int | None:
    value = body.get("total_msg")
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value < 1 << 62:
        raise DecodeError(f"total_msg is {_short(value)}; it must be a whole number of records")
    return value


def _flag(body: Mapping[str, Any], name: str) -> bool:
    value = body.get(name)
    if value is None or isinstance(value, bool):
        return bool(value)
    raise DecodeError(f"{name} is {_short(value)}; it must be true or false")


def _text(body: Mapping[str, Any], name: str) -> str | None:
    value = body.get(name)
    if value is None or value == "":
        return None
    if not isinstance(value, str):
        raise DecodeError(f"{name} is {_short(value)}; it must be text")
    return value
