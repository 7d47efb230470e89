"""CSV: one sample a row, numbers only; one column is the label. Which, `csv_columns` says."""

from __future__ import annotations

import csv
import io
import itertools
import math
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, TextIO

import numpy as np

from inject_scripts.readers.csv_columns import NUMBER, PEEK, columns_of
from inject_scripts.readers.source import BROKEN, Row, Source, opened
from mainstem.codecs.exact import unfit_number
from mainstem.errors import DecodeError

MAX_LINE = 4 << 20
"""Longest line, in characters."""

MOST_NAMES = 20
"""Columns that are named to people."""

_FLOAT32 = np.dtype(np.float32)


def csv_source(
    path: Path,
    label_column: str | None,
    delimiter: str,
    *,
    labelled: bool,
    header: bool | None = None,
    drop: Sequence[str] = (),
    dtype: np.dtype[Any] = _FLOAT32,
) -> Source:
    """The table's rows: x `dtype` of all columns but the label's and those to `drop`; y float32, or float64 with a
    `dtype` of 64 bits.

    `header`, `label_column` and `drop`: see `columns_of`. Every number is kept exactly, or rounded where it is a
    fraction, or refused with its cell. Raises ConfigError and DecodeError.
    """
    lines = _lines(path, delimiter, skip=False)
    begin = [cells for _, cells in itertools.islice(lines, PEEK + 1)]
    if not begin:
        raise DecodeError(f"{path.name} is empty")
    columns = columns_of(
        path.name, begin[0], begin[1:], header=header, label=label_column, drop=drop, labelled=labelled
    )
    label, width = columns.label, len(columns.names)
    y_dtype = np.dtype(np.float64) if dtype.itemsize == 8 else _FLOAT32

    def number(cells: list[str], line: int, column: int, kind: np.dtype[Any]) -> float:
        where = f"{path.name}, line {line}, column {columns.names[column]!r},"
        value = _number(cells[column], where)
        if (told := unfit_number(value, kind)) is not None:
            raise DecodeError(f"{where} {told} (--dtype float64 or int64, --drop)")
        return value

    def rows() -> Iterator[Row]:
        for line, cells in _lines(path, delimiter, skip=columns.header):
            if len(cells) != width:
                raise DecodeError(f"{path.name}, line {line}, has {len(cells)} cells; others have {width}")
            x = np.array([number(cells, line, i, dtype) for i in columns.data], dtype)
            yield x, None if label is None else number(cells, line, label, y_dtype)

    shown = ", ".join(columns.names[i] for i in columns.data[:MOST_NAMES])
    more = f" and {len(columns.data) - MOST_NAMES} more" if len(columns.data) > MOST_NAMES else ""
    return Source(
        path.name,
        None,
        (len(columns.data),),
        dtype,
        None if label is None else (),
        None if label is None else y_dtype,
        rows,
        data=f"{len(columns.data)} columns ({shown}{more}), {'below a header' if columns.header else 'no header'}",
        label="" if label is None else columns.told(label),
    )


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


def _number(cell: str, where: str) -> float:
    text = cell.strip()
    if not text:
        raise DecodeError(f"{where} is empty; every cell must be a number")
    if not NUMBER.fullmatch(text):
        finite = "; every number must be finite" if text.lower().lstrip("+-") in ("nan", "inf", "infinity") else ""
        raise DecodeError(f"{where} is {cell[:40]!r}{finite or '; every cell must be a number'}")
    try:
        value = int(text)
    except ValueError:  # a fraction, or more digits than Python reads
        return _finite(float(text), cell, where)
    return value


def _finite(value: float, cell: str, where: str) -> float:
    if not math.isfinite(value):
        raise DecodeError(f"{where} is {cell[:40]!r}; every number must be finite")
    return value
