"""A codec: Kafka records <-> samples (x, y), one record or many at a time."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from mainstem.errors import ConfigError, DecodeError
from mainstem.streams.codecs.part import ArrayPart

Record = tuple[bytes | None, bytes]
"""A Kafka record's key (the label; None without one) and value (the data)."""


class UndecodedRecord(NamedTuple):
    """A record that `decode_many` left out: its position among the records given, and why."""

    position: int
    reason: str


class SampleBatch(NamedTuple):
    """Samples decoded from many records, in their order.

    `x` is (n, *x_shape); `y` is (n, *y_shape), or None when the records carry no label;
    `refused` lists the records that are not among the n.
    """

    x: NDArray[Any]
    y: NDArray[Any] | None
    refused: tuple[UndecodedRecord, ...]


@dataclass(frozen=True, slots=True)
class Codec:
    """Reads and writes the records of one stream; made by `codec_for`.

    `label` is None for a stream without labels: keys are then ignored. `subtract` is taken from every
    label that is read, and added again to every one that is written. With `classes`, a label is checked
    to be a class index below it, or a vector of that many values within 0..1.
    """

    input_format: str
    data: ArrayPart
    label: ArrayPart | None
    classes: int | None = None
    subtract: int = 0

    @property
    def x_shape(self) -> tuple[int, ...]:
        """Shape of one sample's data."""
        return self.data.shape

    @property
    def x_dtype(self) -> np.dtype[Any]:
        """Dtype of the data."""
        return self.data.dtype

    @property
    def y_shape(self) -> tuple[int, ...] | None:
        """Shape of one sample's label, or None for a stream without labels."""
        return self.label.shape if self.label else None

    @property
    def y_dtype(self) -> np.dtype[Any] | None:
        """Dtype of the label in the records, or None for a stream without labels."""
        return self.label.dtype if self.label else None

    def decode(self, key: bytes | None, value: bytes) -> tuple[NDArray[Any], NDArray[Any] | None]:
        """The record's (x, y); y is None when it has no key. Arrays may be read-only; raises DecodeError."""
        if value is None:
            raise DecodeError("the record has no value (a tombstone); a sample's data belong there")
        x = self.data.read(value)
        if self.label is None or key is None:
            return x, None
        return x, self._labels(self.label.read(key), self.label)

    def encode(self, x: object, y: object = None) -> Record:
        """The record (key, value) of a sample; the key is None without a label.

        Raises DecodeError when the sample does not fit the codec.
        """
        value = self.data.write(self.data.prepared(x))
        if self.label is None or y is None:
            return None, value
        label = self.label.prepared(np.asarray(y) + self.subtract if self.subtract else y)
        self._labels(label, self.label)
        return self.label.write(label), value

    def decode_many(self, records: Sequence[Record], *, labelled: bool | None = None) -> SampleBatch:
        """All samples of `records`; bad records are left out and listed, never raised.

        `labelled` says whether each must carry a label; None: all must where any does.
        """
        if labelled is None:
            labelled = self.label is not None and any(key is not None for key, _ in records)
        try:
            return self._all_good(records, labelled)
        except DecodeError:
            pass  # at least one is bad: find out which, one record at a time
        good: list[Record] = []
        refused: list[UndecodedRecord] = []
        for position, (key, value) in enumerate(records):
            try:
                self.decode(key, value)
                if labelled and key is None:
                    raise DecodeError("the record has no key; its label belongs there")
            except DecodeError as error:
                refused.append(UndecodedRecord(position, str(error)))
            else:
                good.append((key, value))
        return self._all_good(good, labelled)._replace(refused=tuple(refused))

    def _all_good(self, records: Sequence[Record], labelled: bool) -> SampleBatch:
        values = [value for _, value in records]
        if None in values:
            raise DecodeError("a record has no value")
        x = self.data.read_many(values)
        if self.label is None or not labelled:
            return SampleBatch(x, None, ())
        keys = [key for key, _ in records if key is not None]
        if len(keys) != len(values):
            raise DecodeError("some records have no key")
        return SampleBatch(x, self._labels(self.label.read_many(keys), self.label), ())

    def _labels(self, y: NDArray[Any], label: ArrayPart) -> NDArray[Any]:
        """Labels as they were read, less `subtract`, within range; raises DecodeError."""
        if self.subtract:
            y = y - self.subtract if y.dtype.kind == "f" else y.astype(np.int64) - self.subtract
        check_labels(y, label.shape, self.classes)
        return y


def subtracted(config: Mapping[str, Any], label: ArrayPart | None) -> int:
    """`label_subtract` of INPUT_CONFIG: a whole number, 0 without it; raises ConfigError."""
    value = config.get("label_subtract")
    if value is None:
        return 0
    if type(value) is not int or abs(value) >= 1 << 31 or label is None:
        raise ConfigError(
            f"label_subtract is {str(value)[:40]!r}; it must be the whole number to take from every label of a stream "
            "that has labels"
        )
    return value


def check_classes(label: ArrayPart | None, classes: int | None) -> None:
    """Refuse a number of classes that the label's shape cannot express; raises ConfigError."""
    if classes is None:
        return
    if classes < 2:
        raise ConfigError(f"classes is {classes}; a classification has at least 2")
    if label is not None and label.size not in (1, classes):
        raise ConfigError(
            f"label_reshape holds {label.size} values; with {classes} classes it must be "
            f"1 (an index) or {classes} (one-hot)"
        )


def check_labels(y: NDArray[Any], shape: tuple[int, ...], classes: int | None) -> None:
    """Refuse labels out of range: `y` holds one or more labels of `shape`; raises DecodeError."""
    if classes is None or y.size == 0:
        return
    # One value a label is a class index; `classes` values are a one-hot vector or probabilities.
    index = math.prod(shape) == 1
    bad = (y < 0) | (y >= classes) | (y != np.trunc(y)) if index else (y < 0) | (y > 1)
    if bad.any():
        rule = f"the label must be a class index 0..{classes - 1}" if index else "a one-hot label must be within 0..1"
        raise DecodeError(f"{rule}, but it has the value {y[bad].reshape(-1)[0]}")
