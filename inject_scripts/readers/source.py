"""A user's data set as rows that are read one at a time, so memory stays bounded by a sample."""

from __future__ import annotations

import gzip
import math
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, cast

import numpy as np
from numpy.typing import NDArray

from mainstem.errors import ConfigError, DecodeError

Row = tuple[NDArray[Any], Any]
"""(x, y): y is an array or number, or None without labels."""

BROKEN = (EOFError, gzip.BadGzipFile, zlib.error)
"""What a damaged gzip file raises while it is read."""


@dataclass(frozen=True, slots=True)
class DataSet:
    """A data set of `count` rows (None: known only at the end).

    `rows()` begins anew at each call and may raise DecodeError. `y_shape` is None without labels;
    `classes` is how many the labels are known to have, `class_names` their names in order; `data` and `label` say for
    people what they are, `columns` what the numbers of a flat sample are, and `notes` what was recognised or changed.
    """

    name: str
    count: int | None
    x_shape: tuple[int, ...]
    x_dtype: np.dtype[Any]
    y_shape: tuple[int, ...] | None
    y_dtype: np.dtype[Any] | None
    rows: Callable[[], Iterator[Row]]
    classes: int | None = None
    data: str = ""
    label: str = ""
    class_names: tuple[str, ...] | None = None
    columns: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()


@contextmanager
def opened(path: Path) -> Iterator[IO[bytes]]:
    """The file's bytes, unpacked if it is gzip; raises ConfigError where it cannot be read."""
    try:
        file = path.open("rb")
    except OSError as error:
        raise ConfigError(f"{path} cannot be read: {error.strerror}") from error
    with file:
        packed = file.read(2) == b"\x1f\x8b"
        file.seek(0)
        if not packed:
            yield file
            return
        with gzip.GzipFile(fileobj=file) as unpacked:
            yield cast(IO[bytes], unpacked)


def read_exactly(file: IO[bytes], size: int, what: str) -> bytes:
    """`size` bytes; raises DecodeError, naming `what`, where there are fewer."""
    try:
        got = file.read(size)
    except BROKEN as error:
        raise DecodeError(f"{what} is damaged: {error}") from error
    if len(got) != size:
        raise DecodeError(f"{what} is truncated: {size} bytes are missing or incomplete at this place")
    return got


def read_end(file: IO[bytes], what: str) -> None:
    """Nothing may follow; raises DecodeError."""
    try:
        more = file.read(1)
    except BROKEN as error:
        raise DecodeError(f"{what} is damaged: {error}") from error
    if more:
        raise DecodeError(f"{what} has bytes after its last row")


def stored_rows(
    file: IO[bytes], count: int, shape: tuple[int, ...], dtype: np.dtype[Any], what: str
) -> Iterator[NDArray[Any]]:
    """`count` arrays of `shape` stored one after another, and nothing after them; raises DecodeError."""
    size = math.prod(shape) * dtype.itemsize
    native = dtype.newbyteorder("=")
    for number in range(count):
        data = read_exactly(file, size, f"{what}, row {number + 1} of {count},")
        yield np.frombuffer(data, dtype).reshape(shape).astype(native)
    read_end(file, what)
