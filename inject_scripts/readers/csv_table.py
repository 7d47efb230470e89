"""CSV: one sample a row; one column is the label. Which, `csv_columns` says; what its words become, `table`."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

from inject_scripts.readers.csv_columns import Columns, columns_of
from inject_scripts.readers.csv_dialect import PEEK, Counts, Dialect, Line, counts_of, dialect_of, width_of
from inject_scripts.readers.foreign import head_of
from inject_scripts.readers.meaning import Making, Table
from inject_scripts.readers.source import DataSet
from inject_scripts.readers.table import table_source
from inject_scripts.readers.words import Words
from mainstem.errors import DecodeError


@dataclass(frozen=True, slots=True)
class Reading:
    """How to read a CSV file, where it does not show it beyond doubt: see `dialect_of` and `columns_of`."""

    label: str | None = None
    labelled: bool = True
    delimiter: str | None = None
    encoding: str | None = None
    skip: int = 0
    header: bool | None = None
    drop: Sequence[str] = ()


def csv_source(path: Path, reading: Reading | None = None, making: Making | None = None) -> DataSet:
    """The file's rows as samples: see `table_source`. Raises ConfigError and DecodeError."""
    reading, making = reading or Reading(), making or Making()
    dialect = dialect_of(path, head_of(path), delimiter=reading.delimiter, encoding=reading.encoding, skip=reading.skip)
    begin = list(islice(dialect.lines(), PEEK + 2))
    if not begin:
        raise DecodeError(f"{path.name} is empty")
    counts = counts_of(begin[0][1], [cells for _, cells in begin[1:]]) if reading.header is None else None
    if counts is not None:
        return table_source(_counted(dialect, counts, begin[1:], reading), making)
    columns = _columns(path.name, begin, reading, reading.header)

    def rows() -> Iterator[Line]:
        return islice(dialect.lines(), int(columns.header), None)

    return table_source(Table(path.name, columns, rows, notes=dialect.notes), making)


def _columns(name: str, begin: Sequence[Line], reading: Reading, header: bool | None) -> Columns:
    width = width_of(name, begin[0], begin[1:])
    same = [cells for _, cells in begin[1:] if len(cells) == width]
    return columns_of(
        name, begin[0][1], same, header=header, label=reading.label, drop=reading.drop, labelled=reading.labelled
    )


def _counted(dialect: Dialect, counts: Counts, begin: Sequence[Line], reading: Reading) -> Table:
    """The table below scikit-learn's first line."""
    name = dialect.path.name
    columns = _columns(name, begin, reading, False)
    number = dialect.skip + 1

    def rows() -> Iterator[Line]:
        count = 0
        for count, line in enumerate(islice(dialect.lines(), 1, None), 1):  # noqa: B007  counted to its end
            yield line
        if count != counts.rows:
            raise DecodeError(
                f"{name}, line {number}, says that {counts.rows} rows follow, but {count} do: leave it out with "
                f"--skip-lines {number} where that is right"
            )

    classes = ", ".join(counts.classes)
    said = f"line {number} is scikit-learn's: {counts.rows} rows, {counts.features} features, the classes {classes}"
    named = Words(counts.classes, False) if columns.label == counts.features else None
    return Table(name, columns, rows, notes=(*dialect.notes, said), named=named)
