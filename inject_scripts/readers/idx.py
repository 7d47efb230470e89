"""MNIST's IDX files: an images file and its labels file, gzip or not.

The format is described on the MNIST page (LeCun, Cortes, Burges): two zero bytes, a type, the number
of dimensions, the dimensions as 32-bit big-endian numbers, then the values, big-endian.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any

import numpy as np

from inject_scripts.readers.source import DataSet, Row, opened, read_exactly, stored_rows
from mainstem.errors import ConfigError, DecodeError
from mainstem.streams.codecs.config import check_size

_TYPES = {0x08: "u1", 0x09: "i1", 0x0B: ">i2", 0x0C: ">i4", 0x0D: ">f4", 0x0E: ">f8"}
MAX_DIMENSIONS = 8


def idx_source(images: Path, labels: Path | None) -> DataSet:
    """The images with their labels; without `labels`, the file beside it with MNIST's name.

    Raises ConfigError and DecodeError.
    """
    labels = labels or _beside(images)
    count, shape, dtype = _header(images)
    label_count, label_shape, label_dtype = _header(labels)
    if label_shape or label_dtype.kind not in "iu":
        raise DecodeError(f"{labels.name} holds no labels: it must be one whole number for each image")
    if label_count != count:
        raise DecodeError(f"{labels.name} has {label_count} labels, but {images.name} has {count} images")
    check_size(shape, dtype, images.name)

    def rows() -> Iterator[Row]:
        with opened(images) as image_file, opened(labels) as label_file:
            _read_header(image_file, images)
            _read_header(label_file, labels)
            yield from zip(
                stored_rows(image_file, count, shape, dtype, images.name),
                stored_rows(label_file, count, (), label_dtype, labels.name),
                strict=True,
            )

    size, label = " x ".join(map(str, shape)), f"the file {labels.name}"
    data = f"{size} {dtype.name} of {images.name}"
    return DataSet(
        images.name, count, shape, dtype.newbyteorder("="), (), label_dtype, rows, classes=10, data=data, label=label
    )


def _beside(images: Path) -> Path:
    name = images.name.replace("images", "labels").replace("idx3", "idx1")
    if name != images.name and (found := images.with_name(name)).exists():
        return found
    raise ConfigError(f"the labels of {images.name} are missing; name their file with --labels")


def _header(path: Path) -> tuple[int, tuple[int, ...], np.dtype[Any]]:
    with opened(path) as file:
        return _read_header(file, path)


def _read_header(file: IO[bytes], path: Path) -> tuple[int, tuple[int, ...], np.dtype[Any]]:
    """(rows, shape of a row, dtype)."""
    zero, kind, dimensions = struct.unpack(">HBB", read_exactly(file, 4, path.name))
    if zero != 0 or kind not in _TYPES or not 1 <= dimensions <= MAX_DIMENSIONS:
        raise DecodeError(f"{path.name} is no IDX file: its magic number is 0x{zero:04x}{kind:02x}{dimensions:02x}")
    count, *shape = struct.unpack(f">{dimensions}I", read_exactly(file, 4 * dimensions, path.name))
    if 0 in shape:
        raise DecodeError(f"{path.name} has images of size 0")
    return count, tuple(shape), np.dtype(_TYPES[kind])
