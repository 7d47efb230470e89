"""CSV: one sample a row, numbers only; one column is the label."""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TextIO

import numpy as np

from inject_scripts.readers.source import BROKEN, Row, Source, opened
from mainstem.errors import ConfigError, DecodeError

MAX_LINE = 4 << 20
"""Longest line, in characters."""


@dataclass(frozen=True, slots=True)
class _Table:
    """What the first line says."""

    columns: tuple[str, ...]
    header: bool


def csv_source(path: Path, label_column: str | None, delimiter: str, *, labelled: bool) -> Source:
    """The table's rows: x float32 of all columns but the label's, y float32.

    The first line is a header unless all its cells are numbers. `label_column` is a name or a number
    from 0 (negative: from the end), by default the last. Raises ConfigError and DecodeError.
    """
    table = _table(path, delimiter)
    label = _label(table, label_column, path) if labelled else None
    keep = [i for i in range(len(table.columns)) if i != label]
    if not keep:
        raise DecodeError(f"{path.name} has no column beside its label")

    def rows() -> Iterator[Row]:
        for line, cells in _lines(path, delimiter, skip=table.header):
            if len(cells) != len(table.columns):
                raise DecodeError(f"{path.name}, line {line}, has {len(cells)} cells; others have {len(table.columns)}")
            numbers = [_number(cell, path, line, table.columns[i]) for i, cell in enumerate(cells)]
            yield np.array([numbers[i] for i in keep], np.float32), None if label is None else numbers[label]

    float32 = np.dtype(np.float32)
    shape = None if label is None else ()
    return Source(path.name, None, (len(keep),), float32, shape, None if label is None else float32, rows)


def _table(path: Path, delimiter: str) -> _Table:
    first = next(_lines(path, delimiter, skip=False), None)
    if first is None:
        raise DecodeError(f"{path.name} is empty")
    _, cells = first
    if all(_is_number(cell) for cell in cells):
        return _Table(tuple(str(i) for i in range(len(cells))), header=False)
    return _Table(tuple(cell.strip() for cell in cells), header=True)


def _label(table: _Table, asked: str | None, path: Path) -> int:
    if asked is None:
        return len(table.columns) - 1
    if table.header and asked in table.columns:
        return table.columns.index(asked)
    count = len(table.columns)
    if asked.lstrip("-").isdecimal() and asked.isascii() and -count <= int(asked) < count:
        return int(asked) % count
    shown = ", ".join(table.columns[:20]) if table.header else f"0 to {count - 1}"
    raise ConfigError(f"{path.name} has no column {asked!r} for --label-column; it has {shown}")


def _lines(path: Path, delimiter: str, *, skip: bool) -> Iterator[tuple[int, list[str]]]:
    """(line number, cells) of every line that is not blank."""
    with opened(path) as file:
        text = io.TextIOWrapper(file, encoding="utf-8-sig", newline="")
        reader = csv.reader(_bounded(text, path), delimiter=delimiter, strict=True)
        try:
            for cells in reader:
                if not cells:
                    continue
                if skip:
                    skip = False
                    continue
                yield reader.line_num, cells
        except (csv.Error, UnicodeDecodeError, *BROKEN) as error:
            raise DecodeError(f"{path.name}, line {reader.line_num + 1}, is no CSV in UTF-8: {error}") from error


def _bounded(text: TextIO, path: Path) -> Iterator[str]:
    """The lines of `text`, none of them longer than memory should hold."""
    while line := text.readline(MAX_LINE + 1):
        if len(line) > MAX_LINE:
            raise DecodeError(f"{path.name} has a line of more than {MAX_LINE} characters")
        yield line


def _is_number(cell: str) -> bool:
    try:
        float(cell)
    except ValueError:
        return False
    return True


def _number(cell: str, path: Path, line: int, column: str) -> float:
    where = f"{path.name}, line {line}, column {column!r},"
    if not cell.strip():
        raise DecodeError(f"{where} is empty; every cell must be a number")
    try:
        value = float(cell)
    except ValueError:
        raise DecodeError(f"{where} is {cell[:40]!r}; every cell must be a number") from None
    if not math.isfinite(value):
        raise DecodeError(f"{where} is {cell[:40]!r}; every number must be finite")
    return value
