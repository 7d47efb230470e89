"""A source's rows as samples of the asked shape, dtype, scale and labels."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from inject_scripts.injection import Sample
from inject_scripts.readers.source import DataSet, Row
from mainstem.errors import ConfigError, DecodeError
from mainstem.streams.codecs import parse_shape
from mainstem.streams.codecs.exact import cast

Numbered = tuple[int, Row]
"""(number of the row in the file, from 1; the row)"""

Scale = Callable[[NDArray[Any]], NDArray[Any]]


@dataclass(frozen=True, slots=True)
class Samples:
    """Samples ready to inject; `iterate()` begins anew at each call."""

    count: int | None
    x_shape: tuple[int, ...]
    x_dtype: np.dtype[Any]
    y_shape: tuple[int, ...] | None
    y_dtype: np.dtype[Any] | None
    classes: int | None
    iterate: Callable[[], Iterator[Sample]]
    rows: Callable[[], Iterator[Row]]
    """The same with labels as they are in the file, less what is subtracted."""
    class_names: tuple[str, ...] | None = None
    """What the classes are called, in their order, where they have names."""


def prepare(
    source: DataSet,
    *,
    offset: int = 0,
    limit: int | None = None,
    reshape: str | None = None,
    dtype: np.dtype[Any] | None = None,
    normalize: bool = False,
    classes: int | None = None,
    class_names: tuple[str, ...] | None = None,
    subtract: int = 0,
    shuffle: int | None = None,
) -> Samples:
    """Apply the options; raises ConfigError, and DecodeError where `normalize` reads the file.

    `dtype` None keeps the file's; a number that it cannot keep is a DecodeError of its row. `subtract` is taken from
    every label. `limit` rows are used, after the first `offset`. `normalize` divides unsigned integers by their
    largest value and scales other features to 0..1 by their extremes in the rows used. With `classes` (or where the
    format has classes) a label becomes a one-hot float32 vector; `class_names` names them, also where the file only
    numbers them. `shuffle` is the seed of another order of the rows used, which are then held in memory.
    """
    shape = parse_shape(reshape, "--data-reshape") if reshape else source.x_shape or (1,)
    if math.prod(shape) != math.prod(source.x_shape):
        raise ConfigError(f"--data-reshape {reshape!r} does not fit samples of shape {source.x_shape}")
    names = class_names or source.class_names
    classes = classes or (len(class_names) if class_names else source.classes)
    x_dtype = dtype or source.x_dtype
    if normalize and x_dtype.kind != "f":
        raise ConfigError("--normalize makes fractions, so --dtype must be a floating type")
    y_shape, y_dtype = source.y_shape, source.y_dtype
    if subtract and y_shape is not None and math.prod(y_shape) != 1:
        raise ConfigError(f"--label-subtract is for labels of one number; these have the shape {y_shape}")
    if subtract and y_dtype is not None and y_dtype.kind in "bu":
        y_dtype = np.dtype(np.int64)
    if y_shape is not None and classes is not None:
        if math.prod(y_shape) not in (1, classes):
            raise ConfigError(f"labels of shape {y_shape} are neither an index nor one-hot of {classes} classes")
        y_shape, y_dtype = (classes,), np.dtype(np.float32)

    def in_order() -> Iterator[Numbered]:
        return enumerate(itertools.islice(source.rows(), offset, None if limit is None else offset + limit), offset + 1)

    stored = in_order if shuffle is None else _shuffled(in_order, shuffle)
    scale = _scale(source, stored) if normalize else _same

    def numbered() -> Iterator[Numbered]:
        for number, (x, y) in stored():
            where = f"{source.name}, row {number}:"
            _check_finite(x, f"{where} the data")
            kept = cast(scale(x), x_dtype, f"{where} the data").reshape(shape)
            if y is not None:
                _check_finite(y, f"{where} the label")
            shifted = subtract and y is not None
            yield number, (kept, np.asarray(y, y_dtype if classes is None else None) - subtract if shifted else y)

    def rows() -> Iterator[Row]:
        return (row for _, row in numbered())

    def iterate() -> Iterator[Sample]:
        for number, (x, y) in numbered():
            yield x, y if classes is None or y is None else _onehot(y, classes, f"{source.name}, row {number},")

    left = None if source.count is None else max(0, source.count - offset)
    count = left if limit is None or left is None else min(limit, left)
    return Samples(count, shape, x_dtype, y_shape, y_dtype, classes, iterate, rows, names)


def _shuffled(rows: Callable[[], Iterator[Numbered]], seed: int) -> Callable[[], Iterator[Numbered]]:
    """The rows in another order, the same for a seed; read at the first call."""
    kept: list[Numbered] = []

    def shuffled() -> Iterator[Numbered]:
        if not kept:
            kept.extend(rows())
        return (kept[i] for i in np.random.default_rng(seed).permutation(len(kept)))

    return shuffled


def _check_finite(value: Any, what: str) -> None:
    """Raise DecodeError, beginning with `what`, where a number is NaN or infinite."""
    array = np.asarray(value)
    if array.dtype.kind == "f" and not np.isfinite(array).all():
        place = int(np.flatnonzero(~np.isfinite(array))[0])
        raise DecodeError(
            f"{what} is {array.reshape(-1)[place]:g} at position {place}; every number must be finite: where nothing "
            "was measured, say --missing drop or --missing mean"
        )


def _same(x: NDArray[Any]) -> NDArray[Any]:
    return x


def _scale(source: DataSet, rows: Callable[[], Iterator[Numbered]]) -> Scale:
    if source.x_dtype.kind == "u":
        largest = float(np.iinfo(source.x_dtype).max)
        return lambda x: x / largest
    low = np.full(source.x_shape, np.inf)
    high = np.full(source.x_shape, -np.inf)
    for _, (x, _label) in rows():
        np.minimum(low, x, out=low)
        np.maximum(high, x, out=high)
    width = np.where(high > low, high - low, 1.0)  # a constant feature becomes 0
    return lambda x: (x - low) / width


def _onehot(y: Any, classes: int, where: str) -> NDArray[np.float32]:
    label = np.asarray(y)
    if label.size == classes > 1:
        return label.reshape(classes).astype(np.float32)
    index = label.reshape(-1)[0].item()
    if index != int(index) or not 0 <= index < classes:
        raise DecodeError(f"{where} has the label {index:g}; with {classes} classes it must be 0..{classes - 1}")
    onehot = np.zeros(classes, np.float32)
    onehot[int(index)] = 1
    return onehot
