"""CIFAR-10's binary version: records of one label byte and 3,072 bytes of red, green and blue planes.

Krizhevsky, "Learning Multiple Layers of Features from Tiny Images", 2009, and the data set's page.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np

from inject_scripts.readers.source import DataSet, Row, opened, stored_rows
from mainstem.errors import ConfigError, DecodeError

RECORD = 1 + 3 * 32 * 32
CLASSES = 10


def cifar10_source(paths: Sequence[Path]) -> DataSet:
    """All batches one after another: x (32, 32, 3) uint8, channels last, y a class index.

    Raises ConfigError and DecodeError.
    """
    counts = [_count(path) for path in paths]
    byte = np.dtype(np.uint8)

    def rows() -> Iterator[Row]:
        for path, count in zip(paths, counts, strict=True):
            with opened(path) as file:
                for number, record in enumerate(stored_rows(file, count, (RECORD,), byte, path.name), 1):
                    if record[0] >= CLASSES:
                        raise DecodeError(f"{path.name}, row {number}, has the label {record[0]}; CIFAR-10 has 0..9")
                    yield record[1:].reshape(3, 32, 32).transpose(1, 2, 0), record[0]

    name = ", ".join(path.name for path in paths)
    told = ("32 x 32 x 3 uint8, channels last", "the first byte of each record")
    return DataSet(name, sum(counts), (32, 32, 3), byte, (), byte, rows, classes=CLASSES, data=told[0], label=told[1])


def _count(path: Path) -> int:
    try:
        size = path.stat().st_size
    except OSError as error:
        raise ConfigError(f"{path} cannot be read: {error.strerror}") from error
    if size == 0 or size % RECORD:
        raise DecodeError(f"{path.name} is no CIFAR-10 binary file: {size} bytes are no multiple of {RECORD}")
    return size // RECORD
